"""The units of the fast engine but the array: what each queue's next instruction waits for, and what it does."""

from collections import deque
from collections.abc import Iterable, Sequence

from emulator.banks import Banks, Ports
from emulator.channel import Channel
from emulator.claims import Claims
from emulator.code import Code
from emulator.costs import results_of, vector_cycles, words_of
from emulator.counters import READ, WRITE, Causes, Counters, Slice
from emulator.handshake import Handshake, Handshakes
from emulator.journal import Journal, Work
from emulator.script import Script, Step
from isa.instructions import IMM, Instruction, Queue
from isa.program import Program
from isa.stream import Stream

_REGISTER = {"wload": 0, "gload": 1, "drain": 2, "wdrain": 3}
"""Which of an array's handshakes they take part in."""
_END: tuple[int, list[int], list[int]] = (-1, [], [])


class Shared:
    """What the queues share during one run: counters, tokens, the DRAM channel, ports, and the handshakes of the chains.

    ``script`` takes down what is done to the memories, where that is asked for.
    """

    def __init__(self, program: Program, script: Script | None, trace: bool) -> None:
        self.machine = program.machine
        self.script = script
        self.counters = Counters.of(program, trace)
        self.journal = Journal(self.counters)
        self.tokens = [deque([0] * semaphore.initial) for semaphore in program.semaphores]
        """Of each semaphore, the cycles from which its tokens can be taken."""
        self.waiting: dict[int, Unit] = {}
        """Units that miss a token, by semaphore."""
        self.channel = Channel(program.machine.dram)
        self.channel_free = 0
        self.transfers: list[Dma] = []
        """The queues that share the channel."""
        self.banks = Banks(program.machine.scratchpad)
        self.claims = Claims(self.banks, len(program.machine.queues))
        self.handshakes = [Handshakes.of(program.machine.rows) for _ in range(program.machine.arrays)]
        """Of each array, with its chains."""
        self.causes = Causes.of(program)


class Unit:
    """One queue: where it stands, and when its next timed instruction starts."""

    def __init__(self, queue: Queue, code: Code, shared: Shared) -> None:
        self.queue, self.code, self.shared = queue, code, shared
        self.handshakes = shared.handshakes[queue.number]
        """Its array's; only that and its chains look at them."""
        self.steps = code.sequencer.steps(code.is_nest)
        self.works: dict[tuple[int, ...], Work] = {}
        self.time = 0
        """First cycle in which the queue can issue again."""
        self.finish = 0
        """First cycle in which all that it issued is done."""
        self.ready = False
        """Whether it stands at a timed instruction, all tokens before it taken."""
        self.needs: Ports = ()
        """Of the scratchpad, by that instruction."""
        self.turned = False
        """Whether a loop began another turn since this was last set to False."""
        self.index = -1
        """The instruction that it stands at; -1 once it is through."""
        self.counters: list[int] = []
        self.counts: list[int] = []
        self._next()

    @property
    def instruction(self) -> Instruction:
        return self.code.sequencer.code[self.index]

    @property
    def provenance(self) -> int:
        return self.code.provenance(self.index)

    def _next(self) -> None:
        before = self.index
        self.index, self.counters, self.counts = next(self.steps, _END)
        if self.index <= before:
            self.turned = True
            if self.index < 0:
                self.shared.counters.ended[self.queue] = self.time

    def settle(self) -> Iterable["Unit"]:
        """Go on through semaphores, up to the next timed instruction if no token is missing; the units that tokens were missing for."""
        shared, code = self.shared, self.code.sequencer.code
        woken: list[Unit] = []
        self.ready = False
        while self.index >= 0:
            instruction = code[self.index]
            if instruction.op == "signal":
                semaphore = instruction.args["sem"]
                shared.tokens[semaphore].append(max(self.time + 1, self.finish))
                if semaphore in shared.waiting:
                    woken.append(shared.waiting.pop(semaphore))
            elif instruction.op == "wait":
                semaphore = instruction.args["sem"]
                tokens = shared.tokens[semaphore]
                if not tokens:
                    shared.waiting[semaphore] = self
                    return woken
                until = tokens.popleft()
                if until > self.time:
                    self._stall(semaphore, until, self.provenance)
            else:
                self.ready = True
                if shared.banks.limited:
                    self.needs = self._needs()
                return woken
            self._next()
        return woken

    def _stall(self, cause: int, until: int, provenance: int) -> None:
        """Book the cycles up to ``until``, if it lies ahead."""
        if until > self.time:
            self.shared.journal.stall((provenance, self.queue, cause), until - self.time)
            self.time = until

    def _needs(self) -> Ports:
        return self.shared.banks.needs(self.instruction, self.counters)

    def start(self) -> int | None:
        """First cycle in which the timed instruction can start if ports are free, None while that is unknown."""
        return self.time

    def execute(self, start: int) -> None:
        """Execute the timed instruction, which starts in this cycle, and go on."""
        if self.shared.script:
            self.shared.script.entries.append(Step(self.queue, self.index, tuple(self.counters)))
        self._execute(self.code.sequencer.code[self.index], start)
        self._next()

    def _execute(self, instruction: Instruction, start: int) -> None:
        raise NotImplementedError

    def _key(self, *more: int) -> tuple[int, ...]:
        """What the instruction's work depends on."""
        counters = self.counters
        return (self.index, *more, *[dim.extent(counters) for dim in self.code.clipped[self.index]])

    def _occupy(self, work: Work, latency: int, label: str) -> None:
        """The instruction issues now, holds the queue while it is busy and finishes ``latency`` cycles later."""
        shared, start = self.shared, self.time
        self.time += work.busy
        finish = self.time + latency
        shared.journal.work(work, finish)
        if shared.counters.slices is not None:
            shared.counters.slices.append(Slice(self.queue, work.provenance, start, self.time, label))
        if finish > self.finish:
            self.finish = finish


class Dma(Unit):
    """Either DMA queue."""

    def __init__(self, queue: Queue, code: Code, shared: Shared) -> None:
        super().__init__(queue, code, shared)
        shared.transfers.append(self)

    def start(self) -> int:
        return max(self.time, self.shared.channel_free)

    def _wait(self, until: int) -> None:
        """Book the cycles up to ``until``, in which the channel is not taken anew."""
        self._stall(self.shared.causes.dram_channel, min(until, self.shared.channel_free), self.provenance)
        if until > self.time:
            self._stall(self.shared.causes.scratchpad_ports, until, self.provenance)

    def _execute(self, instruction: Instruction, start: int) -> None:
        shared = self.shared
        loads = instruction.op == "ld"
        outside = instruction.args["src" if loads else "dst"]
        cost = () if shared.channel.plain else shared.channel.transfer(outside, self.counters)
        work = self.works.get(key := self._key(*cost))
        if work is None:
            work = self.works[key] = self._work(instruction, *(cost or shared.channel.transfer(outside, self.counters)))
        if self.needs:
            for other in shared.transfers:
                until = start + (other.queue < self.queue)
                if other.ready and other is not self and shared.channel_free < until:  # ports kept it from the channel; now that does
                    other._wait(until)
        self._wait(start)
        shared.channel_free = self.time + work.busy
        self._occupy(work, shared.machine.dram.latency, instruction.op)

    def _work(self, instruction: Instruction, cycles: int, nbytes: int) -> Work:
        loads = instruction.op == "ld"
        inside = instruction["dst" if loads else "src"]
        access = (WRITE if loads else READ, inside, words_of(instruction["src"], self.counters))
        return Work(self.provenance, self.queue, cycles, (access,), dram=(nbytes, 0) if loads else (0, nbytes))


class _Chain(Unit):
    """The queue of either chains of tiles: busy for as many cycles as the array has rows, and done when the last column is."""

    @property
    def handshake(self) -> Handshake:
        """That of the register which the next instruction fills or empties."""
        return self.handshakes[_REGISTER[self.code.sequencer.code[self.index].op]]

    def _tile(self, direction: int, stream: Stream) -> Work:
        """What the tile at the present counters counts."""
        work = self.works.get(key := self._key())
        if work is None:
            access = (direction, stream, words_of(stream, self.counters))
            work = self.works[key] = Work(self.provenance, self.queue, self.shared.machine.rows, (access,))
        return work


class WeightChain(_Chain):
    def start(self) -> int | None:
        free = self.handshake.put_at()
        return None if free is None else max(self.time, free)

    def _execute(self, instruction: Instruction, start: int) -> None:
        shared, work, handshake = self.shared, self._tile(READ, instruction["src"]), self.handshake
        self._stall(shared.causes.weight_chain, handshake.turn, work.provenance)
        self._stall(shared.causes.scratchpad_ports, start, work.provenance)
        handshake.put(self.time)
        self._occupy(work, shared.machine.cols - 1, instruction.op)


class GradientChain(_Chain):
    def start(self) -> int | None:
        taken = self.handshake.get_at()
        return None if taken is None else max(self.time, taken)

    def _execute(self, instruction: Instruction, start: int) -> None:
        shared, work, handshake = self.shared, self._tile(WRITE, instruction["dst"]), self.handshake
        self._stall(shared.causes.gradient_chain, handshake.turn, work.provenance)
        self._stall(shared.causes.scratchpad_ports, start, work.provenance)
        handshake.get(self.time)
        self._occupy(work, shared.machine.cols - 1, instruction.op)


class Vector(Unit):
    def _execute(self, instruction: Instruction, start: int) -> None:
        shared = self.shared
        passes = shared.banks.cycles(self.needs) if self.needs else 1
        work = self.works.get(key := self._key(passes))
        if work is None:
            work = self.works[key] = self._work(instruction, self.counters, passes)
        self._stall(shared.causes.scratchpad_ports, start, work.provenance)
        self._occupy(work, 0, f"{instruction.op} {instruction['fn']}")

    def _work(self, instruction: Instruction, counters: Sequence[int], passes: int) -> Work:
        dst: Stream = instruction["dst"]
        reduces = instruction.op == "red"
        operands = [instruction[name] for name in (("a",) if reduces else ("a", "b", "c")) if instruction[name] != IMM]
        words = words_of(operands[0] if reduces else dst, counters)
        accesses = [(READ, stream, words_of(stream, counters)) for stream in operands]
        accesses.append((WRITE, dst, results_of(dst, counters) if reduces else words))
        cycles = vector_cycles(self.shared.machine, words, passes)
        return Work(self.provenance, self.queue, cycles, tuple(accesses), vector_ops=words)
