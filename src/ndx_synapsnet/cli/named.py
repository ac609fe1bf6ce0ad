"""Recordings by name, such as allen-neuropixels/natural-scenes, where a verb takes addresses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from ..errors import InputError


def named(uris: Sequence[str], *, silent: bool = False) -> tuple[list[str], Mapping[str, Any]]:
    """Return addresses in place of the names of archives' recordings, and the settings that go with these.

    Parameters
    ----------
    uris : sequence of str
        Addresses or names; see `nwb.archives`.
    silent : bool
        Whether it is not said on stderr what is looked for and what is left out.

    Returns
    -------
    uris : list of str
        Addresses; those given where there is no name among them.
    settings : mapping
        Fields of `ReadConfig`; empty without a name.

    Raises
    ------
    InputError
        If the recordings are not all read in one way, or what `nwb.archives.resolve` raises.
    """
    from ..nwb.archives import is_named, resolve, settings_of

    names = [uri for uri in uris if is_named(uri)]
    if not names:
        return list(uris), {}
    if len(names) < len(uris):
        raise InputError(
            f"{', '.join(names)} and recordings by address are read differently", remedy="Take one kind at a time."
        )

    ways = {way: settings for name in names for way, settings in settings_of(name).items()}
    first, *others = ways.values()
    if any(settings != first for settings in others):
        raise InputError(
            f"these recordings are read differently: {', '.join(ways)}", remedy="Name one task of one archive."
        )

    def say(text: str) -> None:
        if not silent:
            click.echo(text, err=True)

    say(f"Looking for the recordings of {', '.join(names)} ...")
    return [recording.uri for name in names for recording in resolve(name, say=say)], first
