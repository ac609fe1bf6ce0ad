"""What the tests of archive layouts share."""

from __future__ import annotations

import h5py
import pytest


@pytest.fixture
def datasets_read(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The paths of the datasets whose values are read while the test runs."""
    read: set[str] = set()
    for name in ("__getitem__", "__array__", "read_direct"):
        own = getattr(h5py.Dataset, name)

        def recorded(self: h5py.Dataset, *args: object, own: object = own, **options: object) -> object:
            read.add(self.name)
            return own(self, *args, **options)  # type: ignore[operator]

        monkeypatch.setattr(h5py.Dataset, name, recorded)
    return read
