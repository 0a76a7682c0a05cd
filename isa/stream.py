"""Streams: the affine access patterns through which every unit touches a memory.

A stream is *stateless*: its address is an affine function of the counters of the enclosing hardware
loops, so the same descriptor serves an address generator, the checker's interval arithmetic and a
strided NumPy view.

    address = base + sum(strides[l] * counter[l])                          loops of this queue
            + ring.size * ((ring.start + sum(ring.steps[l] * counter[l])) mod ring.slots)
            + sum(i[d] * dims[d].stride)             0 <= i[d] < dims[d].extent(counters)

All addresses and strides are in bytes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from operator import mul

from isa.dtypes import DType

MAX_LOOPS = 12
MAX_DIMS = 4


class Space(IntEnum):
    """The memories."""

    dram = 0
    spad = 1


class Operand(IntEnum):
    """What the words are to the layer they belong to; reports count accesses by it."""

    none = 0
    X = 1
    W = 2
    Y = 3
    dX = 4
    dW = 5
    dY = 6
    velocity = 7


def reach(dims: Iterable[tuple[int, int]]) -> tuple[int, int]:
    """From the first word's address, that of the lowest and that of the highest word of (count, stride) dimensions; no count is 0."""
    lasts = [(count - 1) * stride for count, stride in dims]
    return sum(min(0, last) for last in lasts), sum(max(0, last) for last in lasts)


@dataclass(frozen=True, slots=True)
class Dim:
    """One dimension inside a single access: ``count`` words, ``stride`` bytes apart.

    With ``limit`` the dimension is clipped at the ragged edge of a tensor: loop ``level`` walks over
    ``limit`` words in steps of ``count``, and the last turn sees only what is left.
    """

    count: int
    stride: int
    limit: int | None = None
    level: int = 0

    def extent(self, counters: Sequence[int]) -> int:
        """Words of this dimension at the given loop counters."""
        if self.limit is None:
            return self.count
        return min(self.count, self.limit - self.count * counters[self.level])


@dataclass(frozen=True, slots=True)
class Ring:
    """A ring of ``slots`` buffers of ``size`` bytes; ``steps[l]`` slots are stepped per turn of loop l."""

    slots: int
    size: int
    start: int
    steps: tuple[int, ...]

    def offset(self, counters: Sequence[int]) -> int:
        """Byte offset of the slot in use."""
        turns: int = sum(map(mul, self.steps, counters))
        return self.size * ((self.start + turns) % self.slots)


@dataclass(frozen=True, slots=True)
class Stream:
    """One access pattern (see the module's docstring).

    ``strides`` has one entry for each enclosing loop from the outermost; missing ones are 0.
    ``dims`` run from the outermost to the innermost. An array port's are its lanes, numbered through in that order; those of a tile of
    the chains are its rows, likewise, and last its columns.
    ``symbol`` names the symbol that ``base`` lies in, for people; it changes nothing.
    """

    space: Space
    dtype: DType
    base: int
    dims: tuple[Dim, ...]
    strides: tuple[int, ...] = ()
    ring: Ring | None = None
    operand: Operand = Operand.none
    symbol: str | None = None

    def address(self, counters: Sequence[int]) -> int:
        """Byte address of the first word at the given loop counters."""
        here: int = self.base + sum(map(mul, self.strides, counters))
        return here + (self.ring.offset(counters) if self.ring else 0)

    def shape(self, counters: Sequence[int]) -> tuple[int, ...]:
        """Words in each dimension at the given loop counters, edges clipped."""
        return tuple(dim.extent(counters) for dim in self.dims)
