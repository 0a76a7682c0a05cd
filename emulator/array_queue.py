"""The array's queue in the stepped engine: when a beat may issue, and what it touches."""

import math
from collections import Counter
from typing import NamedTuple

from emulator.banks import Ports, at_once
from emulator.board import Board
from emulator.counters import READ, WRITE
from emulator.grid import Exchange
from emulator.links import MACS
from emulator.nest import Nest, nest_around
from emulator.ports import Access, access
from emulator.queues import QueueMachine
from isa.instructions import ALWAYS, NEVER, UPDATES, Instruction, Queue
from isa.machine import Machine
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


class Beat:
    """An instruction of the array: what is the same whenever it issues."""

    def __init__(self, instruction: Instruction, machine: Machine) -> None:
        args = instruction.args
        self.h, self.v, self.acc = (value if isinstance(value, Stream) else None for value in map(args.get, ("h", "v", "acc")))
        """None for `held` and for what the beat does not use."""
        self.swap, self.preload, self.zero, self.take = (args.get(flag, NEVER) for flag in ("swap", "preload", "zero", "take"))
        self.rates, self.apart = None, instruction.op == "mupd"
        if instruction.op in UPDATES:
            self.take, self.rates = ALWAYS, (args["lr"], args["decay"])
        self.down = instruction.op == "fwd"
        """Whether sums go from the north to the south."""
        self.lanes, self.crossing = (machine.cols, machine.rows) if self.down else (machine.rows, machine.cols)
        """Lanes of sums, and the cycles after which they are back."""


class ArrayQueue(QueueMachine):
    """Issues beats."""

    def __init__(self, queue: Queue, board: Board) -> None:
        self.array = board.arrays[queue.number]
        self.rows, self.cols = board.machine.rows, board.machine.cols
        self.spad = board.memories[Space.spad]
        self.depth = self.rows + self.cols - 1
        self.lanes = (0, 0)
        """Lanes in use on h and v: those of the beat before, for `held`."""
        self.nests: dict[int, Nest] = {}
        self.counted: Counter[tuple[int, bool, tuple[int, int]]] = Counter()
        """How many beats did the same: by their index, whether sums entered as 0, and the lanes in use."""
        self.issued: dict[int, int] = {}
        """By its index, the cycle in which a beat was issued last."""
        super().__init__(queue, board)
        self.beats = [Beat(instruction, board.machine) for instruction in self.sequencer.code]

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

    def _blocked(self, instruction: Instruction) -> int | None:
        board, now, beat, loops = self.board, self.board.now, self.beats[self.index], (self.counters, self.counts)
        array = self.array
        self.swap, self.zero, self.take = beat.swap.holds(*loops), beat.zero.holds(*loops), beat.take.holds(*loops)
        self.preload = beat.preload.holds(*loops)
        if (self.swap and not array.weights.can_get(now)) or (self.preload and not array.preloads.can_get(now)):
            return board.causes.weight_chain
        if (self.take and not array.gradients.can_put(now)) or (beat.apart and not array.updates.can_put(now)):
            return board.causes.gradient_chain
        if beat.acc:
            self.row = beat.acc.address(self.counters)
            if not self.zero and now < array.sums.get(self.row, 0):
                return board.causes.partial_sums
        self.place = self._place()
        return board.lacks(self.place.needs) if self.place.begins else None

    def _hold(self, instruction: Instruction) -> None:
        if self.place.needs:
            until = self.occupied_until if self.place.ends else math.inf
            self.board.held[self.queue] = self.board.banks.held(self.place.needs), until

    def _issue(self, instruction: Instruction) -> None:
        array, now, beat = self.array, self.board.now, self.beats[self.index]
        exchange = None
        if self.swap:
            array.weights.get(now)
        if self.preload:
            array.preloads.get(now)
        if self.take:
            array.gradients.put(now)
        if beat.apart:
            array.updates.put(now)
        if self.swap or self.preload or self.take:
            exchange = Exchange(now, self.swap, self.preload, self.take, beat.rates, beat.apart)
        h, v, sums = self._access(beat.h, self.rows), self._access(beat.v, self.cols), self._access(beat.acc, beat.lanes)
        if beat.acc:
            array.sums[self.row] = now + beat.crossing
        on_h, on_v = (h, sums) if beat.down else (sums or h, v)
        self.lanes = on_h.touching if on_h else self.lanes[0], on_v.touching if on_v else self.lanes[1]
        array.grid.issue(now, instruction.op, h, v, sums, self.zero, exchange)
        self.counted[self.index, self.zero, self.lanes] += 1
        self.issued[self.index] = now
        self._occupy(self.place.cycles, now + self.depth, instruction.op)

    def _access(self, stream: Stream | None, lanes: int) -> Access | None:
        """What goes through the lanes of a port, if anything does."""
        if stream is None:
            return None
        dims = tuple([(dim.extent(self.counters), dim.stride) for dim in stream.dims])
        return access(stream, stream.address(self.counters), dims, self.spad, lanes)

    def _end(self) -> None:
        super()._end()
        counters = self.board.counters
        for index, cycle in self.issued.items():
            counters.finish[self.owner(index)] = max(counters.finish[self.owner(index)], cycle + self.depth)
        for (index, zero, (h, v)), beats in self.counted.items():
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
