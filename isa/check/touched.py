"""What one queue touches in the memories, as arrays: the accesses of each port, by their layout."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from isa.check.findings import Site
from isa.check.regions import Layout, layout, meet
from isa.check.times import Ints
from isa.check.trace import Event, Trace
from isa.instructions import NEVER, Field, Queue
from isa.stream import Space, Stream

_BLOCK = 1 << 20
"""About so many pairs of accesses are looked at at once."""


@dataclass(slots=True, eq=False)
class Touch:
    """Accesses of one port that have one layout, in the order of execution; each array has an entry for every access."""

    queue: Queue
    step: Event
    site: Site
    field: Field
    space: Space
    layout: Layout
    reads: bool
    at: Ints
    """The lowest granule of each."""
    turn: Ints
    """Where in the order of the port's accesses each is."""
    event: Ints
    """In which event of the queue it comes."""
    seen: Ints
    """Tokens that the queue has taken by then."""
    given: Ints
    """Tokens that it has given by then."""

    @property
    def writes(self) -> bool:
        return self.field.writes


def touches(trace: Trace, granules: Mapping[Space, int]) -> list[Touch]:
    """All accesses of a queue, in the order of its code; of one instruction those that only read come first."""
    return [
        touch
        for event in trace.events
        for site, level in event.sites
        for field, stream in sorted(site.streams, key=lambda port: port[0].writes)
        for touch in _port(trace.queue, event, site, level, field, stream, granules[stream.space])
    ]


def _port(queue: Queue, event: Event, site: Site, level: int, field: Field, stream: Stream, granule: int) -> Iterator[Touch]:
    """The accesses of one port, over all turns of the loops from ``level`` on."""
    times, when = event.times, np.arange(event.times.size)
    for loop in site.loops[len(times.counters) : level]:
        times = times.inside(loop)
        when = when[times.parent]
    address = stream.base + times.total(stream.strides)
    if stream.ring:
        address += stream.ring.size * ((stream.ring.start + times.total(stream.ring.steps)) % stream.ring.slots)
    dims = [(times.clipped(dim.count, dim.limit, dim.level), dim.stride) for dim in stream.dims]
    inner = zip(site.loops[level:], stream.strides[level:], strict=False)
    dims += [(times.clipped(loop["count"], loop["limit"] or None, loop["level"]), stride) for loop, stride in inner]
    zeroed = times.holds(site.instruction.args["zero"] if field.name == "acc" else NEVER)
    kinds = zeroed.astype(np.int64)
    for count, _ in dims:
        if isinstance(count, np.ndarray):
            kinds = kinds * (1 + count.max()) + count
    for first in first_of_each(kinds):
        turn = np.flatnonzero(kinds == kinds[first])
        counts = [int(count if isinstance(count, int) else count[first]) for count, _ in dims]
        found = layout(tuple(zip(counts, (stride for _, stride in dims), strict=True)), stream.dtype.size, granule)
        reads = field.reads and not zeroed[first]
        at, number = (address[turn] + found.shift) // granule, when[turn]
        where = event.at[number], event.seen[number], event.given[number]
        yield Touch(queue, event, site, field, stream.space, found, reads, at, turn, *where)


def first_of_each(values: Ints) -> Ints:
    """Where each value comes first."""
    if (values == values[0]).all():
        return np.zeros(1, np.int64)
    return np.unique(values, return_index=True)[1]


def overlap(one: Touch, other: Touch, low: Ints, high: Ints) -> bool:
    """Whether an access of ``other`` shares a granule with one of ``one`` from the number in ``low`` to before that in ``high``."""
    for mine, its in pairs(low, high):
        apart = other.at[mine] - one.at[its]
        near = (apart < one.layout.span) & (apart > -other.layout.span)
        if near.any() and any(meet(offset, one.layout, other.layout) for offset in np.unique(apart[near]).tolist()):
            return True
    return False


def pairs(low: Ints, high: Ints) -> Iterator[tuple[Ints, Ints]]:
    """Each index with each number from its ``low`` to before its ``high``, in blocks."""
    counts = np.maximum(high - low, 0)
    after = np.cumsum(counts)
    begin = 0
    while begin < len(counts):
        done = after[begin] - counts[begin]
        end = max(begin + 1, int(np.searchsorted(after, done + _BLOCK, side="right")))
        index = np.repeat(np.arange(begin, end), counts[begin:end])
        if len(index):
            yield index, low[index] + np.arange(done, done + len(index)) - (after - counts)[index]
        begin = end
