"""All queues executed without time: semaphores and the two chains are tokens, memories are shadows.

A queue runs until it has to wait for another.  A loop whose body other queues cannot notice, but for flags raised once in it, is taken
as one step over strided regions; its instructions then count as executed one after the other, each over all turns.  What remains
when nobody can go on is a deadlock.  An edge of order is a token taken, or a tile got from
a register of `isa/chains.py`.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from functools import cached_property

from isa.chains import FLAGS, REGISTER_OF, REGISTERS, steps_of
from isa.check.findings import Findings, Site
from isa.check.quick import surely_right
from isa.check.regions import Memories, Port, Region, Written
from isa.check.shadow import Shadow
from isa.check.whole import BEATS, Whole, can_be_whole, turns_of
from isa.instructions import Queue, When
from isa.sequencer import turns
from isa.stream import Space

Access = tuple[Port, Region, bool]
"""A region that a port touches, and whether it is read."""
_EARLY = ("swap", "preload")
"""These come before what the beat does."""


def check_order(findings: Findings) -> None:
    """Execute the program's tokens to the end, if arrays of all its events leave a doubt."""
    memories = Memories.of(findings)
    if not surely_right(findings, memories):
        Execution(findings, memories).run()


class Execution:
    """State shared by the queues."""

    def __init__(self, findings: Findings, memories: Memories) -> None:
        self.findings = findings
        program = findings.program
        self.queues = program.machine.queues
        self.granules = memories.granules
        readers = {space: set[Queue]() for space in Space}
        for site in findings.all_sites():
            for field, stream in site.streams:
                if field.reads:
                    readers[stream.space].add(site.queue)
        self.shadows = {space: Shadow(memories.sizes[space], len(self.queues), readers[space]) for space in Space}
        self.written = Written(memories.sizes[Space.spad])
        self.clocks = {queue: [1 if other is queue else 0 for other in self.queues] for queue in self.queues}
        self.initial = [semaphore.initial for semaphore in program.semaphores]
        self.tokens: list[deque[list[int]]] = [deque() for _ in program.semaphores]
        """Clocks of the tokens signalled and not yet taken."""
        self.done: list[dict[str, list[list[int]]]] = [{step: [] for step in REGISTER_OF} for _ in range(program.machine.arrays)]
        """Of each array, clocks at each step that it and its chains do, in order."""

    def run(self) -> None:
        runs = {queue: _Run(self, queue) for queue in self.queues}
        going = {queue: run.events() for queue, run in runs.items()}
        stuck: dict[Queue, str] = {}
        moved = True
        while moved and going:
            moved = False
            for queue, events in list(going.items()):
                before = runs[queue].steps
                blocked = next(events, None)
                moved |= blocked is None or runs[queue].steps > before
                if blocked is None:
                    del going[queue]
                else:
                    stuck[queue] = blocked
        for queue in going:
            self.findings.add(runs[queue].site, f"deadlock: {stuck[queue]}")
        if not going:
            self._check_counts()

    def _check_counts(self) -> None:
        for number, done in enumerate(self.done):
            array = f" of array {number}" if number else ""
            for register in REGISTERS:
                one, other = (register.get, register.put) if register.get in FLAGS else (register.put, register.get)
                if len(done[one]) != len(done[other]):
                    self.findings.general(f"{len(done[one])} × {one}{array}, but {len(done[other])} × {other}: each needs its other")

    def join(self, queue: Queue, clock: Sequence[int]) -> None:
        """What ``clock`` knows to be finished, this queue knows now."""
        self.clocks[queue] = list(map(max, self.clocks[queue], clock))

    def release(self, queue: Queue, *, finished: bool = True) -> list[int]:
        """The clock to hand on; without ``finished`` the queue's own latest work is not part of it."""
        clock = list(self.clocks[queue])
        self.clocks[queue][queue] += 1
        if not finished:
            clock[queue] = 0
        return clock


class _Run:
    """One queue under way; ``site`` is where it stands, ``steps`` how far it came."""

    def __init__(self, execution: Execution, queue: Queue) -> None:
        self.execution = execution
        self.queue = queue
        self.done = execution.done[queue.number]
        self.sites = execution.findings.sites[queue]
        self.sequencer = execution.findings.sequencers[queue]
        self.steps = 0
        self.site: Site

    def events(self) -> Iterator[str]:
        """Run; yields what it waits for, each time it cannot go on."""
        for index, counters, counts in self.sequencer.steps(self._taken_whole):
            self.site = site = self.sites[index]
            op = site.instruction.op
            if op == "wait":
                yield from self._wait(site.instruction["sem"])
            elif op == "signal":
                self.execution.tokens[site.instruction["sem"]].append(self.execution.release(self.queue))
            elif op == "loop":
                yield from self._whole_loop(index, counters, counts)
            else:
                steps = [step for step, when in self._chained[index] if when.holds(counters, counts)]
                for step in steps:
                    yield from self._before(step)
                self._touch(self._accesses(site, len(counters), counters), site)
                for step in steps:
                    self._after(step)
            self.steps += 1

    # What other queues notice.

    def _wait(self, semaphore: int) -> Iterator[str]:
        """Take a token."""
        execution = self.execution
        if execution.initial[semaphore]:
            execution.initial[semaphore] -= 1
            return
        while not execution.tokens[semaphore]:
            yield f"waits for the semaphore {execution.findings.program.semaphores[semaphore].name}, which nobody signals any more"
        execution.join(self.queue, execution.tokens[semaphore].popleft())

    @cached_property
    def _chained(self) -> list[list[tuple[str, When]]]:
        """What each instruction hands between the array and its chains."""
        return [steps_of(site.instruction) for site in self.sites]

    def _before(self, step: str) -> Iterator[str]:
        """Wait until the other side has made its step as often as that needs; what comes into use does so at once."""
        register, done = REGISTER_OF[step], self.done
        puts = step == register.put
        partner = done[register.get if puts else register.put]
        number = len(done[step]) - puts  # the first put needs nobody
        while number >= len(partner):
            yield f"waits for the {register.not_got if puts else register.not_put}, which never comes"
        if number >= 0:
            self.execution.join(self.queue, partner[number])
        if step in _EARLY:
            done[step].append(self.execution.release(self.queue, finished=False))

    def _after(self, step: str) -> None:
        """What the other side may know after it: all that is done where something was put, that it has begun where something was got."""
        if step not in _EARLY:
            self.done[step].append(self.execution.release(self.queue, finished=step == REGISTER_OF[step].put))

    # Loops taken as one step.

    @cached_property
    def _whole(self) -> dict[int, bool]:
        return {
            site.index: can_be_whole(site, self._body(site.index), self.sequencer)
            for site in self.sites
            if site.instruction.op == "loop"
        }  # fmt: skip

    def _taken_whole(self, loop: int) -> bool:
        return self._whole[loop]

    def _body(self, loop: int) -> list[Site]:
        return self.sites[loop + 1 : self.sequencer.partner[loop]]

    @cached_property
    def _wholes(self) -> dict[int, Whole]:
        return {loop: Whole.of(self._body(loop), len(self.sites[loop].loops)) for loop, whole in self._whole.items() if whole}

    def _whole_loop(self, loop: int, counters: list[int], counts: list[int]) -> Iterator[str]:
        """Flags of the first turn, the memory of all turns, flags of the last turn."""
        whole = self._wholes[loop]
        for flags in (whole.first, whole.last):
            if flags is whole.last:
                self._check_sums(self._touch_whole(whole, counters))
            for site, name, when in flags:
                if when.holds(counters, counts):
                    self.site = site
                    yield from self._before(name)
                    self._after(name)

    def _touch_whole(self, whole: Whole, counters: list[int]) -> list[tuple[Site, list[Access]]]:
        """Touch what each instruction touches in all turns; returns it by instruction."""
        touched = []
        for site, level in whole.body:
            accesses = [access for at in turns_of(site.loops, level, counters) for access in self._accesses(site, level, at)]
            self._touch(accesses, site)
            touched.append((site, accesses))
        return touched

    # Memory.

    @cached_property
    def _ports(self) -> list[list[Port]]:
        """The streams of each instruction; it reads before it writes."""
        granules = self.execution.granules
        ports = [[Port(stream, field, site.loops, granules[stream.space]) for field, stream in site.streams] for site in self.sites]
        return [sorted(own, key=lambda port: port.writes) for own in ports]

    def _accesses(self, site: Site, whole: int, counters: list[int]) -> list[Access]:
        """Regions of an instruction at these counters, over all turns of the loops from level ``whole`` on."""
        zeroed = False
        zero = site.instruction.args.get("zero")
        if zero is not None and zero.kind != "never":
            counts = [turns(loop, counters) for loop in site.loops[: len(counters)]]
            zeroed = zero.holds(counters, counts)
        ports = self._ports[site.index]
        return [(port, port.region(whole, counters), port.reads and not (zeroed and port.sums)) for port in ports]

    def _touch(self, accesses: list[Access], site: Site) -> None:
        """Reads, then writes, each compared with what came before."""
        execution, queue = self.execution, self.queue
        findings, written, clock = execution.findings, execution.written, execution.clocks[queue]
        for port, region, reads in accesses:
            if port.space is Space.spad:
                if reads and not written.covers(region):
                    findings.add(site, "reads words of the scratchpad that nothing has written")
                if port.writes:
                    written.note(region)
            for doing, (other, index), others in execution.shadows[port.space].touch(region, reads, port.writes, queue, clock, site.index):
                culprit = findings.describe(findings.sites[other][index])
                findings.add(site, f"{doing} what {culprit} {others}, and nothing orders the two")

    def _check_sums(self, touched: list[tuple[Site, list[Access]]]) -> None:
        """In a loop of beats no operand lies where the loop's partial sums go: they are written too late for it."""
        beats = [(site, accesses) for site, accesses in touched if site.instruction.op in BEATS]
        sums = [region for _, accesses in beats for port, region, _ in accesses if port.writes]
        for site, accesses in beats:
            for port, region, _ in accesses:
                if not port.writes and any(region.overlaps(other) for other in sums):
                    self.execution.findings.add(site, "an operand overlaps the partial sums that the same loop writes")
