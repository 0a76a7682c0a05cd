"""The parts of a memory that instructions touch, counted in granules: the largest unit that divides all words of the memory."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from isa.check.findings import Findings
from isa.instructions import Field, Instruction
from isa.sequencer import turns
from isa.stream import Space, Stream


class Memories(NamedTuple):
    """How the memories of a program are divided."""

    granules: dict[Space, int]
    """Bytes of a granule of each."""
    sizes: dict[Space, int]
    """Granules of each."""

    @classmethod
    def of(cls, findings: Findings) -> Self:
        """Those of the program."""
        words: dict[Space, set[int]] = {space: set() for space in Space}
        for site in findings.all_sites():
            for _, stream in site.streams:
                words[stream.space].add(stream.dtype.size)
        granules = {space: math.gcd(*sizes) or 4 for space, sizes in words.items()}
        nbytes = {Space.dram: findings.program.dram_bytes, Space.spad: findings.program.machine.scratchpad.bytes}
        return cls(granules, {space: -(-size // granules[space]) for space, size in nbytes.items()})


Dims = tuple[tuple[int, int], ...]
"""(count, stride in bytes) of each dimension of a region."""


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """A region's granules relative to its lowest one, in the fewest dimensions; :func:`layout` makes no two that are equal."""

    shift: int
    """Bytes from the stream's address to the lowest word."""
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    span: int
    """One after the last granule."""


@cache
def layout(dims: Dims, size: int, granule: int) -> Layout:
    """The layout of words of ``size`` bytes."""
    shift = sum(stride * (count - 1) for count, stride in dims if stride < 0)
    moving = sorted((abs(stride), count) for count, stride in (*dims, (size // granule, granule)) if count > 1 and stride)
    merged: list[list[int]] = []
    for stride, count in moving:
        if merged and stride == merged[-1][0] * merged[-1][1]:
            merged[-1][1] *= count
        else:
            merged.append([stride, count])
    merged.reverse()
    shape, strides = tuple(count for _, count in merged), tuple(stride // granule for stride, _ in merged)
    return Layout(shift, shape, strides, 1 + sum((count - 1) * stride for count, stride in zip(shape, strides, strict=True)))


class Region(NamedTuple):
    """A strided part of a memory."""

    at: int
    layout: Layout

    @property
    def end(self) -> int:
        """One after the last granule."""
        return self.at + self.layout.span

    def view(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The region's part of an array with an entry for each granule of the memory."""
        size = array.itemsize
        return np.ndarray(
            self.layout.shape, array.dtype, array, self.at * size, tuple(stride * size for stride in self.layout.strides)
        )  # fmt: skip

    def overlaps(self, other: "Region") -> bool:
        """Whether the two share a granule of one memory."""
        return self.at < other.end and other.at < self.end and meet(other.at - self.at, self.layout, other.layout)


@lru_cache(maxsize=1 << 12)
def meet(offset: int, layout: Layout, other: Layout) -> bool:
    """Whether a region shares a granule with another one that begins so many granules after it."""
    return bool(np.isin(_cells(layout), _cells(other) + offset).any())


def _cells(layout: Layout) -> npt.NDArray[np.int64]:
    cells = np.zeros(1, np.int64)
    for count, stride in zip(layout.shape, layout.strides, strict=True):
        cells = np.add.outer(cells, np.arange(count) * stride).ravel()
    return cells


class Port:
    """A stream of one instruction, ready to say which region it touches."""

    __slots__ = ("_fixed", "_granule", "_layouts", "_loops", "_moves", "_steps", "_stream", "reads", "space", "sums", "writes")

    def __init__(self, stream: Stream, field: Field, loops: tuple[Instruction, ...], granule: int) -> None:
        self.space, self.reads, self.writes, self.sums = stream.space, field.reads, field.writes, field.name == "acc"
        self._stream, self._loops, self._granule = stream, loops, granule
        self._moves = [(level, stride) for level, stride in enumerate(stream.strides) if stride]
        self._steps = [(level, step) for level, step in enumerate(stream.ring.steps if stream.ring else ()) if step]
        self._fixed = all(dim.limit is None for dim in stream.dims) and not any(loop["limit"] for loop in loops)
        self._layouts: dict[int, Layout] = {}
        """By the level from which on loops are taken whole, where nothing is clipped."""

    def region(self, whole: int, counters: Sequence[int]) -> Region:
        """What it touches at these counters, over all turns of the loops from level ``whole`` on."""
        stream, granule = self._stream, self._granule
        found = self._layouts.get(whole)
        if found is None:
            dims: Dims = tuple((dim.extent(counters), dim.stride) for dim in stream.dims)
            dims += tuple(
                (turns(loop, counters), stride) for loop, stride in zip(self._loops[whole:], stream.strides[whole:], strict=False)
            )
            found = layout(dims, stream.dtype.size, granule)
            if self._fixed:
                self._layouts[whole] = found
        at = stream.base + found.shift
        for level, stride in self._moves:
            at += stride * counters[level]
        if stream.ring:
            slot = stream.ring.start
            for level, step in self._steps:
                slot += step * counters[level]
            at += stream.ring.size * (slot % stream.ring.slots)
        return Region(at // granule, found)


class Written:
    """Which granules were ever written."""

    def __init__(self, granules: int) -> None:
        self._flags = np.zeros(granules, np.bool_)
        self._whole: set[tuple[int, Layout]] = set()
        """Regions known to be written as a whole: most are touched many times."""

    def covers(self, region: Region) -> bool:
        """Whether all of the region was written."""
        key = region.at, region.layout
        if key in self._whole:
            return True
        if not region.view(self._flags).all():
            return False
        self._whole.add(key)
        return True

    def note(self, region: Region) -> None:
        """It is written now."""
        key = region.at, region.layout
        if key not in self._whole:
            region.view(self._flags)[...] = True
            self._whole.add(key)
