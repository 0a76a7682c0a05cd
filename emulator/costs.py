"""How long one instruction holds its unit, and how many words it moves."""

import math
from collections.abc import Sequence

from isa.machine import Machine
from isa.stream import Stream


def words_of(stream: Stream, counters: Sequence[int]) -> int:
    """Words of one access; 0 where the clip leaves nothing."""
    count = 1
    for dim in stream.dims:
        count *= max(0, dim.extent(counters))
    return count


def reduced_axes(dst: Stream) -> tuple[int, ...]:
    """The dimensions that a `red` with this destination reduces over."""
    return tuple(axis for axis, dim in enumerate(dst.dims) if dim.stride == 0 and dim.count > 1)


def results_of(dst: Stream, counters: Sequence[int]) -> int:
    """Words that a `red` writes: its reduced dimensions count once."""
    reduced = reduced_axes(dst)
    return math.prod(max(0, dim.extent(counters)) for axis, dim in enumerate(dst.dims) if axis not in reduced)


def vector_cycles(machine: Machine, words: int, passes: int) -> int:
    """Cycles for which an instruction holds the vector unit; the operands of so many words as it has lanes come in ``passes`` cycles."""
    return max(1, machine.vector.latency + -(-words // machine.vector.lanes) * passes)
