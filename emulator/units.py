"""The units of the fast engine but the array: what each queue's next instruction waits for, and what it does."""

from collections import deque

from emulator.beats import ArrayValues
from emulator.channel import Channel
from emulator.costs import results_of, vector_cycles, words_of
from emulator.counters import READ, WRITE, Counters
from emulator.memory import Memory, convert
from emulator.nest import Nest, nest_at
from emulator.vector import compute
from isa.instructions import IMM, Instruction, Queue
from isa.program import Program
from isa.sequencer import Sequencer
from isa.stream import Space, Stream


class Code:
    """A queue's code with its beat nests found; lives as long as the program."""

    def __init__(self, instructions: list[Instruction], unowned: int) -> None:
        self.sequencer = Sequencer(instructions)
        self.unowned = unowned
        self.nests: dict[int, Nest | None] = {}
        for index, instruction in enumerate(instructions):
            if instruction.op in ("loop", "fwd", "dx", "dw", "upd"):
                self.nests[index] = nest_at(self.sequencer, index, unowned)

    def is_nest(self, index: int) -> bool:
        """Whether the loop at this index is executed as one."""
        return self.nests[index] is not None

    def provenance(self, index: int) -> int:
        owner = self.sequencer.code[index].provenance
        return self.unowned if owner is None else owner


class Shared:
    """What the queues share during one run: memories, counters, tokens, the DRAM channel, and the handshakes of the chains.

    Times are the issue cycles known so far, in order.
    """

    def __init__(self, program: Program, dram: Memory, values: bool, trace: bool) -> None:
        self.machine = program.machine
        self.memories = {Space.dram: dram, Space.spad: Memory(Space.spad, program.machine.scratchpad.bytes if values else 0)}
        self.counters = Counters.of(program, trace)
        self.tokens = [deque([0] * semaphore.initial) for semaphore in program.semaphores]
        self.signals = 0
        """Signals given so far."""
        self.channel = Channel(program.machine.dram)
        self.channel_free = 0
        self.array = ArrayValues(program.machine, self.memories[Space.spad])
        self.values = values
        self.loads: list[int] = []
        self.swaps: list[int] = []
        self.takes: list[int] = []
        self.drains: list[int] = []
        first = len(program.semaphores)
        self.weight_chain, self.gradient_chain, self.partial_sums, self.dram_channel = range(first, first + 4)


class Unit:
    """One queue: where it stands, and when its next timed instruction starts."""

    def __init__(self, queue: Queue, code: Code, shared: Shared) -> None:
        self.queue, self.code, self.shared = queue, code, shared
        self.steps = code.sequencer.steps(code.is_nest)
        self.time = 0
        """First cycle in which the queue can issue again."""
        self.finish = 0
        """First cycle in which all that it issued is done."""
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
        self.index, self.counters, self.counts = next(self.steps, (-1, [], []))
        if self.index < 0:
            self.shared.counters.ended[self.queue] = self.time

    def settle(self) -> bool:
        """Go on through semaphores to the next timed instruction; False at the end and where a token is missing."""
        while self.index >= 0:
            instruction = self.instruction
            if instruction.op == "signal":
                self.shared.tokens[instruction["sem"]].append(max(self.time + 1, self.finish))
                self.shared.signals += 1
            elif instruction.op == "wait":
                tokens = self.shared.tokens[instruction["sem"]]
                if not tokens:
                    return False
                self._stall(instruction["sem"], tokens.popleft(), self.provenance)
            else:
                return True
            self._next()
        return False

    def _stall(self, cause: int, until: int, provenance: int) -> None:
        """Book the cycles up to ``until``, if it lies ahead."""
        if until > self.time:
            self.shared.counters.stalls[provenance, self.queue, cause] += until - self.time
            self.time = until

    def start(self) -> int | None:
        """First cycle in which the timed instruction can start, None while that is unknown."""
        return self.time

    def execute(self) -> None:
        """Execute the timed instruction and go on."""
        self._execute(self.instruction)
        self._next()

    def _execute(self, instruction: Instruction) -> None:
        raise NotImplementedError

    def _occupy(self, cycles: int, finish: int, label: str) -> None:
        """The instruction issues now, holds the queue for some cycles and finishes."""
        self.shared.counters.work(self.provenance, self.queue, self.time, cycles, finish, label)
        self.time += cycles
        self.finish = max(self.finish, finish)


class Dma(Unit):
    """Either DMA queue."""

    def start(self) -> int:
        return max(self.time, self.shared.channel_free)

    def _execute(self, instruction: Instruction) -> None:
        shared, machine, counters = self.shared, self.shared.machine, self.shared.counters
        dst, src = instruction["dst"], instruction["src"]
        loads = instruction.op == "ld"
        words = words_of(src, self.counters)
        cycles, nbytes = shared.channel.transfer(src if loads else dst, self.counters)
        counters.dram[self.provenance, READ if loads else WRITE] += nbytes
        counters.access(self.provenance, WRITE if loads else READ, dst if loads else src, self.queue, words)
        self._stall(shared.dram_channel, self.start(), self.provenance)
        shared.channel_free = self.time + cycles
        if shared.values:
            values = shared.memories[src.space].view(src, self.counters)
            shared.memories[dst.space].view(dst, self.counters)[...] = convert(values, dst.dtype)
        self._occupy(cycles, self.time + cycles + machine.dram.latency, instruction.op)


class WeightChain(Unit):
    def start(self) -> int | None:
        loads, swaps = len(self.shared.loads), self.shared.swaps
        if loads > len(swaps):
            return None
        return max(self.time, swaps[loads - 1] + 1) if loads else self.time

    def _execute(self, instruction: Instruction) -> None:
        shared, machine, src = self.shared, self.shared.machine, instruction["src"]
        self._stall(shared.weight_chain, self.start() or 0, self.provenance)
        shared.loads.append(self.time)
        shared.counters.access(self.provenance, READ, src, self.queue, words_of(src, self.counters))
        if shared.values:
            shared.array.load(src, self.counters)
        self._occupy(machine.rows, self.time + machine.rows + machine.cols - 1, "wload")


class GradientChain(Unit):
    def start(self) -> int | None:
        drains, takes = len(self.shared.drains), self.shared.takes
        return max(self.time, takes[drains] + self.shared.machine.rows) if drains < len(takes) else None

    def _execute(self, instruction: Instruction) -> None:
        shared, machine, dst = self.shared, self.shared.machine, instruction["dst"]
        self._stall(shared.gradient_chain, self.start() or 0, self.provenance)
        shared.drains.append(self.time)
        shared.counters.access(self.provenance, WRITE, dst, self.queue, words_of(dst, self.counters))
        if shared.values:
            shared.array.drain(dst, self.counters)
        self._occupy(machine.rows, self.time + machine.rows + machine.cols - 1, "drain")


class Vector(Unit):
    def _execute(self, instruction: Instruction) -> None:
        shared, counters = self.shared, self.shared.counters
        dst: Stream = instruction["dst"]
        reduces = instruction.op == "red"
        operands = [instruction["a"]] if reduces else [instruction[name] for name in ("a", "b", "c")]
        words = words_of(operands[0] if reduces else dst, self.counters)
        for stream in operands:
            if stream != IMM:
                counters.access(self.provenance, READ, stream, self.queue, words_of(stream, self.counters))
        counters.access(self.provenance, WRITE, dst, self.queue, results_of(dst, self.counters) if reduces else words)
        counters.vector_ops[self.provenance] += words
        if shared.values and words:
            view, results = compute(instruction, shared.memories[Space.spad], self.counters)
            view[...] = results
        cycles = vector_cycles(shared.machine, words)
        self._occupy(cycles, self.time + cycles, f"{instruction.op} {instruction['fn']}")
