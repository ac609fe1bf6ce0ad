"""ndx-synapsnet benchmark."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..errors import printable
from .connectivity import connectivity
from .files import make_folder
from .paper import VERBS


@click.group()
def benchmark() -> None:
    """Measure on this machine; each keeps its numbers as JSON and draws them."""


@benchmark.command()
@click.option("-o", "--output", type=click.Path(path_type=Path), default="synapsnet-speed", show_default=True)
@click.option("--quick", is_flag=True, help="Smaller sizes, about a minute.")
@click.option("--recording", metavar="URI", help="A recording on which the recipes race too.")
@click.option(
    "--part",
    "parts",
    type=click.Choice(["steps", "epochs", "memory", "races"]),
    multiple=True,
    help="Measure only this (again for more); what an earlier run left of the others in the output folder stays.",
)
def speed(output: Path, quick: bool, recording: str | None, parts: tuple[str, ...]) -> None:
    """Compare the cost of training with the plain way: a step, memory, and the time to the paper recipe's best loss.

    Half an hour without --quick; each part is kept as soon as it is measured.

    \b
    Examples:
      ndx-synapsnet benchmark speed --quick
      ndx-synapsnet benchmark speed --part steps --part epochs
    """
    from ..benchmark.speed import PARTS, run
    from ..benchmark.step import STRETCH
    from ..show import tables
    from ..show.plots import require_matplotlib

    require_matplotlib()
    make_folder(output)
    found = run(output, quick=quick, recording=recording, parts=parts or PARTS)
    rows = [
        [r["neurons"], 1e3 * r["twin"], 1e3 * r["window"], r["window_ratio"], r["window_fraction_of_limit"],
         1e3 * r["stream"], r["stream_ratio"], r["stream_fraction_of_limit"]]
        for r in found["steps"]
    ]  # fmt: skip
    columns = ["neurons", "plain (ms)", "windows (ms)", "times faster", "of that rate"]
    columns += ["stretches (ms)", "times faster a sample", "of that rate"]
    title = f"A training step of 32 windows, and of 32 stretches of {STRETCH} samples"
    if rows:
        rate = found["measured"]["steps"]["matrix_product_gflops"]
        title += f"; a large matrix product of torch runs at {rate:.0f} GFLOP/s"
        tables.say(tables.grid(title, columns, rows))
    rows = [[e["neurons"], e["samples"], e["seconds"]] for e in found["epochs"]]
    if rows:
        tables.say(tables.grid("An epoch of recipe fast", ["neurons", "samples", "seconds"], rows))
    rows = [[m["neurons"], m["samples"], m["peak"] / 2**30] for m in found["memory"]]
    if rows:
        tables.say(tables.grid("Memory of a fit, libraries included", ["neurons", "samples", "peak (GiB)"], rows))
    for race in found["races"]:
        paper = race["paper"]
        where = "simulated" if isinstance(race["source"], dict) else race["source"]
        tables.say(
            f"{where}, {race['neurons']} neurons x {race['samples']} samples. The paper's recipe: best validation MSE "
            f"{paper['best']:.4f} at epoch {paper['best_epoch']} of {paper['epochs']}; trained the plain way "
            f"(extrapolated from the measured step) {tables.duration(paper['twin_seconds_full'])} in all, "
            f"{tables.duration(paper['twin_seconds_to_best'])} to its best."
        )
        for name, ours in race["ours"].items():
            took = f"(its best {ours['best']:.4f}) in {tables.duration(ours['cost'])}, compiling included"
            if not ours["reached"]:
                tables.say(f"Recipe {name} did NOT reach it {took}.")
                continue
            tables.say(
                f"Recipe {name}, which sees up to 12 samples of the past, not 5, reached it {took}: "
                f"{ours['times_cheaper_than_full']:.0f} times cheaper than all of it, "
                f"{ours['times_cheaper_than_to_best']:.0f} times cheaper than to its best."
            )
    tables.say(f"Written: {output / 'speed.json'}, {output / 'speed.png'}")


@benchmark.command()
@click.option("-o", "--output", type=click.Path(path_type=Path), default="synapsnet-large", show_default=True)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, ...")
@click.option("--neurons", type=click.IntRange(2), default=680, show_default=True)
@click.option("--samples", type=click.IntRange(100), default=54_000, show_default=True)
@click.option("--epochs", type=click.IntRange(1), default=100, show_default=True, help="Of the paper's recipe.")
def large(output: Path, device: str, neurons: int, samples: int, epochs: int) -> None:
    """Train a simulated session of Neuropixels size by the paper's recipe and by ours: minutes on a GPU, hours without.

    \b
    Example:
      ndx-synapsnet benchmark large --device cuda
    """
    from ..benchmark.large import run
    from ..show import tables

    make_folder(output)
    found = run(output, device=device, neurons=neurons, samples=samples, epochs=epochs)
    rows = [
        [name, 1e3 * step["seconds"], step["flops"] / 1e9, step["fraction_of_limit"]]
        for name, step in found["steps"].items()
    ]
    title = (
        f"A training step on {found['device']}; its matrix product runs at {found['matrix_product_gflops']:.0f} GFLOP/s"
    )
    tables.say(tables.grid(title, ["recipe", "ms", "GFLOP", "of the limit"], rows))
    errors = ", ".join(f"{name} {error:.1e}" for name, error in found["precision"].items())
    reached = found["fast_seconds_to_it"]
    tables.say(
        f"{epochs} epochs of the paper's recipe: {tables.duration(found['paper_seconds'])}, best validation MSE "
        f"{found['paper_best']:.4f}; recipe fast "
        + ("did NOT reach it." if reached is None else f"reached it in {tables.duration(reached)}."),
        f"Error of A's gradient against float64: {errors}.",
        f"Written: {output / 'large.json'}",
    )


@benchmark.command()
@click.option("-o", "--output", type=click.Path(path_type=Path), default="synapsnet-recipes", show_default=True)
@click.option("--quick", is_flag=True, help="A small session.")
@click.option("--recording", "recordings", metavar="URI", multiple=True, help="A recording to train on too.")
def recipes(output: Path, quick: bool, recordings: tuple[str, ...]) -> None:
    """Train settings around the recipes' on a simulated session: what a validation loss costs, and why they are so.

    \b
    Example:
      ndx-synapsnet benchmark recipes --quick
    """
    from ..benchmark.recipes import run
    from ..show import tables
    from ..show.plots import require_matplotlib

    require_matplotlib()
    make_folder(output)
    found = run(output, quick=quick, recordings=recordings)
    keys = ("context", "stretch", "batch_size", "learning_rate", "epochs", "processor_seconds", "best", "test_mse")
    columns = ["context", "stretch", "rows", "rate", "epochs", "processor s", "validation MSE", "test MSE"]
    for session in found["sessions"]:
        known = ["recovery_r"] if "recovery_r" in session["rows"][0] else []  # where the wiring is known
        rows = [[row[key] for key in (*keys, *known)] for row in session["rows"]]
        title = f"{session['name']}: {session['neurons']} neurons x {session['samples']} samples"
        tables.say(tables.grid(title, columns + ["recovery r"] * len(known), rows))
    tables.say(f"Written: {output / 'recipes.json'}, {output / 'recipes.png'}")


@benchmark.command()
@click.option("-o", "--output", type=click.Path(path_type=Path), default="synapsnet-streaming", show_default=True)
@click.option("--quick", is_flag=True, help="Small recordings, about a minute.")
def streaming(output: Path, quick: bool) -> None:
    """Read recordings from an archive on this machine, over a slow line, as others do and as fast as their bytes come.

    \b
    Example:
      ndx-synapsnet benchmark streaming --quick
    """
    from ..benchmark.streaming import REPEATED, run
    from ..show import tables
    from ..show.plots import require_matplotlib

    require_matplotlib()
    make_folder(output)
    found = run(output, quick=quick, say=lambda text: click.echo(text, err=True))
    for recording, facts in found["recordings"].items():
        for line in found["lines"]:
            rows = [r for r in found["readings"] if (r["recording"], r["line"]) == (recording, line)]
            title = (
                f"{recording}, {line}: {facts['needed'] / 1e6:.1f} of {facts['size'] / 1e6:.1f} MB are needed, bound "
                f"{rows[0]['bound']:.2f} s; inflating takes {facts['inflate_seconds']:.2f} s"
            )
            columns = ["reader", "seconds", "times the bound", "of it opening", "reading", "requests", "MB"]
            tables.say(tables.grid(title, columns, [_streaming_row(row) for row in rows]))
    headings = {
        "recording": "recording",
        "line": "line",
        "line_alone": "plain GETs",
        "read": "bulk read",
        "session": "session",
        "bytes": "bytes",
        "bytes_second_time": "MB again",
        "remfile_read": "remfile (read)",
        "remfile_session": "remfile (all)",
    }
    rows = [[_two(claim.get(key)) for key in headings] for claim in found["claims"]]
    title = (
        "Ours: times the bound (or the time to inflate, if that is longer on the faster line), bytes over those "
        "needed, MB transferred the second time, and how many times as long remfile takes"
    )
    tables.say(tables.grid(title, list(headings.values()), rows))
    if found["memory"]:
        columns = ["spike times", "counts (MB)", "peak beside them (MB)", "allowed (MB)"]
        rows = [[m["layout"], *(m[key] / 1e6 for key in ("counts", "beside", "allowed"))] for m in found["memory"]]
        tables.say(tables.grid(f"Memory of reading {found['memory'][0]['spikes']:,} spikes", columns, rows))
    repeated = ", ".join(REPEATED)
    tables.say(
        f"The least of two readings for {repeated}; one for the others." if not quick else "One reading each.",
        f"Written: {output / 'streaming.json'}, {output / 'streaming.png'}",
    )


@benchmark.command()
@click.option("-o", "--output", type=click.Path(path_type=Path), default="synapsnet-faults", show_default=True)
def faults(output: Path) -> None:
    """Read a recording from an archive on this machine while things go wrong, and say what came of each.

    \b
    Example:
      ndx-synapsnet benchmark faults
    """
    from ..benchmark.faults import run
    from ..show import tables

    make_folder(output)
    found = run(output)
    rows = [[row["fault"], row["outcome"], row["words"], row["requests"]] for row in found["faults"]]
    tables.say(tables.grid("What goes wrong, and what comes of it", ["fault", "outcome", "words", "requests"], rows))
    silent = [row["fault"] for row in found["faults"] if not row["as_expected"]]
    tables.say(
        f"NOT as it should be: {', '.join(silent)}" if silent else "None was silent.",
        f"Written: {output / 'faults.json'}",
    )


@benchmark.command()
@click.option("-o", "--output", type=click.Path(path_type=Path), default="synapsnet-views", show_default=True)
@click.option("--neurons", type=click.IntRange(20), default=2000, show_default=True)
@click.option("--samples", type=click.IntRange(1000), default=100_000, show_default=True)
def views(output: Path, neurons: int, samples: int) -> None:
    """Change every selector of every notebook view of a large generated file, and time it.

    \b
    Example:
      ndx-synapsnet benchmark views
    """
    from ..benchmark.views import run
    from ..show import tables

    make_folder(output)
    found = run(output, neurons=neurons, samples=samples, say=lambda text: click.echo(text, err=True))
    rows = [
        [view, name, of["median"], of["longest"], of["processor_median"]]
        for view, opened in found["views"].items()
        for name, of in opened["selectors"].items()
    ]
    title = f"Seconds that a change of a selector takes: {neurons} neurons x {samples} samples"
    tables.say(tables.grid(title, ["view", "selector", "median", "longest", "processor (median)"], rows))
    said = "All answer" if found["met"] else "NOT all answer"
    tables.say(f"{said} in less than {found['target']} s.", f"Written: {output / 'views.json'}")


@benchmark.command()
@click.option("-o", "--output", type=click.Path(path_type=Path), default="synapsnet-calibration", show_default=True)
@click.option("--quick", is_flag=True, help="One small recording.")
@click.option(
    "--samples",
    "lengths",
    type=click.IntRange(1_000),
    multiple=True,
    default=(2_500, 20_000),
    show_default=True,
    help="Length of the recordings (again for more).",
)
@click.option("--seeds", type=click.IntRange(1), default=3, show_default=True, help="Recordings of each kind.")
@click.option("--first-seed", type=click.IntRange(0), default=0, show_default=True)
def calibration(output: Path, quick: bool, lengths: tuple[int, ...], seeds: int, first_seed: int) -> None:
    """Test connections of simulated networks: how often a p-value or q-value is wrong, against what it promises.

    A quarter of an hour without --quick.

    \b
    Example:
      ndx-synapsnet benchmark calibration --quick
    """
    from ..benchmark.calibration import run
    from ..show import tables
    from ..show.plots import require_matplotlib

    require_matplotlib()
    make_folder(output)
    found = run(output, quick=quick, lengths=lengths, seeds=range(first_seed, first_seed + seeds))
    keys = ("kind", "samples", "test", "false_positive_rate", "false_discovery", "recall")
    rows = [
        [*(row[key] for key in keys), "" if row["trusted"] is None else f"{row['trusted']} of {row['recordings']}"]
        for row in found["summary"]
    ]
    columns = ["simulator", "samples", "test", "false positives", "false among found", "recall", "says to trust it"]
    tables.say(
        tables.grid("False positives at p of .05; findings at a nominal false-discovery rate of .1", columns, rows)
    )
    tables.say(f"Written: {output / 'calibration.json'}, {output / 'calibration.png'}")


@benchmark.command()
@click.option("-o", "--output", type=click.Path(path_type=Path), default="synapsnet-fuzz", show_default=True)
@click.option("--mutations", type=click.IntRange(1), default=1000, show_default=True, help="Damaged files to read.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Decides everything.")
@click.option("--jobs", type=click.IntRange(1), default=1, show_default=True, help="Processes.")
@click.option("--format", "file_format", type=click.Choice(["hdf5", "zarr"]), default="hdf5", show_default=True)
@click.option("--only", type=click.IntRange(0), multiple=True, metavar="N", help="Only this mutant (again for more).")
def fuzz(output: Path, mutations: int, seed: int, jobs: int, file_format: str, only: tuple[int, ...]) -> None:
    """Read result files damaged in every way, each in a limited process, and count what becomes of them.

    Numbers of runs with other seeds, or of the other format, stay in the folder.

    \b
    Examples:
      ndx-synapsnet benchmark fuzz --mutations 5000 --seed 1 --jobs 4
      ndx-synapsnet benchmark fuzz --seed 1 --only 417
    """
    from ..benchmark.fuzz.run import OUTCOMES, run
    from ..show import tables

    make_folder(output)
    found = run(
        output, mutations=mutations, seed=seed, jobs=jobs, file_format=file_format, only=only,
        say=lambda text: click.echo(printable(text), err=True),
    )  # fmt: skip
    rows = [[kind, *(of.get(outcome, 0) for outcome in OUTCOMES)] for kind, of in found["kinds"].items()]
    rows.append(["all", *(found["outcomes"].get(outcome, 0) for outcome in OUTCOMES)])
    tables.say(tables.grid(f"{found['mutants']} mutants, {file_format}, seed {seed}", ["damage", *OUTCOMES], rows))
    tables.say(*(f"{fault['count']} times: {name} ({fault['first'][0]})" for name, fault in found["faults"].items()))
    tables.say(
        f"Longest {found['slowest']['seconds']} s of a processor, most memory {found['largest']['MiB']} MiB.",
        *([] if only else [f"Written: {output / 'fuzz.json'}"]),
    )


@benchmark.command()
@click.option("-o", "--output", type=click.Path(path_type=Path), default="synapsnet-crash", show_default=True)
@click.option("--points", type=click.IntRange(4), default=200, show_default=True, help="Kills on each format.")
@click.option("--quick", is_flag=True, help="20 kills on each format, and a few errors.")
def crash(output: Path, points: int, quick: bool) -> None:
    """Kill writes into a copy of a recording, fill and break its disk, and see that the old or the new file is there.

    Half an hour without --quick. Exits with code 1 if anything was damaged.

    
    Examples:
      ndx-synapsnet benchmark crash --quick
      ndx-synapsnet benchmark crash --points 500
    """
    from ..benchmark.crash import run
    from ..show import tables

    make_folder(output)
    number, errors = (20, 4) if quick else (points, 24)
    found = run(output, points=number, errors=errors, say=lambda text: click.echo(text, err=True))
    columns = ["kind", "how", "points", "interrupted", "old", "new", "moved aside", "damaged", "in trouble"]
    rows = [[row[name] for name in columns] for row in found["summary"]]
    tables.say(tables.grid("What the file was after a write that was interrupted", columns, rows))
    tables.say(*(f"Left out: {why}." for why in found["skipped"]))
    troubled = [row for row in found["rows"] if row["trouble"]]
    for row in troubled[:20]:
        tables.say(f"{row['kind']}, {row['how']} at {row['call']} {row['nth']}: {row['trouble']}")
    tables.say(
        f"NOT as it should be: {len(troubled)} of {len(found['rows'])}." if troubled else "Nothing was damaged.",
        f"Written: {output / 'crash.json'}",
    )
    if troubled:
        raise SystemExit(1)


for verb in VERBS:
    benchmark.add_command(verb)
benchmark.add_command(connectivity)


def _streaming_row(row: dict[str, Any]) -> list[Any]:
    name = row["reader"] + ("" if row.get("right", True) else " (WRONG)")
    traffic = [row["requests"], f"{row['bytes'] / 1e6:.1f}"]
    if "skipped" in row:
        return [name, row["skipped"], "", "", "", *traffic]
    phases = [_two(row["phases"].get(phase)) for phase in ("open", "read")]
    return [name, _two(row["seconds"]), _two(row["ratio"]), *phases, *traffic]


def _two(value: Any) -> Any:
    """Return a number with two decimals, bytes in MB, and nothing for what is not known."""
    if isinstance(value, int):
        return f"{value / 1e6:.2f}"
    return f"{value:.2f}" if isinstance(value, float) else value or ""
