"""NWB Widgets shows the types of this package: its import made safe, and our views added to its own.

NWB Widgets 0.11.3 is of 2023. With a later pynwb it does not import as it is, and the attempt leaves ndx-icephys-meta
in pynwb's catalog of types, after which no other extension can be loaded in the same process. So everything that would
make the import fail is looked for before it is tried.
"""

from __future__ import annotations

import importlib
import sys
import types
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

from pynwb import get_type_map

from ...errors import InputError, missing_extra

_PACKAGE = "nwbwidgets"
_KNOWN = "0.11."  # what was tested; later ones may do without all this, or need something else
_STUBBED = "ndx_icephys_meta"
_NAMESPACE = "ndx-icephys-meta"
#: From this on, hdmf refuses the namespace of ndx-icephys-meta 0.1.0.
_HDMF_REFUSES = 5
_ZARR_TOO_NEW = 3
_INSTALL = "Install a set that works: pip install 'ndx-synapsnet[widgets]'"


def register_nwbwidgets() -> dict[type, Any]:
    """Import NWB Widgets safely, and have it show the types of this package by the views of `vis_spec`.

    Afterwards ``nwbwidgets.nwb2widget(nwbfile)`` shows them. May be called again.

    Returns
    -------
    dict
        NWB Widgets' own ``default_neurodata_vis_spec``, to which our views were added.

    Raises
    ------
    InputError
        If it is not installed, is of another version than 0.11, misses or does not get on with another package, or
        was imported before without success. It is then not imported.
    """
    from . import vis_spec

    view = sys.modules.get(f"{_PACKAGE}.view")
    if view is None:
        _require_importable()
        stub = _needs_stub()
        if stub:
            _install_stub()
        try:
            view = importlib.import_module(f"{_PACKAGE}.view")
        except Exception as error:  # whatever it is: the user cannot mend it, but must know that this process is spoilt
            raise InputError(
                f"NWB Widgets {_version(_PACKAGE)} could not be imported ({type(error).__name__}: {error})",
                remedy=f"{_INSTALL}, and start Python anew: what was loaded half may keep other NWB extensions out.",
            ) from error
    registered: dict[type, Any] = view.default_neurodata_vis_spec
    registered.update(vis_spec)
    return registered


def _require_importable() -> None:
    """Raise if anything is known that would make the import fail; nothing is imported for that."""
    found = _version(_PACKAGE)
    if found is None:
        raise missing_extra(_PACKAGE, "widgets")
    if not found.startswith(_KNOWN):
        raise InputError(
            f"NWB Widgets is of version {found}; only {_KNOWN}* is known to work here, and a failed import would spoil "
            "this process",
            remedy=_INSTALL,
        )
    zarr = _version("zarr")
    if zarr is None or _major(zarr) >= _ZARR_TOO_NEW:
        said = "zarr is not installed" if zarr is None else f"zarr is of version {zarr}"
        raise InputError(f"NWB Widgets needs zarr below 3, and {said}", remedy=_INSTALL)
    missing = [name for name in ("ipywidgets", "ipython_genutils", "ndx_grayscalevolume", "ndx_spectrum", "ipyvolume",
                                 "ipydatagrid", "plotly") if find_spec(name) is None]  # fmt: skip
    if missing:
        raise InputError(f"NWB Widgets needs {', '.join(missing)}, not installed here", remedy=_INSTALL)
    if _needs_stub() and _NAMESPACE in get_type_map(copy=False).namespace_catalog.namespaces:
        raise InputError(
            f"the namespace {_NAMESPACE} was loaded half, by an import of NWB Widgets that failed",
            remedy="Start Python anew, and call register_nwbwidgets() before anything imports nwbwidgets.",
        )


def _needs_stub() -> bool:
    """Return whether ndx-icephys-meta cannot be imported, and what NWB Widgets takes from it must be stood in for."""
    hdmf = _version("hdmf")
    return _STUBBED not in sys.modules and hdmf is not None and _major(hdmf) >= _HDMF_REFUSES


def _install_stub() -> None:
    """Stand in for ndx_icephys_meta, of which NWB Widgets needs only a type to look for; no file will hold it."""
    package, module = types.ModuleType(_STUBBED), types.ModuleType(f"{_STUBBED}.icephys")
    package.__doc__ = "Stands in for ndx-icephys-meta, which this version of hdmf cannot load."
    package.__path__ = []
    module.SweepSequences = type("SweepSequences", (), {"__module__": module.__name__})  # type: ignore[attr-defined]
    package.icephys = module  # type: ignore[attr-defined]
    sys.modules[package.__name__], sys.modules[module.__name__] = package, module


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _major(text: str) -> int:
    head = text.partition(".")[0]
    return int(head) if head.isdigit() else 0
