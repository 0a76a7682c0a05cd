"""What each queue knows of the others: vector clocks over all the tokens that it takes, for all of them at once.

The n-th token taken of a kind is the n-th given, so who goes on after whom is known without execution.  A clock counts for each queue
the tokens that it has surely given.  It is handed on with every token; taking one makes the clock the later of the two.  News of a queue
comes quickest on a way that passes no queue twice, so a few rounds over all tokens find the latest.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from isa.check.times import Ints
from isa.check.tokens import PUT, UNFINISHED, kind_of
from isa.check.trace import Trace
from isa.instructions import Queue

Clock = npt.NDArray[np.int32]
"""For each queue (first axis) how many of its tokens are known to be given, after so many tokens taken (second axis)."""


class Unsure(Exception):  # noqa: N818 - no error: then all is executed one after the other
    """Something may be wrong with the program."""


class Way(NamedTuple):
    """All tokens of one kind."""

    number: int
    giver: Queue
    taker: Queue
    given: Ints
    """How many tokens its giver has given with each."""
    seen: Ints
    """How many it has taken by then."""
    taken: Ints
    """How many tokens its taker has taken with each."""


def ways(traces: Mapping[Queue, Trace], initial: Mapping[int, int]) -> list[Way]:
    """The tokens by kind; raises Unsure if some are missing, or a chain's two sides do not have as many."""
    given = {number: (queue, which) for queue, trace in traces.items() for number, which in _by_number(trace.gives)}
    taken = {number: (queue, which) for queue, trace in traces.items() for number, which in _by_number(trace.takes)}
    nobody = Queue.vector, np.zeros(0, np.int64)
    found = []
    for number, start in initial.items():
        (giver, gives), (taker, takes) = given.get(number, nobody), taken.get(number, nobody)
        if len(takes) > start + len(gives) or (kind_of(number) in PUT and len(takes) != len(gives)):
            raise Unsure
        takes = takes[start:]
        gives = gives[: len(takes)]
        found.append(Way(number, giver, taker, gives + 1, traces[giver].seen[gives], takes + 1))
    return found


def _by_number(numbers: npt.NDArray[np.int16]) -> Iterator[tuple[int, Ints]]:
    for number in np.unique(numbers):
        yield int(number), np.flatnonzero(numbers == number)


def finished(traces: Mapping[Queue, Trace], found: list[Way]) -> dict[Queue, Clock]:
    """Clocks that count a token once all is finished that its giver did before."""
    clocks = {queue: np.zeros((len(traces), len(trace.takes) + 1), np.int32) for queue, trace in traces.items()}
    _spread(clocks, found, UNFINISHED)
    return clocks


def started(traces: Mapping[Queue, Trace], found: list[Way], known: Mapping[Queue, Clock]) -> dict[Queue, Clock]:
    """Clocks that count a token once it is given, from those that count it later; raises Unsure at a deadlock."""
    clocks = {queue: clock.copy() for queue, clock in known.items()}
    _spread(clocks, found, ())
    for way in found:
        given = np.searchsorted(traces[way.taker].seen, way.taken)
        after = clocks[way.giver][way.taker, way.seen] if way.giver is not way.taker else way.given
        if (after > given).any():  # it is given after what comes after it is taken
            raise Unsure
    return clocks


def _spread(clocks: dict[Queue, Clock], found: list[Way], silent: tuple[int, ...]) -> None:
    """Hand on what is known until there is no news.

    Tokens of the ``silent`` kinds say nothing of their giver's own work.  Raises Unsure if news goes round in circles.
    """
    tellers = set(clocks)
    for _ in clocks:
        heard = {queue: [way for way in found if way.taker is queue and way.giver in tellers] for queue in clocks}
        tellers = {queue for queue in clocks if _hear(queue, clocks, heard[queue], silent)}
        if not tellers:
            return
    raise Unsure


def _hear(queue: Queue, clocks: dict[Queue, Clock], heard: list[Way], silent: tuple[int, ...]) -> bool:
    """Take what the tokens that a queue takes say now; returns whether there is news."""
    clock = clocks[queue]
    news = np.zeros(len(clock), np.bool_)
    for way in heard:
        handed = clocks[way.giver].take(way.seen, axis=1)
        handed[way.giver] = 0 if kind_of(way.number) in silent else way.given
        handed[queue] = 0
        had = clock.take(way.taken, axis=1)
        later = (handed > had).any(axis=1)
        if later.any():
            clock[:, way.taken] = np.maximum(had, handed)
            news |= later
    for other in np.flatnonzero(news):
        np.maximum.accumulate(clock[other], out=clock[other])
    return bool(news.any())
