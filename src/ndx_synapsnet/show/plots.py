"""Pictures of a fit, drawn from what `compute` prepared. Each function returns a matplotlib Figure."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, missing_extra
from ..session import FitResult, Session
from .compute import PREDICTOR_NAMES, MatrixView, TraceView, best_epoch, connectivity_view, trace_view

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Okabe and Ito's colours, told apart by people with any kind of colour vision.
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#7F7F7F"


def require_matplotlib() -> None:
    """Raise an `InputError` that says how to install matplotlib, if it is not there."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise missing_extra("matplotlib", "plot") from error


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure that needs no display and leaves the user's matplotlib state alone."""
    require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _limit(matrix: NDArray[np.float64]) -> float:
    """Return a symmetric colour limit that a few extreme entries cannot wash out."""
    off = np.abs(matrix[~np.eye(len(matrix), dtype=bool)])
    return float(np.quantile(off, 0.995)) or float(off.max(initial=0.0)) or 1.0


def draw_matrices(view: MatrixView) -> Figure:
    """Draw square matrices side by side, zero in white, red for positive and blue for negative weights."""
    k = len(view.matrices)
    columns = min(k, 4)
    rows = -(-k // columns)
    figure = new_figure(4.3 * columns, 4.1 * rows)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax, title, matrix in zip(axes, view.titles, view.matrices, strict=False):
        draw_matrix(figure, ax, title, matrix, view.groups)
    for ax in axes[k:]:
        ax.set_axis_off()
    return figure


def draw_matrix(
    figure: Figure, ax: Any, title: str, matrix: NDArray[np.float64], groups: tuple[tuple[str, int, int], ...] = ()
) -> None:
    """Draw one square matrix [target, source] into `ax`, its groups of neurons marked (see `MatrixView`)."""
    limit = _limit(matrix)
    image = ax.imshow(matrix, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
    figure.colorbar(image, ax=ax, shrink=0.75)
    ax.set(title=title, xlabel="source neuron", ylabel="target neuron")
    for _, _, last in groups[:-1]:
        ax.axhline(last - 0.5, color="black", lw=0.5)
        ax.axvline(last - 0.5, color="black", lw=0.5)
    if groups:
        centres = [(first + last - 1) / 2 for _, first, last in groups]
        names = [name for name, _, _ in groups]
        ax.set_xticks(centres, names, rotation=45, ha="right")
        ax.set_yticks(centres, names)


def draw_traces(view: TraceView) -> Figure:
    """Draw predicted over true activity, one row a neuron."""
    k = len(view.names)
    figure = new_figure(10, 1.3 * k + 1)
    axes = np.atleast_1d(figure.subplots(k, 1, sharex=True))
    for row, ax in enumerate(axes):
        if view.true is not None:
            ax.plot(view.times, view.true[row], color=GREY, lw=1.0, label="recorded")
        ax.plot(view.times, view.predicted[row], color=ORANGE, lw=1.2, label="predicted one step ahead")
        r = view.correlation[row]
        ax.set_title(f"neuron {view.names[row]}: r = {r:.2f} over the test part", fontsize=9, loc="left")
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].legend(loc="upper right", fontsize=8, frameon=False, ncols=2)
    axes[-1].set_xlabel("time (s)")
    figure.supylabel("activity (z-scored)")
    return figure


def draw_scores(result: FitResult) -> Figure:
    """Draw each neuron's test correlation: against its own history's, and as a distribution for every predictor."""
    figure = new_figure(11, 4.6)
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.3])
    model, own = result.scores[result.model].correlation, result.scores["ar"].correlation
    left.scatter(own, model, s=12, color=BLUE, alpha=0.7, linewidths=0)
    values = np.concatenate([own, model])
    values = values[np.isfinite(values)]
    low, high = (min(0.0, values.min()), values.max()) if len(values) else (0.0, 1.0)
    left.plot([low, high], [low, high], color=GREY, lw=1, ls="--")
    left.set(xlabel="AR (own history) test r", ylabel=f"{_name(result.model)} test r", title="each dot a neuron")
    left.spines[["top", "right"]].set_visible(False)

    shown = [(key, s.correlation[np.isfinite(s.correlation)]) for key, s in result.scores.items()]
    shown = [(key, r) for key, r in shown if len(r)]
    right.boxplot(
        [r for _, r in shown],
        orientation="horizontal",
        widths=0.6,
        showfliers=False,
        medianprops={"color": ORANGE, "lw": 1.5},
    )
    jitter = np.random.default_rng(0)
    for place, (_, r) in enumerate(shown, start=1):
        right.scatter(r, place + jitter.uniform(-0.2, 0.2, len(r)), s=6, color=BLUE, alpha=0.4, linewidths=0)
    right.set_yticks(range(1, len(shown) + 1), [_name(key) for key, _ in shown])
    right.invert_yaxis()
    right.axvline(0, color=GREY, lw=0.8)
    right.set(xlabel="test correlation", title="all predictors, same test samples")
    right.spines[["top", "right"]].set_visible(False)
    return figure


def draw_training(result: FitResult) -> Figure:
    """Draw the training curve: loss and validation MSE by epoch, the chosen epoch marked."""
    figure = new_figure(7, 4)
    ax = figure.subplots()
    curve = result.training
    ax.plot(curve["epoch"], curve["train_loss"], color=GREY, marker="o", ms=3, label="training loss")
    ax.plot(curve["epoch"], curve["validation_mse"], color=BLUE, marker="o", ms=3, label="validation MSE")
    best = best_epoch(result)
    if best is not None:
        ax.axvline(best, color=ORANGE, ls="--", lw=1, label=f"best epoch {best}")
    ax.axhline(1.0, color=GREEN, lw=1, ls=":", label="predicting the mean")
    ax.set(xlabel="epoch", ylabel="mean squared error (z-scored)")
    ax.legend(frameon=False, fontsize=8)
    ax.spines[["top", "right"]].set_visible(False)
    return figure


def draw_recovery(view: MatrixView, truth: NDArray[np.floating]) -> Figure:
    """Draw each estimate's entries against the true weights, off the diagonal.

    Parameters
    ----------
    view : MatrixView
        The estimates, in the same order of neurons as `truth`.
    truth : array (N, N)
        True wiring [target, source].
    """
    off = ~np.eye(len(truth), dtype=bool)
    figure = new_figure(3.6 * len(view.matrices), 3.6)
    axes = np.atleast_1d(figure.subplots(1, len(view.matrices)))
    for ax, title, matrix in zip(axes, view.titles, view.matrices, strict=True):
        ax.scatter(truth[off], matrix[off], s=3, color=BLUE, alpha=0.3, linewidths=0, rasterized=True)
        r = np.corrcoef(truth[off], matrix[off])[0, 1]
        ax.set(title=f"{title}: r = {r:.2f}", xlabel="true weight", ylabel="estimate")
        ax.axhline(0, color=GREY, lw=0.6)
        ax.axvline(0, color=GREY, lw=0.6)
        ax.spines[["top", "right"]].set_visible(False)
    return figure


def _name(key: str) -> str:
    return PREDICTOR_NAMES.get(key, key)


def save_pictures(result: FitResult, folder: Path, session: Session | None = None) -> list[Path]:
    """Write every picture of a fit as PNG; that of the connectivity only where the fit has one.

    Parameters
    ----------
    result : FitResult
        The fit.
    folder : Path
        Where to; made if missing.
    session : Session, optional
        The recording it was learned from, restricted to the fit's neurons.

    Returns
    -------
    list of Path
        The files, in the order in which one would look at them.
    """
    figures = {
        "traces": draw_traces(trace_view(result, session)),
        "scores": draw_scores(result),
        "training": draw_training(result),
    }
    if "effective" in result.connectivity:  # not in the ablation without connectivity
        figures = {"connectivity": draw_matrices(connectivity_view(result, session)), **figures}
    return save_figures(figures, folder)


def save_figures(figures: dict[str, Any], folder: Path) -> list[Path]:
    """Write figures as ``folder/name.png`` and return the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, figure in figures.items():
        path = folder / f"{name}.png"
        figure.savefig(path, dpi=120)
        paths.append(path)
    return paths


def save_figure(figure: Figure, path: Path) -> None:
    """Write one figure, in the format that the ending of `path` names.

    Raises
    ------
    InputError
        If matplotlib knows no such format, or the file cannot be written.
    """
    try:
        figure.savefig(path, dpi=150)
    except ValueError as error:  # its message lists the formats
        raise InputError(str(error), where=str(path)) from error
    except OSError as error:
        raise InputError(f"cannot be written ({error.strerror or error})", where=str(path)) from error
