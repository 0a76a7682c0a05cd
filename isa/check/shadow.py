"""Shadow memory: for every granule of a memory, who wrote it last and who has read it since, with vector clocks.

A *clock* is a list with one entry per queue: how far the work of that queue is known to be finished.  An access is stamped with its
queue's own entry; a later access by another queue is ordered after it only if that queue's clock has reached the stamp.
"""

from collections.abc import Iterable, Iterator

import numpy as np

from isa.check.regions import Region
from isa.instructions import Queue

_SITE_BITS = 20

Race = tuple[str, tuple[Queue, int], str]
"""(what the access does, queue and site of the other one, what that does)."""


class Shadow:
    """Who of so many queues wrote and read each of so many granules; ``readers`` are those that ever read the memory."""

    def __init__(self, granules: int, queues: int, readers: Iterable[Queue]) -> None:
        self.writer = np.zeros(granules, np.uint8)
        """Queue of the last write plus 1, or 0."""
        self.written = np.zeros(granules, np.int64)
        """Stamp of the last write."""
        self.read = {queue: np.zeros(granules, np.int64) for queue in readers}
        """Stamps of the last reads."""

    def touch(self, region: Region, reads: bool, writes: bool, queue: Queue, clock: list[int], site: int) -> Iterator[Race]:
        """The races of an access that comes now, which is noted."""
        if reads:
            if other := self._unordered_write(region, clock):
                yield "reads", other, "writes"
            region.view(self.read[queue])[...] = _stamp(clock[queue], site)
        if writes:
            if other := self._unordered_write(region, clock):
                yield "writes", other, "writes"
            if other := self._unordered_read(region, clock, queue):
                yield "writes", other, "reads"
            region.view(self.writer)[...] = queue + 1
            region.view(self.written)[...] = _stamp(clock[queue], site)

    def _unordered_write(self, region: Region, clock: list[int]) -> tuple[Queue, int] | None:
        """Queue and site of a write that is not known to be finished."""
        bounds = np.array([1 << 62, *(_stamp(time + 1, 0) for time in clock)])
        stamps = region.view(self.written)
        late = stamps >= bounds.take(region.view(self.writer))
        if not late.any():
            return None
        where = np.unravel_index(int(np.argmax(late)), late.shape)
        return Queue(int(region.view(self.writer)[where]) - 1), _site(int(stamps[where]))

    def _unordered_read(self, region: Region, clock: list[int], queue: Queue) -> tuple[Queue, int] | None:
        """Queue and site of a read by another queue that is not known to be finished."""
        for reader, stamps in self.read.items():
            if reader is not queue:
                latest = int(region.view(stamps).max())
                if latest >= _stamp(clock[reader] + 1, 0):
                    return reader, _site(latest)
        return None


def _stamp(time: int, site: int) -> int:
    return time << _SITE_BITS | min(site, (1 << _SITE_BITS) - 1)


def _site(stamp: int) -> int:
    return stamp & (1 << _SITE_BITS) - 1
