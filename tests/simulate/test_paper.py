from __future__ import annotations

import numpy as np
import pytest

from ndx_synapsnet.simulate import PaperNetworkConfig, mandelbrot_image, simulate_paper_network

SMALL = {"n_neurons": 40, "n_recorded": 15, "n_samples": 400}


def test_shapes_and_kind() -> None:
    simulation = simulate_paper_network(PaperNetworkConfig(**SMALL))
    session = simulation.session
    assert session.activity.shape == (15, 400)
    assert session.behavior.shape == (2, 400)
    assert session.activity_kind == "spike_counts"
    assert np.array_equal(session.activity, np.round(session.activity))
    assert simulation.truth.weights.shape == (15, 15)
    assert np.all(np.diag(simulation.truth.weights) == 0)
    assert 0 < simulation.clipped < 1


def test_seed_decides_everything() -> None:
    first, again, other = (simulate_paper_network(PaperNetworkConfig(**SMALL, seed=seed)) for seed in (3, 3, 4))
    assert first.session == again.session
    assert first.truth == again.truth
    assert first.session != other.session


@pytest.mark.parametrize("placement", ["mandelbrot", "random"])
def test_density_is_the_wanted_one(placement: str) -> None:
    config = PaperNetworkConfig(n_neurons=300, n_recorded=300, n_samples=1, density=0.05, placement=placement)
    weights = simulate_paper_network(config).truth.weights
    assert np.mean(weights != 0) == pytest.approx(0.05, abs=0.004)


def test_truth_is_target_by_source() -> None:
    """The strongest true connection shows as a lag-1 correlation from its source to its target, not back."""
    config = PaperNetworkConfig(n_neurons=30, n_recorded=30, n_samples=20_000, task_gain=0.0, behavior_gain=0.0)
    simulation = simulate_paper_network(config)
    target, source = np.unravel_index(np.argmax(simulation.truth.weights), simulation.truth.weights.shape)
    x = simulation.session.activity
    forward = np.corrcoef(x[target, 1:], x[source, :-1])[0, 1]
    backward = np.corrcoef(x[source, 1:], x[target, :-1])[0, 1]
    assert forward > 0.2
    assert forward > backward + 0.1


def test_lag_1_correlation_recovers_the_wiring_as_in_the_paper() -> None:
    """The paper reports about 30 % for D = 1 (section 3.2); the constants were chosen to give that."""
    simulation = simulate_paper_network()
    x = simulation.session.activity
    z = (x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True)
    lagged = z[:, 1:] @ z[:, :-1].T
    off = ~np.eye(len(z), dtype=bool)
    assert np.corrcoef(lagged[off], simulation.truth.weights[off])[0, 1] == pytest.approx(0.3, abs=0.03)


def test_mandelbrot_image_is_the_set() -> None:
    image = mandelbrot_image(101)
    assert image.min() > 0
    assert np.array_equal(image, image[::-1])  # symmetric about the real axis
    inside = image[50, int(100 * (0 + 2.1) / 2.7)]  # the origin
    assert inside == image.min()


@pytest.mark.parametrize(
    "wrong",
    [
        {"n_recorded": 41, "n_neurons": 40},
        {"density": 0.0},
        {"placement": "spiral"},
        {"persistence": 1.0},
        {"n_samples": 0},
        {"seed": -1},
    ],
)
def test_bad_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        PaperNetworkConfig(**wrong)  # type: ignore[arg-type]
