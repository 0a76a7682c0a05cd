"""What a run has counted so far, in the order of execution, so that a stretch of it can be counted again."""

from dataclasses import dataclass

from emulator.counters import Counters
from isa.instructions import Queue
from isa.stream import Stream

Stall = tuple[int, Queue, int]
"""Provenance, queue and cause; counted in cycles."""

_LIMIT = 1 << 16


@dataclass(frozen=True, slots=True, eq=False)
class Work:
    """What one execution of an instruction counts, whatever its cycle; one object for all executions that count the same."""

    provenance: int
    queue: Queue
    busy: int
    """Cycles."""
    accesses: tuple[tuple[int, Stream, int], ...] = ()
    """READ or WRITE, the stream, words."""
    macs: int = 0
    vector_ops: int = 0
    dram: tuple[int, int] = (0, 0)
    """Bytes read and written."""


class Journal:
    """``start`` entries have gone into the counters already; positions count all entries ever made."""

    def __init__(self, counters: Counters) -> None:
        self.counters = counters
        self.start = 0
        self._entries: list[tuple[Work | Stall, int, int]] = []

    @property
    def position(self) -> int:
        return self.start + len(self._entries)

    def work(self, work: Work, finish: int) -> None:
        """An instruction was executed and will be done in this cycle."""
        self._entries.append((work, finish, 1))

    def stall(self, stall: Stall, cycles: int) -> None:
        self._entries.append((stall, 0, cycles))

    def repeat(self, since: int, times: int, interval: int) -> None:
        """What was counted since a position happens ``times`` more, each time ``interval`` cycles later."""
        self._entries += [
            (what, finish + times * interval, times * count) for what, (finish, count) in _sums(self._entries[since - self.start :]).items()
        ]

    @property
    def long(self) -> bool:
        """Whether much has come together that is not counted yet."""
        return len(self._entries) > _LIMIT

    def close(self) -> None:
        """Count all entries."""
        for what, (finish, count) in _sums(self._entries).items():
            if isinstance(what, Work):
                self._count(what, finish, count)
            else:
                self.counters.stalls[what] += count
        self.start = self.position
        self._entries = []

    def _count(self, work: Work, finish: int, times: int) -> None:
        counters, owner = self.counters, work.provenance
        for direction, stream, words in work.accesses:
            counters.access(owner, direction, stream, work.queue, words * times)
        counters.macs[owner] += work.macs * times
        counters.vector_ops[owner] += work.vector_ops * times
        counters.dram[owner] += [nbytes * times for nbytes in work.dram]
        counters.busy[owner, work.queue] += work.busy * times
        counters.finish[owner] = max(finish, counters.finish[owner])


def _sums(entries: list[tuple[Work | Stall, int, int]]) -> dict[Work | Stall, tuple[int, int]]:
    """By what was counted: the latest finish, and how often."""
    sums: dict[Work | Stall, tuple[int, int]] = {}
    for what, finish, count in entries:
        latest, before = sums.get(what, (0, 0))
        sums[what] = (finish if finish > latest else latest, before + count)
    return sums
