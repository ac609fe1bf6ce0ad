"""The calibration benchmark: its figures by hand, and that it runs."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner

from ndx_synapsnet.benchmark.calibration import LEVELS, Findings, Known, calibrate, draw, simulated, summarize
from ndx_synapsnet.cli import main
from ndx_synapsnet.errors import InputError
from ndx_synapsnet.simulate import random_session

AT = LEVELS.index(0.1)


def known(truth, kind="paper", seed=0):
    return Known(kind, seed, random_session(len(truth), 50), np.asarray(truth, np.float32))


def test_counts_by_hand():
    truth = [[9, 1, 0, 0], [0, 9, 2, 0], [0, 0, 9, 0], [5, 5, 5, 9]]
    kept = np.array([True, True, True, False])
    # of the three kept: connected (0, 1) and (1, 2), four unconnected; the diagonal does not count
    p = np.array([[0, 0.01, 0.5], [0.04, 0, 0.3], [0.9, 0.049, 0]])
    q = np.array([[0, 0.02, 0.5], [0.1, 0, 0.3], [0.9, 0.11, 0]])
    (row,) = calibrate([known(truth)], lambda session: {"mine": Findings(p, q, kept)})
    assert (row["kind"], row["seed"], row["samples"], row["test"]) == ("paper", 0, 50, "mine")
    assert (row["pairs"], row["edges"]) == (6, 2)
    assert row["false_positive_rate"] == pytest.approx(2 / 4)
    assert row["false_discovery"][AT] == pytest.approx(1 / 2)
    assert row["recall"][AT] == pytest.approx(1 / 2)
    assert row["false_discovery"][0] == 0
    assert row["recall"][LEVELS.index(0.3)] == 1
    assert row["histogram"][0] == pytest.approx(2 / 4)  # .04 and .049
    assert sum(row["histogram"]) == pytest.approx(1)
    assert "trustworthy" not in row


def test_means_over_seeds():
    truth = [[0, 1], [0, 0]]
    found = {0: np.array([[1, 0.01], [0.01, 1]]), 1: np.array([[1, 0.01], [0.5, 1]])}
    rows = []
    for seed, p in found.items():
        rows += calibrate([known(truth, seed=seed)], lambda session, p=p: {"a": Findings(p, p, np.ones(2, bool))})
    (mean,) = summarize(rows)
    assert (mean["recordings"], mean["trusted"]) == (2, None)
    assert mean["false_positive_rate"] == pytest.approx(0.5)
    assert mean["false_discovery"] == pytest.approx(0.25)
    assert mean["recall"] == 1
    assert len(draw({"rows": rows, "levels": LEVELS}).axes) == 2


def test_shorter_recordings_are_the_start_of_the_longest():
    short, long = simulated(["glm"], [400, 200], [5], neurons=20, recorded=10)
    assert (short.session.n_samples, long.session.n_samples) == (200, 400)
    np.testing.assert_array_equal(short.session.activity, long.session.activity[:, :200])
    np.testing.assert_array_equal(short.truth, long.truth)
    assert (short.kind, short.seed) == ("glm", 5)
    with pytest.raises(InputError, match="no simulator 'brain'"):
        next(simulated(["brain"], [10], [0]))


def test_the_command_tests_four_ways_and_keeps_what_it_found(tmp_path):
    result = CliRunner().invoke(main, ["benchmark", "calibration", "--quick", "-o", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert "false among found" in result.output
    kept = json.loads((tmp_path / "out" / "calibration.json").read_text())
    ours, linear, with_drive, without = (row["false_positive_rate"] for row in kept["summary"])
    assert max(ours, linear) < 0.07
    assert linear <= with_drive < without
    assert {"trustworthy", "why", "null_width"} <= set(kept["rows"][0])
    assert (tmp_path / "out" / "calibration.png").stat().st_size > 10_000
