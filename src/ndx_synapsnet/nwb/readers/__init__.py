"""NWB file → `Session`, and what a file offers.

Settings are the fields of `ReadConfig`; `PRESETS` holds those that suit some archives' data sets. A reader never looks
into the future: what a sample holds was known by its end.
"""

from __future__ import annotations

import os
from typing import Any

from ...session import Session
from ..sources import open_source
from .config import ReadConfig
from .contents import inspect
from .description import Contents
from .joining import group_by_session, read_planes
from .origin import naming, origin_record
from .presets import PRESETS
from .provenance import with_settings
from .reading import READERS, read_nwbfile

__all__ = [
    "PRESETS",
    "READERS",
    "Contents",
    "ReadConfig",
    "group_by_session",
    "inspect",
    "read_nwbfile",
    "read_planes",
    "read_session",
]


def read_session(uri: str | os.PathLike[str], config: ReadConfig | None = None, **settings: Any) -> Session:
    """Read a recording.

    Parameters
    ----------
    uri : str or path
        An NWB file; see `sources.open_source`.
    config : ReadConfig, optional
        What to read; by default what suits most files.
    **settings
        Fields of `ReadConfig`, in place of those of `config`.

    Returns
    -------
    Session
        Activity, behaviour and neurons on one clock, with provenance.

    Raises
    ------
    InputError
        If the file or a setting is at fault; the message names the file and the object in it.

    Examples
    --------
    >>> session = read_session("recording.nwb", bin_width=0.05, regions="CA1")  # doctest: +SKIP
    >>> session = read_session("session.nwb", **PRESETS["allen-neuropixels"])  # doctest: +SKIP
    """
    config = with_settings(config, settings)
    with open_source(uri) as opened, naming(opened.uri):
        origin = origin_record(opened)
        session = read_nwbfile(opened.nwbfile, config, origin=origin, warnings=opened.warnings)
        if "remote" in origin:
            origin["remote"].update(opened.record)  # what was transferred is known by now
        session.provenance["notes"].extend(opened.absences())
        return session
