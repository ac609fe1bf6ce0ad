"""ndx-synapsnet benchmark table1, table2, table3, figure2, figure4, figure5, figure6, figure7."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import InputError
from .files import make_folder, recordings, shown
from .options import (
    SEED,
    F,
    GroupedCommand,
    Option,
    read_config,
    reading_options,
    recording_options,
    remote_options,
    split_remote,
)

if TYPE_CHECKING:
    from ..benchmark.paper.tasks import Task

_OPTIONS = (
    click.option("-o", "--output", type=click.Path(path_type=Path), help="Folder. [default: synapsnet-NAME]"),
    click.option("--models", metavar="A,B,...", help="Only these."),
    click.option(
        "--recipe",
        default="default",
        show_default=True,
        help="default or fast: SynapsNet as we train it, rivals likewise in short; paper: all as in the papers.",
    ),
    click.option("--epochs", type=click.IntRange(1), help="Train all for exactly so many epochs."),
    click.option("--quick", is_flag=True, help="Small simulated sessions, minutes."),
    click.option("--jobs", type=click.IntRange(1), default=1, show_default=True, help="Processes."),
    click.option("--seed", type=SEED, default=0, show_default=True, help="Of the simulation and of the fits."),
)
_SESSIONS = (
    click.option(
        "--sessions",
        multiple=True,
        metavar="URI",
        help="A recording or a pattern; or the paper's by name, with their tasks: allen-neuropixels, "
        "bugeon/spontaneous=FOLDER, ... Repeatable. [default: simulated sessions]",
    ),
    click.option(
        "--task",
        "tasks",
        multiple=True,
        metavar="NAME=TABLE",
        help="What is compared apart: the epochs in a table of intervals; 'NAME=TABLE where QUERY' for some of its "
        "rows, 'NAME=where QUERY' for those of any table. Repeatable. [default: whole recordings]",
    ),
)


_SIMULATED = "Simulated sessions"
_NETWORKS = (
    click.option("--networks", "--runs", cls=Option, group=_SIMULATED, type=click.IntRange(1), metavar="N",
                 help="How many, each drawn anew. [default: 3; with --quick 4; of figure5 50 and 4]"),
    click.option("--neurons", cls=Option, group=_SIMULATED, type=click.IntRange(2), metavar="N",
                 help="Recorded of each, a third of all. [default: 200; with --quick 40]"),
    click.option("--samples", cls=Option, group=_SIMULATED, type=click.IntRange(1), metavar="T",
                 help="Samples of each. [default: 20000; with --quick 4000]"),
)  # fmt: skip


def _with(options: tuple[Callable[[F], F], ...]) -> Callable[[F], F]:
    def add(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return add


def _on_recordings(name: str, text: str) -> click.Command:
    """Return the verb of a study that takes recordings."""

    @click.command(name, cls=GroupedCommand, help=text)
    @_with((*_SESSIONS, *_OPTIONS, *_NETWORKS))
    @recording_options
    @reading_options
    @remote_options
    def verb(
        sessions: tuple[str, ...],
        tasks: tuple[str, ...],
        quick: bool,
        seed: int,
        networks: int | None,
        neurons: int | None,
        samples: int | None,
        preset: str | None,
        join: bool,
        output: Path | None,
        models: str | None,
        recipe: str,
        epochs: int | None,
        jobs: int,
        **options: Any,
    ) -> None:
        from ..benchmark.paper.tasks import simulated_tasks
        from .transfers import remote_reading

        remote = split_remote(options)
        read_config(options, preset)  # whatever is wrong with it is told first
        sizes = {"networks": networks, "neurons": neurons, "samples": samples}
        if sessions and (quick or any(size is not None for size in sizes.values())):
            raise InputError(
                "--quick, --networks, --neurons and --samples are of simulated sessions",
                remedy="Leave them out, or --sessions; --epochs shortens the training of all.",
            )
        if tasks and not sessions:
            raise InputError("simulated sessions have no epochs", remedy="Name recordings with --sessions.")
        with remote_reading(remote):
            if sessions:
                chosen = _recorded(sessions, tasks, options, preset, join=join)
            else:
                chosen = simulated_tasks(quick=quick, seed=seed, **sizes)
            _run(name, chosen, output, models=models, recipe=recipe, epochs=epochs, seed=seed, jobs=jobs)

    return verb


def _recorded(
    uris: tuple[str, ...], tasks: tuple[str, ...], options: dict[str, Any], preset: str | None, *, join: bool
) -> list[Task]:
    """Return the tasks of recordings by address, cut by the same epochs, or of those by name, which bring theirs."""
    from ..benchmark.paper.tasks import Recorded, gathered_tasks, recorded_tasks
    from ..nwb.archives import is_named, resolve

    if not any(map(is_named, uris)):
        found = [(_name(recording), recording) for recording in recordings(uris, join=join)]
        return recorded_tasks(found, read_config(options, preset), tasks)
    if tasks or not all(map(is_named, uris)):
        raise InputError(
            "recordings by name bring their tasks with them", remedy="Leave out --task, and recordings by address."
        )
    named = [one for uri in uris for one in resolve(uri, say=lambda text: click.echo(text, err=True))]
    return gathered_tasks(
        [(one.task, Recorded(_name((one.uri,)), (one.uri,), read_config(options, preset, one.settings)))
         for one in named]
    )  # fmt: skip


def _name(recording: tuple[str, ...]) -> str:
    """Return a recording's short name: the end of its address."""
    return shown(recording).rstrip("/").rsplit("/", 1)[-1].removesuffix(".nwb")


def _run(
    name: str,
    tasks: list[Task],
    output: Path | None,
    *,
    models: str | None,
    recipe: str,
    epochs: int | None,
    seed: int,
    jobs: int,
) -> None:
    """Run a study and print its tables and where its files are."""
    from ..benchmark.paper.run import Training, run
    from ..show import tables

    folder = output or Path(f"synapsnet-{name}")
    make_folder(folder)
    _, layouts = run(
        name,
        tasks,
        folder,
        training=Training(recipe, epochs, seed),
        models=[part.strip() for part in (models or "").split(",") if part.strip()],
        jobs=jobs,
        say=lambda text: click.echo(text, err=True),
    )
    tables.say(*(layout.rich() for layout in layouts))
    written = sorted(path for path in folder.iterdir() if path.stem.partition("_")[0] == name)
    tables.say(f"Written: {', '.join(map(str, written))}")


@click.command(cls=GroupedCommand)
@_with((*_OPTIONS, *_NETWORKS))
def figure5(
    quick: bool,
    seed: int,
    networks: int | None,
    neurons: int | None,
    samples: int | None,
    output: Path | None,
    models: str | None,
    recipe: str,
    epochs: int | None,
    jobs: int,
) -> None:
    """Compare how well models recover the known connectivity of simulated networks (paper, figure 5).

    \b
    Example:
      ndx-synapsnet benchmark figure5 --quick
    """
    from ..benchmark.paper.tasks import simulated_tasks

    runs = networks or (4 if quick else 50)
    tasks = simulated_tasks(quick=quick, seed=seed, networks=runs, neurons=neurons, samples=samples)
    _run("figure5", tasks, output, models=models, recipe=recipe, epochs=epochs, seed=seed, jobs=jobs)


def _text(what: str, example: str) -> str:
    return f"{what}\n\n\b\nExample:\n  ndx-synapsnet benchmark {example}"


#: The verbs, for the group ``benchmark``.
VERBS: tuple[click.Command, ...] = (
    _on_recordings(
        "table1",
        _text(
            "Compare SynapsNet's forecasts with its rivals' and with simple models' (paper, Table 1).\n\n"
            "Each model is trained on each session, some also on all sessions together. A cell that was run is kept "
            "in the folder: the same command run again goes on where it ended.",
            "table1 --quick\n"
            "  ndx-synapsnet benchmark table1 --sessions allen-neuropixels/natural-scenes --jobs 4\n"
            "  ndx-synapsnet benchmark table1 --sessions mouse1.nwb --sessions mouse2.nwb --task rest=rest_epochs",
        ),
    ),
    _on_recordings("table2", _text("Leave out SynapsNet's parts one by one (paper, Table 2).", "table2 --quick")),
    _on_recordings("table3", _text("Compare SynapsNet's decoders (paper, Table 3).", "table3 --quick")),
    _on_recordings(
        "figure2",
        _text("Compare true and forecast principal components, and SynapsNet with NeuPRINT (paper, figure 2).",
              "figure2 --quick"),
    ),
    _on_recordings(
        "figure4",
        _text("Correlate input currents with activity before and after (paper, figure 4).", "figure4 --quick"),
    ),
    figure5,
    _on_recordings("figure6", _text("Vary the context window's length W (paper, figure 6).", "figure6 --quick")),
    _on_recordings("figure7", _text("Vary the embedding's length D (paper, figure 7).", "figure7 --quick")),
)  # fmt: skip
