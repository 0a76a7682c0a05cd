"""The array's queue in the stepped engine: when a beat may issue, and what it touches."""

from collections import Counter

from emulator.board import Board
from emulator.counters import READ, WRITE
from emulator.grid import Exchange
from emulator.links import MACS
from emulator.ports import Access, access
from emulator.queues import QueueMachine
from isa.instructions import Instruction, Queue, When
from isa.stream import Space, Stream


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
