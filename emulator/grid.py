"""The array of processing elements, register by register: what each PE does in each cycle.

    PE(r,c) in the cycle t+r+c, for the beat issued at t          h_in from the west, v_in from the north
      fwd   v_out = v_in + h_in·w        h_out = h_in
      dx    h_out = h_in + v_in·w        v_out = v_in
      dw    g = g + h_in·v_in            h_out = h_in,  v_out = v_in

The beats of the last R+C−1 cycles are kept: column d of ``beats`` is the beat issued d cycles ago, so lane r of the west port looks at
column r, lane c of the north port at column c, and PE(r,c) at column r+c.
"""

from enum import IntEnum

import numpy as np
import numpy.typing as npt

from emulator.beats import updated
from emulator.chains import GradientChain, WeightChain
from emulator.counters import Counters
from emulator.memory import Array, Memory, convert
from emulator.ports import Lanes, Port, read_lanes, write_lanes
from isa.instructions import Queue
from isa.machine import Machine

Ints = npt.NDArray[np.int64]


class Op(IntEnum):
    """What a beat is; ``none`` is a cycle without a beat."""

    none = 0
    fwd = 1
    dx = 2
    dw = 3
    upd = 4


class Mode(IntEnum):
    """What enters a port with a beat."""

    keep = 0
    """What the port has (`held`, and beats that do not use the port)."""
    read = 1
    """Words of a stream; 0 beyond its lanes."""
    zero = 2


class F(IntEnum):
    """Fields of a beat in flight."""

    op = 0
    provenance = 1
    swap = 2
    take = 3
    update = 4
    """Number of the `upd`'s rates."""
    rows = 5
    """Lanes in use on the west port: PEs beyond do no MAC that counts."""
    cols = 6
    h_mode = 7
    v_mode = 8
    h = 9
    """Five fields: the access of the west port (see ports.Lanes)."""
    v = 14
    out = 19
    """Five fields: where the sums go."""


FIELDS = F.out + len(Lanes)


class Grid:
    """All registers of the array, its ports, and its two chains."""

    def __init__(self, machine: Machine, spad: Memory, counters: Counters, rates: list[tuple[float, float]]) -> None:
        """``rates``: (learning rate, decay) of each `upd` by its number."""
        self.spad, self.counters, self.rates = spad, counters, rates
        self.operand, self.accumulator = machine.operand, machine.accumulator
        rows, cols = self.shape = (machine.rows, machine.cols)
        self.h, self.v, self.w, self.g = (np.zeros(self.shape, self.accumulator.numpy) for _ in range(4))
        self.weights = WeightChain(machine, spad, counters)
        self.gradients = GradientChain(machine, spad, counters)
        self.west = np.zeros(rows, self.accumulator.numpy)
        self.north = np.zeros(cols, self.accumulator.numpy)
        self.beats = np.zeros((FIELDS, rows + cols - 1), np.int64)
        self.age = np.add.outer(np.arange(rows), np.arange(cols))
        """[r, c]: cycles between a beat's issue and its execution."""
        self.row, self.col = np.arange(rows)[:, None], np.arange(cols)[None, :]

    def cycle(self, now: int, issued: Ints | None) -> None:
        """One cycle: ``issued`` is the beat that issues in it, as a column of FIELDS."""
        self.beats[:, 1:] = self.beats[:, :-1]
        self.beats[:, 0] = 0 if issued is None else issued
        entering = self.weights.read()
        leaving = self.gradients.shift()
        beats = bool(self.beats[F.op].any())
        if beats:
            self._ports()
            self._elements()
        self.weights.shift(entering)
        # Whatever is written in this cycle can be read from the next one.
        self.gradients.write(leaving)
        if beats:
            self._sums_leave()
        self._finish(now)

    def _ports(self) -> None:
        rows, cols = self.shape
        west, north = self.beats[:, :rows], self.beats[:, :cols]
        self.west = self._enter(west[F.h_mode], west[F.h : F.h + len(Lanes)], west[F.provenance], self.west)
        self.north = self._enter(north[F.v_mode], north[F.v : F.v + len(Lanes)], north[F.provenance], self.north)

    def _enter(self, mode: Ints, access: Ints, provenance: Ints, held: Array) -> Array:
        """What is on the lanes of a port in this cycle."""
        read = read_lanes(self.spad, access, mode == Mode.read, self.accumulator, Port(self.counters, Queue.array, provenance))
        return np.where(mode == Mode.keep, held, read)

    def _elements(self) -> None:
        """Every PE executes the beat that has come to it."""
        beat = self.beats[:, self.age]
        op = beat[F.op]
        h_in, v_in = np.empty_like(self.h), np.empty_like(self.v)
        h_in[:, 0], h_in[:, 1:] = self.west, self.h[:, :-1]
        v_in[0], v_in[1:] = self.north, self.v[:-1]
        if beat[F.swap].any():
            self.w = np.where(beat[F.swap], self.weights.registers, self.w)
        fwd, dx, dw = op == Op.fwd, op == Op.dx, op == Op.dw
        addend = np.where(fwd, v_in, np.where(dx, h_in, self.g))
        result = addend + self._multiplied(np.where(dx, v_in, h_in)) * self._multiplied(np.where(dw, v_in, self.w))
        self.v = np.where(fwd, result, v_in)
        self.h = np.where(dx, result, h_in)
        self.g = np.where(dw, result, self.g)
        self._exchange_gradients(op, beat)
        counted = (fwd | dx | dw) & (self.row < beat[F.rows]) & (self.col < beat[F.cols])
        self.counters.macs += np.bincount(beat[F.provenance][counted], minlength=len(self.counters.macs))

    def _exchange_gradients(self, op: Ints, beat: Ints) -> None:
        """`upd` and `take`, which leave their result in g_out and clear g."""
        chain = self.gradients
        for update in np.unique(beat[F.update][op == Op.upd]).tolist():
            here = (op == Op.upd) & (beat[F.update] == update)
            self.w = np.where(here, updated(self.w, self.g, *self.rates[update]), self.w)
        if beat[F.take].any():
            chain.registers = np.where(beat[F.take], np.where(op == Op.upd, self.w, self.g), chain.registers)
            self.g = np.where(beat[F.take], np.zeros_like(self.g), self.g)

    def _multiplied(self, values: Array) -> Array:
        """Values as a multiplier takes them; the product is formed in the accumulator's type."""
        return convert(convert(values, self.operand), self.accumulator)

    def _sums_leave(self) -> None:
        rows, cols = self.shape
        for op, leaving, sums in (
            (Op.fwd, self.beats[:, rows - 1 :], self.v[-1]),
            (Op.dx, self.beats[:, cols - 1 :], self.h[:, -1]),
        ):
            port = Port(self.counters, Queue.array, leaving[F.provenance])
            write_lanes(self.spad, leaving[F.out : F.out + len(Lanes)], leaving[F.op] == op, sums, port)

    def _finish(self, now: int) -> None:
        """Note that the last PE has done its part."""
        op, provenance = self.beats[F.op, -1], self.beats[F.provenance, -1]
        if op:
            self.counters.finish[provenance] = max(self.counters.finish[provenance], now + 1)
        self.weights.finish(now)
        self.gradients.finish(now)
