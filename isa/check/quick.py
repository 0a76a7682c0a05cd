"""All queues executed at once, as arrays: whether a program surely has none of the faults that executing it step by step can find."""

from collections.abc import Sequence
from itertools import groupby
from operator import attrgetter

import numpy as np

from isa.check.clocks import Unsure, finished, started, ways
from isa.check.findings import Findings
from isa.check.races import any_race
from isa.check.regions import Memories
from isa.check.times import Ints
from isa.check.tokens import initial
from isa.check.touched import Touch, overlap, touches
from isa.check.trace import Trace
from isa.check.written import all_written
from isa.instructions import Queue
from isa.stream import Space


def surely_right(findings: Findings, memories: Memories) -> bool:
    """Whether there is surely no deadlock, race, or read of what nothing has written, nor an operand among its loop's sums."""
    traces = {queue: Trace(findings, queue) for queue in findings.program.machine.queues}
    try:
        found = ways(traces, initial(findings.program))
        finish = finished(traces, found)
        start = started(traces, found, finish)
    except Unsure:
        return False
    touched = {queue: touches(trace, memories.granules) for queue, trace in traces.items()}
    return (
        not any_race(touched, finish)
        and all_written(touched, start, memories.sizes[Space.spad])
        and not any(_operand_in_sums(found) for queue, found in touched.items() if queue.unit is Queue.array)
    )


def _operand_in_sums(touched: Sequence[Touch]) -> bool:
    """Whether in a loop of beats that is taken as one step an operand lies where sums go."""
    for _, group in groupby((touch for touch in touched if touch.step.loop), key=attrgetter("step")):
        ports = list(group)
        for sums in ports:
            for operand in ports:
                if sums.writes and not operand.writes and overlap(sums, operand, *_same(sums.event, operand.event)):
                    return True
    return False


def _same(one: Ints, other: Ints) -> tuple[Ints, Ints]:
    """For each of ``other`` the first of ``one`` that is the same, and that after the last."""
    return np.searchsorted(one, other), np.searchsorted(one, other, side="right")
