"""Accesses of two queues that nothing puts in an order, by comparing all that may come at one time, port by port."""

from collections.abc import Mapping, Sequence

import numpy as np

from isa.check.clocks import Clock
from isa.check.times import Ints
from isa.check.touched import Touch, overlap, pairs
from isa.instructions import Queue


class _Ports:
    """All ports of a queue, ready to be compared with those of another."""

    def __init__(self, touched: Sequence[Touch], clock: Clock) -> None:
        self.touched = touched
        self.clock = clock
        self.space = np.array([touch.space for touch in touched], np.int64)
        self.writes = np.array([touch.writes for touch in touched], np.bool_)
        self.low = np.array([touch.at.min() for touch in touched], np.int64)
        self.high = np.array([touch.at.max() + touch.layout.span for touch in touched], np.int64)
        self.seen = np.array([touch.seen[0] for touch in touched], np.int64)
        """Tokens taken before the first access."""
        self.given = np.array([touch.given[-1] for touch in touched], np.int64)
        """Tokens given before the last access."""


def any_race(touched: Mapping[Queue, Sequence[Touch]], clocks: Mapping[Queue, Clock]) -> bool:
    """Whether two accesses of two queues, one of which writes, touch the same granule, and neither is surely finished before the other."""
    ports = {queue: _Ports(touched[queue], clocks[queue]) for queue in touched if touched[queue]}
    return any(_race(one, other, ports[one], ports[other]) for one in ports for other in ports if one < other)


def _race(one: Queue, other: Queue, mine: _Ports, its: _Ports) -> bool:
    """Compare the ports that have accesses at one time and places in common."""
    known = its.clock[one][its.seen]
    low = np.searchsorted(np.maximum.accumulate(mine.given), known)
    known_back = mine.clock[other][mine.seen]
    high = np.searchsorted(np.minimum.accumulate(known_back[::-1])[::-1], its.given, side="right")
    for i, j in pairs(low, high):
        near = (mine.low[j] < its.high[i]) & (its.low[i] < mine.high[j]) & (mine.space[j] == its.space[i])
        near &= (mine.writes[j] | its.writes[i]) & (mine.given[j] >= known[i]) & (known_back[j] <= its.given[i])
        for a, b in zip(j[near].tolist(), i[near].tolist(), strict=True):
            if _ports_race(mine.touched[a], its.touched[b], mine.clock[other], its.clock[one]):
                return True
    return False


def _ports_race(mine: Touch, its: Touch, known_back: Ints, known: Ints) -> bool:
    """Compare each access of one port with those of the other that are neither surely finished before it nor surely come after it."""
    low = np.searchsorted(mine.given, known[its.seen])
    high = np.searchsorted(known_back[mine.seen], its.given, side="right")
    return overlap(mine, its, low, high)
