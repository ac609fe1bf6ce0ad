"""Fixtures that every room shares."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real recordings kept beside the checkout, where there is one.

    ``NDX_SYNAPSNET_SHARED`` names another place for it.
    """
    beside = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    folder = Path(os.environ.get("NDX_SYNAPSNET_SHARED", beside))
    if not folder.is_dir():
        pytest.skip("the real recordings are not beside this checkout (NDX_SYNAPSNET_SHARED can name their folder)")
    return folder
