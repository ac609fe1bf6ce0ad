"""What ``fit --dry-run`` says: what would be written, where, and how much room that takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ..experiment import run_digests
from ..nwb.prefetch import read_ahead
from ..nwb.rehearsal import Rehearsal, rehearse
from ..nwb.supplied import lacks_for_dandi, with_supplied
from ..outline import outline
from .files import shown, whole_of
from .output import dandi_notes, print_json
from .transfers import size

if TYPE_CHECKING:
    from ..session import FitResult, Session
    from .fitting import Task

_WORTH_A_LINE = 1000  # bytes of a dataset


def rehearse_all(task: Task, *, each: bool) -> None:
    """Read everything and say what a fit would write. Nothing is fitted or written.

    Parameters
    ----------
    task : Task
        What is asked for.
    each : bool
        Whether every recording would be fitted on its own.

    Raises
    ------
    InputError
        If one cannot be read or fitted.
    SystemExit
        2 if one could not be written.
    """
    records: list[dict[str, Any]] = []
    sessions: list[Session] = []
    results: list[FitResult] = []
    digests: list[str | None] = []
    with read_ahead(task.recordings, task.reading, ahead=0) as reading:
        for j in range(len(task.recordings)):
            with task.transfers.bar():
                session = with_supplied(next(reading), task.supplied)
            task.tell_read(j, session)
            if each:
                results += outline(session, task.config)
                digests += run_digests([session], task.config)
            else:
                sessions.append(session)
    if not each:
        results, digests = outline(sessions, task.config), run_digests(sessions, task.config)
    for j, (result, digest) in enumerate(zip(results, digests, strict=True)):
        whole = whole_of(task.recordings[j]) if task.with_source else None
        found = rehearse(
            result,
            task.targets[j],
            digest=digest,
            in_place=task.in_place,
            name=task.name,
            replace=task.replace,
            whole=whole,
        )
        source = result.provenance["source"]
        records.append(_record(shown(task.recordings[j]), found, [] if task.in_place else lacks_for_dandi(source)))
        task.tell(*_lines(task, found, result), *([] if task.in_place else dandi_notes(source)))
    if task.as_json:
        print_json({"dry_run": records})
    if any(record["refusals"] for record in records):
        raise SystemExit(2)


def _record(source: str, found: Rehearsal, lacking: Sequence[str]) -> dict[str, Any]:
    """Return what programs want to know."""
    plan = asdict(found.plan)
    return {
        "source": source,
        "file": str(plan.pop("path")),
        "run": found.run,
        "replaced": found.replaced,
        "objects": [asdict(each) for each in found.objects],
        **plan,
        "missing_for_dandi": list(lacking),
    }


def _lines(task: Task, found: Rehearsal, result: FitResult) -> list[str]:
    """Return what people want to know."""
    plan = found.plan
    if plan.in_place:
        how = "added to the file, by way of a copy" + (" that shares its blocks" if plan.how == "reflink" else "")
    elif task.with_source:
        how = "a new file with all of the recording"
    else:
        how = "a new file"
    gone = ", in the place of an earlier one" if found.replaced else ""
    lines = [f"Would write: {plan.path}, run {found.run}{gone} ({how})"]
    inside = f"processing/{result.modality}/{found.run}"
    large = [item for item in found.objects if item.bytes >= _WORTH_A_LINE]
    for item in large:
        shape = " x ".join(map(str, item.shape)) or "1"
        lines.append(f"  {item.path.removeprefix(f'/{inside}/')}: {shape}, {item.dtype}, {size(item.bytes)}")
    lines.append(f"  and {len(found.objects) - len(large)} smaller ones (--json lists them)")
    lines.append(
        f"About {size(plan.bytes_added)} ({plan.bytes_added} bytes) are added; {size(plan.bytes_needed)} must be free "
        f"while that is written, and {size(plan.bytes_free)} are."
    )
    return [*lines, *(f"  cannot be written: {refusal}" for refusal in plan.refusals)]
