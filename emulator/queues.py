"""The queues of the stepped engine: in each cycle each one looks whether its next instruction may issue.

Nothing here computes when that will be; the conditions are looked at anew in every cycle.
"""

import numpy as np

from emulator.board import Board
from emulator.costs import results_of, vector_cycles, words_of
from emulator.counters import READ, WRITE, Slice
from emulator.grid import FIELDS, F, Mode, Op
from emulator.memory import convert
from emulator.ports import Lanes, access
from emulator.vector import compute
from isa.instructions import HELD, IMM, Instruction, Queue
from isa.sequencer import Sequencer
from isa.stream import Space, Stream


class QueueMachine:
    """One in-order queue."""

    def __init__(self, queue: Queue, board: Board) -> None:
        self.queue, self.board = queue, board
        self.sequencer = Sequencer(board.program.queues.get(queue, []))
        self.steps = self.sequencer.steps()
        self.occupied_until = 0
        self.occupied_by = 0
        """Provenance of the instruction that occupies the queue."""
        self.finish = 0
        """First cycle in which all that was issued is done."""
        self.index, self.counters, self.counts = -1, [0], [0]
        self.ended = False
        self._next()

    def _next(self) -> None:
        self.index, self.counters, self.counts = next(self.steps, (-1, [], []))

    @property
    def instruction(self) -> Instruction:
        return self.sequencer.code[self.index]

    @property
    def provenance(self) -> int:
        owner = self.instruction.provenance
        return len(self.board.program.provenance) if owner is None else owner

    def cycle(self) -> None:
        """What the queue does in the board's cycle."""
        board = self.board
        if board.now >= self.occupied_until and not self.ended:
            cause = self._go_on()
            if cause is not None:
                board.counters.stalls[self.provenance, self.queue, cause] += 1
        if board.now < self.occupied_until:
            board.counters.busy[self.occupied_by, self.queue] += 1

    def _go_on(self) -> int | None:
        """Pass semaphores and issue one timed instruction; what it waits for if something stands in the way."""
        board = self.board
        while self.index >= 0:
            instruction = self.instruction
            if instruction.op == "signal":
                visible = max(board.now + 1, self.finish)
                board.tokens[instruction["sem"]].append(visible)
                board.under_way(visible)
            elif instruction.op == "wait":
                tokens = board.tokens[instruction["sem"]]
                if not tokens or tokens[0] > board.now:
                    return int(instruction["sem"])
                tokens.popleft()
            else:
                cause = self._blocked(instruction)
                if cause is None:
                    self._issue(instruction)
                    self._next()
                return cause
            self._next()
        self.ended = True
        board.counters.ended[self.queue] = board.now
        return None

    def _blocked(self, instruction: Instruction) -> int | None:
        """The first cause for which the instruction cannot issue in this cycle."""
        return None

    def _issue(self, instruction: Instruction) -> None:
        raise NotImplementedError

    def _occupy(self, cycles: int, finish: int, label: str) -> None:
        board = self.board
        self.occupied_until, self.occupied_by = board.now + cycles, self.provenance
        self.finish = max(self.finish, finish)
        board.under_way(max(finish, self.occupied_until))
        if board.counters.slices is not None:
            board.counters.slices.append(Slice(self.queue, self.provenance, board.now, board.now + cycles, label))

    def _done_at(self, cycle: int) -> None:
        """Count the finish of an instruction that no register tells."""
        finish = self.board.counters.finish
        finish[self.provenance] = max(finish[self.provenance], cycle)


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
        board, machine = self.board, self.board.machine
        board.grid.weights.begin(instruction["src"], self.counters, self.provenance)
        board.loads, board.last_load = board.loads + 1, board.now
        self._occupy(machine.rows, board.now + machine.rows + machine.cols - 1, "wload")


class GradientQueue(QueueMachine):
    def _blocked(self, instruction: Instruction) -> int | None:
        board = self.board
        taken = board.takes > board.drains and board.now >= board.last_take + board.machine.rows
        return None if taken else board.gradient_chain

    def _issue(self, instruction: Instruction) -> None:
        board, machine = self.board, self.board.machine
        board.grid.gradients.begin(instruction["dst"], self.counters, self.provenance)
        board.drains, board.last_drain = board.drains + 1, board.now
        self._occupy(machine.rows, board.now + machine.rows + machine.cols - 1, "drain")


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
    """Issues beats; ``lanes`` is how many lanes of each port the beat before used, for `held`."""

    def __init__(self, queue: Queue, board: Board) -> None:
        self.lanes = {"h": 0, "v": 0}
        super().__init__(queue, board)

    def _raised(self, instruction: Instruction, flag: str) -> bool:
        return flag in instruction.args and instruction[flag].holds(self.counters, self.counts)

    def _takes(self, instruction: Instruction) -> bool:
        return instruction.op == "upd" or self._raised(instruction, "take")

    def _blocked(self, instruction: Instruction) -> int | None:
        board, now = self.board, self.board.now
        if self._raised(instruction, "swap") and not (board.loads > board.swaps and now >= board.last_load + board.machine.rows):
            return board.weight_chain
        if self._takes(instruction) and not (board.takes == board.drains and (not board.takes or now >= board.last_drain + 1)):
            return board.gradient_chain
        if instruction.op in ("fwd", "dx") and not self._raised(instruction, "zero"):
            row = instruction["acc"].address(self.counters)
            if now < board.sums.get(row, 0):
                return board.partial_sums
        return None

    def _issue(self, instruction: Instruction) -> None:
        board, machine = self.board, self.board.machine
        if self._raised(instruction, "swap"):
            board.swaps, board.last_swap = board.swaps + 1, board.now
        if self._takes(instruction):
            board.takes, board.last_take = board.takes + 1, board.now
        if instruction.op in ("fwd", "dx"):
            returned = board.now + (machine.rows if instruction.op == "fwd" else machine.cols)
            board.sums = {row: cycle for row, cycle in board.sums.items() if cycle > board.now}
            board.sums[instruction["acc"].address(self.counters)] = returned
        board.beat = self._beat(instruction)
        self._occupy(1, board.now + machine.rows + machine.cols - 1, instruction.op)

    def _beat(self, instruction: Instruction) -> "np.ndarray[tuple[int, ...], np.dtype[np.int64]]":
        """The fields that travel with the wave."""
        beat = np.zeros(FIELDS, np.int64)
        spad = self.board.memories[Space.spad]
        for port, mode, fields in (("h", F.h_mode, F.h), ("v", F.v_mode, F.v)):
            if isinstance(instruction.args.get(port, HELD), Stream):
                beat[mode] = Mode.read
                beat[fields : fields + len(Lanes)] = access(instruction[port], self.counters, spad)
                self.lanes[port] = int(beat[fields + Lanes.lanes])
        if "acc" in instruction.args:
            port, mode, fields = ("v", F.v_mode, F.v) if instruction.op == "fwd" else ("h", F.h_mode, F.h)
            beat[mode] = Mode.zero if self._raised(instruction, "zero") else Mode.read
            beat[F.out : F.out + len(Lanes)] = access(instruction["acc"], self.counters, spad)
            beat[fields : fields + len(Lanes)] = beat[F.out : F.out + len(Lanes)]
            self.lanes[port] = int(beat[F.out + Lanes.lanes])
        beat[F.op], beat[F.provenance] = Op[instruction.op], self.provenance
        beat[F.swap], beat[F.take] = self._raised(instruction, "swap"), self._takes(instruction)
        beat[F.rows], beat[F.cols] = self.lanes["h"], self.lanes["v"]
        if instruction.op == "upd":
            beat[F.update] = next(n for n, update in enumerate(self.board.updates) if update is instruction)
        return beat
