"""Write the files of one release that every later one must read, with what reading them has to give.

``python tests/back_compat/make_fixtures.py [FOLDER]``, run once with the release's code, before anything of it changes.
Each recording is simulated, small, and fitted by the default recipe with few steps and a small model. The files are
packed: two thirds of so small a file is the text of the schemas in it.
"""

from __future__ import annotations

import json
import lzma
import sys
import tarfile
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from ndx_synapsnet import FitResult, Session, fit, load_config, read_result, read_session, write_recording, write_result
from ndx_synapsnet.simulate import SIMULATORS

HERE = Path(__file__).resolve().parent
SIZES = {"n_neurons": 24, "n_recorded": 6, "n_samples": 900, "seed": 3}
MODEL = {"hidden": 8, "embedding": 3}
TRAINING = {"epochs": 2, "min_steps": 0, "max_steps": None, "device": "cpu", "seed": 1}
#: By name of the file: the simulator, the file's ending, and the parts of the configuration beside the training.
FILES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "spikes": ("paper", ".nwb", {"keep": "all"}),
    "calcium": ("calcium", ".nwb", {}),
    "store": ("paper", ".zarr", {}),
}


def arrays(result: FitResult) -> dict[str, np.ndarray]:
    """Return the numbers of a result by name."""
    found = {
        "embeddings": result.embeddings,
        "split": result.split,
        "position": result.neurons.position,
        "source_row": result.neurons.source_row,
        **{f"forecast.{name}": getattr(result.forecast, name) for name in ("values", "index", "times", "split")},
        "forecast.currents": result.forecast.currents,
    }
    for name in ("activity_mean", "activity_std", "behavior_mean", "behavior_std"):
        found[f"normalization.{name}"] = getattr(result.normalization, name)
    for key, matrix in result.connectivity.items():
        for name in ("weights", "standard_error", "p_value", "q_value"):
            found[f"connectivity.{key}.{name}"] = getattr(matrix, name)
    for key, scores in result.scores.items():
        found |= {f"scores.{key}.correlation": scores.correlation, f"scores.{key}.mse": scores.mse}
    found |= {f"training.{name}": values for name, values in result.training.items()}
    found |= {f"weights.{name}": values for name, values in result.weights.items()}
    return {name: np.asarray(value) for name, value in found.items() if value is not None}


def texts(result: FitResult) -> dict[str, Any]:
    """Return what of a result is not numbers, JSON-able."""
    return {
        "run_id": result.run_id,
        "model": result.model,
        "modality": result.modality,
        "activity_kind": result.activity_kind,
        "unit": result.unit,
        "period": result.period,
        "behavior_names": list(result.behavior_names),
        "verdict": result.verdict,
        "trustworthy": result.trustworthy,
        "neuron_ids": result.neurons.id.tolist(),
        "identity": None if result.neurons.identity is None else result.neurons.identity.tolist(),
        "source_path": result.neurons.source_path.tolist(),
        "source_object_id": result.neurons.source_object_id.tolist(),
        "matrices": {
            name: [m.method, m.description, m.lag, m.lag_seconds, bool(m.gain_normalized), m.diagonal]
            for name, m in result.connectivity.items()
        },
        "config": dict(result.config),
        "provenance": dict(result.provenance),
    }


def _session(kind: str) -> tuple[Session, Any]:
    simulator = SIMULATORS[kind]
    made = simulator.simulate(simulator.config(**SIZES))
    return made.session, made.truth


def make(folder: Path) -> None:
    """Write the files, and beside each what is in its run."""
    release = version("ndx-synapsnet")
    for name, (kind, ending, overrides) in FILES.items():
        session, truth = _session(kind)
        with tempfile.TemporaryDirectory() as work:
            path = write_recording(session, Path(work) / f"{name}{ending}", truth=truth)
            # by a name that is the same wherever this is run
            read = read_session(path)
            read.provenance["uri"] = path.name  # type: ignore[index]
            (result,) = fit(
                read, load_config(overrides={"model": MODEL, "train": TRAINING, **overrides}), progress=False
            )
            write_result(result, path, in_place=True)
            stored = read_result(path)
            target = folder / f"{name}-{release}{ending}"
            np.savez_compressed(folder / f"{name}-{release}.npz", **arrays(stored))
            facts = json.dumps(texts(stored), indent=1)
            (folder / f"{name}-{release}.json").write_text(facts + "\n", encoding="utf-8")
            if ending == ".nwb":
                Path(f"{target}.xz").write_bytes(lzma.compress(path.read_bytes(), preset=9))
            else:
                with tarfile.open(f"{target}.tar.xz", "w:xz", preset=9) as archive:
                    archive.add(path, arcname=".")


if __name__ == "__main__":
    make(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
