"""Which bytes of a contiguous dataset hold given regions of it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

#: A part of a dataset: one slice for each axis.
Region = tuple[slice, ...]
#: Where values are in a dataset, and the values.
Piece = tuple[Region, NDArray[Any]]

#: Bytes between two runs that are read along rather than left out: a request costs more.
GAP = 2**16
#: Bytes of one range, if a row is not longer: enough for a request, and few enough for all workers to have some.
RANGE = 2**20


@dataclass(frozen=True)
class Part:
    """A stretch of a dataset's bytes, and what of it is wanted."""

    start: int
    """First byte, counted from the dataset's."""
    stop: int
    """Byte after the last."""
    shape: tuple[int, ...]
    """Of the values in these bytes."""
    inside: Region
    """The wanted ones among them."""
    region: Region
    """Where these are in the dataset."""


def contiguous_ranges(regions: Sequence[Region], shape: tuple[int, ...], itemsize: int) -> list[Part]:
    """Return the stretches that together hold every region, in the order of the regions.

    Parameters
    ----------
    regions : sequence of tuple of slice
        Not empty, inside the dataset, with starts and stops.
    shape : tuple of int
        Of the dataset, which has at least one axis.
    itemsize : int
        Bytes of a value.
    """
    return [part for region in regions for part in _parts(region, shape, itemsize)]


def _parts(region: Region, shape: tuple[int, ...], itemsize: int) -> Iterator[Part]:
    read = list(region)
    strides = [itemsize * math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    # From the last axis on, read whole lines where the gaps between the wanted parts are short, ...
    axis = len(shape) - 1
    while axis > 0:
        line = shape[axis] * strides[axis]
        gap = line - (read[axis].stop - read[axis].start) * strides[axis]
        lines = read[axis - 1].stop - read[axis - 1].start
        if line > RANGE or (gap and (gap > GAP or lines == 1)):
            break
        read[axis] = slice(0, shape[axis])
        axis -= 1
    # ... so that along `axis` the bytes follow each other, for each place on the axes before it.
    step = max(1, RANGE // strides[axis])
    for before in itertools.product(*(range(part.start, part.stop) for part in read[:axis])):
        base = sum(at * stride for at, stride in zip(before, strides, strict=False))
        for low in range(read[axis].start, read[axis].stop, step):
            high = min(low + step, read[axis].stop)
            inner = region[axis + 1 :]
            yield Part(
                start=base + low * strides[axis],
                stop=base + high * strides[axis],
                shape=(1,) * axis + (high - low,) + shape[axis + 1 :],
                inside=(slice(None),) * (axis + 1) + inner,
                region=(*(slice(at, at + 1) for at in before), slice(low, high), *inner),
            )
