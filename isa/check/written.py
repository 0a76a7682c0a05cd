"""Whether all that is read in the scratchpad was written before."""

from collections.abc import Mapping, Sequence

import numpy as np

from isa.check.clocks import Clock
from isa.check.regions import Region, Written
from isa.check.touched import Touch, first_of_each
from isa.instructions import Queue
from isa.stream import Space


def all_written(touched: Mapping[Queue, Sequence[Touch]], clocks: Mapping[Queue, Clock], granules: int) -> bool:
    """Whether it is, in a memory of so many granules and a program without races; ``clocks`` count tokens that are given.

    What was once written stays so: the first access of each region matters.  All clocks' sums put events into an order in which they
    may come.
    """
    spad = [touch for queue in touched for touch in touched[queue] if touch.space is Space.spad]
    keys = []
    for number, touch in enumerate(spad):
        first = first_of_each(touch.at)
        clock = clocks[touch.queue][:, touch.seen[first]].sum(0) + touch.given[first]
        queue, site, port = (np.full(len(first), value) for value in (touch.queue, touch.site.index, number))
        keys.append((port, touch.turn[first], site, touch.event[first], queue, clock, touch.at[first]))
    if not keys:
        return True
    columns = [np.concatenate(column) for column in zip(*keys, strict=True)]
    written = Written(granules)
    for index in np.lexsort(columns[:-1]).tolist():
        touch = spad[columns[0][index]]
        region = Region(int(columns[-1][index]), touch.layout)
        if touch.reads and not written.covers(region):
            return False
        if touch.writes:
            written.note(region)
    return True
