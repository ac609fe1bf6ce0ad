"""Whether p-values and q-values of connections mean what they say, on simulated networks whose wiring is known.

Letters: N recorded neurons, T samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..experiment import fit
from ..learn.drive import DriveConfig, fit_drive
from ..learn.estimates import estimate_connectivity
from ..learn.inference import assess, two_sided
from ..learn.preparation import prepare
from ..metrics import benjamini_hochberg
from ..provenance import software_versions
from ..session import Session
from ..show.plots import BLUE, GREEN, GREY, ORANGE, new_figure, save_figures
from ..simulate import SIMULATORS
from .connectivity.cases import first_samples
from .record import write_json

#: Nominal false-discovery rates.
LEVELS = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3)
_BINS = 20  # of the histogram of p-values
_PALETTE = (BLUE, ORANGE, GREEN, GREY)


@dataclass(frozen=True, eq=False)
class Known:
    """A recording whose wiring is known."""

    kind: str
    """Simulator."""
    seed: int
    session: Session
    truth: NDArray[np.float32]
    """(N, N) [target, source]; 0 where there is no connection."""


@dataclass(frozen=True, eq=False)
class Findings:
    """What a test says of the pairs of the M neurons that it kept."""

    p: NDArray[np.floating]
    """(M, M) [target, source]."""
    q: NDArray[np.floating]
    """(M, M)."""
    kept: NDArray[np.bool_]
    """(N,)."""
    diagnostics: Mapping[str, Any] | None = None
    """What it says about itself: the fields of `Diagnostics`."""


SessionTest = Callable[[Session], Mapping[str, Findings]]
"""Tests a session in one or several ways, by name."""


def all_tests(session: Session) -> dict[str, Findings]:
    """Test a session as a fit does, as its linear stage alone would, and by two t-tests: with hidden drive or without.

    The t-tests take the normal distribution for the null.
    """
    (result,) = fit(session, progress=False)
    matrix = result.connectivity["effective"]
    assert matrix.p_value is not None
    assert matrix.q_value is not None
    kept = np.isin(session.neurons.id, result.neurons.id)
    said = result.provenance["significance"]
    found = {"fit": Findings(matrix.p_value, matrix.q_value, kept, said)}
    (windows,) = prepare([session])
    for drive, config in (("drive", DriveConfig()), ("no drive", DriveConfig(components=0))):
        estimate, halves = estimate_connectivity(windows, fit_drive(windows, config))
        ours = assess(estimate.weights, estimate.standard_error, halves=halves)
        if drive == "drive":
            found["linear stage"] = Findings(ours.p, ours.q, windows.kept, asdict(ours.diagnostics))
        pairs = ours.standard_error > 0
        np.fill_diagonal(pairs, False)
        p, q = np.ones_like(ours.p), np.ones_like(ours.q)
        p[pairs] = two_sided(ours.z[pairs])
        q[pairs] = benjamini_hochberg(p[pairs])
        found[f"t-test, {drive}"] = Findings(p, q, windows.kept)
    return found


def calibrate(recordings: Iterable[Known], test: SessionTest = all_tests) -> list[dict[str, Any]]:
    """Compare what a test says with what is so.

    Parameters
    ----------
    recordings : iterable of Known
        Taken one at a time.
    test : callable, optional
        ``test(session)`` returns what each of its ways says, by name.

    Returns
    -------
    list of dict
        For each recording and way: ``kind``, ``seed``, ``samples``, ``test``; ``false_positive_rate`` at p of 0.05;
        ``false_discovery`` and ``recall`` at each of `LEVELS` (of no findings, none is false); ``histogram``, shares of
        the p-values of unconnected pairs in twenty equal bins; ``pairs`` and ``edges`` tested; and, of a test that
        says them, ``trustworthy``, ``why`` and the other diagnostics.
    """
    rows = []
    for known in recordings:
        for name, tested in test(known.session).items():
            rows.append(
                {
                    "kind": known.kind,
                    "seed": known.seed,
                    "samples": known.session.n_samples,
                    "test": name,
                    **_compare(tested, known.truth),
                }
            )
    return rows


def summarize(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return for each kind, length and test the means over seeds, false discoveries and recall at a nominal 0.1."""
    groups: dict[tuple[str, int, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["kind"], row["samples"], row["test"]), []).append(row)
    at = LEVELS.index(0.1)
    return [
        {
            "kind": kind,
            "samples": samples,
            "test": test,
            "recordings": len(group),
            "false_positive_rate": float(np.mean([row["false_positive_rate"] for row in group])),
            "false_discovery": float(np.mean([row["false_discovery"][at] for row in group])),
            "recall": float(np.mean([row["recall"][at] for row in group])),
            "trusted": sum(row["trustworthy"] for row in group) if "trustworthy" in group[0] else None,
        }
        for (kind, samples, test), group in groups.items()
    ]


def simulated(
    kinds: Sequence[str], lengths: Sequence[int], seeds: Sequence[int], *, neurons: int = 300, recorded: int = 100
) -> Iterator[Known]:
    """Yield simulated recordings: the first samples of one long recording for each kind and seed.

    Raises
    ------
    InputError
        If a simulator is not known.
    """
    for kind in kinds:
        if kind not in SIMULATORS:
            raise InputError(f"no simulator {kind!r}", remedy=f"Known: {', '.join(SIMULATORS)}.")
    for kind in kinds:
        for seed in seeds:
            simulation = SIMULATORS[kind](n_neurons=neurons, n_recorded=recorded, n_samples=max(lengths), seed=seed)
            for length in sorted(lengths):
                yield Known(kind, seed, first_samples(simulation.session, length), simulation.truth.weights)


def run(
    folder: Path,
    *,
    quick: bool = False,
    kinds: Sequence[str] = tuple(SIMULATORS),
    lengths: Sequence[int] = (2_500, 20_000),
    seeds: Sequence[int] = (0, 1, 2),
) -> dict[str, Any]:
    """Calibrate on simulated recordings, 100 of 300 neurons, and leave ``calibration.json`` and ``calibration.png``.

    Parameters
    ----------
    folder : Path
        Where to; made if missing.
    quick : bool
        One small recording of the paper's simulator.
    kinds, lengths, seeds
        Which simulators, how many samples, and from which seeds.
    """
    if quick:
        recordings = simulated(["paper"], [3_000], [0], neurons=60, recorded=30)
    else:
        recordings = simulated(kinds, lengths, seeds)
    rows = calibrate(recordings)
    results = {
        "software": software_versions(),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "levels": list(LEVELS),
        "summary": summarize(rows),
        "rows": rows,
    }
    write_json(folder / "calibration.json", results, finite=True)
    save_figures({"calibration": draw(results)}, folder)
    return results


def draw(results: Mapping[str, Any]) -> Any:
    """Draw for each simulator the p-values of unconnected pairs, and false discoveries against the nominal rate."""
    rows, levels = results["rows"], results["levels"]
    kinds, tests = (list(dict.fromkeys(row[key] for row in rows)) for key in ("kind", "test"))
    colors = {test: _PALETTE[i % len(_PALETTE)] for i, test in enumerate(tests)}
    figure = new_figure(9, 2.7 * len(kinds) + 0.5)
    axes = figure.subplots(len(kinds), 2, squeeze=False)
    for (left, right), kind in zip(axes, kinds, strict=True):
        edges = np.linspace(0, 1, _BINS + 1)
        for test in tests:
            chosen = [row for row in rows if row["kind"] == kind and row["test"] == test]
            density = _BINS * np.mean([row["histogram"] for row in chosen], axis=0)
            left.stairs(density, edges, color=colors[test], label=test, lw=1.5)
            for row in chosen:
                right.plot(levels, row["false_discovery"], color=colors[test], lw=0.6, alpha=0.5)
            mean = np.mean([row["false_discovery"] for row in chosen], axis=0)
            right.plot(levels, mean, "o-", color=colors[test], ms=3, lw=1.8)
        left.axhline(1, color="black", lw=0.8, ls="--")
        left.set(xlim=(0, 1), ylim=(0, 3), xlabel="p-value of unconnected pairs", ylabel="density", title=kind)
        right.plot([0, levels[-1]], [0, levels[-1]], color="black", lw=0.8, ls="--")
        right.set(xlim=(0, None), ylim=(0, 1), xlabel="nominal false-discovery rate", ylabel="false among found")
        for ax in (left, right):
            ax.spines[["top", "right"]].set_visible(False)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False, fontsize=9)
    return figure


def _compare(tested: Findings, truth: NDArray[np.floating]) -> dict[str, Any]:
    """Return the figures of one test on one recording; see `calibrate`."""
    off = ~np.eye(int(tested.kept.sum()), dtype=bool)
    connected = truth[np.ix_(tested.kept, tested.kept)][off] != 0
    p, q = tested.p[off], tested.q[off]
    none, edges = p[~connected], int(connected.sum())
    found = [q <= level for level in LEVELS]
    told = tested.diagnostics or {}
    return {
        "pairs": len(p),
        "edges": edges,
        "false_positive_rate": float(np.mean(none <= 0.05)) if len(none) else 0.0,
        "false_discovery": [float((each & ~connected).sum() / max(each.sum(), 1)) for each in found],
        "recall": [float((each & connected).sum() / max(edges, 1)) for each in found],
        "histogram": (np.histogram(none, _BINS, (0, 1))[0] / max(len(none), 1)).tolist(),
        **{name: None if value != value else value for name, value in told.items() if name != "pairs"},
    }
