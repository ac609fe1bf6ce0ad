"""Recordings read in the background, so that the line is not idle while one of them is used."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextvars import copy_context
from dataclasses import replace
from types import TracebackType

from .. import memory
from ..session import Session
from .readers import ReadConfig, read_planes, read_session
from .sources.remote.options import Reading, current_options, use_options

#: An address; or several, of the files that one session's planes have.
Recording = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]

# what a session is taken to need as long as none was read
_UNKNOWN = 1 << 28
# seconds: Ctrl-C is not seen in an endless wait everywhere
_TICK = 0.2
# seconds to wait for a thread whose connections were broken
_PATIENCE = 5.0


def read_recording(recording: Recording, config: ReadConfig | None = None) -> Session:
    """Read a recording of one file, or of several that are joined.

    Raises
    ------
    InputError
        As `read_session` and `read_planes`.
    """
    if isinstance(recording, (str, os.PathLike)):
        return read_session(recording, config)
    return read_session(recording[0], config) if len(recording) == 1 else read_planes(recording, config)


def read_ahead(
    recordings: Sequence[Recording],
    config: ReadConfig | None = None,
    *,
    ahead: int = 1,
    parallel: bool = False,
) -> ReadAhead:
    """Read recordings one after the other, the following ones in the background while one is used.

    Parameters
    ----------
    recordings : sequence
        An address each, or the addresses of the files that are joined.
    config : ReadConfig, optional
        What to read of each.
    ahead : int
        How many may be read, at most, beyond the one that was asked for; 0 for none, and no threads. None is begun
        unless as much memory as the largest session so far takes in a fit leaves half of what is available.
    parallel : bool
        Whether those ahead are begun right away, rather than when the one that is asked for has arrived.

    Returns
    -------
    ReadAhead
        An iterator of `Session`, in order, to be closed after use.

    Examples
    --------
    >>> with read_ahead(["mouse1.nwb", "mouse2.nwb"]) as sessions:  # doctest: +SKIP
    ...     for session in sessions:
    ...         (result,) = fit(session)
    """
    return ReadAhead(recordings, config, ahead=ahead, parallel=parallel)


class ReadAhead(Iterator[Session]):
    """Sessions in order; made by `read_ahead`.

    One that cannot be read raises its error when its turn has come; the next call goes on with the one after it.
    Remote options (`use_options`) are those in force where ``next`` is called.
    """

    def __init__(
        self, recordings: Sequence[Recording], config: ReadConfig | None, *, ahead: int, parallel: bool
    ) -> None:
        self._recordings, self._config = list(recordings), config
        self._ahead, self._parallel = ahead, parallel
        self._next = self._begun = 0
        self._tasks: dict[int, _Task] = {}
        self._largest = 0
        self._lock = threading.Lock()
        self._open: weakref.WeakSet[Reading] = weakref.WeakSet()
        self._ended = False

    def __next__(self) -> Session:
        if self._ended or self._next == len(self._recordings):
            raise StopIteration
        place = self._next
        self._next += 1
        if not self._ahead:
            return read_recording(self._recordings[place], self._config)
        if place == self._begun:
            self._begin()
        if self._parallel:
            self._begin_others()
        session = self._tasks.pop(place).session()
        self._largest = max(self._largest, memory.session_bytes(session))
        self._begin_others()
        return session

    def close(self) -> None:
        """Break off what is read in the background."""
        with self._lock:
            self._ended = True
            readers = list(self._open)
        for reader in readers:
            reader.close()
        for task in self._tasks.values():
            task.thread.join(_PATIENCE)
        self._tasks.clear()

    def __enter__(self) -> ReadAhead:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _begin_others(self) -> None:
        """Begin as many as may be ahead and fit into memory."""
        while self._begun < min(self._next + self._ahead, len(self._recordings)):
            wanted = (self._largest or _UNKNOWN) * (len(self._tasks) + 1)
            if not memory.fits(wanted, memory.available_memory()):
                return
            self._begin()

    def _begin(self) -> None:
        recording = self._recordings[self._begun]
        self._tasks[self._begun] = _Task(lambda: self._read(recording))
        self._begun += 1

    def _read(self, recording: Recording) -> Session:
        options = current_options()

        def opened(reader: Reading) -> None:
            with self._lock:
                self._open.add(reader)
                if self._ended:
                    reader.close()
            if options.on_open is not None:
                options.on_open(reader)

        with use_options(replace(options, on_open=opened)):
            return read_recording(recording, self._config)


class _Task:
    """One recording, read by a thread that never keeps the process from ending."""

    def __init__(self, read: Callable[[], Session]) -> None:
        self._read = read
        self._session: Session | None = None
        self._error: BaseException | None = None
        self._done = threading.Event()
        self.thread = threading.Thread(
            target=copy_context().run, args=(self._run,), name="recording-reader", daemon=True
        )
        self.thread.start()

    def session(self) -> Session:
        """Wait for the session and return it, or raise what kept it from being read."""
        while not self._done.wait(_TICK):
            pass
        if self._error is not None:
            raise self._error
        assert self._session is not None
        return self._session

    def _run(self) -> None:
        try:
            self._session = self._read()
        except BaseException as error:  # for the one who waits
            self._error = error
        finally:
            self._done.set()
