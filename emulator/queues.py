"""The queues of the stepped engine but the array's: in each cycle each one looks whether its next instruction may issue.

Nothing here computes when that will be; the conditions are looked at anew in every cycle.
"""

from collections import Counter

from emulator.array_state import Slot
from emulator.banks import Ports
from emulator.board import Board
from emulator.chains import GradientChain, WeightChain
from emulator.costs import results_of, vector_cycles, words_of
from emulator.counters import READ, WRITE, Slice
from emulator.memory import convert
from emulator.vector import compute
from isa.instructions import IMM, Instruction, Queue
from isa.sequencer import Sequencer
from isa.stream import Space, Stream


class QueueMachine:
    """One in-order queue."""

    def __init__(self, queue: Queue, board: Board) -> None:
        self.queue, self.board = queue, board
        self.sequencer = Sequencer(board.program.queues.get(queue, []))
        self.steps = self.sequencer.steps()
        self.occupied_until = 0
        self.finish = 0
        """First cycle in which all that was issued is done."""
        self.busy: Counter[int] = Counter()
        """Cycles for which each instruction has occupied the queue."""
        self.stalls: Counter[tuple[int, int]] = Counter()
        """Cycles for which an instruction could not issue, by its index and the cause."""
        self.ended = False
        self._next()

    def _next(self) -> None:
        self.index, self.counters, self.counts = next(self.steps, (-1, [], []))

    @property
    def provenance(self) -> int:
        return self.owner(self.index)

    def owner(self, index: int) -> int:
        """Provenance of the instruction at this index."""
        owner = self.sequencer.code[index].provenance
        return len(self.board.program.provenance) if owner is None else owner

    def cycle(self) -> None:
        """Pass semaphores and issue one timed instruction, or note what it waits for, in a cycle in which nothing occupies the queue."""
        board, code = self.board, self.sequencer.code
        while self.index >= 0:
            instruction = code[self.index]
            if instruction.op == "signal":
                visible = max(board.now + 1, self.finish)
                board.tokens[instruction.args["sem"]].append(visible)
                board.under_way(visible)
            elif instruction.op == "wait":
                semaphore = instruction.args["sem"]
                tokens = board.tokens[semaphore]
                if not tokens or tokens[0] > board.now:
                    self.stalls[self.index, semaphore] += 1
                    return
                tokens.popleft()
                board.under_way(board.now)
            else:
                cause = self._blocked(instruction)
                if cause is None:
                    self._issue(instruction)
                    self._hold(instruction)
                    self._next()
                else:
                    self.stalls[self.index, cause] += 1
                return
            self._next()
        self._end()

    def _end(self) -> None:
        """The queue is through: what it did is counted."""
        self.ended = True
        counters = self.board.counters
        counters.ended[self.queue] = self.board.now
        for index, cycles in self.busy.items():
            counters.busy[self.owner(index), self.queue] += cycles
        for (index, cause), cycles in self.stalls.items():
            counters.stalls[self.owner(index), self.queue, cause] += cycles

    def _needs(self, instruction: Instruction) -> Ports:
        """The ports of the scratchpad that the instruction needs for as long as it occupies the queue."""
        return self.board.banks.needs(instruction, self.counters)

    def _blocked(self, instruction: Instruction) -> int | None:
        """The first cause for which the instruction cannot issue in this cycle."""
        return self.board.lacks(self._needs(instruction))

    def _issue(self, instruction: Instruction) -> None:
        raise NotImplementedError

    def _hold(self, instruction: Instruction) -> None:
        """The instruction that has just issued has its ports for itself."""
        needs = self._needs(instruction)
        if needs:
            self.board.held[self.queue] = self.board.banks.held(needs), self.occupied_until

    def _occupy(self, cycles: int, finish: int, label: str) -> None:
        board = self.board
        self.occupied_until = board.now + cycles
        self.busy[self.index] += cycles
        self.finish = max(self.finish, finish)
        board.under_way(max(finish, self.occupied_until))
        if board.counters.slices is not None:
            board.counters.slices.append(Slice(self.queue, self.provenance, board.now, board.now + cycles, label))

    def _done_at(self, cycle: int) -> None:
        """Count the finish of an instruction."""
        finish = self.board.counters.finish
        finish[self.provenance] = max(finish[self.provenance], cycle)


class DmaQueue(QueueMachine):
    def _blocked(self, instruction: Instruction) -> int | None:
        return self.board.causes.dram_channel if self.board.now < self.board.channel_free else super()._blocked(instruction)

    def _issue(self, instruction: Instruction) -> None:
        board, counters = self.board, self.board.counters
        dst, src = instruction["dst"], instruction["src"]
        loads = instruction.op == "ld"
        words = words_of(src, self.counters)
        cycles, nbytes = board.channel.transfer(src if loads else dst, self.counters)
        counters.dram[self.provenance, READ if loads else WRITE] += nbytes
        counters.access(self.provenance, WRITE if loads else READ, dst if loads else src, self.queue, words)
        finish = board.now + cycles + board.machine.dram.latency
        board.channel_free = board.now + cycles
        copied = convert(board.memories[src.space].view(src, self.counters), dst.dtype).copy()
        board.commits.append((finish, board.memories[dst.space].view(dst, self.counters), copied))
        self._done_at(finish)
        self._occupy(cycles, finish, instruction.op)


class _ChainQueue(QueueMachine):
    """Either chain of tiles."""

    def __init__(self, queue: Queue, board: Board) -> None:
        super().__init__(queue, board)
        self.array = board.arrays[queue.number]

    def _tile(self, chain: WeightChain | GradientChain, direction: int, stream: Stream) -> None:
        """A transfer starts."""
        board, machine = self.board, self.board.machine
        words = chain.begin(board.now, stream, self.counters)
        board.counters.access(self.provenance, direction, stream, self.queue, words)
        finish = board.now + machine.rows + machine.cols - 1
        self._done_at(finish)
        self._occupy(machine.rows, finish, self.sequencer.code[self.index].op)


class WeightQueue(_ChainQueue):
    def _blocked(self, instruction: Instruction) -> int | None:
        free = self._register(instruction).can_put(self.board.now)
        return super()._blocked(instruction) if free else self.board.causes.weight_chain

    def _issue(self, instruction: Instruction) -> None:
        grid = self.array.grid
        self._register(instruction).put(self.board.now)
        if instruction.op == "gload":
            grid.preloads.scale = instruction["scale"]
        self._tile(grid.weights if instruction.op == "wload" else grid.preloads, READ, instruction["src"])

    def _register(self, instruction: Instruction) -> Slot:
        return self.array.weights if instruction.op == "wload" else self.array.preloads


class GradientQueue(_ChainQueue):
    def _blocked(self, instruction: Instruction) -> int | None:
        taken = self._register(instruction).can_get(self.board.now)
        return super()._blocked(instruction) if taken else self.board.causes.gradient_chain

    def _issue(self, instruction: Instruction) -> None:
        grid = self.array.grid
        self._register(instruction).get(self.board.now)
        self._tile(grid.gradients if instruction.op == "drain" else grid.updates, WRITE, instruction["dst"])

    def _register(self, instruction: Instruction) -> Slot:
        return self.array.gradients if instruction.op == "drain" else self.array.updates


class VectorQueue(QueueMachine):
    def _issue(self, instruction: Instruction) -> None:
        board, counters = self.board, self.board.counters
        dst: Stream = instruction["dst"]
        reduces = instruction.op == "red"
        operands = [instruction["a"]] if reduces else [instruction[name] for name in ("a", "b", "c")]
        words = words_of(operands[0] if reduces else dst, self.counters)
        for stream in operands:
            if stream != IMM:
                counters.access(self.provenance, READ, stream, self.queue, words_of(stream, self.counters))
        counters.access(self.provenance, WRITE, dst, self.queue, results_of(dst, self.counters) if reduces else words)
        counters.vector_ops[self.provenance] += words
        cycles = vector_cycles(board.machine, words, board.banks.cycles(self._needs(instruction)))
        if words:
            board.commits.append((board.now + cycles, *compute(instruction, board.memories[Space.spad], self.counters)))
        self._done_at(board.now + cycles)
        self._occupy(cycles, board.now + cycles, f"{instruction.op} {instruction['fn']}")
