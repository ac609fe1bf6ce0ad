"""The whole files that mutants are made from: small, and with everything in them that a result may hold.

Letters: N neurons, T samples, D embedding dimensions, K behaviours.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pynwb import NWBHDF5IO, NWBFile

from ...nwb.layout import Layout
from ...nwb.matrices import all_rows
from ...nwb.metadata import new_nwbfile, processing_module
from ...nwb.recording import to_nwbfile
from ...nwb.results import add_result, add_true_connectivity
from ...nwb.types import FunctionalConnectivity
from ...session import Connectivity, FitResult, Forecast, Neurons, Normalization, Scores, Session
from ...simulate import SIMULATORS

_SAMPLES = 120
_DIMENSIONS = 3


@dataclass(frozen=True)
class Seedling:
    """One whole file of the corpus."""

    name: str
    content: bytes
    """An HDF5 file."""


def hdf5_corpus() -> list[Seedling]:
    """Return the HDF5 files: spikes and calcium with recording and known wiring, and small files beside a recording.

    They carry no copy of the schema, which every reading would parse again; the last one does.
    """
    made = [
        Seedling("spikes", _bytes(_with_recording("spiking", 8, seed=1))),
        Seedling("calcium", _bytes(_with_recording("calcium", 4, seed=2))),
        Seedling("dense", _bytes(_beside(6, seed=3, sparse=False))),
        Seedling("sparse", _bytes(_beside(5, seed=4, dense=False))),
    ]
    return [*made, Seedling("schemas", _bytes(_beside(4, seed=5), schemas=True))]


def write_zarr(folder: Path) -> Path:
    """Write a Zarr store with a run into a new folder; return its path."""
    from hdmf_zarr import NWBZarrIO

    path = folder / "corpus.zarr"
    with NWBZarrIO(str(path), "w") as file:
        file.write(_beside(4, seed=5, layout=Layout("zarr")))
    return path


def _bytes(nwbfile: NWBFile, *, schemas: bool = False) -> bytes:
    """Return an NWBFile as the bytes of an HDF5 file."""
    import h5py

    target = io.BytesIO()
    with h5py.File(target, "w") as file, NWBHDF5IO(file=file, mode="w") as writer:
        writer.write(nwbfile, cache_spec=schemas)
    return target.getvalue()


def _with_recording(kind: str, neurons: int, *, seed: int, layout: Layout | None = None) -> NWBFile:
    """Return a simulated recording with a run and its wiring."""
    made = SIMULATORS[kind](n_neurons=3 * neurons, n_recorded=neurons, n_samples=_SAMPLES, seed=seed)
    session = made.session
    nwbfile = to_nwbfile(session, layout=layout)
    add_true_connectivity(nwbfile, session.neurons, made.truth, modality=session.modality)
    add_result(nwbfile, _result(session, seed), layout=layout)
    _add_edges(nwbfile, session, "synapsnet")
    return nwbfile


def _beside(
    neurons: int, *, seed: int, dense: bool = True, sparse: bool = True, layout: Layout | None = None
) -> NWBFile:
    """Return a file that holds a run and nothing of its recording: with edges, with more of all else, or both."""
    session = SIMULATORS["spiking"](n_neurons=3 * neurons, n_recorded=neurons, n_samples=_SAMPLES, seed=seed).session
    nwbfile = new_nwbfile({"session_id": "s1"}, description="A result.")
    result = _result(session, seed)
    if not dense:
        plain = replace(result.connectivity["effective"], standard_error=None, p_value=None)
        few = replace(result.neurons, identity=None, cell_type=None, extra={})
        result = replace(result, connectivity={"effective": plain}, neurons=few, training={})
    if not sparse:
        result = replace(
            result,
            forecast=replace(result.forecast, currents=None),
            connectivity={"effective": result.connectivity["effective"]},
        )
    add_result(nwbfile, result, layout=layout)
    if sparse:
        _add_edges(nwbfile, session, "synapsnet")
    return nwbfile


def _add_edges(nwbfile: NWBFile, session: Session, run: str) -> None:
    """Add a matrix in the form of edges, which is otherwise used for many neurons only."""
    fit = processing_module(nwbfile, session.modality)[run]
    n = session.n_neurons
    fit.add_functional_connectivitys(
        FunctionalConnectivity(
            name="edges",
            method="ridge_var",
            targets=all_rows(fit.neurons, "targets"),
            sources=all_rows(fit.neurons, "sources"),
            edge_target=np.arange(1, n),
            edge_source=np.arange(n - 1),
            edge_weight=np.linspace(-1, 1, n - 1, dtype=np.float32),
        )
    )


def _result(session: Session, seed: int) -> FitResult:
    """Return a result with something in every field; nothing was learned."""
    rng = np.random.default_rng(seed)
    n, t = session.n_neurons, session.n_samples
    names = ("speed", "pupil area")

    def normal(*shape: int) -> NDArray[np.float32]:
        return rng.standard_normal(shape, np.float32)

    def matrix(method: str, **more: Any) -> Connectivity:
        return Connectivity(normal(n, n), method, "Random numbers.", lag_seconds=session.period, **more)

    split = np.repeat(np.array([1, 2, 3], np.uint8), [t // 2, t // 4, t - t // 2 - t // 4])
    test = np.flatnonzero(split == 3)
    return FitResult(
        run_id=f"{seed:016x}",
        model="synapsnet",
        config={"recipe": "default", "train": {"epochs": 3, "seed": seed}, "grid": [0.1, None]},
        neurons=_labelled(session.neurons, rng),
        modality=session.modality,
        activity_kind=session.activity_kind,
        unit=session.unit,
        period=session.period,
        behavior_names=names,
        split=split,
        normalization=Normalization(normal(n), np.abs(normal(n)) + 1, normal(2), np.abs(normal(2)) + 1),
        embeddings=normal(n, _DIMENSIONS),
        connectivity={
            "effective": matrix(
                "synapsnet", standard_error=np.abs(normal(n, n)), p_value=rng.random((n, n), np.float32),
                q_value=rng.random((n, n), np.float32), gain_normalized=True,
            ),
            "raw": matrix("synapsnet", diagonal="learned"),
        },
        forecast=Forecast(normal(len(test), n), test, session.times[test], split[test], 1, normal(len(test), n)),
        scores={name: Scores(rng.random(n, np.float32), rng.random(n, np.float32)) for name in ("synapsnet", "ar")},
        training={"epoch": np.arange(3.0), "train_loss": np.ones(3), "validation_mse": np.linspace(1, 0.5, 3)},
        weights={"gru.weight": normal(6, 2), "scale": np.array(2.5)},
        verdict="The forecast beats every reference predictor.",
        trustworthy=True,
        provenance={
            "source": {
                "uri": "/data/mouse.nwb",
                "session_id": "s1",
                "subject": {"subject_id": "m1", "species": "Mus musculus"},
                "remote": {"archive": "dandi", "dandiset": "000021", "version": "0.1.0", "path": "sub-m1/sub-m1.nwb"},
                "series": [{"path": "/units", "object_id": "none"}],
                "notes": ["2 of 5 ROIs left out: iscell is 0"],
            },
            "software": {"numpy": "2"},
            "seed": seed,
            "finished": f"2026-11-21T10:{seed:02d}:00+00:00",
            "set_aside": [{"id": "9", "reason": "silent"}],
            "significance": {"trustworthy": True, "why": "Calibrated."},
        },
    )  # fmt: skip


def _labelled(neurons: Neurons, rng: np.random.Generator) -> Neurons:
    """Return the neurons with every optional column filled."""
    n = len(neurons)
    return replace(
        neurons,
        identity=np.array([f"m1:cell:{row}" for row in range(n)]),
        position=rng.uniform(0, 500, (n, 3)),
        region=rng.choice(["VISp", "CA1"], n),
        cell_type=rng.choice(["Pvalb", "Sst"], n),
        extra={"snr": rng.random(n), "label": np.array([f"cell {row}" for row in range(n)])},
    )
