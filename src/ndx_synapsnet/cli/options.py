"""Options that several verbs have."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

#: What torch and numpy both take as a seed.
SEED = click.IntRange(0, 2**63 - 1)


def reading_options(function: F) -> F:
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


def read_config(options: Mapping[str, Any]) -> Any:
    """Return the `ReadConfig` that the options given on the command line describe."""
    from ..nwb.readers import ReadConfig
    from ..session import from_mapping

    # what was not given is None, empty or off; a 0 was given
    settings = {name: value for name, value in options.items() if not (value is None or value is False or value == ())}
    if settings.pop("all_units", False):
        settings["quality_filter"] = False
    return from_mapping(ReadConfig, settings, where="command line")


def exactly(epochs: int | None) -> dict[str, Any]:
    """Return the training settings by which a number of epochs is kept to: a recipe bounds the steps as well."""
    return {} if epochs is None else {"epochs": epochs, "min_steps": 0, "max_steps": None, "patience": None}
