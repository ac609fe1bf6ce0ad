"""ndx-synapsnet simulate."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from ..errors import InputError
from .files import make_folder
from .options import SEED

# The names of `simulate.SIMULATORS`, which is imported when the verb runs.
KINDS = ("paper", "spiking", "calcium", "glm")


@click.command()
@click.argument("kind", type=click.Choice(KINDS))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="The new file: .nwb or .zarr.")
@click.option("--neurons", "n_neurons", type=int, help="Simulated neurons.  [default: 600 (paper), else 300]")
@click.option("--recorded", "n_recorded", type=int, help="Recorded of them, 2 or more.  [default: a third]")
@click.option("--samples", "n_samples", type=int, help="Samples.  [default: 20000]")
@click.option("--seed", type=SEED, help="Decides everything.  [default: 0]")
@click.option(
    "--set", "settings", multiple=True, metavar="NAME=VALUE", help="Any other setting of the network. Repeatable."
)
def simulate(kind: str, output: Path, settings: Sequence[str], **sizes: int | None) -> None:
    """Simulate a recording with known wiring, and write both to an NWB file.

    \b
    KIND is one of:
      paper     the SynapsNet paper's network: rates a tanh of spikes, behaviour and hidden task
      spiking   integrate-and-fire neurons, a fifth inhibitory, with delays; counts in 33 ms bins
      calcium   the same through a calcium indicator, 15 frames a second
      glm       a coupled Poisson GLM with known filters

    \b
    Example:
      ndx-synapsnet simulate spiking -o spiking.nwb --neurons 120 --samples 10000
      ndx-synapsnet simulate calcium -o calcium.nwb --set period=0.1 --set decay_time=0.3
      ndx-synapsnet fit spiking.nwb
    """
    from ..nwb import store
    from ..nwb.recording import write_recording
    from ..session import from_mapping
    from ..show import tables
    from ..simulate import SIMULATORS

    store.format_of(output)  # told now, not after minutes of simulation
    if output.exists():
        raise InputError("is there already", where=str(output), remedy="Name another with -o, or remove it.")
    simulator = SIMULATORS[kind]
    given: dict[str, Any] = {name: value for name, value in sizes.items() if value is not None}
    for text in settings:
        name, value = _setting(text)
        if name in given:
            raise InputError(f"{name} is given twice", where="command line")
        given[name] = value
    if isinstance(total := given.get("n_neurons"), int):
        given.setdefault("n_recorded", max(2, total // 3))
    config = from_mapping(simulator.config, given, where="command line")
    make_folder(output.parent)
    made = simulator.simulate(config, progress=True)
    write_recording(made.session, output, truth=made.truth)

    n, weights = made.session.n_neurons, made.truth.weights
    rows = [
        ("recording", repr(made.session)),
        ("network", f"{config.n_neurons} neurons, {n} recorded"),
        ("true connections", f"{(weights != 0).sum()} of {n * (n - 1)} ordered pairs"),
        ("mean rates", "{rate_mean:.1f} Hz, {rate_low:.1f} to {rate_high:.1f}".format(**made.diagnostics)),
    ]
    if "pair_correlation" in made.diagnostics:
        rows.append(("mean correlation of two neurons", f"{made.diagnostics['pair_correlation']:.3f}"))
    if "cv_isi" in made.diagnostics:
        rows.append(("variation of intervals (CV)", f"{made.diagnostics['cv_isi']:.2f}"))
    tables.say(*(f"{name}: {value}" for name, value in rows), f"Written: {output}")


def _setting(text: str) -> tuple[str, Any]:
    """Return name and value of a ``NAME=VALUE``; a value that is no JSON is a text, a list stays a tuple's items."""
    name, mark, value = text.partition("=")
    if not mark or not name:
        raise InputError(f"--set {text!r} is not NAME=VALUE", where="command line")
    try:
        parsed = json.loads(value)
    except ValueError:
        parsed = value
    return name.strip(), tuple(parsed) if isinstance(parsed, list) else parsed
