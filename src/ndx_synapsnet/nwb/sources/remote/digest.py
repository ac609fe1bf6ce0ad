"""Whether an object is, byte for byte, the one that the archive's digest was made of."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import md5, sha256
from typing import TYPE_CHECKING

from ....errors import InputError
from .options import MIB
from .verified import Hashes

if TYPE_CHECKING:
    from .fetch import RangeReader

_BLOCK = 4 * MIB


def verify_digest(reader: RangeReader, digest: str) -> Hashes:
    """Compare the whole content with a digest; reads all of it, through the reader's cache.

    Parameters
    ----------
    reader : RangeReader
        The object.
    digest : str
        ``sha256:`` and 64 hexadecimal digits, or ``dandi-etag:`` and the checksum of the parts that DANDI uploads in.

    Returns
    -------
    Hashes
        Of the content, block by block.

    Raises
    ------
    InputError
        If the content has another digest, or the digest is of another kind.
    """
    kind, _, stated = digest.partition(":")
    hashes = Hashes()
    if kind == "sha256":
        whole = sha256()
        for block in _blocks(reader, hashes):
            whole.update(block)
        found = whole.hexdigest()
    elif kind == "dandi-etag":
        found = _dandi_etag(reader, hashes)
    else:
        raise InputError(
            f"its digest is of a kind that cannot be checked here ({kind})",
            where=reader.uri,
            remedy="Leave out --verify",
        )
    if found != stated.strip().lower():
        raise InputError(
            f"the content is damaged: its {kind} is {found}, the archive's record says {stated}",
            where=reader.uri,
            remedy="Try again; if it stays so, tell the archive",
        )
    hashes.end()
    return hashes


def _dandi_etag(reader: RangeReader, hashes: Hashes) -> str:
    from dandischema.digests.dandietag import DandiETag

    parts = list(DandiETag(reader.size).get_parts())
    blocks = _blocks(reader, hashes)
    digests, carried = [], memoryview(b"")
    for part in parts:
        one, lacking = md5(usedforsecurity=False), part.size
        while lacking:
            block = carried or memoryview(next(blocks))
            one.update(block[:lacking])
            carried, lacking = block[lacking:], lacking - min(lacking, len(block))
        digests.append(one.digest())
    return f"{md5(b''.join(digests), usedforsecurity=False).hexdigest()}-{len(parts)}"


def _blocks(reader: RangeReader, hashes: Hashes) -> Iterator[bytes]:
    ranges = [(at, min(at + _BLOCK, reader.size)) for at in range(0, reader.size, _BLOCK)]
    for _, block in reader.fetch(ranges, ordered=True):
        hashes.add(block)
        yield block
