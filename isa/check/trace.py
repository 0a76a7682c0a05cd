"""One queue executed without time and all at once, as arrays.

The queue's events are its instructions, and the loops that can be taken as one step, numbered in the order of execution.  Each takes
and gives some tokens; what it touches, it touches between those that it takes before and those that it gives after.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from isa.check.findings import Findings, Site
from isa.check.times import Ints, Times
from isa.check.tokens import Token, flag_tokens, tokens_around
from isa.check.whole import Whole, can_be_whole
from isa.instructions import Queue


@dataclass(slots=True, eq=False)
class Event:
    """All times of one event: an instruction, or a loop taken as one step."""

    times: Times
    sites: list[tuple[Site, int]]
    """Its instructions, each with the level from which on loops only add strides."""
    before: list[Token]
    after: list[Token]
    loop: bool = False
    at: Ints = field(init=False)
    """The numbers of the events."""
    seen: Ints = field(init=False)
    """Tokens that the queue has taken when it touches memory."""
    given: Ints = field(init=False)
    """Tokens that it has given by then."""


@dataclass(slots=True, eq=False)
class Body:
    """All times of a loop's body, or the queue's whole code once."""

    times: Times
    items: list["Event | Body"]
    lengths: Ints = field(init=False)
    """How many events it has each time."""

    def __post_init__(self) -> None:
        self.lengths = np.full(self.times.size, sum(isinstance(item, Event) for item in self.items))
        for item in self.items:
            if isinstance(item, Body):
                self.lengths += np.add.reduceat(item.lengths, item.times.first)


class Trace:
    """What one queue takes, gives and touches."""

    def __init__(self, findings: Findings, queue: Queue) -> None:
        self.queue = queue
        self._sites, self._sequencer = findings.sites[queue], findings.sequencers[queue]
        self.events: list[Event] = []
        code = self._body(0, len(self._sites), Times(1))
        total = self._number(code, np.zeros(1, np.int64))
        self._count(int(total[0]))

    def _body(self, index: int, end: int, times: Times) -> Body:
        items: list[Event | Body] = []
        while index < end:
            site, partner = self._sites[index], self._sequencer.partner[index]
            if site.instruction.op != "loop":
                items.append(Event(times, [(site, len(site.loops))], *tokens_around(site)))
            elif can_be_whole(site, self._sites[index + 1 : partner], self._sequencer):
                whole = Whole.of(self._sites[index + 1 : partner], len(site.loops))
                items.append(Event(times, whole.body, flag_tokens(whole.first), flag_tokens(whole.last), loop=True))
            else:
                items.append(self._body(index + 1, partner, times.inside(site.instruction)))
            index = max(index, partner) + 1
        return Body(times, items)

    def _number(self, body: Body, begin: Ints) -> Ints:
        """Number the events of a body that begins with these numbers; returns the numbers after it."""
        at = begin
        for item in body.items:
            if isinstance(item, Event):
                item.at = at
                self.events.append(item)
                at = at + 1
            else:
                at = self._number_loop(item, at)
        return at

    def _number_loop(self, body: Body, begin: Ints) -> Ints:
        parent, first = body.times.parent, body.times.first
        before = np.cumsum(body.lengths) - body.lengths
        self._number(body, begin[parent] + before - before[first][parent])
        return begin + np.add.reduceat(body.lengths, first)

    def _count(self, events: int) -> None:
        """Count the tokens that come before each event, and note which they are."""
        taken, given = np.zeros(events + 1, np.int64), np.zeros(events + 1, np.int64)
        for event in self.events:
            for token in (*event.before, *event.after):
                (given if token.given else taken)[event.at + 1] += event.times.holds(token.when)
        np.cumsum(taken, out=taken)
        np.cumsum(given, out=given)
        self.takes, self.gives = np.zeros(taken[-1], np.int16), np.zeros(given[-1], np.int16)
        """The number of each token taken, and of each given."""
        self.seen = np.zeros(given[-1], np.int64)
        """Tokens taken before each that is given."""
        for event in self.events:
            counts = taken[event.at], given[event.at]
            self._note(event, event.before, *counts)
            event.seen, event.given = counts
            if event.after:
                self._note(event, event.after, *map(np.copy, counts))

    def _note(self, event: Event, tokens: Sequence[Token], taken: Ints, given: Ints) -> None:
        """Note tokens that come after these; they are counted in these as well."""
        for token in tokens:
            raised = event.times.holds(token.when)
            if token.given:
                self.gives[given[raised]] = token.number
                self.seen[given[raised]] = taken[raised]
                given += raised
            else:
                self.takes[taken[raised]] = token.number
                taken += raised
