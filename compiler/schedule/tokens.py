"""Which operation has to wait for which, and how few semaphore tokens say so.

Operations run in order within a queue; between queues nothing is ordered but by tokens.  One semaphore for each pair of queues is
enough: queues being in order, having waited for operation i of a queue is having waited for all before i.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from isa.instructions import Queue
from isa.stream import Space

Pair = tuple[Queue, Queue]


@dataclass(frozen=True, slots=True)
class Access:
    """Bytes low … high−1 of a memory, touched by one queue."""

    queue: Queue
    space: Space
    low: int
    high: int
    writes: bool
    sums: bool = False
    """Partial sums, whose order the array's own interlock keeps."""


@dataclass(slots=True)
class Tokens:
    """Semaphores (producer queue, consumer queue) that an operation waits on first, and signals last."""

    waits: list[Pair] = field(default_factory=list)
    signals: list[Pair] = field(default_factory=list)


class _Live:
    """Accesses that later ones may conflict with, as rows (space, low, high, writes, queue, sums, operation)."""

    def __init__(self) -> None:
        self.rows = np.zeros((0, 7), np.int64)

    def conflicts(self, new: Access) -> list[tuple[Queue, int]]:
        """Queue and operation of each access that has to be over before the new one."""
        space, low, high, writes, queue, sums, _ = self.rows.T
        meet = (space == new.space) & (low < new.high) & (high > new.low)
        if not new.writes:
            meet &= writes == 1
        # Units finish one instruction before the next reads, except the array, where a beat is in flight for R+C cycles.
        same_rows = (sums == 1) & (low == new.low) & (high == new.high) if new.sums else np.zeros(len(meet), bool)
        meet &= (queue != new.queue) | ((new.queue is Queue.array) & ~same_rows)
        return [(Queue(int(row[4])), int(row[6])) for row in self.rows[meet]]

    def add(self, index: int, accesses: Sequence[Access]) -> None:
        """Remember an operation's accesses; whoever conflicts with what a write covers conflicts with the write, which waited for it."""
        space, low, high = self.rows.T[:3]
        kept = np.ones(len(self.rows), bool)
        for new in accesses:
            if new.writes:
                kept &= ~((space == new.space) & (low >= new.low) & (high <= new.high))
        rows = [(a.space, a.low, a.high, a.writes, a.queue, a.sums, index) for a in accesses]
        self.rows = np.concatenate([self.rows[kept], np.array(rows, np.int64).reshape(-1, 7)])


def order(operations: Sequence[Sequence[Access]]) -> list[Tokens]:
    """Tokens for operations given in an order in which running them one by one is right."""
    tokens = [Tokens() for _ in operations]
    latest: dict[Pair, int] = defaultdict(lambda: -1)
    live = _Live()
    for index, accesses in enumerate(operations):
        needed: dict[Pair, int] = {}
        for new in accesses:
            for queue, before in live.conflicts(new):
                pair = (queue, new.queue)
                needed[pair] = max(before, needed.get(pair, -1))
        for pair, before in sorted(needed.items()):
            if before > latest[pair]:
                latest[pair] = before
                tokens[before].signals.append(pair)
                tokens[index].waits.append(pair)
        live.add(index, accesses)
    return tokens
