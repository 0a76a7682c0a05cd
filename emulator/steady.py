"""Steady state: when all queues stand as they stood some turns ago, what came since comes again, and is counted instead of run.

The whole state of the timing is compared, relative to the present cycle: where each queue stands and since when, tokens, handshakes,
the DRAM channel, the scratchpad's ports, partial sums on their way.  If it is that of an earlier cycle, and every queue that went on
since did so by some turns of one loop, or of loops that go on in each other, then as long as these turns are alike (see `turns.py`) the
same things happen again, as many cycles later.
A queue that stood still in the meantime keeps doing so: it misses a token or a partner that does not come, or is busy, or waits for the
channel, until a cycle before which the repetition ends.  What is only shared with such queues, as tokens that nobody takes in these turns,
stays as it is.
"""

from collections import deque
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

from emulator.array_unit import ArrayUnit
from emulator.banks import Ports
from emulator.script import Advance
from emulator.sums import OnTheirWay
from emulator.turns import Body, Move, bodies
from emulator.units import Shared, Unit
from isa.instructions import Queue
from isa.program import Program

_KEPT = 4
"""So many earlier states of one place are compared: rings make a loop's turns alike only every second or third time."""
_PLACES = 1024
_TRANSFERS = frozenset((Queue.dma_in, Queue.dma_out))
_MARKERS = (Queue.array, Queue.vector, Queue.dma_out)
"""The state is looked at when loops of these turn: what they do, others wait for or make ready."""


@dataclass(frozen=True, slots=True)
class State:
    """The timing's state after an event at cycle ``now``; times of what is past are those of ``now``, since nothing tells them apart."""

    now: int
    position: int
    """In the journal."""
    step: int
    """In the script."""
    counters: tuple[tuple[int, ...], ...]
    """By queue, as the following."""
    time: tuple[int, ...]
    finish: tuple[int, ...]
    tokens: tuple[tuple[int, ...], ...]
    partners: tuple[object, ...]
    """Of each array handshakes and held lanes, relative to ``now``."""
    channel: int
    """First cycle in which it is free, not before ``now``."""
    waits: tuple[tuple[Queue, int], ...]
    """Queues that wait for the channel or for a partner in a handshake, each with the cycle from which on it waits for ports alone."""
    ports: tuple[tuple[int, Ports], ...]
    """By queue, for how many cycles from ``now`` on it holds ports of the scratchpad, and which; empty, as ``waits``, where they are
    unlimited."""
    sums: tuple[OnTheirWay, ...]
    """By array."""


@dataclass(frozen=True, slots=True)
class _Advance:
    """A queue that goes on by ``turns`` of a body from one state to the next."""

    unit: Unit
    body: Body
    turns: int


class SteadyState:
    """Looks at the state at the turns of loops."""

    def __init__(self, program: Program, units: Sequence[Unit], shared: Shared) -> None:
        self.units, self.shared = units, shared
        self.arrays = [unit for unit in units if isinstance(unit, ArrayUnit)]
        self.seen: dict[tuple[int, ...], deque[State]] = {}
        self.bodies: dict[tuple[Queue, int], tuple[Body, ...]] = {}
        waits = {(i["sem"], queue) for queue, code in program.queues.items() for i in code if i.op == "wait"}
        self.waiter: dict[int, Unit] = {semaphore: units[queue] for semaphore, queue in waits}
        dram = program.machine.dram
        by_address = bool(dram.row_bytes and dram.row_miss_cycles) or shared.banks.number > 1
        self.possible = len(self.waiter) == len(waits) and not by_address
        """Which row is open and whose ports are needed depends on all addresses; nor are programs tried that two queues take one
        semaphore's tokens in."""

    def look(self, unit: Unit, now: int) -> None:
        """A loop of the unit began another turn with an event at cycle ``now``: go ahead as far as nothing new happens."""
        if not self.possible or unit.index < 0 or unit.queue.unit not in _MARKERS:
            return
        counters = unit.counters
        level = len(counters) - 1
        while level > 0 and not counters[level]:
            level -= 1
        if level < 0:
            return
        key = (
            unit.queue,
            self._bodies(unit)[level].levels.start,
            *[array.in_tail for array in self.arrays],
            *[other.index for other in self.units],
        )
        if len(self.seen) > _PLACES:
            self.seen.clear()
        earlier = self.seen.setdefault(key, deque(maxlen=_KEPT))
        state = self._state(now)
        for before in reversed(earlier):
            if before.position >= self.shared.journal.start and self._jump(before, state):
                return
        earlier.append(state)

    def _state(self, now: int) -> State:
        shared, arrays = self.shared, self.arrays
        limited = shared.banks.limited
        return State(
            now,
            shared.journal.position,
            shared.script.position if shared.script else 0,
            tuple([tuple(unit.counters) for unit in self.units]),
            tuple([unit.time for unit in self.units]),
            tuple([unit.finish for unit in self.units]),
            tuple(map(tuple, shared.tokens)),
            (
                *[(handshake.full, max(0, handshake.turn - now)) for own in shared.handshakes for handshake in own],
                *[array.lanes for array in arrays],
            ),
            max(now, shared.channel_free),
            self._waits() if limited else (),
            shared.claims.seen_from(now) if limited else (),
            tuple([array.sums.now for array in arrays]),
        )  # fmt: skip

    def _waits(self) -> tuple[tuple[Queue, int], ...]:
        partners = [(queue, self.shared.channel_free) for queue in (Queue.dma_in, Queue.dma_out)]
        for array in self.arrays:
            queues = [queue.of(array.queue.number) for queue in (Queue.wchain, Queue.array, Queue.gchain)]
            weights, preloads, gradients, updates = array.handshakes
            partners += [(queue, handshake.turn) for queue in queues[:2] for handshake in (weights, preloads)]
            partners += [(queue, handshake.turn) for queue in queues[1:] for handshake in (gradients, updates)]
        return tuple([(queue, max(self.units[queue].time, partner)) for queue, partner in partners])

    def _jump(self, before: State, state: State) -> bool:
        """Repeat what happened between the states, if it does and as often as it does."""
        interval = state.now - before.now
        if interval <= 0 or before.partners != state.partners:
            return False
        advances = self._advances(before, state)
        if not advances:
            return False
        moved = {advance.unit.queue for advance in advances}
        taken = frozenset[int]().union(*[advance.body.waits for advance in advances])
        times = min(self._times(advance) for advance in advances)
        limited = self.shared.banks.limited
        if limited and not self._same_ports(before, state, moved):
            return False
        by_channel = limited or bool(moved & _TRANSFERS)
        if by_channel and state.channel - before.channel != interval:
            return False
        for unit in self.units:
            free = 0 if by_channel or unit.queue not in _TRANSFERS else state.channel
            until = max(unit.time, free) if unit.ready else 0
            until = max(until, self.shared.claims.held[unit.queue][0])
            if unit.queue not in moved and until > before.now:
                times = min(times, (until - state.now - 1) // interval)
        if times <= 0 or not self._same_tokens(before, state, taken):
            return False
        moves = self._sums_moves(before, state, advances, times)
        if moves is None:
            return False
        self._go(before, interval, times, advances, taken, moves)
        return True

    def _advances(self, before: State, state: State) -> list[_Advance]:
        """The queues that went on, if each did by turns of one loop in the same number of cycles; else none."""
        interval = state.now - before.now
        advances: list[_Advance] = []
        for unit in self.units:
            queue = unit.queue
            delay = state.time[queue] - before.time[queue]
            old, new = before.counters[queue], state.counters[queue]
            if old == new:
                if delay:
                    return []
                continue
            # When the queue's work is done matters only as long as that is later than the queue itself.
            done = max(state.time[queue], state.finish[queue]) - max(before.time[queue], before.finish[queue])
            if delay != interval or done != interval:
                return []
            bodies = self._bodies(unit)
            body = next(body for level, body in enumerate(bodies) if old[level] != new[level])
            inner = body.levels.stop
            if old[inner:] != new[inner:]:
                return []
            before_turn, turn = body.number(old, unit.counts), body.number(new, unit.counts)
            alike, turns = body.alike(unit.counts), turn - before_turn
            burst = self.shared.machine.dram.burst_bytes
            if before_turn not in alike or turn + turns not in alike or not body.keeps_alignment(turns, burst):
                return []
            advances.append(_Advance(unit, body, turns))
        return advances

    def _bodies(self, unit: Unit) -> tuple[Body, ...]:
        """Of each loop around the unit's instruction."""
        key = unit.queue, unit.index
        found = self.bodies.get(key)
        if found is None:
            burst = self.shared.machine.dram.burst_bytes
            found = self.bodies[key] = bodies(unit.code.sequencer, unit.index, burst, join=self.shared.script is None)
        return found

    def _times(self, advance: _Advance) -> int:
        """How often the queue can advance so until its turns differ."""
        body, counters, counts = advance.body, advance.unit.counters, advance.unit.counts
        return (body.alike(counts).stop - 1 - body.number(counters, counts)) // advance.turns

    def _same_tokens(self, before: State, state: State, taken: Set[int]) -> bool:
        """Whether there are as many tokens, and come as much later where these semaphores' are taken; others come when they come."""
        interval = state.now - before.now
        for semaphore, (old, new) in enumerate(zip(before.tokens, state.tokens, strict=True)):
            if not old and not new:
                continue
            if semaphore not in taken:
                if old != new:
                    return False
                continue
            now = self.waiter[semaphore].time  # a token of before makes no difference to who takes it
            if [max(now, token + interval) for token in old] != [max(now, token) for token in new]:
                return False
        return True

    def _same_ports(self, before: State, state: State, moved: set[Queue]) -> bool:
        """Whether queues that went on hold the same ports, and have waited for them as long; the others hold what they held."""
        interval = state.now - before.now
        waits = zip(before.waits, state.waits, strict=True)
        return all(before.ports[queue] == state.ports[queue] for queue in moved) and all(
            new - old == interval for (queue, old), (_, new) in waits if queue in moved
        )

    def _sums_moves(self, before: State, state: State, advances: Sequence[_Advance], times: int) -> dict[Queue, Move] | None:
        """How rows of partial sums of each array move in ``times`` such advances; None if those of one do not move together in one."""
        moves: dict[Queue, Move] = {}
        interval = state.now - before.now
        for advance in advances:
            if not isinstance(advance.unit, ArrayUnit) or not advance.body.sums:
                continue
            queue, now = advance.unit.queue, advance.unit.time
            move, moves_all = advance.body.moves_sums(advance.turns), advance.body.moves_sums(times * advance.turns)
            if move is None or moves_all is None:
                return None
            earlier, later = before.sums[queue.number].rows(), state.sums[queue.number].rows()
            late = {row: ready for row, ready in later.items() if ready > now}
            if late != {move(row): ready + interval for row, ready in earlier.items() if ready + interval > now}:
                return None
            moves[queue] = moves_all
        return moves

    def _go(
        self, before: State, interval: int, times: int, advances: Sequence[_Advance], taken: Set[int], sums_moves: Mapping[Queue, Move]
    ) -> None:
        shared, cycles = self.shared, times * interval
        shared.journal.repeat(before.position, times, interval)
        if shared.script:
            turns = [Advance(advance.unit.queue, advance.body.levels.start, advance.turns) for advance in advances]
            shared.script.repeat(before.step, times, turns)
        for advance in advances:
            unit = advance.unit
            advance.body.go(unit.counters, unit.counts, times * advance.turns)
            unit.time += cycles
            unit.finish += cycles
            if isinstance(unit, ArrayUnit) and unit.queue in sums_moves:  # else those on their way come back when they always would have
                unit.sums.move(sums_moves[unit.queue], cycles)
        moved = {advance.unit.queue for advance in advances}
        for semaphore in taken:
            shared.tokens[semaphore] = deque([token + cycles for token in shared.tokens[semaphore]])
        # What no queue went on with is past, and how long it is past tells which cycles were waited for it.
        for array in self.arrays:
            weights, preloads, gradients, updates = array.handshakes
            for queue, own in ((Queue.wchain, (weights, preloads)), (Queue.gchain, (gradients, updates))):
                for handshake in own:
                    handshake.turn += cycles * (queue.of(array.queue.number) in moved)
        shared.channel_free += cycles * bool(moved & _TRANSFERS)
        shared.claims.shift(moved, cycles)
