"""What holds for every kind of simulated network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pynwb import NWBHDF5IO

from ndx_synapsnet import read_session, write_recording
from ndx_synapsnet.errors import InputError
from ndx_synapsnet.session import from_mapping
from ndx_synapsnet.simulate import SIMULATORS, Simulation

SMALL: dict[str, Any] = {"n_neurons": 24, "n_recorded": 10, "n_samples": 150, "burn_in": 30, "density": 0.2}
KINDS = list(SIMULATORS)


def simulated(kind: str, **settings: Any) -> Simulation:
    return SIMULATORS[kind](**{**SMALL, **settings}, keep_hidden=True)


@pytest.mark.parametrize("kind", KINDS)
def test_sizes(kind: str) -> None:
    made = simulated(kind, n_behavior=3, n_task=1)
    session = made.session
    assert session.activity.shape == (10, 150)
    assert session.behavior.shape == (3, 150)
    assert len(session.behavior_names) == 3
    assert made.truth.weights.shape == (10, 10)
    assert np.all(np.diag(made.truth.weights) == 0)
    assert made.truth.method == "ground_truth"
    assert made.truth.lag_seconds == session.period
    assert session.activity_kind == ("dff" if kind == "calcium" else "spike_counts")
    assert session.modality == ("ophys" if kind == "calcium" else "ecephys")
    assert made.hidden is not None
    assert made.hidden.activity.shape == (24, 150)
    assert made.hidden.task.shape == (1, 150)
    assert made.hidden.activity.dtype == made.hidden.task.dtype == np.float32
    assert 0 < made.diagnostics["rate_low"] < made.diagnostics["rate_mean"] < made.diagnostics["rate_high"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_hidden_agrees_with_the_session(kind: str) -> None:
    made = simulated(kind)
    hidden = made.hidden
    assert hidden is not None
    assert np.array_equal(hidden.activity[made.recorded], made.session.activity)
    assert np.array_equal(hidden.truth.weights[np.ix_(made.recorded, made.recorded)], made.truth.weights)
    assert np.count_nonzero(hidden.truth.weights) > np.count_nonzero(made.truth.weights) > 0
    assert made.session.neurons.id.tolist() == [str(row) for row in made.recorded]
    assert (hidden.expected is None) == (kind in ("spiking", "calcium"))
    assert (hidden.counts is None) == (kind != "calcium")


@pytest.mark.parametrize("kind", KINDS)
def test_keeping_what_is_hidden_changes_nothing(kind: str) -> None:
    kept, plain = simulated(kind), SIMULATORS[kind](**SMALL)
    assert plain.hidden is None
    assert plain.session == kept.session
    assert plain.truth == kept.truth


@pytest.mark.parametrize("kind", KINDS)
def test_the_seed_decides_everything(kind: str) -> None:
    first, again, other = (simulated(kind, seed=seed) for seed in (3, 3, 4))
    assert first.session == again.session
    assert first.truth == again.truth
    assert not np.array_equal(first.session.activity, other.session.activity)
    assert first.truth != other.truth


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_holds_the_recording_and_its_wiring(kind: str, tmp_path: Path) -> None:
    made = simulated(kind)
    path = write_recording(made.session, tmp_path / f"{kind}.nwb", truth=made.truth)
    found = read_session(path)
    assert np.array_equal(found.activity, made.session.activity)
    assert np.array_equal(found.behavior, made.session.behavior)
    assert np.allclose(found.times, made.session.times, atol=1e-9)
    assert found.activity_kind == made.session.activity_kind
    if made.session.neurons.cell_type is not None:
        assert found.neurons.cell_type is not None
        assert found.neurons.cell_type.tolist() == made.session.neurons.cell_type.tolist()
    with NWBHDF5IO(path, "r") as io:
        matrix = io.read().processing[made.session.modality]["ground_truth"].functional_connectivitys["ground_truth"]
        assert np.array_equal(matrix.weights[:], made.truth.weights)
        assert matrix.method == "ground_truth"


@pytest.mark.parametrize("kind", KINDS)
def test_revealed_shows_all_neurons_and_inputs(kind: str) -> None:
    made = simulated(kind)
    assert made.hidden is not None
    whole = made.revealed()
    assert whole.session.n_neurons == 24
    assert whole.session.behavior_names == ("behavior_0", "behavior_1", "task_0", "task_1")
    assert np.array_equal(whole.session.behavior[2:], made.hidden.task)
    assert np.array_equal(whole.session.select(made.recorded).activity, made.session.activity)
    assert whole.truth == made.hidden.truth
    assert whole.session.neurons.id.tolist() == [str(row) for row in range(24)]
    if kind == "glm":
        assert whole.filters is not None
        assert np.allclose(whole.filters.sum(0), whole.truth.weights, atol=1e-6)
    inputs = made.revealed(neurons=False)
    assert inputs.session.n_neurons == 10
    assert inputs.truth == made.truth
    with pytest.raises(ValueError, match="keep_hidden"):
        SIMULATORS[kind](**SMALL).revealed()


@pytest.mark.parametrize("kind", KINDS)
def test_without_shared_inputs(kind: str) -> None:
    made = simulated(kind, n_behavior=0, n_task=0)
    assert made.session.behavior.shape == (0, 150)
    assert made.hidden is not None
    assert made.hidden.task.shape == (0, 150)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "wrong",
    [
        {"n_recorded": 25},
        {"n_recorded": 1},
        {"n_samples": 0},
        {"burn_in": 0},
        {"density": 1.0},
        {"placement": "spiral"},
        {"n_task": -1},
        {"period": 0.0},
        {"seed": -1},
    ],
)
def test_bad_sizes_are_refused(kind: str, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SIMULATORS[kind].config(**{**SMALL, **wrong})
    with pytest.raises(InputError, match=next(iter(wrong))):
        from_mapping(SIMULATORS[kind].config, {**SMALL, **wrong}, where="here")
