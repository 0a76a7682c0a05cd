"""The shift chains down the columns of the array: w_next, g_next, g_out and w_out.  Column c runs c cycles behind column 0.

A transfer is R steps; step i of column c happens c cycles after the step's issue.

    load   every step moves w_next or g_next one row down, row R−1−i of the tile enters row 0; row r is enabled in the steps i ≥ r
    drain  every step puts out row R−1 and moves g_out or w_out one row down; row r is enabled in the steps i ≤ r

The enables let the next exchange follow at once: rows that a load has not yet reached still hold the tile that a swap on its
way will take, and rows that a drain has emptied may be refilled by a take.  Both chains that load share the lanes from the scratchpad,
and both that drain those to it: one begins in a column when the other is through there.
"""

from collections.abc import Sequence
from itertools import product

import numpy as np

from emulator.beats import scaled
from emulator.links import Mask
from emulator.memory import Array
from emulator.ports import Side, Timetable, access
from isa.machine import Machine
from isa.stream import Stream


class _Chain:
    def __init__(self, machine: Machine, timetable: Timetable, side: Side, enabled: Mask) -> None:
        """``side``: the columns' lanes to the scratchpad; ``enabled``: [step, row]."""
        self.timetable, self.side, self.enabled = timetable, side, enabled
        self.disabled = np.zeros(machine.rows, np.bool_)
        self.rows, self.depth = machine.rows, machine.rows + machine.cols - 1
        self.started = -self.depth
        """Cycle in which the last transfer started."""

    def begin(self, now: int, stream: Stream, counters: Sequence[int]) -> int:
        """A transfer starts in this cycle: its steps issue one a cycle from now on; how many words it will have moved.

        Raises:
            UserError: the tile leaves the scratchpad.
        """
        address = stream.address(counters)
        *rows, columns = ((dim.extent(counters), dim.stride) for dim in stream.dims)
        offsets = [sum(row) for row in product(*([stride * i for i in range(count)] for count, stride in rows))]
        moved = 0
        for step in range(self.rows):
            row = self.rows - 1 - step
            here, words = (address + offsets[row], columns) if row < len(offsets) else (address, (0, 0))
            entering = access(stream, here, (words,), self.timetable.memory, self.side.lanes)
            self.timetable.enter(self.side, entering, delay=step)
            moved += entering.touching
        self.started = now
        return moved

    def steps(self, now: int, enables: Mask) -> bool:
        """Whether any column does a step in this cycle; ``enables`` of the rows in column 0 are set for the step that issues.

        A cycle after the last step of the last column, no row is enabled any more.
        """
        step = now - self.started
        if step > self.depth:
            return False
        enables[:] = self.enabled[step] if step < self.rows else self.disabled
        return step < self.depth


class WeightChain(_Chain):
    """w_next."""

    def __init__(self, machine: Machine, timetable: Timetable, side: Side) -> None:
        super().__init__(machine, timetable, side, np.tri(machine.rows, dtype=np.bool_))
        column = np.zeros((machine.rows + 1, machine.cols), machine.accumulator.numpy)
        self.entering, self.above, self.registers = column[0], column[:-1], column[1:]
        self.flat = self.registers.reshape(-1)

    def shift(self, enables: Mask, entering: Array) -> None:
        """The cycle's step of every column."""
        self.entering[:] = entering
        np.copyto(self.registers, self.above, where=enables)


class AccumulatorChain(WeightChain):
    """g_next; what enters a column is scaled at its head."""

    def __init__(self, machine: Machine, timetable: Timetable, side: Side) -> None:
        super().__init__(machine, timetable, side)
        self.accumulator = machine.accumulator
        self.scale = 1.0
        """Of the step that issues."""
        self.scales = np.ones(machine.cols, np.float32)
        """In each column, that of its step."""

    def shift(self, enables: Mask, entering: Array) -> None:
        """The cycle's step of every column."""
        self.scales[1:], self.scales[0] = self.scales[:-1].copy(), self.scale
        super().shift(enables, scaled(entering, self.scales))


class GradientChain(_Chain):
    """g_out, and likewise w_out."""

    def __init__(self, machine: Machine, timetable: Timetable, side: Side) -> None:
        super().__init__(machine, timetable, side, np.tri(machine.rows, dtype=np.bool_).T)
        self.registers: Array = np.zeros((machine.rows, machine.cols), machine.accumulator.numpy)
        self.flat = self.registers.reshape(-1)

    def shift(self, enables: Mask) -> Array:
        """The cycle's step of every column; what leaves row R−1."""
        leaving: Array = self.registers[-1].copy()
        np.copyto(self.registers[1:], self.registers[:-1], where=enables[1:])
        return leaving
