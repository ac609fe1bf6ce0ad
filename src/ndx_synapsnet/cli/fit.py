"""ndx-synapsnet fit, alone or as one of the processes that ``torchrun`` started."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..errors import InputError
from .files import amended_files, make_folder, new_files, recordings, shown, stem, whole_of
from .named import named
from .options import (
    SEED,
    GroupedCommand,
    exactly,
    metadata_options,
    read_config,
    reading_options,
    recording_options,
    remote_options,
    split_metadata,
    split_remote,
)

_OF_ONE = ("session_id", "session_start_time")  # no two recordings have these in common


@click.command(cls=GroupedCommand)
@click.argument("uris", nargs=-1, required=True, metavar="URI...")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="New file for the result; a folder for several.")
@click.option("--in-place", is_flag=True, help="Write the result into the file itself (by way of a verified copy).")
@click.option("--with-source", is_flag=True, help="Have the new file hold all of the recording too, as a copy.")
@click.option("--dry-run", is_flag=True, help="Read and check everything, say what would be written, and stop.")
@click.option("--each", is_flag=True, help="Fit every recording on its own; one that fails does not stop the others.")
@click.option("--name", help="Name of the run in the file. [default: synapsnet, then synapsnet_2, ...]")
@click.option("--replace", is_flag=True, help="Put the result in the place of the same run, or of that called --name.")
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
@click.option("--json", "as_json", is_flag=True, help="Print JSON for a program.")
@metadata_options
@recording_options
@reading_options
@remote_options
def fit(
    uris: tuple[str, ...],
    output: Path | None,
    in_place: bool,
    with_source: bool,
    dry_run: bool,
    each: bool,
    name: str | None,
    replace: bool,
    recipe: str,
    config_file: Path | None,
    preset: str | None,
    join: bool,
    resume: bool,
    spill: bool | None,
    compress: bool,
    pictures: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Learn connectivity, embeddings and forecasts, and write them as NWB.

    A URI is a path, an address in an archive (DANDI:000021/sub-1/file.nwb), http(s):// or s3://; paths here and in
    archives may be patterns. The paper's recordings go by name (allen-neuropixels/natural-scenes). Several recordings
    are fitted together, with one decoder for all and one connectivity matrix each, unless --each is given. Under
    torchrun the processes share them.

    The result goes into a new file beside the recording, or for a remote one into the working directory, unless -o or
    --in-place says otherwise. It is called sub-SUBJECT_ses-SESSION_desc-synapsnet.nwb, as DANDI wants it, where the
    recording (of a remote one its name) says subject and session, else RECORDING_desc-synapsnet.nwb. In a dandiset it
    goes into the subject's folder.

    \b
    Examples:
      ndx-synapsnet fit recording.nwb
      ndx-synapsnet fit recording.nwb --species "Mus musculus" --age P90D --dry-run
      ndx-synapsnet fit recording.nwb --in-place --behavior running_speed --epoch spontaneous_presentations
      ndx-synapsnet fit mouse1.nwb mouse2.nwb -o results/ --identity-column cell_specimen_id
      ndx-synapsnet fit "DANDI:000728/sub-*/*_behavior+image+ophys.nwb" --each -o results/
      torchrun --nproc-per-node 2 -m ndx_synapsnet.cli fit mouse1.nwb mouse2.nwb -o results/
    """
    from ..experiment import load_config
    from ..learn.distributed import processes
    from ..learn.train import resolve_device
    from ..nwb.results import require_target
    from ..nwb.whole import require_whole
    from ..show.plots import require_matplotlib
    from .dry_run import rehearse_all
    from .fitting import Task, fit_each, fit_together
    from .transfers import remote_reading

    if replace and each and resume:
        raise InputError(
            "which recordings were fitted anew already cannot be told", remedy="Leave out --resume or --replace."
        )
    if in_place and each and resume:
        raise InputError(
            "which recordings hold their result already cannot be told",
            remedy="Leave out --resume, and name those that are left.",
        )
    model: dict[str, Any] = {f"use_{part}": False for part in options.pop("without")}
    decoder = options.pop("decoder")
    model |= {} if decoder is None else {"decoder": decoder}
    training = {key: value for key in ("seed", "device") if (value := options.pop(key)) is not None}
    if decoder == "transformer" and recipe != "paper":
        # it has no state to run on along stretches, for which the other recipes' batch and rate are
        model, training = {"context": "window", **model}, {"batch_size": 32, "learning_rate": 0.01, **training}
    overrides = {
        "model": model,
        "train": {**training, **exactly(options.pop("epochs"))},
        "keep": options.pop("store"),
    }
    config = load_config(recipe, file=config_file, overrides=overrides)
    remote, supplied = split_remote(options), split_metadata(options)
    if (in_place or with_source) and supplied:
        raise InputError(
            "subject and session are for a small file: to a recording, or a copy of one, only a result is added",
            remedy="Leave out --metadata and the options like it, or --in-place and --with-source.",
        )
    if with_source and (in_place or replace):
        raise InputError("--with-source is for a new file", remedy="Leave it out, or --in-place and --replace.")
    read_config(options, preset)  # whatever is wrong with it is told first
    with (
        processes(resolve_device(config.train.device)) as world,
        remote_reading(remote, silent=world.rank > 0) as transfers,
    ):
        # whatever would keep the result from being written is told before anything long is begun
        with world.agreeing():
            if each and world.size > 1:
                raise InputError("--each trains in one process", remedy="Start it without torchrun, or leave it out.")
            addresses, settings = named(uris, silent=world.rank > 0)
            reading = read_config(options, preset, settings)
            if join:  # all files are opened to tell sessions apart
                transfers.say("Looking which files are of one session ...")
            found = recordings(addresses, join=join)
            if len(found) > 1 and (one := [name for name in _OF_ONE if name in supplied]):
                raise InputError(
                    f"{one[0]} is supplied for {len(found)} recordings at once",
                    remedy="Fit them one by one, or leave it out.",
                )
            finished = replace or (resume and each)
            targets = (
                amended_files(found)
                if in_place
                else new_files(found, output, supplied=supplied, each=each, finished=finished, whole=with_source)
            )
            if with_source:
                for recording, target in zip(found, targets, strict=True):
                    require_whole(whole_of(recording), target, where=shown(recording))
            if dry_run and world.size > 1:
                raise InputError("a dry run is one process", remedy="Start it without torchrun.")
            for target in [] if dry_run else targets:
                make_folder(target.parent)
            for target in targets:
                if not (resume and each and target.exists()) and target.parent.is_dir():
                    require_target(target, in_place=in_place, name=name, replace=replace)
            if pictures is not None:
                require_matplotlib()
                if not dry_run:
                    make_folder(pictures)
            # where a result goes that may not yet go where it was asked for, and what a fit needs to go on
            beside = [path.with_name(f"{stem(path)}_desc-synapsnet.nwb") if in_place else path for path in targets]
            checkpoints = [path.with_name(f"{stem(path)}.checkpoint") for path in (beside if each else beside[:1])]
            for checkpoint in checkpoints:
                if checkpoint.exists() and not resume and not dry_run:
                    raise InputError(
                        "an earlier fit was stopped here",
                        where=str(checkpoint),
                        remedy="Go on with it by --resume, or remove this folder to begin anew.",
                    )
        task = Task(
            recordings=found,
            reading=reading,
            config=config,
            targets=targets,
            beside=beside,
            checkpoints=checkpoints,
            in_place=in_place,
            with_source=with_source,
            supplied=supplied,
            name=name,
            replace=replace,
            compress=compress,
            resume=resume,
            spill=spill,
            pictures=pictures,
            as_json=as_json,
            quiet=as_json or world.rank > 0,
            transfers=transfers,
        )
        if dry_run:
            rehearse_all(task, each=each)
        elif each:
            fit_each(task, world)
        else:
            fit_together(task, world)
