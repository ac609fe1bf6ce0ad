"""Recordings with a structural reference, in a folder: brain regions of a larval zebrafish, and simulated neurons.

They are told by their files: ``zebrafish-regions*.nwb`` beside ``SC.npy`` (Légaré et al., Borealis,
doi 10.5683/SP3/IIVGOB; rows are targets), and ``*.nwb`` beside ``*.true_connectivity.npz`` (integrate-and-fire networks
of Ren et al. 2020, from Donner et al. 2024, doi 10.1371/journal.pcbi.1011964; pairs of rows, ``pre_row`` to
``post_row``).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from ...nwb.prefetch import read_recording
from ...nwb.readers import ReadConfig
from .cases import Material

#: Seconds a bin of the simulated neurons' spikes: what their true connections do is seen 1 to 10 ms later, most of it
#: after 2 to 5. Finer bins would put it beyond the next one, in wider ones it falls into the same.
BINS = (0.005, 0.01)


@dataclass(frozen=True)
class ReferenceCase:
    """A recording and the file of its reference."""

    recording: Path
    reference: Path
    bin: float | None = None
    """Seconds a bin, of spikes."""
    value: float | None = None
    variant: str = ""

    @property
    def kind(self) -> str:
        """See `cases.Case`."""
        return self.recording.stem + ("" if self.bin is None else f", bins of {1e3 * self.bin:g} ms")

    @property
    def unit(self) -> str:
        """See `cases.Case`."""
        return self.recording.stem

    @property
    def counts(self) -> bool:
        """See `cases.Case`."""
        return self.bin is not None

    def identity(self) -> dict[str, Any]:
        """See `cases.Case`."""
        digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (self.recording, self.reference)]
        return {"recording": digests[0], "reference": digests[1], "bin": self.bin}

    def load(self) -> Material:
        """See `cases.Case`."""
        reading = ReadConfig() if self.bin is None else ReadConfig(bin_width=self.bin)
        session = read_recording((str(self.recording),), reading)
        rows = session.neurons.source_row  # of the table, in which the reference's rows are
        every = _matrix(self.reference, int(rows.max()) + 1)
        truth = every[np.ix_(rows, rows)]
        return Material(session, truth, np.ones(len(truth), bool))


def _matrix(path: Path, least: int) -> NDArray[np.float64]:
    """Return the reference of all rows of the recording's table, [target, source]; of `least` rows or more.

    Raises
    ------
    InputError
        If it is not square, or lacks rows.
    """
    if path.suffix == ".npy":
        whole = np.asarray(np.load(path, allow_pickle=False), np.float64)
        if whole.ndim != 2 or not whole.shape[0] == whole.shape[1] >= least:
            raise InputError(f"the reference is {whole.shape}, expected square and of {least} or more", where=str(path))
        return whole
    with np.load(path, allow_pickle=False) as pairs:
        # who has no connection, and the last ones may not, is in no pair
        n = 1 + int(max(pairs["pre_row"].max(initial=0), pairs["post_row"].max(initial=0), least - 1))
        matrix = np.zeros((n, n))
        matrix[pairs["post_row"], pairs["pre_row"]] = pairs["weight"]
    return matrix


def reference_cases(folder: Path) -> list[ReferenceCase]:
    """Return the recordings of a folder, or of its subfolders, that have a reference beside them.

    Raises
    ------
    InputError
        If there is none.
    """
    pairs = [ReferenceCase(path, path.with_name("SC.npy")) for path in sorted(folder.rglob("zebrafish-regions*.nwb"))]
    pairs += [
        ReferenceCase(path.with_name(f"{path.name.removesuffix('.true_connectivity.npz')}.nwb"), path, width)
        for path in sorted(folder.rglob("*.true_connectivity.npz"))
        for width in BINS
    ]
    found = [case for case in pairs if case.recording.is_file() and case.reference.is_file()]
    if not found:
        raise InputError(
            "there is no recording with a reference of its connectivity",
            where=str(folder),
            remedy="Put NAME.true_connectivity.npz beside NAME.nwb, or SC.npy beside zebrafish-regions*.nwb.",
        )
    return found
