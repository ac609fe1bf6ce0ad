"""ndx-synapsnet predict."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from .options import GroupedCommand, remote_options
from .output import print_json
from .wirings import require_free


@click.command(cls=GroupedCommand)
@click.argument("file")
@click.option("--run", metavar="NAME", help="Which run. [default: the latest]")
@click.option("--source", metavar="URI", help="The recording, if it is no longer where the result says.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="New file for the run with forecasts and input currents of all samples.",
)
@click.option("--device", default="auto", help="cpu, cuda, ... [default: the best there is]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for a program.")
@remote_options
def predict(
    file: str,
    run: str | None,
    source: str | None,
    output: Path | None,
    device: str,
    as_json: bool,
    **remote: Any,
) -> None:
    """Forecast again with the model in a result file, and compare with the forecast stored in it.

    The recording is read again from where the result says, or from FILE itself. Exits with 1 if the forecasts differ by
    more than rounding.

    \b
    Examples:
      ndx-synapsnet predict recording_desc-synapsnet.nwb
      ndx-synapsnet predict result.nwb --source recording.nwb -o all_forecasts.nwb
    """
    from ..nwb.original import find_original
    from ..nwb.results import read_result, write_result
    from ..reproduction import TOLERANCE, reproduce
    from ..reproduction import predict as forecast
    from ..show import tables
    from .transfers import remote_reading

    require_free(output, overwrite=False)
    with remote_reading(remote) as transfers:
        result = read_result(file, run)
        with transfers.bar():
            session = find_original(result, file, source)
    found = reproduce(result, session, device=device)
    written = None
    if output is not None:
        everything = forecast(result, session, keep="all", device=device)
        note = "The forecast was made again, of all samples, by ndx-synapsnet predict."
        provenance = {**result.provenance, "notes": [*result.provenance.get("notes", []), note]}
        config = {**result.config, "keep": "all"}
        written = write_result(replace(result, forecast=everything, config=config, provenance=provenance), output)
    if as_json:
        print_json(
            {
                "file": file,
                "samples": len(found.forecast.index),
                "difference": found.difference,
                "tolerance": TOLERANCE,
                "reproduced": found.reproduced,
                "written": None if written is None else {"file": str(written.path), "run": written.run},
            }
        )
    else:
        tables.say(
            f"Largest difference from the stored forecast of {len(found.forecast.index)} samples, in z-scored units: "
            f"{found.difference:.2g}",
            *([] if found.reproduced else [f"That is more than rounding ({TOLERANCE:g}): it does not reproduce."]),
            *([] if written is None else [f"Written: {written.path}, run {written.run}"]),
        )
    if not found.reproduced:
        raise SystemExit(1)
