"""All queues executed without time: semaphores and the two chains are tokens, memories are shadows.

A queue runs until it has to wait for another.  A loop whose body other queues cannot notice, but for flags raised once in it, is taken
as one step over strided regions; its instructions then count as executed one after the other, each over all turns.  What remains
when nobody can go on is a deadlock.  An edge of order is a token taken, a swap after its load, or a drain after its take.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from functools import cached_property

from isa.check.findings import Findings, Site
from isa.check.shadow import Dims, Region, Shadow, granule_of
from isa.instructions import Instruction, Queue, When
from isa.sequencer import turns
from isa.stream import Space, Stream

_BEATS = ("fwd", "dx", "dw")
Access = tuple[Region, bool, bool]
"""A region, whether it is read, whether it is written."""


def check_order(findings: Findings) -> None:
    """Execute the program's tokens to the end."""
    _Execution(findings).run()


class _Execution:
    """State shared by the queues."""

    def __init__(self, findings: Findings) -> None:
        self.findings = findings
        self.shadows = _shadows(findings)
        self.clocks = {queue: [1 if other is queue else 0 for other in Queue] for queue in Queue}
        program = findings.program
        self.initial = [semaphore.initial for semaphore in program.semaphores]
        self.tokens: list[deque[list[int]]] = [deque() for _ in program.semaphores]
        """Clocks of the tokens signalled and not yet taken."""
        self.done: dict[str, list[list[int]]] = {"wload": [], "swap": [], "take": [], "drain": []}
        """Clocks at each step of the chains, in order."""

    def run(self) -> None:
        runs = {queue: _Run(self, queue) for queue in Queue}
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
        for one, other in (("swap", "wload"), ("take", "drain")):
            if len(self.done[one]) != len(self.done[other]):
                self.findings.general(f"{len(self.done[one])} × {one}, but {len(self.done[other])} × {other}: each needs its other")

    def join(self, queue: Queue, clock: Sequence[int]) -> None:
        """What ``clock`` knows to be finished, this queue knows now."""
        mine = self.clocks[queue]
        self.clocks[queue] = [max(a, b) for a, b in zip(mine, clock, strict=True)]

    def release(self, queue: Queue, *, finished: bool = True) -> list[int]:
        """The clock to hand on; without ``finished`` the queue's own latest work is not part of it."""
        clock = list(self.clocks[queue])
        self.clocks[queue][queue] += 1
        if not finished:
            clock[queue] = 0
        return clock


def _shadows(findings: Findings) -> dict[Space, Shadow]:
    sizes: dict[Space, set[int]] = {Space.dram: set(), Space.spad: set()}
    readers: dict[Space, set[Queue]] = {Space.dram: set(), Space.spad: set()}
    for site in findings.all_sites():
        for field, stream in site.streams():
            sizes[stream.space].add(stream.dtype.size)
            if field.reads:
                readers[stream.space].add(site.queue)
    program = findings.program
    memory = {Space.dram: program.dram_bytes, Space.spad: program.machine.scratchpad.bytes}
    return {space: Shadow(memory[space], granule_of(sizes[space]), readers[space]) for space in memory}


class _Run:
    """One queue under way; ``site`` is where it stands, ``steps`` how far it came."""

    def __init__(self, execution: _Execution, queue: Queue) -> None:
        self.execution = execution
        self.queue = queue
        self.sites = execution.findings.sites[queue]
        self.sequencer = execution.findings.sequencers[queue]
        self.steps = 0
        self.site: Site

    def events(self) -> Iterator[str]:
        """Run; yields what it waits for, each time it cannot go on."""
        for index, counters, counts in self.sequencer.steps(self._taken_whole):
            self.site = site = self.sites[index]
            if site.instruction.op == "loop":
                yield from self._whole_loop(index, counters, counts)
            else:
                yield from self._before(site, counters, counts)
                self._touch(self._accesses(site, len(counters), counters), site)
                self._after(site, counters, counts)
            self.steps += 1

    # What other queues notice.

    def _before(self, site: Site, counters: Sequence[int], counts: Sequence[int]) -> Iterator[str]:
        """Tokens that an instruction takes before it starts."""
        op, args, execution = site.instruction.op, site.instruction.args, self.execution
        done = execution.done
        if op == "wait":
            semaphore = args["sem"]
            if execution.initial[semaphore]:
                execution.initial[semaphore] -= 1
                return
            while not execution.tokens[semaphore]:
                yield f"waits for the semaphore {execution.findings.program.semaphores[semaphore].name}, which nobody signals any more"
            execution.join(self.queue, execution.tokens[semaphore].popleft())
        elif op == "wload":
            yield from self._chain("swap", len(done["wload"]) - 1, "swap of the tile loaded before")
        elif op == "drain":
            yield from self._chain("take", len(done["drain"]), "take of the gradients to drain")
        if _raised(args.get("swap"), counters, counts):
            yield from self._swap()
        if op == "upd" or _raised(args.get("take"), counters, counts):
            yield from self._chain("drain", len(done["take"]) - 1, "drain of the gradients taken before")

    def _swap(self) -> Iterator[str]:
        done = self.execution.done
        yield from self._chain("wload", len(done["swap"]), "load of the weights to swap in")
        done["swap"].append(self.execution.release(self.queue, finished=False))

    def _chain(self, step: str, number: int, what: str) -> Iterator[str]:
        """Wait until the chain has made ``step`` this often, and once more."""
        done = self.execution.done[step]
        while number >= len(done):
            yield f"waits for the {what}, which never comes"
        if number >= 0:
            self.execution.join(self.queue, done[number])

    def _after(self, site: Site, counters: Sequence[int], counts: Sequence[int]) -> None:
        """Tokens that an instruction gives."""
        op, args, execution = site.instruction.op, site.instruction.args, self.execution
        if op == "signal":
            execution.tokens[args["sem"]].append(execution.release(self.queue))
        elif op == "wload":
            execution.done["wload"].append(execution.release(self.queue))
        elif op == "drain":
            execution.done["drain"].append(execution.release(self.queue, finished=False))
        if op == "upd" or _raised(args.get("take"), counters, counts):
            execution.done["take"].append(execution.release(self.queue))

    # Loops taken as one step.

    @cached_property
    def _whole(self) -> dict[int, bool]:
        return {site.index: self._can_be_whole(site) for site in self.sites if site.instruction.op == "loop"}

    def _taken_whole(self, loop: int) -> bool:
        return self._whole[loop]

    def _can_be_whole(self, loop: Site) -> bool:
        """Whether others notice nothing of the loop but flags that are raised at most once in it."""
        if not self.sequencer.has_sync(loop.index):
            return True
        level = len(loop.loops)
        for site in self._body(loop.index):
            flags = [when for when in site.instruction.args.values() if isinstance(when, When)]
            if site.instruction.op not in (*_BEATS, "loop", "end", "vec", "red", "ld", "st"):
                return False
            swap, take = site.instruction.args.get("swap"), site.instruction.args.get("take")
            inside = set(range(level, len(site.loops)))
            for flag in (swap, take):
                if flag in flags and flag is not None and flag.kind != "never" and not inside <= set(flag.levels):
                    return False
        return True

    def _body(self, loop: int) -> list[Site]:
        return self.sites[loop + 1 : self.sequencer.partner[loop]]

    def _whole_loop(self, loop: int, counters: list[int], counts: list[int]) -> Iterator[str]:
        """Flags of the first turn, the memory of all turns, flags of the last turn."""
        depth = len(counters)
        body = [site for site in self._body(loop) if site.instruction.op not in ("loop", "end")]
        for kind in ("first", "last"):
            if kind == "last":
                touched = self._touch_whole(body, counters)
                self._check_sums(body, touched)
            for site in body:
                for name in ("swap", "take"):
                    when = site.instruction.args.get(name)
                    if isinstance(when, When) and when.kind == kind:
                        outer = When(kind, tuple(level for level in when.levels if level < depth))
                        if outer.holds(counters, counts):
                            self.site = site
                            yield from self._flag(name)

    def _flag(self, name: str) -> Iterator[str]:
        if name == "swap":
            yield from self._swap()
        else:
            done = self.execution.done
            yield from self._chain("drain", len(done["take"]) - 1, "drain of the gradients taken before")
            done["take"].append(self.execution.release(self.queue))

    def _touch_whole(self, body: list[Site], counters: list[int]) -> dict[int, list[Access]]:
        """Touch what each instruction touches in all turns; returns it by instruction."""
        touched = {}
        for site in body:
            accesses = [access for at, whole in self._blocks(site, counters) for access in self._accesses(site, whole, at)]
            self._touch(accesses, site)
            touched[site.index] = accesses
        return touched

    def _blocks(self, site: Site, counters: list[int]) -> Iterator[tuple[list[int], int]]:
        """Counters, turn by turn for the loops whose turns differ; the innermost loops that only add strides are left whole."""
        depth = len(site.loops)
        whole = depth
        bent = _bent_levels(site)
        while whole > len(counters) and whole - 1 not in bent:
            whole -= 1
        yield from ((at, whole) for at in _turns_of(site.loops, whole, counters))

    # Memory.

    def _accesses(self, site: Site, whole: int, counters: list[int]) -> list[Access]:
        """Regions of an instruction at these counters, over all turns of the loops from level ``whole`` on."""
        accesses = []
        zeroed = False
        zero = site.instruction.args.get("zero")
        if isinstance(zero, When) and zero.kind != "never":
            counts = [turns(loop, counters) for loop in site.loops[: len(counters)]]
            zeroed = zero.holds(counters, counts)
        inner = [turns(loop, counters) for loop in site.loops[whole:]]
        for field, stream in site.streams():
            reads = field.reads and not (field.name == "acc" and zeroed)
            accesses.append((self._region(stream, whole, counters, inner), reads, field.writes))
        accesses.sort(key=lambda access: access[2])  # an instruction reads before it writes
        return accesses

    def _region(self, stream: Stream, whole: int, counters: list[int], inner: list[int]) -> Region:
        dims: Dims = tuple((dim.extent(counters), dim.stride) for dim in stream.dims)
        dims += tuple(zip(inner, stream.strides[whole:], strict=False))
        return self.execution.shadows[stream.space].region(stream.address(counters), dims, stream.dtype.size)

    def _touch(self, accesses: list[Access], site: Site) -> None:
        """Reads, then writes, each compared with what came before."""
        execution, queue = self.execution, self.queue
        clock = execution.clocks[queue]
        spad = execution.shadows[Space.spad]
        for region, reads, writes in accesses:
            if reads:
                if region.shadow is spad and region.unwritten():
                    execution.findings.add(site, "reads words of the scratchpad that nothing has written")
                self._tell_race(site, region.unordered_write(clock), "reads", "writes")
                region.note_read(queue, clock, site.index)
            if writes:
                self._tell_race(site, region.unordered_write(clock), "writes", "writes")
                self._tell_race(site, region.unordered_read(clock, queue), "writes", "reads")
                region.note_write(queue, clock, site.index)

    def _tell_race(self, site: Site, other: tuple[Queue, int] | None, doing: str, others: str) -> None:
        if other is not None:
            findings = self.execution.findings
            culprit = findings.describe(findings.sites[other[0]][other[1]])
            findings.add(site, f"{doing} what {culprit} {others}, and nothing orders the two")

    def _check_sums(self, body: list[Site], touched: dict[int, list[Access]]) -> None:
        """In a loop of beats no operand lies where the loop's partial sums go: they are written too late for it."""
        beats = [site for site in body if site.instruction.op in _BEATS]
        sums = [region for site in beats for region, _, writes in touched[site.index] if writes]
        for site in beats:
            for region, _, writes in touched[site.index]:
                if not writes and any(region.overlaps(other) for other in sums):
                    self.execution.findings.add(site, "an operand overlaps the partial sums that the same loop writes")


def _raised(when: object, counters: Sequence[int], counts: Sequence[int]) -> bool:
    return isinstance(when, When) and when.holds(tuple(counters), tuple(counts))


def _bent_levels(site: Site) -> set[int]:
    """Levels over which an access is not affine, or loops change their turns."""
    bent = {loop["level"] for loop in site.loops if loop["limit"]}
    for _, stream in site.streams():
        bent |= {dim.level for dim in stream.dims if dim.limit is not None}
        bent |= {level for level, step in enumerate(stream.ring.steps if stream.ring else ()) if step}
    zero = site.instruction.args.get("zero")
    return bent | set(zero.levels) if isinstance(zero, When) else bent


def _turns_of(loops: tuple[Instruction, ...], whole: int, counters: list[int]) -> Iterator[list[int]]:
    """Counters of the loops from ``len(counters)`` to ``whole`` in order, those further inside at 0."""
    level = len(counters)
    if level == whole:
        yield counters + [0] * (len(loops) - whole)
        return
    for counter in range(turns(loops[level], counters)):
        yield from _turns_of(loops, whole, [*counters, counter])
