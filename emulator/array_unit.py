"""The array's queue in the fast engine: beat nests as single events."""

import math
from collections.abc import Sequence
from itertools import pairwise

from emulator.banks import Ports, at_once
from emulator.code import Code, clipped
from emulator.costs import words_of
from emulator.counters import READ, WRITE, Slice
from emulator.handshake import Handshake
from emulator.journal import Work
from emulator.nest import Beat, Nest
from emulator.plan import Plan, Span
from emulator.script import Step
from emulator.sums import RecentSums, Shift, cycle_of, shift_at
from emulator.units import Shared, Unit
from isa.instructions import UPDATES, Queue
from isa.sequencer import turns
from isa.stream import Dim, Stream


class ArrayUnit(Unit):
    """The array: issues beat nests.  A `take` at the end of a nest is a beat of its own, since only the drain before tells its cycle."""

    def __init__(self, queue: Queue, code: Code, shared: Shared) -> None:
        self.sums = RecentSums(shared.machine)
        self.in_tail = False
        self.lanes = (0, 0)
        """Lanes that the beat before used on h and v, for `held`."""
        self.coming: list[Handshake] = []
        """With which the nest begins."""
        self.going: list[Handshake] = []
        """With which it ends if it takes."""
        self.plans: dict[tuple[object, ...], Plan] = {}
        self.clipped: dict[int, tuple[Dim, ...]] = {}
        super().__init__(queue, code, shared)

    @property
    def nest(self) -> Nest:
        return self.code.nest(self.index)

    def _next(self) -> None:
        """Further on, past nests without a turn; what is known of the nest is looked up here, once."""
        super()._next()
        while self.index >= 0 and self.index in self.code.nests:
            nest = self.nest
            counts = [turns(loop, self.counters) for loop in nest.loops]
            if all(count > 0 for count in counts):
                self.plan = plan = self._plan(nest, counts)
                weights, preloads, gradients, updates = self.handshakes
                self.coming = [handshake for handshake, needed in ((weights, plan.swap), (preloads, plan.preload)) if needed]
                self.going = [gradients, updates] if nest.beats[-1].op == "mupd" else [gradients]
                return
            super()._next()

    def _plan(self, nest: Nest, counts: Sequence[int]) -> Plan:
        if self.index not in self.clipped:
            self.clipped[self.index] = clipped(stream for beat in nest.beats for stream in beat.streams)
        swap, preload = (when.holds(self.counters, self.counts) for when in (nest.beats[0].swap, nest.beats[0].preload))
        take = nest.beats[-1].take.holds(self.counters, self.counts)
        zeros = tuple(beat.zero.holds(self.counters, self.counts) for beat in nest.beats)
        extents = [dim.extent(self.counters) for dim in self.clipped[self.index]]
        needs = self.shared.banks.nest_needs(nest, zeros, self.counters, counts)
        key = (self.index, swap, preload, take, *zeros, *counts, *self.lanes, *extents, needs)
        plan = self.plans.get(key)
        if plan is None:
            total = len(nest.beats) * math.prod(counts)
            costs = tuple(map(self.shared.banks.cycles, needs))
            tail = Work(nest.beats[-1].provenance, self.queue, costs[-1]) if take and total > 1 else None
            works, spans, lanes = [], [], self.lanes
            for position, (beat, zero) in enumerate(zip(nest.beats, zeros, strict=True)):
                issued = total // len(nest.beats) - (tail is not None and position == len(nest.beats) - 1)
                work, lanes = self._work(beat, zero, total // len(nest.beats), issued * costs[position], lanes)
                works.append(work)
                last = (issued - 1) * len(nest.beats) + position
                spans.append(Span(costs[position], cycle_of(position, costs), cycle_of(last, costs), last))
            read, written = self.sums.rows(nest, counts, zeros, total - take, costs)
            plan = self.plans[key] = Plan(
                tuple(counts),
                swap,
                preload,
                take,
                zeros,
                needs,
                tuple(works),
                tuple(spans),
                cycle_of(total - take, costs),
                tail,
                lanes,
                read,
                written,
            )
        return plan

    def _work(self, beat: Beat, zero: bool, turns: int, busy: int, lanes: tuple[int, int]) -> tuple[Work, tuple[int, int]]:
        """MACs and scratchpad accesses of all turns of a beat; ``lanes`` before and after it."""
        h, v = lanes
        accesses: list[tuple[int, Stream, int]] = []
        if beat.h and beat.h.stream:
            h = words_of(beat.h.stream, self.counters)
            accesses.append((READ, beat.h.stream, h * turns))
        if beat.v and beat.v.stream:
            v = words_of(beat.v.stream, self.counters)
            accesses.append((READ, beat.v.stream, v * turns))
        if beat.acc:
            words = words_of(beat.acc, self.counters)
            accesses += [(direction, beat.acc, words * turns) for direction in ((WRITE,) if zero else (READ, WRITE))]
            h, v = (h, words) if beat.op == "fwd" else (words, v)
        macs = 0 if beat.op in UPDATES else h * v * turns
        return Work(beat.provenance, self.queue, busy, tuple(accesses), macs), (h, v)

    def start(self) -> int | None:
        start, plan = self.time, self.plan
        if not self.in_tail:
            for comes in self.coming:
                loaded = comes.get_at()
                if loaded is None:
                    return None
                start = max(start, loaded)
        if plan.take and (self.in_tail or plan.tail is None):
            for goes in self.going:
                drained = goes.put_at()
                if drained is None:
                    return None
                start = max(start, drained)
        return start if self.in_tail or start >= self.sums.latest else max(start, self._sums_back())

    def _sums_back(self) -> int:
        """First cycle in which the sums are back that the nest's first beat reads."""
        acc = self.nest.beats[0].acc
        return 0 if acc is None or self.plan.zeros[0] else self.sums.back(acc.address(self.counters))

    def _needs(self) -> Ports:
        """A nest holds what any of its beats needs until the last has issued, since what they wait for comes by itself."""
        return self.plan.needs[-1] if self.in_tail else at_once(self.plan.needs)

    def execute(self, start: int) -> None:
        plan = self.plan
        if self.shared.script:
            self.shared.script.entries.append(Step(self.queue, self.index, tuple(self.counters), None if self.in_tail else plan))
        if self.in_tail:
            assert plan.tail is not None
            self._take(self.nest.beats[-1], plan.tail, start)
        else:
            self._run(self.nest, plan, start)
            if plan.tail is not None:
                self.in_tail = True
                return
        self.in_tail = False
        self._next()

    def _run(self, nest: Nest, plan: Plan, start: int) -> None:
        """All beats; the last one is left out if it takes the gradient and is not the only one."""
        shared, owner = self.shared, nest.beats[0].provenance
        for handshake in self.coming:
            self._stall(shared.causes.weight_chain, handshake.turn, owner)
        self.lanes = plan.lanes
        if plan.take and plan.tail is None:
            self._take(nest.beats[0], plan.works[0], start)
        else:
            if self.time < start:
                self._stall(shared.causes.partial_sums, self._sums_back(), owner)
                self._stall(shared.causes.scratchpad_ports, start, owner)
            bases = [beat.acc.address(self.counters) if beat.acc else 0 for beat in nest.beats]
            shifts = self.sums.shifts(plan.read, bases, start)
            self.sums.record(nest, plan.written, bases, start, shifts)
            self._book(nest, plan, start, shifts)
        for handshake in self.coming:
            handshake.get(start)

    def _take(self, beat: Beat, work: Work, start: int) -> None:
        """Issue a beat that takes the gradient."""
        shared = self.shared
        for handshake in self.going:
            self._stall(shared.causes.gradient_chain, handshake.turn, beat.provenance)
        self._stall(shared.causes.scratchpad_ports, start, beat.provenance)
        for handshake in self.going:
            handshake.put(start)
        self._issue(beat.op, work, start, start, work.busy)

    def _book(self, nest: Nest, plan: Plan, start: int, shifts: Sequence[Shift]) -> None:
        """Busy and stalled cycles of all beats but a `take` at the end."""
        width = len(nest.beats)
        for (_, before), (number, late) in pairwise(shifts):
            stalled = nest.beats[number % width].provenance
            self.shared.journal.stall((stalled, self.queue, self.shared.causes.partial_sums), late - before)
        for beat, work, (cost, first, last, number) in zip(nest.beats, plan.works, plan.spans, strict=True):
            if work.busy:
                self._issue(beat.op, work, start + first, start + last + shift_at(shifts, number), cost)
            else:
                self.shared.journal.work(work, 0)
        self.time = start + plan.length + shifts[-1][1]

    def _issue(self, op: str, work: Work, first: int, last: int, cost: int) -> None:
        """Book all turns of a beat, the first and the last of which issue in these cycles; each holds the array for ``cost`` cycles."""
        shared = self.shared
        finish = last + shared.machine.rows + shared.machine.cols - 1
        shared.journal.work(work, finish)
        if shared.counters.slices is not None:
            shared.counters.slices.append(Slice(self.queue, work.provenance, first, last + cost, op))
        self.time = last + cost
        self.finish = max(self.finish, finish)
