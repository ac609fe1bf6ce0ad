"""Networks with known wiring, each as a `Session` beside its true connectivity.

Letters: M neurons of the network, N of them recorded, T samples, K behaviours, V task variables (shared inputs that are
not recorded), L lags.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .calcium import CalciumNetworkConfig, simulate_calcium_network
from .coupled_glm import CoupledGLMConfig, simulate_coupled_glm
from .network import NetworkConfig, random_session
from .paper import PaperNetworkConfig, simulate_paper_network
from .placement import mandelbrot_image
from .simulation import Hidden, Simulation
from .spiking import SpikingNetworkConfig, simulate_spiking_network

__all__ = [
    "SIMULATORS",
    "CalciumNetworkConfig",
    "CoupledGLMConfig",
    "Hidden",
    "NetworkConfig",
    "PaperNetworkConfig",
    "Simulation",
    "Simulator",
    "SpikingNetworkConfig",
    "mandelbrot_image",
    "random_session",
    "simulate_calcium_network",
    "simulate_coupled_glm",
    "simulate_paper_network",
    "simulate_spiking_network",
]


@dataclass(frozen=True)
class Simulator:
    """One kind of network."""

    config: type[NetworkConfig]
    """Its settings; every field has a default."""
    simulate: Callable[..., Simulation]
    """``simulate(config, *, keep_hidden=False, progress=False)``."""

    def __call__(self, *, keep_hidden: bool = False, progress: bool = False, **settings: Any) -> Simulation:
        """Simulate a network; `settings` are fields of `config`."""
        return self.simulate(self.config(**settings), keep_hidden=keep_hidden, progress=progress)


#: Kinds of networks by name.
SIMULATORS: dict[str, Simulator] = {
    "paper": Simulator(PaperNetworkConfig, simulate_paper_network),
    "spiking": Simulator(SpikingNetworkConfig, simulate_spiking_network),
    "calcium": Simulator(CalciumNetworkConfig, simulate_calcium_network),
    "glm": Simulator(CoupledGLMConfig, simulate_coupled_glm),
}
