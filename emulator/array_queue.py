"""The array's queue of the stepped engine."""

import math
from typing import NamedTuple

import numpy as np

from emulator.banks import Ports, at_once
from emulator.board import Board
from emulator.grid import FIELDS, F, Mode, Op
from emulator.nest import Nest, nest_around
from emulator.ports import Lanes, access
from emulator.queues import QueueMachine
from isa.instructions import HELD, Instruction, Queue
from isa.stream import Space, Stream


class Place(NamedTuple):
    """What a beat's place in its nest (see `nest.py`) means for the scratchpad's ports: a nest has them as one instruction does.

    A `take` at the end of others has its own, since it may have to wait for a drain, which wants a port, too.
    """

    cycles: int
    """For which the beat occupies the array."""
    needs: Ports
    """What is held while it does."""
    begins: bool
    """Whether it is held from this beat on, or by an earlier one already."""
    ends: bool
    """Whether it is free after this beat."""


ANYWHERE = Place(1, (), begins=True, ends=True)
"""Of all beats, where ports are unlimited."""


class ArrayQueue(QueueMachine):
    """Issues beats; ``lanes`` is how many lanes of each port the beat before used, for `held`."""

    def __init__(self, queue: Queue, board: Board) -> None:
        self.lanes = {"h": 0, "v": 0}
        self.nests: dict[int, Nest] = {}
        super().__init__(queue, board)

    def _place(self) -> Place:
        if not self.board.banks.limited:
            return ANYWHERE
        nest = self.nests.get(self.index)
        if nest is None:
            nest = self.nests[self.index] = nest_around(self.sequencer, self.index, len(self.board.program.provenance))
        body, turns = len(nest.beats), [self.counts[level] for level in nest.levels]
        position = self.index - self.sequencer.enclosing[self.index][-1] - 1 if nest.loops else 0
        zeros = [beat.zero.holds(self.counters, self.counts) for beat in nest.beats]
        turn = 0
        for level in nest.levels:
            turn = turn * self.counts[level] + self.counters[level]
        number, last = turn * body + position, math.prod(turns) * body - 1
        needs = self.board.banks.nest_needs(nest, zeros, self.counters[: nest.depth], turns)
        cycles = self.board.banks.cycles(needs[position])
        takes = nest.beats[-1].take.holds(self.counters, self.counts)
        if takes and number == last:
            return Place(cycles, needs[position], begins=True, ends=True)
        return Place(cycles, at_once(needs), number == 0, number == last - takes)

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
        place = self._place()
        return board.lacks(place.needs) if place.begins else None

    def _hold(self, instruction: Instruction) -> None:
        place, board = self._place(), self.board
        board.held[self.queue] = board.banks.held(place.needs), self.occupied_until if place.ends else math.inf

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
        self._occupy(self._place().cycles, board.now + machine.rows + machine.cols - 1, instruction.op)

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
