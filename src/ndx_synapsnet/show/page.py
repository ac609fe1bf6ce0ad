"""Bricks of a self-contained HTML page: whatever is not known to be HTML is text, and is escaped."""

from __future__ import annotations

import base64
import html
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from typing import Any

from ..errors import printable

#: The browser itself refuses scripts, frames, forms and every request; pictures and style are inside the page.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; form-action 'none'; base-uri 'none'"


_MINUS, _DASH = "\N{MINUS SIGN}", "\N{EN DASH}"


class Html(str):
    """Text that is HTML already, so that it is not escaped again. Made by the functions of this module only."""

    __slots__ = ()


def text(value: Any) -> Html:
    """Return a value as HTML that shows it: numbers short, lists joined by commas, everything else escaped.

    Characters that cannot be printed are shown as replacement characters, undefined numbers as a dash.

    Parameters
    ----------
    value : object
        What to show; `Html` is left as it is.
    """
    if isinstance(value, Html):
        return value
    if isinstance(value, (list, tuple)):
        return Html(", ".join(text(item) for item in value))
    if isinstance(value, float):
        return number(value, ".4g")
    if isinstance(value, bool) or value is None:
        return Html({True: "yes", False: "no", None: _DASH}[value])
    return Html(html.escape(printable(str(value)), quote=True))


def number(value: float, form: str) -> Html:
    """Return a number in a format such as ``.3f``; an undefined one is a dash."""
    return Html(format(value, form).replace("-", _MINUS) if math.isfinite(value) else _DASH)


def element(tag: str, *children: Any, **attributes: str) -> Html:
    """Return an element: children one after the other, attributes by name (``class_`` for ``class``)."""
    said = "".join(f' {name.rstrip("_")}="{text(value)}"' for name, value in attributes.items())
    return Html(f"<{tag}{said}>{''.join(text(child) for child in children)}</{tag}>")


def join(parts: Iterable[Any]) -> Html:
    """Return parts below each other."""
    return Html("\n".join(text(part) for part in parts))


def paragraph(*words: Any) -> Html:
    """Return a paragraph."""
    return element("p", *words)


def facts(values: Mapping[str, Any]) -> Html:
    """Return names and values side by side, leaving out what is empty; nothing at all if everything is."""
    there = {name: value for name, value in values.items() if value is not None and value not in ("", [], (), {})}
    rows = [element("div", element("dt", name), element("dd", value)) for name, value in there.items()]
    return element("dl", *rows) if rows else Html()


def table(
    caption: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], *, bold: int | None = None, note: str = ""
) -> Html:
    """Return a table; columns that hold only numbers are aligned right.

    Parameters
    ----------
    caption : str
        What the table shows.
    columns : sequence of str
        Their names.
    rows : sequence of sequences
        Cells; `Html` that a column of numbers holds counts as a number, for numbers in another form than `text` gives.
    bold : int, optional
        The row to stress.
    note : str
        A sentence below the caption.
    """
    numeric = [
        bool(rows) and all(isinstance(row[place], (int, float, Html)) for row in rows) for place in range(len(columns))
    ]
    kinds = [{"class_": "number"} if one else {} for one in numeric]
    head = [element("th", name, scope="col", **kind) for name, kind in zip(columns, kinds, strict=True)]
    body = []
    for number_, row in enumerate(rows):
        cells = [element("td", cell, **kind) for cell, kind in zip(row, kinds, strict=True)]
        body.append(element("tr", *cells, **({"class_": "best"} if number_ == bold else {})))
    said = [element("strong", caption)] + ([" ", note] if note else [])
    inside = element(
        "table", element("caption", *said), element("thead", element("tr", *head)), element("tbody", *body)
    )
    return element("div", inside, class_="wide")  # scrolls by itself where the window is narrow


def picture(png: bytes, caption: str, *, note: str = "", narrow: bool = False) -> Html:
    """Return a figure with a PNG inside the page.

    Parameters
    ----------
    png : bytes
        The picture.
    caption : str
        What it shows: also its text for those who cannot see it.
    note : str
        How to read it.
    narrow : bool
        Whether it is not to fill the page's width.
    """
    source = f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"
    said = [element("strong", caption)] + ([" ", note] if note else [])
    plate = element(
        "div", Html(f'<img src="{source}" alt="{text(caption)}">'), class_="plate narrow" if narrow else "plate"
    )
    return element("figure", plate, element("figcaption", *said))


def section(name: str, title: str, *parts: Any, level: int = 2) -> Html:
    """Return a section with a heading; `name` is its anchor, unique in the page."""
    return element("section", element(f"h{level}", title), join(parts), id=anchor(name))


def anchor(name: str) -> str:
    """Return a name as an anchor may be called."""
    return re.sub(r"[^\w-]+", "-", name, flags=re.ASCII).strip("-") or "section"


def link(address: str, words: str | None = None) -> Html:
    """Return a link to an address of ours, a web page or an anchor; what metadata names is never made one."""
    return element("a", words or address, href=address)


def page(title: str, *parts: Any) -> str:
    """Return a whole HTML page of one file: no script, nothing loaded from anywhere."""
    style = files(__package__).joinpath("report.css").read_text(encoding="utf-8")
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{text(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n{join(parts)}\n</body>\n</html>\n"
    )
