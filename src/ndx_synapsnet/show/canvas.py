"""What every picture starts from and ends in: colours, an empty figure, and files."""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Callable, Iterable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import numpy as np

from ..errors import InputError, missing_extra, printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_Arguments = ParamSpec("_Arguments")
_Drawn = TypeVar("_Drawn")

#: Okabe and Ito's colours, told apart by people with any kind of colour vision.
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#7F7F7F"
#: The same and a violet for groups; further groups, and what is not known, are drawn in the grey below.
GROUP_COLORS = (BLUE, "#E69F00", GREEN, "#CC79A7", "#56B4E9", ORANGE, "#000000", "#7700DD")
#: For dots among red and blue lines: the same without what could be taken for one of these.
DOT_COLORS = ("#E69F00", GREEN, "#CC79A7", "#000000", "#56B4E9", "#7700DD")
OTHER = "#C8C8C8"
#: Signed values, zero in white. Red and blue are told apart with any kind of colour vision, red and green are not.
SIGNED = "RdBu_r"
#: Values from low to high: perceptually even, and so in grey too.
GRADED = "cividis"
_LETTERS = 15  # of a caption, an inch


def require_matplotlib() -> None:
    """Raise an `InputError` that says how to install matplotlib, if it is not there."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise missing_extra("matplotlib", "plot") from error


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure that needs no display, and neither changes nor follows the user's matplotlib settings."""
    require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    from .house_figure import HouseFigure, house_style

    with house_style():
        figure = HouseFigure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def in_house_style(draw: Callable[_Arguments, _Drawn]) -> Callable[_Arguments, _Drawn]:
    """Make a function draw in the house style, and text as it is: names in a file may hold dollar signs."""

    @wraps(draw)
    def styled(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Drawn:
        require_matplotlib()
        from .house_figure import house_style

        with house_style(literal=True):
            return draw(*args, **kwargs)

    return styled


def bare(*axes: Any) -> None:
    """Take the frame's upper and right side off."""
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)


def short(text: str, most: int = 26) -> str:
    """Return a name as it fits a legend: what cannot be printed replaced, and the middle left out of a long one."""
    clean = printable(str(text)).replace("\n", "\N{REPLACEMENT CHARACTER}")
    if len(clean) <= most:
        return clean
    end = most // 3
    return f"{clean[: most - end - 1].rstrip()}\N{HORIZONTAL ELLIPSIS}{clean[-end:].lstrip()}"


def short_all(names: Iterable[str], most: int = 26) -> list[str]:
    """Return names as `short` does, with a number after those that would else be the same as another."""
    taken: list[str] = []
    for name in names:
        number, shown = 1, short(name, most)
        while shown in taken:
            number += 1
            shown = f"{short(name, most)} ({number})"
        taken.append(shown)
    return taken


def natural(name: str) -> list[tuple[int, str]]:
    """Return a key by which names are sorted as people do: cluster 2 before cluster 10."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", name)]


def caption_lines(text: str, width: float) -> list[str]:
    """Return a caption as the lines that it takes below a picture so many inches wide."""
    return textwrap.wrap(text, int(_LETTERS * width))


def caption(figure: Figure, text: str) -> int:
    """Write what one has to know about a picture below it, and return how many lines that takes."""
    lines = caption_lines(text, figure.get_figwidth())
    if lines:
        figure.supxlabel("\n".join(lines), fontsize=8, color="0.35", parse_math=False)
    return len(lines)


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
