"""All the times that a queue executes a loop's body, as arrays: an entry for each time, in the order of execution."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from isa.instructions import Instruction, When

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


class Times:
    """The ``counters`` of the loops around a body, outermost first, and the ``counts`` of these loops' turns, each time."""

    def __init__(self, size: int, counters: Sequence[Ints] = (), counts: Sequence[Ints] = ()) -> None:
        self.size = size
        self.counters = counters
        self.counts = counts
        self.parent = np.arange(size)
        """For each time that of the body around the loop."""
        self.first = self.parent
        """For each time of the body around the loop the first in it."""

    def inside(self, loop: Instruction) -> "Times":
        """The times of the body of a loop in this one."""
        turns = np.broadcast_to(self.clipped(loop["count"], loop["limit"] or None, loop["level"]), self.size)
        parent = np.repeat(np.arange(self.size), turns)
        first = np.cumsum(turns) - turns
        counter = np.arange(len(parent)) - first[parent]
        counters = [outer[parent] for outer in self.counters]
        counts = [outer[parent] for outer in self.counts]
        times = Times(len(parent), [*counters, counter], [*counts, turns[parent]])
        times.parent, times.first = parent, first
        return times

    def clipped(self, count: int, limit: int | None, level: int) -> Ints | int:
        """So many words or turns, or what ``limit`` leaves of them at the counter of a loop."""
        return count if limit is None else np.minimum(count, limit - count * self.counters[level])

    def total(self, factors: Sequence[int]) -> Ints:
        """Sums of the counters, each times its factor; loops further inside are in their first turn."""
        total = np.zeros(self.size, np.int64)
        for counter, factor in zip(self.counters, factors, strict=False):
            if factor:
                total += counter * factor
        return total

    def holds(self, when: When) -> Mask:
        """When a flag is raised."""
        raised = np.full(self.size, when.kind != "never")
        for level in when.levels:
            raised &= self.counters[level] == (0 if when.kind == "first" else self.counts[level] - 1)
        return raised
