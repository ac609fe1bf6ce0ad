"""Splitting, z-scoring, setting aside and gathering."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from population import noise_session, session

from ndx_synapsnet.errors import InputError
from ndx_synapsnet.learn.preparation import prepare, split_samples, target_samples
from ndx_synapsnet.learn.windows import WindowConfig, cut_stretches
from reference.naive_windows import naive_targets

PLAIN = WindowConfig(window=2, min_active=0, min_deviation_ratio=0)


def test_split_is_contiguous_over_valid_samples():
    valid = np.ones(22, bool)
    valid[[0, 9]] = False
    split = split_samples(valid, WindowConfig())
    expected = [0] + [1] * 8 + [0] + [1] * 8 + [2] * 2 + [3] * 2
    assert split.dtype == np.uint8
    np.testing.assert_array_equal(split, expected)


def test_gap_leaves_the_test_part_alone():
    split = split_samples(np.ones(20, bool), WindowConfig(split=(0.5, 0.25, 0.25), gap=2))
    np.testing.assert_array_equal(split, [1] * 8 + [0] * 2 + [2] * 3 + [0] * 2 + [3] * 5)


def test_targets_by_hand():
    #                  0  1  2  3  4  5  6  7  8  9 10 11
    split = np.array([1, 1, 1, 1, 1, 0, 1, 1, 1, 2, 2, 2], np.uint8)
    segment = np.array([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], np.int32)
    targets = target_samples(split, segment, 2)
    assert {part: list(found) for part, found in targets.items()} == {
        "train": [2, 3, 4, 8],
        "validation": [11],
        "test": [],
    }
    segment[3:] = 1
    assert list(target_samples(split, segment, 2)["train"]) == [2, 8]
    assert targets["train"].dtype == np.int64


def test_targets_equal_the_naive_twin():
    rng = np.random.default_rng(0)
    for window in (1, 2, 5):
        valid = rng.random(300) > 0.03
        segment = np.cumsum(rng.random(300) < 0.02)
        split = split_samples(valid, WindowConfig(window=window, gap=3))
        for part, code in (("train", 1), ("validation", 2), ("test", 3)):
            expected = naive_targets(split, segment, valid, window, code)
            assert list(target_samples(split, segment.astype(np.int32), window)[part]) == expected


def test_batch_holds_the_past_and_never_the_targets_time():
    t = 40
    activity = np.stack([np.arange(t), 100 + np.arange(t) ** 2.0])
    behavior = np.stack([np.arange(t) * 3.0])
    (windows,) = prepare([session(activity, behavior)], PLAIN, dtype=torch.float64)
    batch = windows.batch(torch.tensor([7, 30]))
    scale = windows.normalization
    past = batch.activity.numpy() * scale.activity_std[:, None] + scale.activity_mean[:, None]
    np.testing.assert_allclose(past, [[[5, 6], [125, 136]], [[28, 29], [884, 941]]], rtol=1e-5)
    np.testing.assert_allclose(
        batch.behavior.numpy() * scale.behavior_std + scale.behavior_mean, [[[15, 18]], [[84, 87]]], rtol=1e-5
    )
    np.testing.assert_allclose(windows.to_source_units(batch.target), [[7, 149], [30, 1000]], rtol=1e-5)
    np.testing.assert_array_equal(windows.truth(torch.tensor([7, 30])), batch.target)
    assert batch.session == 0
    assert (batch.activity.shape, batch.behavior.shape, batch.target.shape) == ((2, 2, 2), (2, 1, 2), (2, 2))


def test_no_behaviour_is_fine():
    (windows,) = prepare([noise_session(k=0)])
    assert windows.batch(windows.targets["test"][:3]).behavior.shape == (3, 0, 5)


def test_statistics_of_the_training_part_only():
    activity = np.random.default_rng(0).normal(size=(3, 200))
    activity[:, 160:] += 10
    (train,), (whole,) = (
        prepare([session(activity)], WindowConfig(statistics=which, min_deviation_ratio=0))
        for which in ("train", "all")
    )
    np.testing.assert_allclose(train.activity[:160].mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(train.activity[:160].std(0, correction=0), 1, atol=1e-6)
    np.testing.assert_allclose(train.normalization.activity_mean, activity[:, :160].mean(1), rtol=1e-6)
    np.testing.assert_allclose(whole.activity.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(whole.normalization.activity_std, activity.std(1), rtol=1e-6)


def test_invalid_samples_are_neither_used_nor_counted():
    activity = np.random.default_rng(0).normal(size=(3, 300))
    valid = np.ones(300, bool)
    valid[50:60] = False
    activity[:, 50:60] = np.nan
    (windows,) = prepare([session(activity, valid=valid)])
    assert torch.isfinite(windows.activity).all()
    assert not np.isin(windows.targets["train"], np.arange(50, 65)).any()
    assert {49, 65} <= set(windows.targets["train"].tolist())
    known = activity[:, np.flatnonzero(valid)[:232]]
    np.testing.assert_allclose(windows.normalization.activity_mean, known.mean(1), rtol=1e-5)


def test_missing_behaviour_is_the_training_mean():
    behavior = np.random.default_rng(1).normal(5, 2, size=(1, 400))
    behavior[0, 10:20] = np.nan
    behavior[0, 390:] = np.nan
    (windows,) = prepare([session(np.random.default_rng(0).normal(size=(2, 400)), behavior)])
    assert (windows.behavior[10:20] == 0).all()
    assert (windows.behavior[390:] == 0).all()
    np.testing.assert_allclose(windows.normalization.behavior_mean, np.nanmean(behavior[0, :320]), rtol=1e-6)
    assert windows.notes == ()


@pytest.mark.parametrize("kind", ["constant", "missing", "rare"])
def test_behaviour_without_training_variation_is_held_at_zero(kind):
    behavior = {"constant": np.full(400, 3.0), "missing": np.full(400, np.nan), "rare": np.zeros(400)}[kind]
    behavior[330:] = np.arange(70)
    if kind == "rare":
        behavior[7] = 1
    sessions = [session(np.random.default_rng(0).normal(size=(2, 400)), behavior[None], names=("lick",))]
    (windows,) = prepare(sessions)
    assert (windows.behavior == 0).all()
    assert windows.normalization.behavior_std == 0
    assert "'lick' is held at 0" in windows.notes[0]


def test_neurons_set_aside_with_reasons():
    rng = np.random.default_rng(0)
    activity = rng.normal(size=(7, 1000))
    activity[1] = 4  # constant
    activity[2] = 1e4 + 1e-3 * rng.normal(size=1000)  # constant but for float32's rounding
    activity[3] = 0
    activity[3, [10, 400, 790]] = 1  # three spikes
    activity[4, :800] *= 0.01  # noise until a transient in the test part
    activity[5] = 0
    activity[5, 100:120] = 1  # twenty active samples are enough
    (windows,) = prepare([session(activity)])
    constant, silent, quiet = (
        "constant in the training part",
        "nearly silent in the training part",
        "far quieter in the training part than in the whole recording",
    )
    assert windows.reasons.tolist() == ["", constant, constant, silent, quiet, "", ""]
    np.testing.assert_array_equal(windows.kept, windows.reasons == "")
    assert windows.neurons.id.tolist() == ["0", "5", "6"]
    assert windows.notes == (
        f"2 of 7 neurons set aside: {constant}",
        f"1 of 7 neurons set aside: {silent}",
        f"1 of 7 neurons set aside: {quiet}",
    )
    np.testing.assert_allclose(windows.activity.square().mean(0), 1, rtol=0.3)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: session(np.random.default_rng(0).normal(size=(3, 30))), "too short: 30 samples"),
        (lambda: session(np.zeros((3, 0))), "too short: 0 samples"),
        (lambda: session(np.random.default_rng(0).normal(size=(1, 400))), "only 1 neuron"),
        (lambda: session(np.zeros((0, 400))), "only 0 neuron"),
        (lambda: session(np.ones((5, 400))), "0 neurons can be modelled; 5 of 5 neurons set aside: constant"),
        (lambda: session(np.random.default_rng(0).normal(size=(3, 400)), segment=np.arange(400)), "too short"),
        (lambda: session(np.random.default_rng(0).normal(size=(3, 400)), valid=np.zeros(400, bool)), r"\(0 valid\)"),
    ],
)
def test_bad_sessions_are_named(made, said):
    with pytest.raises(InputError, match=said) as error:
        prepare([made()])
    assert str(error.value).startswith("made-by-hand.nwb: ")
    assert error.value.remedy


def test_no_session():
    with pytest.raises(InputError, match="no session"):
        prepare([])


@pytest.mark.parametrize(
    "settings",
    [
        {"window": 0},
        {"split": (0.9, 0.1, 0.1)},
        {"split": (1.0, 0.0, 0.0)},
        {"gap": -1},
        {"statistics": "test"},
        {"min_active": -1},
        {"min_deviation_ratio": 2},
    ],
)
def test_bad_settings(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        WindowConfig(**settings)


def test_two_photon_file_with_dead_rois(shared_data):
    h5py = pytest.importorskip("h5py")
    with h5py.File(shared_data / "pynapple" / "suite2p_2022_08_08.nwb") as file:
        activity = file["processing/ophys/Fluorescence/Fluorescence/data"][:]  # stored ROI x time
    (windows,) = prepare([session(activity)])
    assert windows.kept.sum() == 147
    mse = windows.activity[windows.targets["test"]].square().mean(0)
    assert mse.max() < 15


def test_stretches_by_hand():
    first, weight = cut_stretches(torch.tensor([5, 6, 7, 8, 9, 20, 21, 22, 30]), 3)
    assert first.tolist() == [5, 8, 20, 30]
    assert weight.tolist() == [[1, 1, 1], [1, 1, 0], [1, 1, 1], [1, 0, 0]]
    first, weight = cut_stretches(torch.arange(4, 10), 2)
    assert first.tolist() == [4, 6, 8]
    assert weight.tolist() == [[1, 1]] * 3


def test_a_stretch_holds_its_targets_and_what_came_before():
    """A session with a gap, whose last stretch would run beyond the recording: every target once, with its past."""
    (w,) = prepare([noise_session(3, 203, segment=np.arange(203) // 120)], WindowConfig(window=4))
    for part, length in (("train", 8), ("test", 7)):
        rows = w.rows(w.targets[part], length)
        batch = rows.batch(slice(None))
        assert batch.activity.shape == (len(rows), 3, 4 + length - 1)
        assert batch.behavior.shape == (len(rows), 2, 4 + length - 1)
        assert batch.target.shape == (len(rows), 3, length)
        taken = batch.weight > 0
        torch.testing.assert_close(batch.target.transpose(1, 2)[taken], w.activity[w.targets[part]])
        row, place = taken.nonzero().T
        for lag in range(1, 5):
            before = batch.activity[row, :, place + 4 - lag]
            torch.testing.assert_close(before, w.activity[w.targets[part] - lag])


def test_rows_of_one_target_are_windows():
    (w,) = prepare([noise_session(3, 203)])
    rows, chosen = w.rows(w.targets["train"]), torch.tensor([3, 0, 8])
    batch, expected = rows.batch(chosen), w.batch(w.targets["train"][chosen])
    assert batch.weight is None
    assert torch.equal(batch.activity, expected.activity)
    assert torch.equal(batch.target, expected.target)
