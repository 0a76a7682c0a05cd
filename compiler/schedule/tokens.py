"""Which operation has to wait for which, and how few semaphore tokens say so.

Operations run in order within a queue; between queues nothing is ordered but by tokens.  One semaphore for each pair of queues is
enough: queues being in order, having waited for operation i of a queue is having waited for all before i.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

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


def _conflict(old: Access, new: Access) -> bool:
    if old.space != new.space or old.high <= new.low or new.high <= old.low or not (old.writes or new.writes):
        return False
    if old.queue != new.queue:
        return True
    # Units finish one instruction before the next reads, except the array, where a beat is in flight for R+C cycles.
    same_rows = old.sums and new.sums and (old.low, old.high) == (new.low, new.high)
    return old.queue is Queue.array and not same_rows


def order(operations: Sequence[Sequence[Access]]) -> list[Tokens]:
    """Tokens for operations given in an order in which running them one by one is right."""
    tokens = [Tokens() for _ in operations]
    latest: dict[Pair, int] = defaultdict(lambda: -1)
    live: list[tuple[int, Access]] = []
    for index, accesses in enumerate(operations):
        needed: dict[Pair, int] = {}
        for new in accesses:
            for before, old in live:
                if _conflict(old, new):
                    pair = (old.queue, new.queue)
                    needed[pair] = max(before, needed.get(pair, -1))
        for pair, before in sorted(needed.items()):
            if before > latest[pair]:
                latest[pair] = before
                tokens[before].signals.append(pair)
                tokens[index].waits.append(pair)
        covers = [a for a in accesses if a.writes]
        # Whoever conflicts with what a write covers conflicts with the write, which waited for it.
        live = [(i, old) for i, old in live if not any(_covers(new, old) for new in covers)]
        live += [(index, access) for access in accesses]
    return tokens


def _covers(new: Access, old: Access) -> bool:
    return new.space == old.space and new.low <= old.low and old.high <= new.high
