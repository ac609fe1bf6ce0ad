"""What the bytes of an object were when the whole of it was compared with its digest."""

from __future__ import annotations

from hashlib import blake2b

#: Bytes that share a hash: so many have to be had to check one of them.
BLOCK = 1 << 18


class Hashes:
    """A hash of every block, so that what is transferred later can be held against what was verified.

    A content need not be kept after it was verified: there may be no cache, or no room in it.
    """

    def __init__(self) -> None:
        self._blocks: list[bytes] = []
        self._last, self._length = _hash(), 0

    def add(self, content: bytes | bytearray | memoryview) -> None:
        """Take in the next bytes of the object, which may be any number."""
        view = memoryview(content)
        while view:
            part = view[: BLOCK - self._length]
            self._last.update(part)
            self._length += len(part)
            view = view[len(part) :]
            if self._length == BLOCK:
                self.end()

    def end(self) -> None:
        """Take the object to end here, or a block to do so."""
        if self._length:
            self._blocks.append(self._last.digest())
            self._last, self._length = _hash(), 0

    def agree(self, start: int, content: bytes | bytearray) -> bool:
        """Whether `content`, whole blocks that begin at the object's byte `start`, is what was verified."""
        view = memoryview(content)
        pieces = [view[at : at + BLOCK] for at in range(0, len(view), BLOCK)]
        first = start // BLOCK
        return [_hash(piece).digest() for piece in pieces] == self._blocks[first : first + len(pieces)]


def whole_blocks(start: int, stop: int, size: int) -> tuple[int, int]:
    """Return the range widened to whole blocks of an object of `size` bytes."""
    return start // BLOCK * BLOCK, min(-(-stop // BLOCK) * BLOCK, size)


def _hash(content: bytes | memoryview = b"") -> blake2b:
    return blake2b(content, digest_size=16, usedforsecurity=False)
