"""Which operation has to wait for which, and how few semaphore tokens say so.

Operations run in order within a queue; between queues nothing is ordered but by tokens.  One semaphore for each pair of queues is
enough: queues being in order, having waited for operation i of a queue is having waited for all before i.
"""

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from operator import itemgetter

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


Row = tuple[int, Access, int]
"""An access behind its lowest byte, by which rows are sorted; and its operation."""


class _Live:
    """Accesses that later ones may conflict with: of each memory and size class those by address, so that only neighbours are compared."""

    def __init__(self) -> None:
        self._rows: dict[tuple[Space, int], list[Row]] = defaultdict(list)
        """By memory and the bits of the size."""

    def _around(self, new: Access) -> Iterator[tuple[list[Row], slice]]:
        """Where in each list rows may be that meet the access."""
        for (space, bits), rows in self._rows.items():
            if space is new.space:
                first = bisect_left(rows, new.low - (1 << bits), key=_low)
                yield rows, slice(first, bisect_left(rows, new.high, first, key=_low))

    def conflicts(self, new: Access) -> list[tuple[Queue, int]]:
        """Queue and operation of each access that has to be over before the new one."""
        return [
            (old.queue, operation)
            for rows, near in self._around(new)
            for _, old, operation in rows[near]
            if old.high > new.low and (new.writes or old.writes) and not _in_order(old, new)
        ]

    def add(self, operation: int, accesses: Sequence[Access]) -> None:
        """Remember an operation's accesses; whoever conflicts with what a write covers conflicts with the write, which waited for it."""
        for new in accesses:
            if new.writes:
                for rows, near in self._around(new):
                    rows[near] = [row for row in rows[near] if row[0] < new.low or row[1].high > new.high]
        for new in accesses:
            insort(self._rows[new.space, (new.high - new.low).bit_length()], (new.low, new, operation), key=_low)


_low = itemgetter(0)


def _in_order(old: Access, new: Access) -> bool:
    """Units finish one instruction before the next reads, except the array, where a beat is in flight for R+C cycles."""
    if old.queue is not new.queue:
        return False
    same_sums = old.sums and new.sums and (old.low, old.high) == (new.low, new.high)
    return same_sums or new.queue.unit is not Queue.array


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
