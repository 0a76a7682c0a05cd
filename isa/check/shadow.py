"""Shadow memory: for every granule of a memory, who wrote it last and who has read it since, with vector clocks.

A *clock* is a list with one entry per queue: how far the work of that queue is known to be finished.  An access is stamped with its
queue's own entry; a later access by another queue is ordered after it only if that queue's clock has reached the stamp.
"""

import math
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from isa.instructions import Queue

_SITE_BITS = 20
NEVER = 0

Dims = tuple[tuple[int, int], ...]
"""(count, stride in bytes) of each dimension of a region."""


@lru_cache(maxsize=1 << 14)
def layout(dims: Dims, size: int, granule: int) -> tuple[int, tuple[int, ...], tuple[int, ...]]:
    """(bytes from the address to the lowest word, shape, strides in granules) of words of ``size`` bytes, in the fewest dimensions."""
    shift = sum(stride * (count - 1) for count, stride in dims if stride < 0)
    moving = sorted((abs(stride), count) for count, stride in (*dims, (size // granule, granule)) if count > 1 and stride)
    merged: list[list[int]] = []
    for stride, count in moving:
        if merged and stride == merged[-1][0] * merged[-1][1]:
            merged[-1][1] *= count
        else:
            merged.append([stride, count])
    merged.reverse()
    return shift, tuple(count for _, count in merged), tuple(stride // granule for stride, _ in merged)


class Shadow:
    """Who wrote and read the granules of one memory of ``size`` bytes; ``readers`` are the queues that ever read it."""

    def __init__(self, size: int, granule: int, readers: Iterable[Queue]) -> None:
        self.granule = granule
        granules = -(-size // granule)
        self.writer = np.zeros(granules, np.uint8)
        """Queue of the last write plus 1, or NEVER."""
        self.written = np.zeros(granules, np.int64)
        """Stamp of the last write."""
        self.read = {queue: np.zeros(granules, np.int64) for queue in readers}
        """Stamps of the last reads."""

    def region(self, address: int, dims: Dims, size: int) -> "Region":
        """The granules of words of ``size`` bytes in these dimensions."""
        shift, shape, strides = layout(dims, size, self.granule)
        return Region(self, (address + shift) // self.granule, shape, strides)


class Region:
    """A strided part of a shadow memory."""

    __slots__ = ("at", "shadow", "shape", "strides")

    def __init__(self, shadow: Shadow, at: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> None:
        self.shadow, self.at, self.shape, self.strides = shadow, at, shape, strides

    @property
    def end(self) -> int:
        """One after the last granule."""
        return self.at + sum((count - 1) * stride for count, stride in zip(self.shape, self.strides, strict=True)) + 1

    def view(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The region's part of one of the shadow's arrays."""
        size = array.itemsize
        return np.ndarray(self.shape, array.dtype, array, self.at * size, tuple(stride * size for stride in self.strides))

    def overlaps(self, other: "Region") -> bool:
        """Whether the two regions share a granule."""
        if self.end <= other.at or other.end <= self.at:
            return False
        return _meet(other.at - self.at, self.shape, self.strides, other.shape, other.strides)

    def unwritten(self) -> bool:
        """Whether any of it was never written."""
        return not self.view(self.shadow.writer).all()

    def unordered_write(self, clock: list[int]) -> tuple[Queue, int] | None:
        """Queue and site of a write that is not known to be finished."""
        bounds = np.array([1 << 62, *(_stamp(time + 1, 0) for time in clock)])
        stamps = self.view(self.shadow.written)
        late = stamps >= bounds.take(self.view(self.shadow.writer))
        if not late.any():
            return None
        where = np.unravel_index(int(np.argmax(late)), late.shape)
        return Queue(int(self.view(self.shadow.writer)[where]) - 1), _site(int(stamps[where]))

    def unordered_read(self, clock: list[int], queue: Queue) -> tuple[Queue, int] | None:
        """Queue and site of a read by another queue that is not known to be finished."""
        for reader, stamps in self.shadow.read.items():
            if reader is not queue:
                view = self.view(stamps)
                latest = int(view.max())
                if latest >= _stamp(clock[reader] + 1, 0):
                    return reader, _site(latest)
        return None

    def note_write(self, queue: Queue, clock: list[int], site: int) -> None:
        """This queue writes it now."""
        self.view(self.shadow.writer)[...] = queue + 1
        self.view(self.shadow.written)[...] = _stamp(clock[queue], site)

    def note_read(self, queue: Queue, clock: list[int], site: int) -> None:
        """This queue reads it now."""
        self.view(self.shadow.read[queue])[...] = _stamp(clock[queue], site)


def _stamp(time: int, site: int) -> int:
    return time << _SITE_BITS | min(site, (1 << _SITE_BITS) - 1)


def _site(stamp: int) -> int:
    return stamp & (1 << _SITE_BITS) - 1


@lru_cache(maxsize=1 << 12)
def _meet(offset: int, shape: tuple[int, ...], strides: tuple[int, ...], other_shape: tuple[int, ...], other: tuple[int, ...]) -> bool:
    first, second = _cells(shape, strides), _cells(other_shape, other) + offset
    return bool(np.isin(first, second).any())


def _cells(shape: tuple[int, ...], strides: tuple[int, ...]) -> npt.NDArray[np.int64]:
    cells = np.zeros(1, np.int64)
    for count, stride in zip(shape, strides, strict=True):
        cells = np.add.outer(cells, np.arange(count) * stride).ravel()
    return cells


def granule_of(sizes: Iterable[int]) -> int:
    """The largest granule that divides words of all these sizes."""
    return math.gcd(*sizes) or 4
