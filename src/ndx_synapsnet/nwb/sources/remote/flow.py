"""From requests that threads answer to ranges that one consumer takes, within a bound of memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from queue import SimpleQueue

from .plan import Piece, Request
from .pool import BUDGET, Pool
from .transport import Closed

Content = bytes | bytearray


class Flow:
    """One consumer's ranges on their way.

    Parameters
    ----------
    ranges : sequence of (start, stop)
        What is wanted.
    requests : sequence of Request
        What gets it, see `plan`.
    get : callable
        Returns the content of a request; called on the pool's threads.
    pool : Pool
        The threads.
    bound : int
        Bytes that all readers together may have requested but not handed on.
    """

    def __init__(
        self,
        ranges: Sequence[tuple[int, int]],
        requests: Sequence[Request],
        *,
        get: Callable[[Request], Content],
        pool: Pool,
        bound: int,
    ) -> None:
        self._ranges, self._get, self._pool, self._bound = ranges, get, pool, bound
        self._waiting = deque(requests)
        self._answers: SimpleQueue[tuple[Request, Content | BaseException]] = SimpleQueue()
        self._under_way = 0
        self._held = 0
        self._left = False
        self._assembling: dict[int, tuple[bytearray, int]] = {}

    def as_they_arrive(self) -> Iterator[tuple[int, bytes]]:
        """Yield the number and content of each range, whichever is there first."""
        try:
            yield from ((i, b"") for i, (start, stop) in enumerate(self._ranges) if start == stop)
            while self._submit():
                request, answer = self._answers.get()
                self._under_way -= 1
                if isinstance(answer, BaseException):
                    raise answer
                # from here on what counts is not the request but the ranges that it is part of
                self._hold(sum(piece.size for piece in request.pieces) - request.size)
                for piece in request.pieces:
                    if (whole := self._assembled(piece, request, answer)) is not None:
                        yield piece.number, whole
                        self._hold(-len(whole))
                del answer
        finally:
            self._left = True  # what is still queued need not be got
            self._hold(-self._held)

    def in_order(self) -> Iterator[tuple[int, bytes]]:
        """Yield the number and content of each range, in their order."""
        early: dict[int, bytes] = {}
        following = 0
        for index, whole in self.as_they_arrive():
            early[index] = whole
            self._hold(len(whole))  # `as_they_arrive` takes it for handed on
            while following in early:
                given = early.pop(following)
                yield following, given
                self._hold(-len(given))
                following += 1

    def _submit(self) -> bool:
        """Have as much requested as there is room for; False if nothing is left to wait for."""
        while self._waiting:
            request = self._waiting[0]
            if not BUDGET.take(request.size, self._bound, force=not self._under_way):
                break
            self._held += request.size
            self._under_way += 1
            self._pool.submit(self._task(self._waiting.popleft()))
        return self._under_way > 0

    def _task(self, request: Request) -> Callable[[bool], None]:
        def task(closed: bool) -> None:
            if self._left:
                return
            try:
                if closed:
                    raise Closed
                answer: Content | BaseException = self._get(request)
            except BaseException as error:  # for the consumer to raise
                answer = error
            self._answers.put((request, answer))

        return task

    def _assembled(self, piece: Piece, request: Request, answer: Content) -> bytes | None:
        """Return a range's content, if `piece` was the last that it lacked."""
        start, stop = self._ranges[piece.number]
        if piece.size == stop - start:
            return bytes(memoryview(answer)[piece.start - request.start : piece.stop - request.start])
        buffer, lacking = self._assembling.pop(piece.number, (None, stop - start))
        if buffer is None:
            buffer = bytearray(stop - start)
        # the view is a temporary: no copy in between
        buffer[piece.at : piece.at + piece.size] = memoryview(answer)[
            piece.start - request.start : piece.stop - request.start
        ]
        if lacking > piece.size:
            self._assembling[piece.number] = (buffer, lacking - piece.size)
            return None
        return bytes(buffer)

    def _hold(self, n: int) -> None:
        self._held += n
        BUDGET.give_back(-n)
