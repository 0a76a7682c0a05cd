"""The queues of the stepped engine: in each cycle each one looks whether its next instruction may issue.

Nothing here computes when that will be; the conditions are looked at anew in every cycle.
"""

from collections import Counter

from emulator.board import Board
from emulator.chains import GradientChain, WeightChain
from emulator.costs import results_of, vector_cycles, words_of
from emulator.counters import READ, WRITE, Slice
from emulator.grid import MACS, Exchange
from emulator.memory import convert
from emulator.ports import Access, access
from emulator.vector import compute
from isa.instructions import IMM, Instruction, Queue, When
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

    def _blocked(self, instruction: Instruction) -> int | None:
        """The first cause for which the instruction cannot issue in this cycle."""
        return None

    def _issue(self, instruction: Instruction) -> None:
        raise NotImplementedError

    def _occupy(self, cycles: int, finish: int, label: str) -> None:
        board = self.board
        self.occupied_until = board.now + cycles
        self.busy[self.index] += cycles
        self.finish = max(self.finish, finish)
        board.under_way(finish)
        if board.counters.slices is not None:
            board.counters.slices.append(Slice(self.queue, self.provenance, board.now, board.now + cycles, label))

    def _done_at(self, cycle: int) -> None:
        """Count the finish of an instruction."""
        finish = self.board.counters.finish
        finish[self.provenance] = max(finish[self.provenance], cycle)

    def _tile(self, chain: WeightChain | GradientChain, direction: int, stream: Stream) -> None:
        """A transfer of either chain of tiles starts."""
        board, machine = self.board, self.board.machine
        words = chain.begin(board.now, stream, self.counters)
        board.counters.access(self.provenance, direction, stream, self.queue, words)
        finish = board.now + machine.rows + machine.cols - 1
        self._done_at(finish)
        self._occupy(machine.rows, finish, self.sequencer.code[self.index].op)


class DmaQueue(QueueMachine):
    def _blocked(self, instruction: Instruction) -> int | None:
        return self.board.dram_channel if self.board.now < self.board.channel_free else None

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


class WeightQueue(QueueMachine):
    def _blocked(self, instruction: Instruction) -> int | None:
        board = self.board
        taken = board.loads == board.swaps and (not board.loads or board.now >= board.last_swap + 1)
        return None if taken else board.weight_chain

    def _issue(self, instruction: Instruction) -> None:
        board = self.board
        board.loads, board.last_load = board.loads + 1, board.now
        self._tile(board.grid.weights, READ, instruction["src"])


class GradientQueue(QueueMachine):
    def _blocked(self, instruction: Instruction) -> int | None:
        board = self.board
        taken = board.takes > board.drains and board.now >= board.last_take + board.machine.rows
        return None if taken else board.gradient_chain

    def _issue(self, instruction: Instruction) -> None:
        board = self.board
        board.drains, board.last_drain = board.drains + 1, board.now
        self._tile(board.grid.gradients, WRITE, instruction["dst"])


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
        cycles = vector_cycles(board.machine, words)
        if words:
            board.commits.append((board.now + cycles, *compute(instruction, board.memories[Space.spad], self.counters)))
        self._done_at(board.now + cycles)
        self._occupy(cycles, board.now + cycles, f"{instruction.op} {instruction['fn']}")


class ArrayQueue(QueueMachine):
    """Issues beats."""

    def __init__(self, queue: Queue, board: Board) -> None:
        self.lanes = (0, 0)
        """Lanes in use on h and v: those of the beat before, for `held`."""
        self.beats: Counter[tuple[int, bool, tuple[int, int]]] = Counter()
        """How many beats did the same: by their index, whether sums entered as 0, and the lanes in use."""
        self.issued: dict[int, int] = {}
        """By its index, the cycle in which a beat was issued last."""
        super().__init__(queue, board)

    def _raised(self, instruction: Instruction, flag: str) -> bool:
        when: When | None = instruction.args.get(flag)
        return when is not None and when.holds(self.counters, self.counts)

    def _blocked(self, instruction: Instruction) -> int | None:
        board, now = self.board, self.board.now
        self.swap, self.zero = self._raised(instruction, "swap"), self._raised(instruction, "zero")
        self.take = instruction.op == "upd" or self._raised(instruction, "take")
        if self.swap and not (board.loads > board.swaps and now >= board.last_load + board.machine.rows):
            return board.weight_chain
        if self.take and not (board.takes == board.drains and (not board.takes or now >= board.last_drain + 1)):
            return board.gradient_chain
        if instruction.op in ("fwd", "dx") and not self.zero:
            row = instruction.args["acc"].address(self.counters)
            if now < board.sums.get(row, 0):
                return board.partial_sums
        return None

    def _issue(self, instruction: Instruction) -> None:
        board, machine, op, args = self.board, self.board.machine, instruction.op, instruction.args
        now, exchange = board.now, None
        if self.swap:
            board.swaps, board.last_swap = board.swaps + 1, now
        if self.take:
            board.takes, board.last_take = board.takes + 1, now
        if self.swap or self.take:
            exchange = Exchange(now, self.swap, self.take, (args["lr"], args["decay"]) if op == "upd" else None)
        sums = self._access(args.get("acc"), machine.cols if op == "fwd" else machine.rows)
        h, v = self._access(args.get("h"), machine.rows), self._access(args.get("v"), machine.cols)
        if sums:
            _, row, _, _ = sums
            board.sums[row] = now + (machine.rows if op == "fwd" else machine.cols)
        on_h, on_v = (h, sums) if op == "fwd" else (sums or h, v)
        self.lanes = on_h[-1] if on_h else self.lanes[0], on_v[-1] if on_v else self.lanes[1]
        board.grid.issue(now, op, h, v, sums, self.zero, exchange)
        self.beats[self.index, self.zero, self.lanes] += 1
        self.issued[self.index] = now
        self._occupy(1, now + machine.rows + machine.cols - 1, op)

    def _access(self, operand: Stream | str | None, lanes: int) -> Access | None:
        """What a port reads or leaves; None for `held` and for a port that the beat does not use."""
        return access(operand, self.counters, self.board.memories[Space.spad], lanes) if isinstance(operand, Stream) else None

    def _end(self) -> None:
        super()._end()
        counters, depth = self.board.counters, self.board.machine.rows + self.board.machine.cols - 1
        for index, cycle in self.issued.items():
            counters.finish[self.owner(index)] = max(counters.finish[self.owner(index)], cycle + depth)
        for (index, zero, (h, v)), beats in self.beats.items():
            instruction, owner = self.sequencer.code[index], self.owner(index)
            if instruction.op in MACS:
                counters.macs[owner] += h * v * beats
            for name, lanes in (("h", h), ("v", v), ("acc", v if instruction.op == "fwd" else h)):
                stream = instruction.args.get(name)
                if isinstance(stream, Stream):
                    if name != "acc" or not zero:
                        counters.access(owner, READ, stream, self.queue, lanes * beats)
                    if name == "acc":
                        counters.access(owner, WRITE, stream, self.queue, lanes * beats)
