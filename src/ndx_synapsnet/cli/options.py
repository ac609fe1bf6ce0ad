"""Options that several verbs have, and help that shows them in groups."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

#: What torch and numpy both take as a seed.
SEED = click.IntRange(0, 2**63 - 1)


class Option(click.Option):
    """An option that help lists under a heading.

    Parameters
    ----------
    group : str
        The heading.
    """

    def __init__(self, *declarations: Any, group: str, **settings: Any) -> None:
        super().__init__(*declarations, **settings)
        self.group = group


class GroupedCommand(click.Command):
    """A command whose help has a list of options for each heading."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options without a heading first, then group after group."""
        groups: dict[str, list[tuple[str, str]]] = {"Options": []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if isinstance(parameter, click.Option) and record is not None:
                groups.setdefault(getattr(parameter, "group", "Options"), []).append(record)
        for heading, records in groups.items():
            with formatter.section(heading):
                formatter.write_dl(records)


def _added(group: str, *options: tuple[tuple[str, ...], dict[str, Any]]) -> Callable[[F], F]:
    def add(function: F) -> F:
        for declarations, settings in reversed(options):
            function = click.option(*declarations, cls=Option, group=group, **settings)(function)
        return function

    return add


#: Adds the options that decide where remote recordings are read from, and how.
remote_options = _added(
    "Remote recordings",
    (("--instance",), {"metavar": "NAME|URL", "help": "The archive that DANDI: means, if not dandiarchive.org."}),
    (("--no-cache",), {"is_flag": True, "help": "Keep nothing of what is read, and use nothing that was kept."}),
    (("--verify",), {"is_flag": True, "help": "Read all of each file first, and compare it with its digest."}),
    (
        ("--workers",),
        {"type": click.IntRange(1, 64), "metavar": "N", "help": "Requests at once for a file. [default: 12]"},
    ),
)

#: Adds the options by which verbs choose whole recordings and settings for them.
recording_options = _added(
    "What is read",
    (
        ("--preset",),
        {
            "metavar": "NAME",
            "help": "Settings for an archive's data, before those given: allen-neuropixels, allen-visual-coding, "
            "allen-visual-behavior, microns, ibl or c-elegans.",
        },
    ),
    (("--join",), {"is_flag": True, "help": "Read files of one session (one a plane) as one recording."}),
)

#: Adds the options that decide how a recording is read; their names are the fields of `ReadConfig`.
reading_options = _added(
    "What is read",
    (("--adapter",), {"type": click.Choice(["auto", "calcium", "spikes"]), "help": "What to read. [default: auto]"}),
    (("--series",), {"multiple": True, "metavar": "NAME", "help": "ROI series by name or path; several are planes."}),
    (("--bin-width",), {"type": float, "metavar": "S", "help": "Width of a spike-count bin. [default: 1/30 s]"}),
    (("--rate",), {"type": float, "metavar": "HZ", "help": "Resample the activity to coarser bins."}),
    (
        ("--units", "units_query"),
        {"metavar": "QUERY", "help": "Keep units (or ROIs) by their columns: 'snr > 2'."},
    ),
    (("--all-units",), {"is_flag": True, "help": "Do not leave out units or ROIs by the usual quality columns."}),
    (
        ("--region", "regions"),
        {"multiple": True, "metavar": "NAME", "help": "Keep neurons of this region. Repeatable."},
    ),
    (("--identity-column",), {"metavar": "NAME", "help": "Column that recognises a neuron across sessions."}),
    (("--extra-column", "extra_columns"), {"multiple": True, "metavar": "NAME", "help": "Column to carry along."}),
    (("--behavior",), {"multiple": True, "metavar": "NAME", "help": "Behaviour to use, or 'none'. Repeatable."}),
    (
        ("--max-hold",),
        {"type": float, "metavar": "S", "help": "How long a last behaviour value stands in. [default: 1]"},
    ),
    (
        ("--stimulus",),
        {"multiple": True, "metavar": "TABLE.COLUMN", "help": "One-hot stimulus covariate. Repeatable."},
    ),
    (("--epoch",), {"metavar": "TABLE", "help": "Keep what lies in the rows of this interval table."}),
    (("--epoch-query",), {"metavar": "QUERY", "help": "Of the rows, those that match: 'contrast > 0.5'."}),
    (("--start",), {"type": float, "metavar": "S", "help": "Leave out what is before this time."}),
    (("--stop",), {"type": float, "metavar": "S", "help": "Leave out what is after this time."}),
)

#: Adds the options that supply what a source does not say of subject and session.
metadata_options = _added(
    "Subject and session, where the recording does not name them",
    (
        ("--metadata",),
        {
            "type": click.Path(path_type=Path),
            "metavar": "FILE",
            "help": "YAML with fields of the session, and those of the subject in a section of that name.",
        },
    ),
    (("--subject-id",), {"metavar": "ID", "help": "The subject."}),
    (("--species",), {"metavar": "NAME", "help": "Such as 'Mus musculus'."}),
    (("--sex",), {"metavar": "M|F|O|U", "help": "Male, female, other or unknown."}),
    (("--age",), {"metavar": "P90D", "help": "The subject's age at the session, an ISO 8601 duration."}),
    (("--session-id",), {"metavar": "ID", "help": "The session."}),
)

_REMOTE = ("instance", "no_cache", "verify", "workers")


def split_remote(options: dict[str, Any]) -> dict[str, Any]:
    """Take the options of `remote_options` out of `options`, and return them."""
    return {name: options.pop(name) for name in _REMOTE}


_METADATA = ("subject_id", "species", "sex", "age", "session_id")


def split_metadata(options: dict[str, Any]) -> dict[str, Any]:
    """Take the options of `metadata_options` out of `options`, and return what they say (see `nwb.supplied`).

    Raises
    ------
    InputError
        If the file cannot be read, or a field or value is refused.
    """
    from ..nwb.supplied import load_supplied

    file = options.pop("metadata")
    given = {name: options.pop(name) for name in _METADATA}
    return {} if file is None and not any(given.values()) else load_supplied(file, **given)


def read_config(
    options: Mapping[str, Any], preset: str | None = None, settings: Mapping[str, Any] | None = None
) -> Any:
    """Return the `ReadConfig` that the options given on the command line describe, on top of a preset's.

    Beneath both lie `settings`, those of recordings that were named rather than addressed (see `named`).

    Raises
    ------
    InputError
        If there is no such preset, or a value is refused.
    """
    from ..errors import InputError
    from ..nwb.readers import PRESETS, ReadConfig
    from ..session import from_mapping

    if preset is not None and preset not in PRESETS:
        raise InputError(f"there is no preset {preset!r}", remedy=f"Known presets: {', '.join(PRESETS)}.")
    # what was not given is None, empty or off; a 0 was given
    given = {name: value for name, value in options.items() if not (value is None or value is False or value == ())}
    if given.pop("all_units", False):
        given["quality_filter"] = False
    return from_mapping(
        ReadConfig, {**(settings or {}), **PRESETS.get(preset or "", {}), **given}, where="command line"
    )


def exactly(epochs: int | None) -> dict[str, Any]:
    """Return the training settings by which a number of epochs is kept to: a recipe bounds the steps as well."""
    return {} if epochs is None else {"epochs": epochs, "min_steps": 0, "max_steps": None, "patience": None}
