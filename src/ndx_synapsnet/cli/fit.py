"""ndx-synapsnet fit, alone or as one of the processes that ``torchrun`` started."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import InputError
from .files import free, local, make_folder, new_files, stem
from .options import SEED, exactly, read_config, reading_options
from .output import print_json, summary

if TYPE_CHECKING:
    from ..experiment import ExperimentConfig
    from ..learn.distributed import World
    from ..nwb.readers import ReadConfig
    from ..session import Session


@click.command()
@click.argument("uris", nargs=-1, required=True, metavar="URI...")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="New file for the result; a folder for several.")
@click.option("--in-place", is_flag=True, help="Write the result into the file itself (by way of a verified copy).")
@click.option("--name", help="Name of the run in the file. [default: synapsnet, then synapsnet_2, ...]")
@click.option("--recipe", default="default", show_default=True, help="Settings to start from: default, fast or paper.")
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
@click.option(
    "--spill/--no-spill",
    default=None,
    help="Keep series in a folder beside the result while fitting. [default: if they would fill half of the memory]",
)
@click.option("--compress", is_flag=True, help="Compress the forecast: smaller, slower to write.")
@click.option("--pictures", type=click.Path(path_type=Path), metavar="DIR", help="Also draw the pictures into DIR.")
@reading_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON for a program.")
def fit(
    uris: tuple[str, ...],
    output: Path | None,
    in_place: bool,
    name: str | None,
    recipe: str,
    config_file: Path | None,
    resume: bool,
    spill: bool | None,
    compress: bool,
    pictures: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Learn connectivity, embeddings and forecasts, and write them as NWB.

    The result goes into a new file beside the recording, unless -o or --in-place says otherwise. Several recordings
    are fitted together: one decoder for all, one connectivity matrix each. Under torchrun the processes share them.

    \b
    Examples:
      ndx-synapsnet fit recording.nwb
      ndx-synapsnet fit recording.nwb --in-place --behavior running_speed --epoch spontaneous_presentations
      ndx-synapsnet fit mouse1.nwb mouse2.nwb -o results/ --identity-column cell_specimen_id
      torchrun --nproc-per-node 2 -m ndx_synapsnet.cli fit mouse1.nwb mouse2.nwb -o results/
    """
    from ..experiment import fit_held, load_config
    from ..learn.distributed import processes
    from ..learn.train import resolve_device
    from ..nwb.results import require_target, write_result
    from ..show import tables
    from ..show.plots import require_matplotlib, save_pictures

    model = {f"use_{part}": False for part in options.pop("without")}
    decoder = options.pop("decoder")
    model |= {} if decoder is None else {"decoder": decoder}
    training = {key: value for key in ("seed", "device") if (value := options.pop(key)) is not None}
    overrides = {
        "model": model,
        "train": {**training, **exactly(options.pop("epochs"))},
        "keep": options.pop("store"),
    }
    config = load_config(recipe, file=config_file, overrides=overrides)
    reading = read_config(options)
    with processes(resolve_device(config.train.device)) as world:
        quiet = as_json or world.rank > 0
        # whatever would keep the result from being written is told before anything long is begun
        with world.agreeing():
            targets = [local(uri) for uri in uris] if in_place else new_files(uris, output)
            for target in targets:
                require_target(target, in_place=in_place, name=name)
            if pictures is not None:
                require_matplotlib()
                make_folder(pictures)
            # where a result goes that may not yet go where it was asked for, and what a fit needs to go on
            beside = [path.with_name(f"{stem(path)}_desc-synapsnet.nwb") if in_place else path for path in targets]
            checkpoint = beside[0].with_name(f"{stem(beside[0])}.checkpoint")
            if checkpoint.exists() and not resume:
                raise InputError(
                    "an earlier fit was stopped here",
                    where=str(checkpoint),
                    remedy="Go on with it by --resume, or remove this folder to begin anew.",
                )
        folder = beside[0].with_name(f"{stem(beside[0])}.spill-{world.rank}-{os.getpid()}")
        try:
            sessions, spilling = _read(uris, reading, config, world, folder, spill, quiet)
            fitting = fit_held(
                sessions, config, world, checkpoint=checkpoint, resume=resume, spill=folder if spilling else None
            )
            # the processes talk until the first is there
            results = chain([next(fitting)], fitting)
            with world.agreeing():
                if not spilling:  # none is written before all are made, if memory can hold them
                    results = chain(list(results))
            written, told = {}, {}
            with world.agreeing():
                for j, result in results:
                    interrupted, target = bool(result.provenance["interrupted"]), targets[j]
                    if interrupted:
                        target = free(beside[j].with_name(f"{stem(beside[j])}-interrupted.nwb"))
                    run = write_result(
                        result, target, in_place=in_place and not interrupted, name=name, compress=compress
                    )
                    written[j] = {"source": uris[j], "file": str(run.path), "run": run.run, **summary(result)}
                    items = [
                        *(f"  note: {note}" for note in result.provenance["notes"]),
                        tables.scores(result),
                        result.verdict,
                        f"Written: {run.path}, run {run.run}",
                    ]
                    if pictures is not None:
                        place = pictures if len(uris) == 1 else pictures / Path(run.path).stem
                        ids = {identity: row for row, identity in enumerate(sessions[j].neurons.id)}
                        kept = sessions[j].select([ids[identity] for identity in result.neurons.id])
                        items += [f"         {path}" for path in save_pictures(result, place, kept)]
                    if world.size > 1:
                        told[j] = tables.text(*items)
                    elif not quiet:
                        tables.say(*items)
            if world.size > 1:
                for left in map(json.loads, world.gather(json.dumps([written, told]))):
                    written |= {int(j): record for j, record in left[0].items()}
                    told |= {int(j): text for j, text in left[1].items()}
                if not quiet:
                    click.echo("".join(told[j] for j in sorted(told)), nl=False)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        runs = [written[j] for j in sorted(written)]
        interrupted = bool(runs[0]["provenance"]["interrupted"])
        if as_json and world.rank == 0:
            print_json({"runs": runs, "interrupted": interrupted})
        if interrupted:
            if world.rank == 0:
                click.echo(
                    "Interrupted: the best epoch so far is kept in the file named above"
                    + (", and the recording itself was not touched" if in_place else "")
                    + ". To train to the end, run the same command again with --resume.",
                    err=True,
                )
            raise SystemExit(130)
        if world.rank == 0:
            shutil.rmtree(checkpoint, ignore_errors=True)


def _read(
    uris: Sequence[str],
    reading: ReadConfig,
    config: ExperimentConfig,
    world: World,
    folder: Path,
    spill: bool | None,
    quiet: bool,
) -> tuple[list[Session], bool]:
    """Read all recordings one after the other, and return them and whether their series are to be kept in `folder`.

    Of several processes each knows all sessions, but holds the activity only of its own.
    """
    from ..experiment import sessions_held
    from ..memory import available_memory, emptied, fits, session_bytes, spilled
    from ..nwb.readers import read_session
    from ..show import tables

    # until it is known whose a session is, each process of a machine has all of them
    share = available_memory() // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    sessions: list[Session] = []
    size, spilling = 0, bool(spill)

    def put_away(session: Session) -> Session:
        return spilled(session, folder) if world.size == 1 else emptied(session)

    with world.agreeing():
        for uri in uris:
            session = read_session(uri, reading)
            if not quiet:
                tables.say(f"{uri}: {session!r}", *(f"  note: {note}" for note in session.provenance["notes"]))
            size += session_bytes(session)
            if spill is None and not spilling and not fits(size, share):
                spilling = True
                for j, before in enumerate(sessions):
                    sessions[j] = put_away(before)
                if not quiet:
                    tables.say(f"The recordings would fill half of the memory: {folder} holds their series meanwhile.")
            sessions.append(put_away(session) if spilling else session)
    if world.size > 1:
        with world.agreeing():
            held = set(sessions_held(sessions, config, world))
            for j, uri in enumerate(uris):
                if j not in held:
                    sessions[j] = emptied(sessions[j])
                elif spilling:
                    sessions[j] = spilled(read_session(uri, reading), folder)
    return sessions, spilling
