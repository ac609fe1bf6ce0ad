"""Pictures of a fit, drawn from what was computed first. Each function returns a matplotlib Figure."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..metrics import choose_edges
from ..session import SPLITS, FitResult, Session
from .activity_plots import draw_components, draw_currents, draw_raster, draw_traces
from .activity_view import RasterView, components_view, currents_view, longest_stretch, raster_view
from .canvas import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    bare,
    in_house_style,
    new_figure,
    require_matplotlib,
    save_figure,
    save_figures,
)
from .compute import PREDICTOR_NAMES, TrainingView, connectivity_view, trace_view, training_view
from .matrix_plots import draw_matrices, draw_matrix, draw_recovery
from .network_plots import draw_network
from .network_view import NetworkView, network_view
from .neuron_plots import draw_embedding, draw_score_view
from .neuron_view import embedding_view, neuron_columns, score_view
from .ordering import orders_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "BLUE",
    "GREEN",
    "GREY",
    "ORANGE",
    "draw_components",
    "draw_currents",
    "draw_embedding",
    "draw_matrices",
    "draw_matrix",
    "draw_network",
    "draw_raster",
    "draw_recovery",
    "draw_scores",
    "draw_traces",
    "draw_training",
    "figures_of",
    "new_figure",
    "require_matplotlib",
    "save_every_picture",
    "save_figure",
    "save_figures",
    "save_pictures",
]

#: Edges of a picture of the network: more of them hide each other.
STRONGEST = 300
_RASTER = 1200  # samples


def draw_scores(result: FitResult) -> Figure:
    """Draw each neuron's test correlation: against its own history's, and as a distribution for every predictor."""
    return draw_score_view(score_view(result.scores, result.model, PREDICTOR_NAMES))


def draw_training(result: FitResult) -> Figure:
    """Draw the training curve: loss and validation MSE by epoch, the chosen epoch marked."""
    return draw_training_view(training_view(result))


@in_house_style
def draw_training_view(view: TrainingView) -> Figure:
    """Draw a training curve (see `draw_training`)."""
    figure = new_figure(7, 4)
    ax = figure.subplots()
    for curve, color, name in (
        (view.train_loss, GREY, "training loss"),
        (view.validation_mse, BLUE, "validation MSE"),
    ):
        if curve is not None:
            ax.plot(view.epochs, curve, color=color, marker="o", ms=3, label=name)
    if view.best is not None:
        ax.axvline(view.best, color=ORANGE, ls="--", lw=1, label=f"best epoch {view.best}")
    ax.axhline(1.0, color=GREEN, lw=1, ls=":", label="predicting the mean")
    ax.locator_params(axis="x", integer=True)
    ax.set(xlabel="epoch", ylabel="mean squared error (z-scored)")
    figure.legend(frameon=False, fontsize=8, loc="outside upper center", ncols=4)
    bare(ax)
    return figure


def save_pictures(result: FitResult, folder: Path, session: Session | None = None) -> list[Path]:
    """Write the pictures with which a fit is judged as PNG; that of the connectivity only where the fit has one.

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


def save_every_picture(result: FitResult, folder: Path, session: Session | None = None) -> list[Path]:
    """Write every picture that there is of a fit as PNG: those of `save_pictures` and of `figures_of`.

    Parameters
    ----------
    result, folder, session
        As of `save_pictures`. Components and input currents are drawn only with the recording.

    Returns
    -------
    list of Path
        The files.
    """
    return save_pictures(result, folder, session) + save_figures(figures_of(result, session), folder)


def figures_of(result: FitResult, session: Session | None = None) -> dict[str, Any]:
    """Return the further pictures of a fit by name, as far as it has what they show.

    ``network``: the strongest connections in space; ``connectivity_by_NAME``: the matrix in every other order;
    ``embedding``: its map; ``raster``: the forecast of all neurons; with the recording also ``components`` and
    ``currents``.

    Parameters
    ----------
    result : FitResult
        The fit.
    session : Session, optional
        The recording it was learned from, restricted to the fit's neurons.
    """
    figures: dict[str, Any] = {}
    if "effective" in result.connectivity:
        figures["network"] = draw_network(network_of(result))
        for name, order in orders_of(result.neurons, result.embeddings, modality=result.modality).items():
            if name != "file":
                view = connectivity_view(result, session, order=order)
                figures[f"connectivity_by_{name.replace(' ', '_')}"] = draw_matrices(view)
    if min(result.embeddings.shape) > 1:
        columns = neuron_columns(result.neurons, result.embeddings, result.scores)
        first = next(iter(columns), None)
        figures["embedding"] = draw_embedding(
            embedding_view(result.neurons, result.embeddings, column=first, columns=columns)
        )
    figures["raster"] = draw_raster(raster_of(result, session))
    if session is not None:
        with suppress(InputError):  # of too short a test part
            figures["components"] = draw_components(components_view(result, session))
        with suppress(InputError):  # the same, or there is no connectivity
            figures["currents"] = draw_currents(currents_view(result, session))
    return figures


def network_of(result: FitResult, *, strongest: int = STRONGEST, layout: str = "auto") -> NetworkView:
    """Return the graph of the strongest effective connections of a fit."""
    matrix = result.connectivity["effective"]
    count = min(strongest, max(1, 3 * len(result.neurons)))
    edges = choose_edges(matrix, strongest=count)
    said = f"the {int(edges.sum())} strongest connections"
    return network_view(result.neurons, matrix.weights, edges, result.embeddings, layout=layout, edges_said=said)


def raster_of(result: FitResult, session: Session | None = None, *, samples: int = _RASTER) -> RasterView:
    """Return the raster of a stretch of the forecast's test part, in the first order that the neurons have."""
    forecast = result.forecast
    test = (forecast.split == SPLITS["test"]).nonzero()[0]
    rows = test[longest_stretch(forecast.times[test], samples)]
    mean, std = result.normalization.activity_mean, result.normalization.activity_std
    orders = orders_of(result.neurons, result.embeddings, modality=result.modality)
    order = next(iter(orders.values()))
    true = None if session is None else (session.activity[:, forecast.index[rows]].T - mean) / std
    return raster_view((forecast.values[rows] - mean) / std, forecast.times[rows], order, recorded=true)
