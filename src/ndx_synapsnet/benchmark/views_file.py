"""A large file to look at: a recording and a result of random numbers in it, of the size of a large session.

Letters: N neurons, T samples, D embedding dimensions.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pynwb import NWBHDF5IO, H5DataIO
from pynwb.ophys import DfOverF, ImageSegmentation, OpticalChannel, RoiResponseSeries

from ..nwb.layout import chunk_shape
from ..nwb.metadata import new_nwbfile, processing_module
from ..nwb.results import add_result
from ..session import SPLITS, Connectivity, FitResult, Forecast, Neurons, Normalization, Scores

_PERIOD = 1 / 30
_DIMENSIONS = 32
_REGIONS = ("VISp", "VISl", "VISal", "VISrl", "VISam", "VISpm")


def write_file(path: Path, *, neurons: int, samples: int, seed: int = 0) -> None:
    """Write a calcium recording with a result inside it: nothing was learned, but all has the size that it would have.

    Parameters
    ----------
    path : Path
        A new file; it takes 4.4 bytes for each neuron and sample, and 24 for each pair of neurons.
    neurons, samples : int
        N and T; the forecast is of the last tenth, the test part.
    seed : int
        Of the random numbers.
    """
    rng = np.random.default_rng(seed)
    series_id, rois_id = _write_recording(path, neurons, samples, rng)
    result = _result(neurons, samples, series_id, rois_id, rng)
    with NWBHDF5IO(path, "a") as io:
        nwbfile = io.read()
        add_result(nwbfile, result)
        io.write(nwbfile)


def _write_recording(path: Path, n: int, t: int, rng: np.random.Generator) -> tuple[str, str]:
    """Write the recording; return the object ids of its series and of its table of ROIs."""
    nwbfile = new_nwbfile({}, description="Random numbers, to measure views with.")
    device = nwbfile.create_device(name="microscope")
    channel = {"name": "channel", "description": "none", "emission_lambda": 520.0}
    plane = nwbfile.create_imaging_plane(
        name="plane", optical_channel=OpticalChannel(**channel), description="none", device=device,
        excitation_lambda=920.0, indicator="none", location="VISp",
    )  # fmt: skip
    module, segmentation = processing_module(nwbfile, "ophys"), ImageSegmentation()
    dff = DfOverF()
    module.add(segmentation)
    module.add(dff)
    rois = segmentation.create_plane_segmentation(name="PlaneSegmentation", description="none", imaging_plane=plane)
    for k in range(n):
        rois.add_roi(pixel_mask=[(k % 512, k // 512, 1.0)])
    series = RoiResponseSeries(
        name="RoiResponseSeries",
        data=H5DataIO(shape=(t, n), dtype=np.dtype("float32"), chunks=chunk_shape((t, n), 4)),
        rois=rois.create_roi_table_region(region=list(range(n)), description="all"),
        unit="n.a.",
        rate=1 / _PERIOD,
        starting_time=0.0,
    )
    dff.add_roi_response_series(series)
    with NWBHDF5IO(path, "w") as io:
        io.write(nwbfile)
        block = chunk_shape((t, n), 4)[0] * 8
        for start in range(0, t, block):
            stop = min(t, start + block)
            series.data.dataset[start:stop] = rng.standard_normal((stop - start, n), np.float32)
    return str(series.object_id), str(rois.object_id)


def _result(n: int, t: int, series_id: str, rois_id: str, rng: np.random.Generator) -> FitResult:
    """Return a result of random numbers, in which a neuron is connected to some forty others."""
    split = np.repeat(np.array([1, 2, 3], np.uint8), [t * 8 // 10, t // 10, t - t * 8 // 10 - t // 10])
    test = np.flatnonzero(split == SPLITS["test"])
    weights = rng.standard_normal((n, n), np.float32) * (rng.random((n, n)) < min(0.5, 40 / n))
    np.fill_diagonal(weights, 0)
    q = np.where(weights != 0, 0.3 * rng.random((n, n)), 1).astype(np.float32)
    p = (q / 4).astype(np.float32)
    ridge = rng.standard_normal((n, n), np.float32)
    matrices = {
        "effective": Connectivity(weights, "synapsnet", "Random numbers.", lag_seconds=_PERIOD, q_value=q, p_value=p),
        "ridge_var": Connectivity(ridge, "ridge_var", "Random numbers.", lag_seconds=_PERIOD),
    }

    def scores(quality: float) -> Scores:
        return Scores(rng.normal(quality, 0.1, n), rng.normal(1 - quality**2, 0.05, n))  # type: ignore[arg-type]

    predicted = rng.standard_normal((len(test), n), np.float32)
    rows, empty = np.arange(n), np.zeros(0, np.float32)
    return FitResult(
        run_id="0" * 16,
        model="synapsnet",
        config={},
        neurons=Neurons(
            id=rows.astype(np.str_),
            source_path=np.full(n, "/processing/ophys/ImageSegmentation/PlaneSegmentation"),
            source_object_id=np.full(n, rois_id),
            source_row=rows,
            position=rng.uniform(0, [700, 700, 300], (n, 3)),
            region=rng.choice(_REGIONS, n),
            cell_type=rng.choice(["Pvalb", "Sst", "Vip", "", "excitatory"], n),
        ),
        modality="ophys",
        activity_kind="dff",
        unit="n.a.",
        period=_PERIOD,
        behavior_names=(),
        split=split,
        normalization=Normalization(np.zeros(n), np.ones(n), empty, empty),  # type: ignore[arg-type]
        embeddings=rng.standard_normal((n, _DIMENSIONS), np.float32),
        connectivity=matrices,
        forecast=Forecast(predicted, test, np.asarray(test * _PERIOD), split[test]),
        scores={"synapsnet": scores(0.4), "ar": scores(0.3), "ridge_var": scores(0.35)},
        training={
            "epoch": np.arange(20.0),
            "train_loss": np.linspace(1.2, 1.0, 20),
            "validation_mse": np.linspace(1.0, 0.8, 20),
        },
        weights={},
        verdict="Random numbers, to measure views with.",
        trustworthy=False,
        provenance={"source": {"series": [{"path": "", "object_id": series_id}]}},
    )
