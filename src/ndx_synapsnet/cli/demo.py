"""ndx-synapsnet demo."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import InputError
from .files import make_folder
from .options import SEED, exactly

if TYPE_CHECKING:
    from ..session import FitResult, Session


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), default="synapsnet-demo", metavar="[DIR]")
@click.option("--neurons", default=180, show_default=True, help="Simulated neurons; a third of them is recorded.")
@click.option("--samples", default=10_000, show_default=True, help="Samples of 1/30 s.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Seed of the simulation and of the fit.")
@click.option("--epochs", type=int, help="Train for exactly so many epochs instead of the recipe's number.")
def demo(folder: Path, neurons: int, samples: int, seed: int, epochs: int | None) -> None:
    """Simulate a recording with known wiring, fit it, and show how much of the wiring was found.

    Writes DIR/demo.nwb (the recording, its true wiring and the result) and the pictures beside it.

    \b
    Example:
      ndx-synapsnet demo my-first-fit
    """
    from ..experiment import fit as fit_sessions
    from ..experiment import load_config
    from ..metrics import lagged_correlation, recovery
    from ..nwb.readers import read_session
    from ..nwb.recording import write_recording
    from ..nwb.results import write_result
    from ..session import from_mapping
    from ..show import tables
    from ..simulate import PaperNetworkConfig, simulate_paper_network

    path = folder / "demo.nwb"
    if path.exists():
        raise InputError("is there already", where=str(path), remedy="Name another folder, or remove the file.")
    sizes = {"n_neurons": neurons, "n_recorded": neurons // 3, "n_samples": samples, "seed": seed}
    network = from_mapping(PaperNetworkConfig, sizes, where="command line")
    tables.say(f"Simulating {network.n_recorded} recorded of {neurons} neurons, {samples} samples ...")
    simulation = simulate_paper_network(network)
    make_folder(folder)
    write_recording(simulation.session, path, truth=simulation.truth)
    session = read_session(path)
    (result,) = fit_sessions(session, load_config(overrides={"train": {"seed": seed, **exactly(epochs)}}))
    if result.provenance["interrupted"]:
        tables.say(f"Interrupted: {path} holds the recording only.")
        raise SystemExit(130)
    write_result(result, path, in_place=True)

    kept = [list(session.neurons.id).index(i) for i in result.neurons.id]
    truth = simulation.truth.weights[kept][:, kept]
    activity = session.activity[kept]
    estimates: dict[str, Any] = {
        "SynapsNet": result.connectivity["effective"].weights,
        "ridge VAR": result.connectivity["ridge_var"].weights,
        "lag-1 correlation": lagged_correlation(activity, 1),
    }
    found = {name: recovery(estimate, truth) for name, estimate in estimates.items()}
    tables.say(tables.scores(result), result.verdict)
    columns = ["r", "auroc", "average_precision", "sign_accuracy"]
    chance = next(iter(found.values()))["chance"]
    tables.say(
        tables.grid(
            "Recovery of the true wiring (off-diagonal)",
            ["estimate", "Pearson r", "AUROC", f"average precision (chance {chance:.3f})", "sign accuracy"],
            [[name, *(f"{values[column]:.3f}" for column in columns)] for name, values in found.items()],
        )
    )
    pictures = _demo_pictures(result, session.select(kept), estimates, truth, folder)
    tables.say(f"Written: {path}", *(f"         {picture}" for picture in pictures))
    tables.say(f"Next: ndx-synapsnet show {path}")


def _demo_pictures(
    result: FitResult, session: Session, estimates: Mapping[str, Any], truth: Any, folder: Path
) -> list[Path]:
    """Draw what every fit gets, and the recovered wiring beside the true one."""
    from ..show.compute import MatrixView
    from ..show.plots import draw_matrices, draw_recovery, save_figures, save_pictures

    titles, matrices = tuple(estimates), tuple(estimates.values())
    try:
        pictures = save_pictures(result, folder, session)
        wiring = {
            "wiring": draw_matrices(MatrixView(("true wiring", *titles), (truth, *matrices), ())),
            "recovery": draw_recovery(MatrixView(titles, matrices, ()), truth),
        }
    except InputError as error:  # without matplotlib the demo still has its tables and its file
        click.echo(f"No pictures: {error}", err=True)
        return []
    return pictures + save_figures(wiring, folder)
