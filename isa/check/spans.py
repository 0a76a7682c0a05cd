"""The quick shadow memory: whole spans in place of granules, on the safe side.

What is taken to be touched is never less than what is, so accesses that are in order here are in order.  Where they seem not to be,
each is compared with the latest ones of the other queues; a :class:`~isa.check.shadow.Shadow` tells who raced with whom.
"""

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterable
from operator import gt

from isa.check.regions import Region
from isa.check.shadow import Race
from isa.instructions import Queue

_RECENT = 256
"""Accesses of each queue that are kept to be compared with."""


_NEVER = (0,) * len(Queue)


class UnsureError(Exception):
    """Two accesses race, or one of them is too long ago to tell."""


Span = tuple[list[int], list[int]]
"""When each queue wrote it last, and read it since, by its own clock; 0 for never, or if what has come since is ordered after it."""


class Spans:
    """Who wrote and read spans of so many granules, as :class:`~isa.check.shadow.Shadow`."""

    def __init__(self, granules: int, readers: Iterable[Queue]) -> None:
        self._starts = [0, granules]
        """Where spans begin; the last entry ends the last span."""
        self._spans: list[Span] = [(list(_NEVER), list(_NEVER))]
        self._recent: list[deque[tuple[int, Region, bool]]] = [deque(maxlen=_RECENT) for _ in Queue]

    def touch(self, region: Region, reads: bool, writes: bool, queue: Queue, clock: list[int], site: int) -> tuple[Race, ...]:
        """Note an access that comes now; raises UnsureError."""
        if writes:
            ordered = self._write(region.at, region.end, queue, clock)
        elif reads:
            ordered = self._read(region, queue, clock)
        else:
            return ()
        if not ordered and self._meets_recent(region, writes, queue, clock):
            raise UnsureError
        self._recent[queue].append((clock[queue], region, writes))
        return ()

    def _read(self, region: Region, queue: Queue, clock: list[int]) -> bool:
        """All of a span counts as read, but what is beyond the stream's bounds: streams touch the same spans again and again."""
        starts, spans = self._starts, self._spans
        high = region.high
        index = bisect_right(starts, region.at) - 1
        if starts[index] < region.low:
            index = self._split(region.low)
        end, now, ordered = region.end, clock[queue], True
        while starts[index] < end:
            if starts[index + 1] > high:
                self._split(high)
            wrote, read = spans[index]
            ordered = ordered and not any(map(gt, wrote, clock))
            read[queue] = now
            index += 1
        return ordered

    def _write(self, low: int, high: int, queue: Queue, clock: list[int]) -> bool:
        """The spans of the region become one; whoever is ordered after this write is ordered after all that this is ordered after."""
        first, last = self._split(low), self._split(high)
        wrote, read = self._spans[first]
        if last == first + 1 and not any(map(gt, wrote, clock)) and not any(map(gt, read, clock)):
            wrote[:] = read[:] = _NEVER
            wrote[queue] = clock[queue]
            return True
        wrote, read = list(_NEVER), list(_NEVER)
        ordered = True
        for span in self._spans[first:last]:
            for new, old in zip((wrote, read), span, strict=True):
                if any(map(gt, old, clock)):
                    ordered = False
                    new[:] = [max(a, b) if b > now else a for a, b, now in zip(new, old, clock, strict=True)]
        wrote[queue] = clock[queue]
        self._starts[first:last] = [low]
        self._spans[first:last] = [(wrote, read)]
        return ordered

    def _split(self, at: int) -> int:
        """Let a span begin there; returns its index."""
        index = bisect_left(self._starts, at)
        if self._starts[index] != at:
            wrote, read = self._spans[index - 1]
            self._starts.insert(index, at)
            self._spans.insert(index, (list(wrote), list(read)))
        return index

    def _meets_recent(self, region: Region, writes: bool, queue: Queue, clock: list[int]) -> bool:
        """Whether one of the other queues' accesses that are not known to be finished touches the same granules."""
        for other, recent in enumerate(self._recent):
            for time, earlier, wrote in reversed(recent) if other != queue else ():
                if time <= clock[other]:
                    break
                if (writes or wrote) and region.overlaps(earlier):
                    return True
            else:
                if len(recent) == _RECENT and other != queue:
                    return True
        return False
