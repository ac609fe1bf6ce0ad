"""The one error that people see: what is wrong, where, and what to do about it."""

from __future__ import annotations

import unicodedata

_MOST_SHOWN = 10_000


def printable(text: str) -> str:
    """Return text that may be shown: what is in a file must not steer a terminal, nor turn the direction of reading.

    Control characters, those that format, and what is no character become replacement characters; line ends stay. Of
    more than 10,000 characters the first are shown: a page of them takes minutes to lay out.
    """
    if len(text) > _MOST_SHOWN:
        text = f"{text[:_MOST_SHOWN]}… ({len(text):,} characters)"
    if text.isprintable():
        return text
    shown = (c if c.isprintable() or c == "\n" or unicodedata.category(c) == "Zs" else "\ufffd" for c in text)
    return "".join(shown)


class InputError(ValueError):
    """Bad input: the message names the file or object, the fault and the remedy.

    The command line prints it without a traceback and exits with code 2. Whatever of a file is quoted in it, the
    message may be shown as it is.

    Parameters
    ----------
    what : str
        The fault, as a clause without a final full stop.
    where : str, optional
        The file, and the object inside it, that is at fault.
    remedy : str, optional
        What the user can do about it.
    """

    def __init__(self, what: str, *, where: str | None = None, remedy: str | None = None) -> None:
        self.what, self.where, self.remedy = what, where, remedy
        message = f"{where}: {what}" if where else what
        super().__init__(printable(f"{message}. {remedy}" if remedy else message))


class EndedElsewhereError(InputError):
    """Another of the processes that train together has ended the run, and says why itself."""

    def __init__(self) -> None:
        super().__init__("another process has ended this run", remedy="Its own message says why.")


def missing_extra(package: str, extra: str) -> InputError:
    """Return the error for an optional package that is not installed.

    Parameters
    ----------
    package : str
        The package whose import failed.
    extra : str
        The extra of ndx-synapsnet that installs it.
    """
    return InputError(
        f"this needs the package {package}, which is not installed",
        remedy=f"Install it with: pip install 'ndx-synapsnet[{extra}]'",
    )
