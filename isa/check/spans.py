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


class UnsureError(Exception):
    """Two accesses race, or one of them is too long ago to tell."""


class Span:
    """A part of a memory."""

    __slots__ = ("aware", "read", "wrote")

    def __init__(self, wrote: Iterable[int], read: Iterable[int], aware: int = 0) -> None:
        self.wrote, self.read = list(wrote), list(read)
        """When each queue wrote it last, and read it since, by its own clock; 0: never, or before something that is ordered after it."""
        self.aware = aware
        """A bit for each queue that was seen to be ordered after these writes: its clock never goes back."""


class Spans:
    """Who wrote and read spans of so many granules, as :class:`~isa.check.shadow.Shadow`."""

    def __init__(self, granules: int, queues: int, readers: Iterable[Queue]) -> None:
        self._never = (0,) * queues
        self._starts = [0, granules]
        """Where spans begin; the last entry ends the last span."""
        self._spans = [Span(self._never, self._never)]
        self._recent: list[deque[tuple[int, Region, bool]]] = [deque(maxlen=_RECENT) for _ in range(queues)]

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
        starts, end = self._starts, region.end
        first = bisect_right(starts, region.at) - 1
        if starts[first] < region.low:
            first = self._split(region.low)
        last = bisect_left(starts, end, first)
        if starts[last] > region.high:
            self._split(region.high)
            last = bisect_left(starts, end, first)
        now, ordered, bit = clock[queue], True, 1 << queue
        for span in self._spans[first:last]:
            if not span.aware & bit:
                if any(map(gt, span.wrote, clock)):
                    ordered = False
                else:
                    span.aware |= bit
            span.read[queue] = now
        return ordered

    def _write(self, low: int, high: int, queue: Queue, clock: list[int]) -> bool:
        """The spans of the region become one; whoever is ordered after this write is ordered after all that this is ordered after."""
        first, last = self._split(low), self._split(high)
        bit, ordered = 1 << queue, True
        whole = Span(self._never, self._never)
        for span in self._spans[first:last]:
            if not span.aware & bit and any(map(gt, span.wrote, clock)):
                ordered = False
                whole.wrote = _unknown(whole.wrote, span.wrote, clock)
            if any(map(gt, span.read, clock)):
                ordered = False
                whole.read = _unknown(whole.read, span.read, clock)
        whole.wrote[queue] = clock[queue]
        self._starts[first:last] = [low]
        self._spans[first:last] = [whole]
        return ordered

    def _split(self, at: int) -> int:
        """Let a span begin there; returns its index."""
        index = bisect_left(self._starts, at)
        if self._starts[index] != at:
            span = self._spans[index - 1]
            self._starts.insert(index, at)
            self._spans.insert(index, Span(span.wrote, span.read, span.aware))
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


def _unknown(late: list[int], times: list[int], clock: list[int]) -> list[int]:
    """The later of two accesses of each queue, where the clock does not know the second to be finished."""
    return [max(a, b) if b > now else a for a, b, now in zip(late, times, clock, strict=True)]
