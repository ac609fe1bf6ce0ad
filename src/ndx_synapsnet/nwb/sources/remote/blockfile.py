"""A remote object as a file for h5py: blocks for metadata, and whole levels of a chunk index at a time."""

from __future__ import annotations

import gc
import io
import itertools
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakValueDictionary

from .chunk_index import Child, children_of, is_inner_tree_node
from .fetch import RangeReader

#: Bytes fetched at once where a small read falls on nothing known; a run of neighbours is fetched in larger steps.
BLOCK = 1 << 18
_LONGEST_RUN = 16
#: Reads larger than this are data: they go past the blocks, in parallel.
_DATA = 1 << 20

_NUMBERS = itertools.count(1)
_OPEN: WeakValueDictionary[str, BlockFile] = WeakValueDictionary()


class BlockFile(io.RawIOBase):
    """A read-only file on a `RangeReader`, which the caller closes; known to `block_file_of` until it is closed.

    Indices of chunks lie scattered among the data. HDF5 walks them one small node after the other, a round trip each;
    so when an inner node is read, all its children are fetched together, each with no more than its own bytes.

    Parameters
    ----------
    reader : RangeReader
        The object.
    memory : int
        Bytes of blocks and of index nodes, each, that are held.
    """

    def __init__(self, reader: RangeReader, *, memory: int = 32 << 20) -> None:
        super().__init__()
        self.reader = reader
        self._name = f"<remote {next(_NUMBERS)}: {reader.uri.encode('ascii', 'backslashreplace').decode()}>"
        self._lock = threading.RLock()
        self._position = 0
        self._blocks = _Held(memory)
        self._nodes = _Held(memory)
        self._families: dict[int, _Family] = {}
        self._following, self._run = -1, 1
        self._deep = False
        _OPEN[self._name] = self

    def __repr__(self) -> str:  # h5py makes the file's name of it
        return self._name

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Set the position, and return it."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.reader.size}[whence]
        if base + offset < 0:
            raise ValueError(f"position {base + offset} is negative")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: Any, /) -> int:
        """Fill `buffer` from the position on; return the bytes read: fewer only at the end.

        Raises
        ------
        InputError
            If the bytes cannot be had.
        """
        view = memoryview(buffer).cast("B")
        with self._lock, _no_garbage_collection():
            start = self._position
            length = max(0, min(len(view), self.reader.size - start))
            if length:
                view[:length] = content = self._content(start, start + length)
                self._look_ahead(content, start)
            self._position = start + length
        return length

    @contextmanager
    def whole_index(self) -> Iterator[None]:
        """Announce that an index is walked from end to end in this block: all its levels are fetched at once."""
        self._deep = True
        try:
            yield
        finally:
            self._deep = False

    def close(self) -> None:
        """Forget what is held; the reader stays open."""
        _OPEN.pop(self._name, None)
        self._blocks.clear()
        self._nodes.clear()
        super().close()

    # -- content

    def _content(self, start: int, stop: int) -> bytes | memoryview:
        node = self._nodes.get(start)
        if node is not None and len(node) >= stop - start:
            return memoryview(node)[: stop - start]
        if stop - start > _DATA:
            return self.reader.read(start, stop)
        first, last = start // BLOCK, (stop - 1) // BLOCK
        # held on to before others arrive, which may take their place
        parts = {i: block for i in range(first, last + 1) if (block := self._blocks.get(i)) is not None}
        if missing := [i for i in range(first, last + 1) if i not in parts]:
            parts |= self._fetched(missing[0], missing[-1])
        joined = parts[first] if first == last else b"".join(parts[i] for i in range(first, last + 1))
        return memoryview(joined)[start - first * BLOCK : stop - first * BLOCK]

    def _fetched(self, first: int, last: int) -> dict[int, bytes]:
        """Get the blocks from `first` to `last`, and more if reads have gone on one after the other."""
        self._run = min(2 * self._run, _LONGEST_RUN) if first == self._following else 1
        last = max(last, first + self._run - 1)
        self._following = last + 1
        start = first * BLOCK
        content = self.reader.read(start, min(self.reader.size, (last + 1) * BLOCK))
        blocks = {first + at // BLOCK: content[at : at + BLOCK] for at in range(0, len(content), BLOCK)}
        for number, block in blocks.items():
            self._blocks.put(number, block)
        return blocks

    # -- chunk indices

    def _look_ahead(self, content: bytes | memoryview, start: int) -> None:
        """If `content` is a node of a chunk index, fetch what HDF5 will ask for next."""
        node = bytes(content[:4])
        if node not in (b"TREE", b"EAIB", b"EASB"):
            return
        node = bytes(content)
        wanted = children_of(node, self.reader.size)
        if not wanted:
            return
        family = self._families.get(start)
        if family is not None and family.is_walked(start):
            wanted += [c for sibling in family.members if (held := self._nodes.get(sibling)) is not None
                       for c in children_of(held, self.reader.size)]  # fmt: skip
        if is_inner_tree_node(node, above=1):
            family = _Family(tuple(child.start for child in wanted))
            self._families.update(dict.fromkeys(family.members, family))
        arrived = self._fetch_nodes(wanted)
        while self._deep and arrived:
            arrived = self._fetch_nodes(child for one in arrived for child in children_of(one, self.reader.size))

    def _fetch_nodes(self, wanted: Iterable[Child]) -> list[bytes]:
        lacking = {
            child.start: child
            for child in wanted
            if child.start not in self._nodes and not self._in_blocks(child.start, child.stop)
        }
        children = sorted(lacking.values())
        arrived = []
        for index, content in self.reader.fetch([(child.start, child.stop) for child in children]):
            self._nodes.put(children[index].start, content)
            arrived.append(content)
        return arrived

    def _in_blocks(self, start: int, stop: int) -> bool:
        return start // BLOCK in self._blocks and (stop - 1) // BLOCK in self._blocks


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Let no thread begin to collect garbage in this block.

    h5py holds its lock while it reads, and freeing a h5py object takes that lock: a thread that came upon one while it
    gets the bytes that this read waits for would wait for this read.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class _Held:
    """Byte strings by number, within a bound: those unused for longest are given up."""

    def __init__(self, bound: int) -> None:
        self._bound, self._size = bound, 0
        self._items: OrderedDict[int, bytes] = OrderedDict()

    def __contains__(self, number: int) -> bool:
        return number in self._items

    def get(self, number: int) -> bytes | None:
        item = self._items.get(number)
        if item is not None:
            self._items.move_to_end(number)
        return item

    def put(self, number: int, item: bytes) -> None:
        self._size += len(item) - len(self._items.pop(number, b""))
        self._items[number] = item
        while self._size > self._bound and len(self._items) > 1:
            self._size -= len(self._items.popitem(last=False)[1])

    def clear(self) -> None:
        self._items.clear()
        self._size = 0


class _Family:
    """The children of one inner node that are inner nodes themselves."""

    def __init__(self, members: tuple[int, ...]) -> None:
        self.members = members
        self._read: set[int] = set()

    def is_walked(self, member: int) -> bool:
        """Count a read of `member`; whether others were read before, so that all are likely to be."""
        self._read.add(member)
        return len(self._read) > 1


def block_file_of(item: Any) -> BlockFile | None:
    """Return the `BlockFile` that an h5py file, group or dataset is read from; None if it is not a remote one."""
    try:
        name = item.file.filename
    except (AttributeError, ValueError):  # no h5py object, or a closed one
        return None
    return _OPEN.get(name)
