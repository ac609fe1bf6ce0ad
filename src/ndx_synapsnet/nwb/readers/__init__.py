"""NWB file → `Session`, and what a file offers.

Settings are the fields of `ReadConfig`. A reader never looks into the future: what a sample holds was known by its end.
"""

from __future__ import annotations

import os
from typing import Any

from ...errors import InputError
from ...session import Session, from_mapping
from ..sources import open_source
from .config import ReadConfig
from .contents import inspect
from .description import Contents
from .provenance import config_record
from .reading import READERS, read_nwbfile

__all__ = ["READERS", "Contents", "ReadConfig", "inspect", "read_nwbfile", "read_session"]


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
    """
    if settings:
        record = {**config_record(config or ReadConfig()), **settings}
        config = from_mapping(ReadConfig, record, where="settings of the reader")
    with open_source(uri) as opened:
        origin = {"uri": opened.uri, "format": opened.format, "nwb_version": opened.nwb_version}
        try:
            return read_nwbfile(opened.nwbfile, config, origin=origin, warnings=opened.warnings)
        except InputError as error:
            where = opened.uri if error.where is None else f"{opened.uri}, {error.where}"
            raise InputError(error.what, where=where, remedy=error.remedy) from error
        except OSError as error:  # what HDF5 raises on damaged data and on filters that are not installed
            raise InputError(
                f"reading the data failed ({error})",
                where=opened.uri,
                remedy="If it is compressed with a plug-in filter, install hdf5plugin; else check the file",
            ) from error
