"""Threads that get what they are told to, and the memory that what they got may take."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable


class Budget:
    """Bytes that all readers of this process together may hold."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken = 0

    def take(self, n: int, bound: int, *, force: bool) -> bool:
        """Take `n` bytes unless that exceeds `bound`; by force in any case.

        Nobody waits for another reader's bytes, so two readers whose consumer takes from both in turn cannot block
        each other: one that has nothing under way takes by force.
        """
        with self._lock:
            if self._taken + n > bound and not force:
                return False
            self._taken += n
            return True

    def give_back(self, n: int) -> None:
        """Return `n` bytes."""
        with self._lock:
            self._taken -= n


#: The one budget of this process.
BUDGET = Budget()


class Pool:
    """Up to `size` threads, started when there is work; they never keep the process from ending."""

    def __init__(self, size: int, name: str) -> None:
        self._size, self._name = size, name
        self._tasks: deque[Callable[[bool], None]] = deque()
        self._threads: list[threading.Thread] = []
        self._idle = 0
        self._changed = threading.Condition()
        self._closed = False

    def submit(self, task: Callable[[bool], None]) -> None:
        """Have a thread call ``task(False)``; or, if the pool closes before, ``task(True)`` by whoever closes it."""
        with self._changed:
            if not self._closed:
                self._tasks.append(task)
                if self._idle < len(self._tasks) and len(self._threads) < self._size:
                    thread = threading.Thread(target=self._work, name=self._name, daemon=True)
                    self._threads.append(thread)
                    thread.start()
                self._changed.notify()
                return
        task(True)

    def close(self) -> None:
        """Take no more tasks, and tell those that wait."""
        with self._changed:
            self._closed = True
            left = list(self._tasks)
            self._tasks.clear()
            self._changed.notify_all()
        for task in left:
            task(True)

    def join(self, seconds: float) -> None:
        """Wait for the threads to end, but not longer than `seconds`."""
        until = time.monotonic() + seconds
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, until - time.monotonic()))

    def _work(self) -> None:
        while True:
            with self._changed:
                self._idle += 1
                while not self._tasks and not self._closed:
                    self._changed.wait()
                self._idle -= 1
                if self._closed:
                    return
                task = self._tasks.popleft()
            task(False)
            del task  # or what it refers to stays alive until the next one
