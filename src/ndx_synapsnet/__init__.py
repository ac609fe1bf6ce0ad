"""ndx-synapsnet: learn who drives whom in a recorded population, from NWB, into NWB.

Importing the package registers the neurodata types and loads no torch; everything else is loaded when first used.
"""

from importlib.metadata import version

import lazy_loader

from .nwb.types import (
    ActivityForecast,
    FitProvenance,
    FunctionalConnectivity,
    InputCurrents,
    NeuronEmbeddings,
    SynapsNetFit,
)

__version__ = version("ndx-synapsnet")

__getattr__, _, _names = lazy_loader.attach(
    __name__,
    submod_attrs={
        "errors": ["InputError"],
        "experiment": ["ExperimentConfig", "fit", "load_config"],
        "metrics": ["compare_matrices", "lagged_correlation", "recovery"],
        "nwb.original": ["read_original"],
        "nwb.readers": ["ReadConfig", "inspect", "read_session"],
        "nwb.recording": ["write_recording"],
        "nwb.results": ["read_result", "write_result"],
        "reproduction": ["predict"],
        "session": ["FitResult", "Neurons", "Session"],
        "show.graphs": ["to_networkx"],
        "simulate": ["SIMULATORS", "PaperNetworkConfig", "simulate_paper_network"],
    },
)

__all__ = [
    "ActivityForecast",
    "FitProvenance",
    "FunctionalConnectivity",
    "InputCurrents",
    "NeuronEmbeddings",
    "SynapsNetFit",
    *_names,
]


def __dir__() -> list[str]:
    return __all__
