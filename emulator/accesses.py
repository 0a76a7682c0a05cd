"""What a stream touches in each turn of a repetition, and which turn of another access it meets there."""

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from operator import mul

import numpy as np

from emulator.memory import Array, Memory
from emulator.nest import injective
from emulator.script import Advance, Step
from isa.dtypes import DType
from isa.stream import MAX_LOOPS, Space, Stream, reach


class Unclear(Exception):  # noqa: N818 - no error: the turns are then executed one by one
    """It cannot be shown that turns can be executed at once."""


@dataclass(frozen=True, slots=True)
class Register:
    """One of an array's: w_next, w, g or g_out."""

    name: str
    array: int = 0


Pattern = tuple[Space, DType, tuple[tuple[int, int], ...], int, int, int, int, int]
"""An access but for its base."""


@dataclass(frozen=True, slots=True)
class Access:
    """The words that an operand touches: ``dims`` as (count, stride), from ``base`` in turn 0 on, ``shift`` bytes further each turn.

    In a ring, turn t uses slot (phase + step·t) mod slots.
    """

    base: int
    space: Space
    dtype: DType
    dims: tuple[tuple[int, int], ...]
    shift: int
    slots: int = 1
    pitch: int = 0
    phase: int = 0
    step: int = 0

    @property
    def pattern(self) -> Pattern:
        return self.space, self.dtype, self.dims, self.shift, self.slots, self.pitch, self.phase, self.step

    @property
    def period(self) -> int:
        """Turns after which the slot is the same."""
        return self.slots // math.gcd(self.slots, self.step)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(count for count, _ in self.dims)

    @property
    def low(self) -> int:
        """Lowest byte, as seen from the turn's address."""
        return _bounds(self.dims)[0]

    @property
    def high(self) -> int:
        """One after the highest byte."""
        return _bounds(self.dims)[1] + self.dtype.size

    def address(self, turn: int) -> int:
        return self.base + self.shift * turn + self.pitch * ((self.phase + self.step * turn) % self.slots)

    def span(self, turns: int) -> tuple[int, int]:
        """Lowest byte, and one after the highest, of all turns."""
        first, last = sorted((self.base, self.base + self.shift * (turns - 1)))
        return first + self.low, last + self.high + self.pitch * (self.slots - 1)

    @property
    def order(self) -> tuple[int, ...] | None:
        """The dimensions as they lie in memory, if the words are one run in that order."""
        order = sorted(range(len(self.dims)), key=lambda axis: -self.dims[axis][1])
        run = self.dtype.size
        for axis in reversed(order):
            count, stride = self.dims[axis]
            if count > 1 and stride != run:
                return None
            run *= count
        return tuple(order)

    def view(self, memory: Memory, first: int, turns: int) -> Array:
        """The words of some turns, in place: shape ``(turns, *shape)``; one for all where they are the same.

        Raises:
            Unclear: the turns' slots differ, or the access leaves the memory (which the turn that does says better).
        """
        if turns > 1 and self.period > 1:
            raise Unclear
        lead = turns if self.shift else 1
        strides = (self.shift, *(stride for _, stride in self.dims))
        try:
            return np.ndarray((lead, *self.shape), self.dtype.numpy, memory.bytes, self.address(first), strides)
        except (TypeError, ValueError) as error:
            raise Unclear from error


_bounds = lru_cache(1 << 12)(reach)


def access(stream: Stream, step: Step, advance: Advance | None, loops: Sequence[tuple[int, int]] = ()) -> Access:
    """Of a step's stream; ``loops`` are (level, turns) of the nest's loops, whose turns become dimensions."""
    counters, strides = step.counters, stream.strides
    level, moved = (advance.level, advance.turns) if advance else (MAX_LOOPS, 0)
    here = stream.base + sum(map(mul, strides, counters))
    dims = tuple([(dim.count if dim.limit is None else dim.extent(counters), dim.stride) for dim in stream.dims])
    if loops:
        dims = (*[(turns, strides[inner] if inner < len(strides) else 0) for inner, turns in loops], *dims)
    if any(count <= 0 for count, _ in dims):
        raise Unclear
    shift = strides[level] * moved if level < len(strides) else 0
    ring = stream.ring
    if ring is None:
        return Access(here, stream.space, stream.dtype, dims, shift)
    phase = (ring.start + sum(map(mul, ring.steps, counters))) % ring.slots
    slots = ring.steps[level] * moved % ring.slots if level < len(ring.steps) else 0
    if not slots:
        return Access(here + ring.size * phase, stream.space, stream.dtype, dims, shift)
    return Access(here, stream.space, stream.dtype, dims, shift, ring.slots, ring.size, phase, slots)


def turns_between(write: Access | Register, read: Access | Register, before: bool, turns: int) -> int | None:
    """How many turns before each turn of ``read`` the last turn of ``write`` lies that it meets; None: it meets none.

    ``before``: within a turn the write comes first.

    Raises:
        Unclear: that is not the same in all turns, or takes more than a look at the addresses' bounds to tell.
    """
    if isinstance(write, Register) or isinstance(read, Register):
        return (0 if before else 1) if write == read else None
    distance = _distance(write.pattern, read.pattern, write.base - read.base, 0 if before else 1, turns)
    if isinstance(distance, Unclear):
        raise distance
    return distance


@lru_cache(1 << 14)
def _distance(write: Pattern, read: Pattern, apart: int, first: int, turns: int) -> int | Unclear | None:
    """As above, for patterns whose bases lie so many bytes apart; ``first`` is the least distance."""
    try:
        return _find_distance(Access(apart, *write), Access(0, *read), first, turns)
    except Unclear as unclear:
        return unclear


def _find_distance(write: Access, read: Access, first: int, turns: int) -> int | None:
    if write.space is not read.space:
        return None
    (low, high), (other_low, other_high) = write.span(turns), read.span(turns)
    if high <= other_low or other_high <= low:
        return None
    if write.shift != read.shift:
        raise Unclear
    if write.shift == 0:
        return _in_slots(write, read, first)
    if write.period > 1 or read.period > 1:
        raise Unclear
    with suppress(Unclear):
        ahead = turns_ahead(write, read, turns)
        return ahead if ahead is not None and first <= ahead < turns else None
    apart = write.address(0) - read.address(0)
    # In a turn d turns before, the write lies between these bytes of the read: they meet if low < d·shift < high.
    low, high = apart + write.low - read.high, apart + write.high - read.low
    if write.shift < 0:
        low, high = -high, -low
    distance = max(first, low // abs(write.shift) + 1)
    return distance if distance * abs(write.shift) < high and distance < turns else None


def turns_ahead(one: Access, other: Access, turns: int) -> int | None:
    """So many turns later the other access touches what this one touches; None: in no turn any of it.

    Raises:
        Unclear: they are not alike, or their words may meet in other ways.
    """
    if (one.dims, one.shift, one.dtype) != (other.dims, other.shift, other.dtype) or not one.shift:
        raise Unclear
    return _ahead(one.dims, one.shift, one.dtype.size, one.address(0) - other.address(0), turns)


@lru_cache(1 << 14)
def _ahead(dims: tuple[tuple[int, int], ...], shift: int, size: int, apart: int, turns: int) -> int | None:
    ahead = round(apart / shift)
    rest = apart - ahead * shift
    if not injective([*dims, (turns + abs(ahead), shift), (2 if rest else 1, rest)], size):
        raise Unclear
    return None if rest else ahead


def _in_slots(write: Access, read: Access, first: int) -> int | None:
    def distance(turn: int) -> int | None:
        for turns in range(first, write.period + first):
            apart = write.address(turn - turns) - read.address(turn)
            if apart + write.low < read.high and read.low < apart + write.high and not _between(write, read, apart):
                return turns
        return None

    distances = {distance(turn) for turn in range(math.lcm(write.period, read.period))}
    if len(distances) > 1:
        raise Unclear
    return distances.pop()


def _between(write: Access, read: Access, apart: int) -> bool:
    """Whether the words of one certainly lie between those of the other, so many bytes apart."""
    return write.dims == read.dims and write.dtype is read.dtype and injective([*write.dims, (2, apart)], write.dtype.size)


def covered(write: Access, read: Access, distance: int) -> int | None:
    """Bytes from the first word of ``write`` so many turns before to that of ``read``, if it wrote all words of ``read``.

    Then either the dimensions are the same but for their order, or those of ``write`` are one run.
    """
    turns = range(distance, distance + math.lcm(write.period, read.period))
    offsets = {read.address(turn) - write.address(turn - distance) for turn in turns}
    if write.dtype is not read.dtype or len(offsets) > 1:
        return None
    offset = offsets.pop()
    if offset == 0 and sorted(write.dims) == sorted(read.dims):
        return offset
    inside = offset + read.low >= 0 and offset + read.high <= write.high
    return offset if write.order is not None and inside and offset % write.dtype.size == 0 else None
