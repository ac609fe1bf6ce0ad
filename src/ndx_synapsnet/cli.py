"""The command line: one verb is one function. What a verb needs is imported when it runs, so that --help is quick."""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from .errors import InputError

if TYPE_CHECKING:
    from .session import FitResult, Session

F = TypeVar("F", bound=Callable[..., Any])

# Before torch is loaded: its idle threads should sleep. By default they spin, and a fit beside another busy program
# then takes several times as long.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

#: What torch and numpy both take as a seed.
SEED = click.IntRange(0, 2**63 - 1)


class Verbs(click.Group):
    """Ends bad input and Ctrl-C with a sentence instead of a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the verb; exit with 2 on bad input and with 130 when interrupted."""
        try:
            return super().invoke(ctx)
        except InputError as error:
            click.echo(f"error: {error}", err=True)
            ctx.exit(2)
        except KeyboardInterrupt:
            click.echo("\nInterrupted: every file is as it was, or complete. Run the same command again.", err=True)
            ctx.exit(130)


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="ndx-synapsnet")
def main() -> None:
    """Learn who drives whom in a recorded population, from NWB, into NWB.

    \b
    Start here:
      ndx-synapsnet demo                      a simulated recording, fitted in under two minutes
      ndx-synapsnet inspect recording.nwb     what a file offers
      ndx-synapsnet fit recording.nwb         learn, and write the result into a file beside it
    """


def _reading_options(function: F) -> F:
    """Add the options that decide how a recording is read; their names are the fields of `ReadConfig`."""
    options = [
        click.option(
            "--adapter", type=click.Choice(["auto", "calcium", "spikes"]), help="What to read. [default: auto]"
        ),
        click.option("--series", multiple=True, metavar="NAME", help="ROI series by name or path; several are planes."),
        click.option("--bin-width", type=float, metavar="S", help="Width of a spike-count bin. [default: 1/30 s]"),
        click.option("--rate", type=float, metavar="HZ", help="Resample the activity to coarser bins."),
        click.option(
            "--units", "units_query", metavar="QUERY", help="Keep units (or ROIs) by their columns: 'snr > 2'."
        ),
        click.option("--all-units", is_flag=True, help="Do not leave out units or ROIs by the usual quality columns."),
        click.option(
            "--region", "regions", multiple=True, metavar="NAME", help="Keep neurons of this region. Repeatable."
        ),
        click.option("--identity-column", metavar="NAME", help="Column that recognises a neuron across sessions."),
        click.option("--extra-column", "extra_columns", multiple=True, metavar="NAME", help="Column to carry along."),
        click.option("--behavior", multiple=True, metavar="NAME", help="Behaviour to use, or 'none'. Repeatable."),
        click.option(
            "--max-hold", type=float, metavar="S", help="How long a last behaviour value stands in. [default: 1]"
        ),
        click.option(
            "--stimulus", multiple=True, metavar="TABLE.COLUMN", help="One-hot stimulus covariate. Repeatable."
        ),
        click.option("--epoch", metavar="TABLE", help="Keep what lies in the rows of this interval table."),
        click.option("--epoch-query", metavar="QUERY", help="Of the rows, those that match: 'contrast > 0.5'."),
        click.option("--start", type=float, metavar="S", help="Leave out what is before this time."),
        click.option("--stop", type=float, metavar="S", help="Leave out what is after this time."),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def _read_config(options: Mapping[str, Any]) -> Any:
    """Return the `ReadConfig` that the options given on the command line describe."""
    from .nwb.readers import ReadConfig
    from .session import from_mapping

    # what was not given is None, empty or off; a 0 was given
    settings = {name: value for name, value in options.items() if not (value is None or value is False or value == ())}
    if settings.pop("all_units", False):
        settings["quality_filter"] = False
    return from_mapping(ReadConfig, settings, where="command line")


@main.command()
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
    from .experiment import fit as fit_sessions
    from .experiment import load_config
    from .metrics import lagged_correlation, recovery
    from .nwb.readers import read_session
    from .nwb.recording import write_recording
    from .nwb.results import write_result
    from .session import from_mapping
    from .show import tables
    from .simulate import PaperNetworkConfig, simulate_paper_network

    path = folder / "demo.nwb"
    if path.exists():
        raise InputError("is there already", where=str(path), remedy="Name another folder, or remove the file.")
    sizes = {"n_neurons": neurons, "n_recorded": neurons // 3, "n_samples": samples, "seed": seed}
    network = from_mapping(PaperNetworkConfig, sizes, where="command line")
    tables.say(f"Simulating {network.n_recorded} recorded of {neurons} neurons, {samples} samples ...")
    simulation = simulate_paper_network(network)
    _make_folder(folder)
    write_recording(simulation.session, path, truth=simulation.truth)
    session = read_session(path)
    (result,) = fit_sessions(session, load_config(overrides={"train": {"seed": seed, **_exactly(epochs)}}))
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
    from .show.compute import MatrixView
    from .show.plots import draw_matrices, draw_recovery, save_figures, save_pictures

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


@main.command()
@click.argument("uri")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for a program.")
def inspect(uri: str, as_json: bool) -> None:
    """Say what a file offers, how it would be read, and what a fit would cost.

    \b
    Example:
      ndx-synapsnet inspect recording.nwb
    """
    from .experiment import estimate_cost
    from .nwb.readers import inspect as look
    from .show import tables

    contents = look(uri)
    cost = estimate_cost(contents.n_neurons, contents.n_samples) if contents.n_neurons and contents.n_samples else None
    if as_json:
        _print_json({**contents.to_dict(), "estimate": None if cost is None else cost._asdict()})
        return
    tables.say(*tables.contents(contents))
    if cost is not None:
        tables.say(
            f"A fit with the default recipe would take about {tables.duration(cost.seconds)} on this machine "
            f"and {cost.bytes / 2**30:.1f} GiB of memory."
        )


@main.command()
@click.argument("uris", nargs=-1, required=True, metavar="URI...")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="New file for the result; a folder for several.")
@click.option("--in-place", is_flag=True, help="Write the result into the file itself (by way of a verified copy).")
@click.option("--name", help="Name of the run in the file. [default: synapsnet, then synapsnet_2, ...]")
@click.option("--recipe", default="default", show_default=True, help="Settings to start from: default or paper.")
@click.option("--config", "config_file", type=click.Path(path_type=Path), help="YAML file that changes the recipe.")
@click.option("--decoder", help="gru, rnn, lstm or transformer.")
@click.option("--epochs", type=int, help="Train for exactly so many epochs, whatever the recipe's number of steps.")
@click.option("--seed", type=SEED, help="Seed of initialisation and sampling.")
@click.option("--device", help="cpu, cuda, ... [default: the best there is]")
@click.option(
    "--without",
    multiple=True,
    type=click.Choice(["embedding", "activity", "connectivity", "behavior"]),
    help="Leave out an input of the decoder (the paper's ablations). Repeatable.",
)
@click.option("--store", type=click.Choice(["test", "all"]), default="test", help="Forecasts to write. [default: test]")
@click.option("--resume", is_flag=True, help="Go on with a fit that was interrupted or killed.")
@click.option("--compress", is_flag=True, help="Compress the forecast: smaller, slower to write.")
@click.option("--pictures", type=click.Path(path_type=Path), metavar="DIR", help="Also draw the pictures into DIR.")
@_reading_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON for a program.")
def fit(
    uris: tuple[str, ...],
    output: Path | None,
    in_place: bool,
    name: str | None,
    recipe: str,
    config_file: Path | None,
    resume: bool,
    compress: bool,
    pictures: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Learn connectivity, embeddings and forecasts, and write them as NWB.

    The result goes into a new file beside the recording, unless -o or --in-place says otherwise. Several recordings
    are fitted together: one decoder for all, one connectivity matrix each.

    \b
    Examples:
      ndx-synapsnet fit recording.nwb
      ndx-synapsnet fit recording.nwb --in-place --behavior running_speed --epoch spontaneous_presentations
      ndx-synapsnet fit mouse1.nwb mouse2.nwb -o results/ --identity-column cell_specimen_id
    """
    from .experiment import fit as fit_sessions
    from .experiment import load_config
    from .nwb.readers import read_session
    from .nwb.results import require_target, write_result
    from .show import tables
    from .show.plots import require_matplotlib, save_pictures

    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise InputError(
            "this command does not share its work among the processes of torchrun yet",
            remedy="Start it once, or call ndx_synapsnet.learn.train.train with a World.",
        )
    model = {f"use_{part}": False for part in options.pop("without")}
    decoder = options.pop("decoder")
    model |= {} if decoder is None else {"decoder": decoder}
    training = {key: value for key in ("seed", "device") if (value := options.pop(key)) is not None}
    overrides = {
        "model": model,
        "train": {**training, **_exactly(options.pop("epochs"))},
        "keep": options.pop("store"),
    }
    config = load_config(recipe, file=config_file, overrides=overrides)
    reading = _read_config(options)
    # whatever would keep the result from being written is told before anything long is begun
    targets = [_local(uri) for uri in uris] if in_place else _new_files(uris, output)
    for target in targets:
        require_target(target, in_place=in_place, name=name)
    if pictures is not None:
        require_matplotlib()
        _make_folder(pictures)
    # where a result goes that may not yet go where it was asked for, and what a fit needs to go on
    beside = [path.with_name(f"{_stem(path)}_desc-synapsnet.nwb") if in_place else path for path in targets]
    checkpoint = beside[0].with_name(f"{_stem(beside[0])}.checkpoint")
    if checkpoint.exists() and not resume:
        raise InputError(
            "an earlier fit was stopped here",
            where=str(checkpoint),
            remedy="Go on with it by --resume, or remove this folder to begin anew.",
        )

    sessions = []
    for uri in uris:
        session = read_session(uri, reading)
        sessions.append(session)
        if not as_json:
            tables.say(f"{uri}: {session!r}", *(f"  note: {note}" for note in session.provenance["notes"]))
    results = fit_sessions(sessions, config, checkpoint=checkpoint, resume=resume)
    interrupted = bool(results[0].provenance["interrupted"])
    if interrupted:
        targets = [_free(path.with_name(f"{_stem(path)}-interrupted.nwb")) for path in beside]
    written = []
    for uri, session, result, target in zip(uris, sessions, results, targets, strict=True):
        run = write_result(result, target, in_place=in_place and not interrupted, name=name, compress=compress)
        written.append({"source": uri, "file": str(run.path), "run": run.run, **summary(result)})
        if not as_json:
            tables.say(*(f"  note: {note}" for note in result.provenance["notes"]))
            tables.say(tables.scores(result), result.verdict, f"Written: {run.path}, run {run.run}")
        if pictures is not None:
            folder = pictures if len(uris) == 1 else pictures / Path(run.path).stem
            ids = {identity: row for row, identity in enumerate(session.neurons.id)}
            kept = session.select([ids[identity] for identity in result.neurons.id])
            drawn = save_pictures(result, folder, kept)
            if not as_json:
                tables.say(*(f"         {path}" for path in drawn))
    if as_json:
        _print_json({"runs": written, "interrupted": interrupted})
    if interrupted:
        click.echo(
            "Interrupted: the best epoch so far is kept in the file named above"
            + (", and the recording itself was not touched" if in_place else "")
            + ". To train to the end, run the same command again with --resume.",
            err=True,
        )
        raise SystemExit(130)
    shutil.rmtree(checkpoint, ignore_errors=True)


@main.command()
@click.argument("file")
@click.option("--run", help="Which run. [default: each]")
@click.option("--edges", default=10, show_default=True, help="How many of the strongest connections to list.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for a program.")
def show(file: str, run: str | None, edges: int, as_json: bool) -> None:
    """Print the results that a file holds: scores, verdict, strongest connections, where they come from.

    \b
    Example:
      ndx-synapsnet show recording_desc-synapsnet.nwb
    """
    from .nwb.results import list_runs, result_of
    from .nwb.sources import open_source
    from .show import tables

    found = []
    with open_source(file) as opened:
        # a name that is not there, or a file without runs, is for `result_of` to tell
        names: list[str | None] = [run] if run else [*list_runs(opened.nwbfile)]
        for name in names or [None]:
            result = result_of(opened.nwbfile, name, where=opened.uri)
            if as_json:
                found.append({"run": name, **summary(result)})
            else:
                tables.say(*tables.result(str(name), result, edges))
    if as_json:
        _print_json({"file": file, "runs": found})


@main.command()
@click.argument("file")
@click.option("--run", help="Which run, where the file holds several.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Folder for the pictures. [default: beside FILE]")
@click.option("--source", metavar="URI", help="The recording, if it is no longer where the result says.")
def plot(file: str, run: str | None, output: Path | None, source: str | None) -> None:
    """Draw a result: connectivity, predicted and recorded traces, scores, training curve.

    \b
    Example:
      ndx-synapsnet plot recording_desc-synapsnet.nwb -o pictures
    """
    from .nwb.results import read_result
    from .show import tables
    from .show.plots import save_pictures

    result = read_result(file, run)
    session = _original(result, file, source)
    folder = output or _local(file).with_name(_stem(_local(file)) + "_pictures")
    _make_folder(folder)
    tables.say(*(str(path) for path in save_pictures(result, folder, session)))


@main.group()
def benchmark() -> None:
    """Measure on this machine; each keeps its numbers as JSON and draws them."""


@benchmark.command()
@click.option("-o", "--output", type=click.Path(path_type=Path), default="synapsnet-speed", show_default=True)
@click.option("--quick", is_flag=True, help="Smaller sizes, about a minute.")
def speed(output: Path, quick: bool) -> None:
    """Compare the cost of training with the plain way: a step, memory, and the time to the paper recipe's best loss.

    \b
    Example:
      ndx-synapsnet benchmark speed --quick
    """
    from .benchmark.speed import run
    from .show import tables
    from .show.plots import require_matplotlib

    require_matplotlib()
    _make_folder(output)
    found = run(output, quick=quick)
    limit, paper = found["machine"]["matrix_product_gflops"], found["time_to_loss"]
    rows = [
        [r["neurons"], 1e3 * r["twin"], 1e3 * r["ours"], r["ratio"], r["flops"] / 1e9, r["fraction_of_limit"]]
        for r in found["steps"]
    ]
    columns = ["neurons", "plain (ms)", "ours (ms)", "times faster", "GFLOP", "of the machine's limit"]
    tables.say(tables.grid(f"A training step; the machine's matrix product runs at {limit:.0f} GFLOP/s", columns, rows))
    rows = [[m["neurons"], m["samples"], m["peak"] / 2**30] for m in found["memory"]]
    tables.say(tables.grid("Memory of a fit, libraries included", ["neurons", "samples", "peak (GiB)"], rows))
    reached = "reached" if paper["reached"] else "did NOT reach"
    tables.say(
        f"The paper's recipe: best validation MSE {paper['paper_best']:.4f} at epoch {paper['paper_best_epoch']} of "
        f"{paper['paper_epochs']}; trained the plain way (extrapolated from the measured step) "
        f"{tables.duration(paper['twin_seconds_full'])} in all, "
        f"{tables.duration(paper['twin_seconds_to_best'])} to its best.",
        f"Recipe default {reached} it (its best {paper['ours_best']:.4f}) in {tables.duration(paper['ours_seconds'])}: "
        f"{paper['times_cheaper_than_full']:.0f} times cheaper than all of it, "
        f"{paper['times_cheaper_than_to_best']:.0f} times cheaper than to its best.",
        f"Written: {output / 'speed.json'}, {output / 'speed.png'}",
    )


def _original(result: FitResult, file: str, source: str | None) -> Session | None:
    """Return the recording behind a result, or say why it is missing.

    Without `source` it is looked for where the result says, then in the result's own file, which may have been moved.
    """
    from .nwb.original import read_original

    if source is not None:
        return read_original(result, source)
    try:
        return read_original(result)
    except InputError as error:
        try:
            return read_original(result, file)
        except InputError:
            click.echo(f"Drawn without the recording: {error}", err=True)
            return None


def summary(result: FitResult) -> dict[str, Any]:
    """Return what a program wants to know of a result, JSON-able."""
    from .show.compute import score_table

    return {
        "neurons": len(result.neurons),
        "samples": len(result.split),
        "trustworthy": result.trustworthy,
        "verdict": result.verdict,
        "scores": {row.key: {"correlation": row.correlation, "mse": row.mse} for row in score_table(result)},
        "connectivity": list(result.connectivity),
        "provenance": dict(result.provenance),
        "config": dict(result.config),
    }


def _exactly(epochs: int | None) -> dict[str, Any]:
    """Return the training settings by which a number of epochs is kept to: a recipe bounds the steps as well."""
    return {} if epochs is None else {"epochs": epochs, "min_steps": 0, "max_steps": None, "patience": None}


def _local(uri: str) -> Path:
    """Return the path of a recording on this machine."""
    from .nwb.sources.local import local_path

    return local_path(uri)


def _stem(path: Path) -> str:
    """Return a recording's name without what says its format."""
    return path.name.removesuffix(".zarr").removesuffix(".nwb")


def _free(path: Path) -> Path:
    """Return `path`, or where that is taken the first of ``path_2``, ``path_3``, ... that is not."""
    number, candidate = 1, path
    while candidate.exists():
        number += 1
        candidate = path.with_stem(f"{path.stem}_{number}")
    return candidate


def _new_files(uris: Sequence[str], output: Path | None) -> list[Path]:
    """Return a new file for each recording; none may exist."""
    several = len(uris) > 1
    folder = output if output is not None and (several or output.is_dir()) else None
    targets = []
    for uri in uris:
        source = _local(uri)
        if output is not None and folder is None:
            target = output
        else:
            target = (folder or source.parent) / f"{_stem(source)}_desc-synapsnet.nwb"
        if target.exists():
            raise InputError(
                "is there already", where=str(target), remedy="Name another with -o, or remove it, or use --in-place."
            )
        if target in targets:
            raise InputError("is the result of two recordings", where=str(target), remedy="Give -o a folder for each.")
        targets.append(target)
    for target in targets:
        _make_folder(target.parent)
    return targets


def _make_folder(folder: Path) -> None:
    """Make a folder that can be written to, or say why not."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"cannot be made ({error.strerror})", where=str(folder), remedy="Name another with -o."
        ) from error
    if not os.access(folder, os.W_OK):
        raise InputError("cannot be written to", where=str(folder), remedy="Name another folder with -o.")


def _print_json(value: Any) -> None:
    """Print JSON; numbers that it does not have become null."""
    json.dump(_finite(value), sys.stdout, indent=2)
    sys.stdout.write("\n")


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


if __name__ == "__main__":
    main()
