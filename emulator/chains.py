"""The two shift chains down the columns of the array; column c runs c cycles behind column 0.

A transfer is R steps; step i of column c happens c cycles after the step's issue.

    load   every step moves w_next one row down, row R−1−i of the tile enters row 0; row r is enabled in the steps i ≥ r
    drain  every step puts out row R−1 and moves g_out one row down; row r is enabled in the steps i ≤ r

The enables let the next exchange follow at once: rows that a load has not yet reached still hold the tile that a swap on its
way will take, and rows that a drain has emptied may be refilled by a take.
"""

from collections.abc import Sequence
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from emulator.counters import Counters
from emulator.memory import Array, Memory
from emulator.ports import Lanes, Port, read_lanes, within, write_lanes
from isa.instructions import Queue
from isa.machine import Machine
from isa.stream import Stream

Ints = npt.NDArray[np.int64]


class F(IntEnum):
    """Fields of a step in flight."""

    step = 0
    """1 more than the step's number; 0: no step."""
    provenance = 1
    access = 2
    """Five fields: the row of the tile that the step moves (see ports.Lanes)."""


class _Chain:
    queue: Queue

    def __init__(self, machine: Machine, spad: Memory, counters: Counters) -> None:
        self.spad, self.counters = spad, counters
        self.accumulator = machine.accumulator
        self.registers: Array = np.zeros((machine.rows, machine.cols), machine.accumulator.numpy)
        """w_next or g_out."""
        self.steps = np.zeros((F.access + len(Lanes), machine.cols), np.int64)
        """Column c of it is the step that column c executes in this cycle."""
        self.row = np.arange(machine.rows)[:, None]
        self.waiting: list[list[int]] = []

    def begin(self, stream: Stream, counters: Sequence[int], provenance: int) -> None:
        """A transfer starts in this cycle: its steps issue one a cycle from now on.

        Raises:
            UserError: the tile leaves the scratchpad.
        """
        address = stream.address(counters)
        dims = [(max(0, dim.extent(counters)), dim.stride) for dim in stream.dims]
        within(stream, address, dims, self.spad)
        (rows, row_stride), (lanes, stride) = dims if len(dims) == 2 else [(1, 0), *dims]
        last = len(self.registers) - 1
        for row in range(last, -1, -1):
            entry = [address + row * row_stride, stride, lanes if row < rows else 0, stream.dtype, stream.operand]
            self.waiting.append([last - row + 1, provenance, *entry])

    def _advance(self) -> None:
        self.steps[:, 1:] = self.steps[:, :-1]
        self.steps[:, 0] = self.waiting.pop(0) if self.waiting else 0

    def _port(self) -> Port:
        return Port(self.counters, self.queue, self.steps[F.provenance])

    def finish(self, now: int) -> None:
        """Note that the last column has done its last step."""
        if self.steps[F.step, -1] == len(self.registers):
            provenance = self.steps[F.provenance, -1]
            self.counters.finish[provenance] = max(self.counters.finish[provenance], now + 1)


class WeightChain(_Chain):
    """w_next."""

    queue = Queue.wchain

    def read(self) -> Array:
        """What enters row 0 in this cycle."""
        self._advance()
        return read_lanes(self.spad, self.steps[F.access :], self.steps[F.step] > 0, self.accumulator, self._port())

    def shift(self, entering: Array) -> None:
        """The cycle's step of every column."""
        enabled = self.row < self.steps[F.step]
        if enabled.any():
            self.registers = np.where(enabled, np.concatenate([entering[None], self.registers[:-1]]), self.registers)


class GradientChain(_Chain):
    """g_out."""

    queue = Queue.gchain

    def shift(self) -> Array:
        """The cycle's step of every column; what leaves row R−1."""
        self._advance()
        leaving: Array = self.registers[-1]
        enabled = (self.steps[F.step] > 0) & (self.row >= self.steps[F.step] - 1)
        if enabled.any():
            self.registers = np.where(enabled, np.concatenate([self.registers[:1], self.registers[:-1]]), self.registers)
        return leaving

    def write(self, leaving: Array) -> None:
        """What left in this cycle, to where it belongs."""
        write_lanes(self.spad, self.steps[F.access :], self.steps[F.step] > 0, leaving, self._port())
