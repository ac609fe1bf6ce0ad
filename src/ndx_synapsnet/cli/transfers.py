"""What is seen of recordings on their way: a bar while one is waited for, and a line when it is there."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from tqdm import tqdm

    from ..nwb.sources.remote.options import Progress, Reading


class Transfers:
    """Watches all remote reading of a command; any number of threads.

    Parameters
    ----------
    progress : bool or None
        Whether bars are shown; None: on a terminal only.
    """

    def __init__(self, progress: bool | None) -> None:
        self._progress = progress
        self._lock = threading.Lock()
        self._readings: dict[str, list[Reading]] = {}
        self._counts: dict[str, Progress] = {}
        self._bar: tqdm[Any] | None = None

    def opened(self, reading: Reading) -> None:
        """Take note of what reads an object or store."""
        with self._lock:
            self._readings.setdefault(reading.located.uri, []).append(reading)

    def arrived(self, progress: Progress) -> None:
        """Move the bar, if there is one."""
        with self._lock:
            self._counts[progress.uri] = progress
            if self._bar is not None:
                done, self._bar.total = self._sums()
                self._bar.update(done - self._bar.n)

    @contextmanager
    def bar(self) -> Iterator[None]:
        """Show a bar of the bytes of all remote recordings under way."""
        from tqdm import tqdm

        disable = None if self._progress is None else not self._progress
        with self._lock:
            done, wanted = self._sums()
        bar = tqdm(
            initial=done,
            total=wanted,
            unit="B",
            unit_scale=True,
            desc="reading",
            leave=False,
            disable=disable,
            delay=0.3,
        )
        with bar:
            self._bar = bar
            try:
                yield
            finally:
                with self._lock:
                    self._bar = None

    def say(self, text: str) -> None:
        """Say what is going on before there is anything to count, where bars are shown."""
        if sys.stderr.isatty() if self._progress is None else self._progress:
            click.echo(text, err=True)

    def line(self, provenance: Mapping[str, Any]) -> str | None:
        """Return what reading a session took, once; None for local files.

        Parameters
        ----------
        provenance : mapping
            Of the session.
        """
        records = [provenance, *provenance.get("files", [])]
        return self.line_of(*dict.fromkeys(str(record.get("uri")) for record in records))

    def line_of(self, *uris: str) -> str | None:
        """Return what reading remote files took, by the addresses that they are shown by."""
        with self._lock:
            readings = [reading for uri in uris for reading in self._readings.pop(uri, [])]
            for uri in uris:
                self._counts.pop(uri, None)
        if not readings:
            return None
        stats = [reading.stats for reading in readings]
        arrived, cached = sum(one.bytes for one in stats), sum(one.cached_bytes for one in stats)
        parts = []
        if arrived or not cached:
            parts.append(f"{size(arrived)} from the line in {sum(one.seconds for one in stats):.1f} s")
        if cached:
            parts.append(f"{size(cached)} from the cache")
        if all(reading.integrity == "verified" for reading in readings):
            parts.append("verified")
        elif any(getattr(reading.located, "digest", None) for reading in readings):
            parts.append("unverified (--verify compares it with the archive's digest)")
        else:
            parts.append("unverified")
        return f"  read: {', '.join(parts)}"

    def _sums(self) -> tuple[int, int]:
        counts = self._counts.values()
        return sum(one.done for one in counts), sum(one.wanted for one in counts)


@contextmanager
def remote_reading(given: Mapping[str, Any], *, silent: bool = False) -> Iterator[Transfers]:
    """Have remote recordings read in this block as the command line says.

    Parameters
    ----------
    given : mapping
        The options of `options.remote_options`.
    silent : bool
        Whether bars are not even shown on a terminal.

    Raises
    ------
    InputError
        If an option is out of bounds.
    """
    from ..nwb.sources.remote.options import current_options, use_options

    options = current_options()
    transfers = Transfers(False if silent else options.progress)
    options = replace(
        options,
        instance=given.get("instance") or options.instance,
        workers=given.get("workers") or options.workers,
        cache=None if given.get("no_cache") else options.cache,
        verify=options.verify or bool(given.get("verify")),
        on_open=transfers.opened,
        on_progress=transfers.arrived,
    )
    with use_options(options):
        yield transfers


def size(n: int) -> str:
    """Return a number of bytes for people."""
    amount = float(n)
    for unit in ("bytes", "kB", "MB", "GB"):
        if amount < 1000 or unit == "GB":
            break
        amount /= 1000
    return f"{n} bytes" if unit == "bytes" else f"{amount:.1f} {unit}"
