"""What every picture starts from and ends in: colours, an empty figure, and files."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError, missing_extra

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Okabe and Ito's colours, told apart by people with any kind of colour vision.
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#7F7F7F"
#: The same for groups, the most different ones first; more groups than these are drawn in grey.
GROUP_COLORS = (BLUE, "#E69F00", GREEN, "#CC79A7", "#56B4E9", ORANGE, "#000000", "#B8A800")
#: For dots among red and blue lines: the same without what could be taken for one of these.
DOT_COLORS = ("#E69F00", GREEN, "#CC79A7", "#000000", "#56B4E9", "#B8A800", "#8C564B")
#: Signed values, zero in white. Red and blue are told apart with any kind of colour vision, red and green are not.
SIGNED = "RdBu_r"
#: Values from low to high: perceptually even, and so in grey too.
GRADED = "cividis"


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


def bare(*axes: Any) -> None:
    """Take the frame's upper and right side off."""
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)


def short(text: str, most: int = 26) -> str:
    """Return a name, cut where it is longer than fits a legend."""
    return text if len(text) <= most else text[: most - 1].rstrip() + "\N{HORIZONTAL ELLIPSIS}"


def natural(name: str) -> list[tuple[int, str]]:
    """Return a key by which names are sorted as people do: cluster 2 before cluster 10."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", name)]


def caption(figure: Figure, text: str) -> None:
    """Write what one has to know about a picture below it; nothing if `text` is empty."""
    if text:
        figure.supxlabel(text, fontsize=8, color="0.35")


def png(figure: Figure, *, dpi: int = 110) -> bytes:
    """Return a figure as the bytes of a PNG file, drawn once (a figure's own way draws twice) and packed quickly."""
    from PIL import Image

    canvas: Any = figure.canvas
    figure.set_dpi(dpi)
    canvas.draw()
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3]).save(buffer, "png", compress_level=1)
    return buffer.getvalue()


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
