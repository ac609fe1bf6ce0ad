"""The command line: one verb is one file. What a verb needs is imported when it runs, so that --help is quick."""

from __future__ import annotations

import os
from typing import Any

import click

from ..errors import EndedElsewhereError, InputError
from . import (
    benchmark,
    cache,
    compare,
    convert,
    demo,
    export,
    fit,
    groups,
    inspect,
    plot,
    predict,
    remove,
    report,
    show,
    simulate,
)
from . import list as listing

# Before torch is loaded: its idle threads should sleep. By default they spin, and a fit beside another busy program
# then takes several times as long.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


class Verbs(click.Group):
    """Ends bad input and Ctrl-C with a sentence instead of a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the verb; exit with 2 on bad input and with 130 when interrupted."""
        try:
            return super().invoke(ctx)
        except EndedElsewhereError:
            ctx.exit(2)
        except InputError as error:
            click.echo(f"error: {error}", err=True)
            ctx.exit(2)
        except KeyboardInterrupt:
            if os.environ.get("RANK", "0") == "0":  # of several processes, one says it
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


for verb in (
    demo.demo,
    inspect.inspect,
    fit.fit,
    listing.list_,
    show.show,
    plot.plot,
    report.report,
    compare.compare,
    groups.groups,
    export.export,
    predict.predict,
    remove.remove,
    cache.cache,
    convert.convert,
    simulate.simulate,
    benchmark.benchmark,
):
    main.add_command(verb)
