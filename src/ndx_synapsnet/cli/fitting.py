"""What ``fit`` does once it is known what is to be fitted, and where results go."""

from __future__ import annotations

import json
import os
import shutil
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .. import memory
from ..errors import InputError
from ..experiment import fit_held, run_digests, sessions_held
from ..nwb.prefetch import read_ahead, read_recording
from ..nwb.results import require_new_run, write_result
from ..nwb.supplied import lacks_for_dandi, with_supplied
from ..nwb.whole import write_whole
from ..show import tables
from ..show.plots import save_pictures
from .files import Recording, free, local, shown, stem, whole_of
from .output import dandi_notes, print_json, summary
from .transfers import Transfers

if TYPE_CHECKING:
    from ..experiment import ExperimentConfig
    from ..learn.distributed import World
    from ..nwb.readers import ReadConfig
    from ..session import FitResult, Session

_AHEAD = 2  # remote recordings of a joint fit that are read beside the one waited for


@dataclass(frozen=True)
class Task:
    """What is to be fitted, how, and where results go; lists are by recording."""

    recordings: Sequence[Recording]
    reading: ReadConfig
    config: ExperimentConfig
    targets: Sequence[Path]
    """Where each result was asked for."""
    beside: Sequence[Path]
    """The same, or the file beside the recording where that itself is the target."""
    checkpoints: Sequence[Path]
    """Folders; of a joint fit one."""
    in_place: bool
    with_source: bool
    """Whether each new file is to hold all of its recording too."""
    supplied: Mapping[str, Any]
    """What people say of subject and session where a recording does not."""
    name: str | None
    replace: bool
    compress: bool
    resume: bool
    spill: bool | None
    pictures: Path | None
    as_json: bool
    quiet: bool
    """Whether only results for programs are printed."""
    transfers: Transfers

    def spill_folder(self, j: int, rank: int = 0) -> Path:
        """Return where series lie while recording `j` is fitted, or all from it on."""
        return self.beside[j].with_name(f"{stem(self.beside[j])}.spill-{rank}-{os.getpid()}")

    def tell(self, *items: Any) -> None:
        """Print for people."""
        if not self.quiet:
            tables.say(*items)

    def tell_read(self, j: int, session: Session) -> None:
        """Say what was read, and from where."""
        line = self.transfers.line(session.provenance)
        notes = [f"  note: {note}" for note in session.provenance["notes"]]
        self.tell(f"{shown(self.recordings[j])}: {session!r}", *([] if line is None else [line]), *notes)

    def require_new(self, j: int, digest: str | None) -> None:
        """Raise if the same run is there already; nothing was learned yet."""
        whole = whole_of(self.recordings[j]) if self.with_source else None
        if whole is not None:
            require_new_run(whole, digest, in_place=True, name=self.name)
            return
        require_new_run(self.targets[j], digest, in_place=self.in_place, name=self.name, replace=self.replace)

    def write(self, j: int, result: FitResult, session: Session) -> tuple[dict[str, Any], list[Any]]:
        """Write a result; return what programs and what people want to know of it."""
        interrupted, target = bool(result.provenance["interrupted"]), self.targets[j]
        if interrupted:
            target = free(self.beside[j].with_name(f"{stem(self.beside[j])}-interrupted.nwb"))
        in_place = self.in_place and not interrupted
        whole = whole_of(self.recordings[j]) if self.with_source and not interrupted else None
        if whole is not None:
            run = write_whole(result, whole, target, name=self.name, compress=self.compress)
        else:
            replace = self.replace and not interrupted
            run = write_result(
                result, target, in_place=in_place, name=self.name, compress=self.compress, replace=replace
            )
        record = {"source": shown(self.recordings[j]), "file": str(run.path), "run": run.run, **summary(result)}
        record["missing_for_dandi"] = [] if in_place else lacks_for_dandi(result.provenance["source"])
        items = [
            *(f"  note: {note}" for note in result.provenance["notes"]),
            tables.scores(result),
            result.verdict,
            f"Written: {run.path}, run {run.run}{', in the place of an earlier one' if run.replaced else ''}",
        ]
        if not in_place:
            items += dandi_notes(result.provenance["source"])
        if self.pictures is not None:
            place = self.pictures if len(self.recordings) == 1 else self.pictures / Path(run.path).stem
            ids = {identity: row for row, identity in enumerate(session.neurons.id)}
            kept = session.select([ids[identity] for identity in result.neurons.id])
            items += [f"         {path}" for path in save_pictures(result, place, kept)]
        return record, items

    def kept(self) -> str:
        """Return the sentence that follows an interruption."""
        return (
            "Interrupted: the best epoch so far is kept in the file named above"
            + (", and the recording itself was not touched" if self.in_place else "")
            + ". To train to the end, run the same command again with --resume."
        )


def fit_together(task: Task, world: World) -> None:
    """Fit all recordings with one decoder, as one of the processes of `world`.

    Raises
    ------
    InputError
        If one cannot be read, fitted or written.
    SystemExit
        130, if interrupted.
    """
    folder, (checkpoint,) = task.spill_folder(0, world.rank), task.checkpoints
    try:
        sessions, spilling = _read_all(task, world, folder)
        with world.agreeing():
            for j, digest in enumerate(run_digests(sessions, task.config, world)):
                task.require_new(j, digest)
        fitting = fit_held(
            sessions,
            task.config,
            world,
            checkpoint=checkpoint,
            resume=task.resume,
            spill=folder if spilling else None,
        )
        # the processes talk until the first is there
        results = chain([next(fitting)], fitting)
        with world.agreeing():
            if not spilling:  # none is written before all are made, if memory can hold them
                results = chain(list(results))
        written, told = {}, {}
        with world.agreeing():
            for j, result in results:
                written[j], items = task.write(j, result, sessions[j])
                if world.size > 1:
                    told[j] = tables.text(*items)
                else:
                    task.tell(*items)
        if world.size > 1:
            for left in map(json.loads, world.gather(json.dumps([written, told]))):
                written |= {int(j): record for j, record in left[0].items()}
                told |= {int(j): text for j, text in left[1].items()}
            if not task.quiet:
                click.echo("".join(told[j] for j in sorted(told)), nl=False)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    runs = [written[j] for j in sorted(written)]
    interrupted = bool(runs[0]["provenance"]["interrupted"])
    if task.as_json and world.rank == 0:
        print_json({"runs": runs, "interrupted": interrupted})
    if interrupted:
        if world.rank == 0:
            click.echo(task.kept(), err=True)
        raise SystemExit(130)
    if world.rank == 0:
        shutil.rmtree(checkpoint, ignore_errors=True)


def fit_each(task: Task, world: World) -> None:
    """Fit every recording on its own; while one trains, the next is read. What fails is told, the others go on.

    Raises
    ------
    SystemExit
        2 if one failed; 130 if interrupted.
    """
    todo = [j for j, target in enumerate(task.targets) if task.in_place or task.replace or not target.exists()]
    for target in (target for j, target in enumerate(task.targets) if j not in todo):
        task.tell(f"{target} is there already")
    runs: list[dict[str, Any]] = []
    failed: list[dict[str, str]] = []
    interrupted = False
    with read_ahead([task.recordings[j] for j in todo], task.reading) as sessions:
        for j in todo:
            try:
                with task.transfers.bar():
                    session = with_supplied(next(sessions), task.supplied)
                task.tell_read(j, session)
                record = _fit_one(task, world, j, session)
                del session  # its memory is wanted for the one after the next
                runs.append(record)
                interrupted = bool(record["provenance"]["interrupted"])
            except InputError as error:
                failed.append({"source": shown(task.recordings[j]), "error": str(error)})
                click.echo(f"error: {error}", err=True)
            except Exception as error:
                failed.append({"source": shown(task.recordings[j]), "error": f"{type(error).__name__}: {error}"})
                click.echo(f"error: {shown(task.recordings[j])}: unexpected\n{traceback.format_exc()}", err=True)
            except KeyboardInterrupt:
                interrupted = True
            if interrupted:
                break
    if task.as_json:
        print_json({"runs": runs, "failed": failed, "interrupted": interrupted})
    complete = sum(not run["provenance"]["interrupted"] for run in runs)
    if failed or interrupted:
        lines = [f"{complete} of {len(todo)} recordings were fitted."]
        lines += [f"  failed: {one['error']}" for one in failed]
        if complete < len(runs):
            lines.append(task.kept())
        elif interrupted:
            lines.append("Interrupted: every file is as it was, or complete.")
        if complete == len(runs) and not task.in_place:
            lines.append("To fit those that are left, run the same command again with --resume.")
        click.echo("\n".join(lines), err=True)
        raise SystemExit(130 if interrupted else 2)


def _fit_one(task: Task, world: World, j: int, session: Session) -> dict[str, Any]:
    """Fit and write one recording; return what programs want to know of it."""
    (digest,) = run_digests([session], task.config)
    task.require_new(j, digest)
    folder = task.spill_folder(j)
    # the session has taken its own part already
    room = memory.available_memory() + session.activity.nbytes
    spilling = not memory.fits(memory.session_bytes(session), room) if task.spill is None else task.spill
    try:
        if spilling:
            session = memory.spilled(session, folder)
        checkpoint = task.checkpoints[j]
        ((_, result),) = fit_held(
            [session],
            task.config,
            world,
            checkpoint=checkpoint,
            resume=task.resume,
            spill=folder if spilling else None,
        )
        record, items = task.write(j, result, session)
        task.tell(*items)
        if not result.provenance["interrupted"]:
            shutil.rmtree(checkpoint, ignore_errors=True)
        return record
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _read_all(task: Task, world: World, folder: Path) -> tuple[list[Session], bool]:
    """Read all recordings, and return them and whether their series are to be kept in `folder`.

    Of several processes each knows all sessions, but holds the activity only of its own.
    """
    # until it is known whose a session is, each process of a machine has all of them
    share = memory.available_memory() // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    sessions: list[Session] = []
    size, spilling = 0, bool(task.spill)

    def put_away(session: Session) -> Session:
        return memory.spilled(session, folder) if world.size == 1 else memory.emptied(session)

    with world.agreeing():
        remote = any(local(uri) is None for recording in task.recordings for uri in recording)
        ahead = _AHEAD if remote else 0  # of files here, reading several at once gains nothing
        with read_ahead(task.recordings, task.reading, ahead=ahead, parallel=True) as reading:
            for j in range(len(task.recordings)):
                with task.transfers.bar():
                    session = with_supplied(next(reading), task.supplied)
                task.tell_read(j, session)
                size += memory.session_bytes(session)
                if task.spill is None and not spilling and not memory.fits(size, share):
                    spilling = True
                    for i, before in enumerate(sessions):
                        sessions[i] = put_away(before)
                    task.tell(f"The recordings would fill half of the memory: {folder} holds their series meanwhile.")
                sessions.append(put_away(session) if spilling else session)
    if world.size > 1:
        with world.agreeing():
            held = set(sessions_held(sessions, task.config, world))
            for j, recording in enumerate(task.recordings):
                if j not in held:
                    sessions[j] = memory.emptied(sessions[j])
                elif spilling:
                    again = with_supplied(read_recording(recording, task.reading), task.supplied)
                    sessions[j] = memory.spilled(again, folder)
    return sessions, spilling
