"""The array of processing elements, register by register: what each PE does in each cycle.

    PE(r,c) in the cycle t+r+c, for the beat issued at t          h_in from the west, v_in from the north
      fwd   v_out = v_in + h_in·w        h_out = h_in
      dx    h_out = h_in + v_in·w        v_out = v_in
      dw    g = g + h_in·v_in            h_out = h_in,  v_out = v_in

A beat is executed by a diagonal of PEs at a time, those with the same r+c, and by all of them in the course of R+C−1 cycles.
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from emulator.beats import updated
from emulator.chains import GradientChain, WeightChain
from emulator.counters import READ, WRITE, Counters
from emulator.memory import Array, Memory, convert
from emulator.ports import Lanes, Timetable
from isa.dtypes import DType
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


class Mode:
    """What enters a port with a beat."""

    keep = 0
    """What the port has (`held`, and beats that do not use the port)."""
    read = 1
    """Words of a stream; 0 beyond its lanes."""
    zero = 2


class F:
    """Fields of a beat."""

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
MACS = (Op.fwd, Op.dx, Op.dw)


@dataclass(slots=True)
class Exchange:
    """A beat in flight that moves a weight or a gradient between the registers of a PE."""

    issued: int
    swap: bool
    take: bool
    rates: tuple[float, float] | None
    """Of an `upd`."""


class Grid:
    """All registers of the array, its ports, and its two chains.

    Values on a link go on by one PE a cycle.  Instead of moving them, the window on them moves against them: in this cycle, PE(r,c)
    finds what comes from the west at ``h[r, at+c]`` and what comes from the north at ``v[at+r, c]``, and leaves there what goes on.
    Likewise ``flags[op, at+d]`` tells whether the beat that was issued d cycles ago is such a beat.
    """

    def __init__(self, machine: Machine, spad: Memory, counters: Counters, rates: list[tuple[float, float]]) -> None:
        """``rates``: (learning rate, decay) of each `upd` by its number."""
        self.counters, self.rates = counters, rates
        self.operand, self.accumulator = machine.operand, machine.accumulator
        rows, cols = self.shape = (machine.rows, machine.cols)
        self.w, self.g = (np.zeros(self.shape, self.accumulator.numpy) for _ in range(2))
        self.weights = WeightChain(machine, spad, counters)
        self.gradients = GradientChain(machine, spad, counters)
        self.depth = rows + cols - 1
        """Cycles for which a beat is in flight."""
        self.at = 0
        self.h = np.zeros((rows, 2 * self.depth), self.accumulator.numpy)
        self.v = np.zeros((2 * self.depth, cols), self.accumulator.numpy)
        self.flags = np.zeros((len(Op), 2 * self.depth), np.bool_)
        self.last = [-self.depth] * len(Op)
        """Cycle in which the last beat of each kind was issued."""
        self.exchanges: list[Exchange] = []
        self.on_ports = np.zeros(rows + cols, self.accumulator.numpy)
        """What is on the lanes of the west port, then of the north port."""
        self.entering = Timetable(spad, rows + cols, max(rows, cols))
        self.leaving = Timetable(spad, cols + rows, self.depth)
        """Lanes of the south, then of the east side."""

    def cycle(self, now: int, issued: Ints | None) -> None:
        """One cycle: ``issued`` is the beat that issues in it, as FIELDS."""
        beats = issued is not None or now < max(self.last) + self.depth
        if beats:
            self._move()
        if issued is not None:
            self._issue(now, issued.tolist())
        entering = self.weights.read()
        leaving = self.gradients.shift()
        if beats:
            self._ports()
            self._exchange_weights(now)
            self._multiply(now)
            self._exchange_gradients(now)
        self.weights.shift(entering)
        # Whatever is written in this cycle can be read from the next one.
        self.gradients.write(leaving)
        if beats:
            self._sums_leave(now)
        self.weights.finish(now)
        self.gradients.finish(now)

    def _move(self) -> None:
        """Everything in flight goes on by one PE."""
        if self.at == 0:
            self.at = self.depth
            for moving in (self.h.T, self.v, self.flags.T):
                moving[self.depth :] = moving[: self.depth]
        self.at -= 1
        self.flags[:, self.at] = False
        self.entering.advance()
        self.leaving.advance()

    def _issue(self, now: int, beat: list[int]) -> None:
        """A beat sets out: all that it will do is known, though not yet on which values."""
        rows, cols = self.shape
        op, provenance = beat[F.op], beat[F.provenance]
        self.flags[op, self.at], self.last[op] = True, now
        if beat[F.swap] or beat[F.take]:
            self.exchanges = [exchange for exchange in self.exchanges if now < exchange.issued + self.depth]
            rates = self.rates[beat[F.update]] if op == Op.upd else None
            self.exchanges.append(Exchange(now, bool(beat[F.swap]), bool(beat[F.take]), rates))
        for mode, fields, first, lanes in ((beat[F.h_mode], F.h, 0, rows), (beat[F.v_mode], F.v, rows, cols)):
            if mode != Mode.keep:
                access = beat[fields : fields + len(Lanes)]
                touched = 0
                if mode == Mode.read:
                    touched = self.entering.touch(first, 0, access, lanes)
                    self._count(provenance, READ, access, touched)
                self.entering.clear(first + touched, touched, lanes - touched, access[Lanes.dtype])
        if op in (Op.fwd, Op.dx):
            first, delay, lanes = (0, rows - 1, cols) if op == Op.fwd else (cols, cols - 1, rows)
            access = beat[F.out :]
            self._count(provenance, WRITE, access, self.leaving.touch(first, delay, access, lanes))
        if op in MACS:
            self.counters.macs[provenance] += min(rows, beat[F.rows]) * min(cols, beat[F.cols])
        self.counters.finish[provenance] = max(self.counters.finish[provenance], now + self.depth)

    def _count(self, provenance: int, direction: int, access: list[int], lanes: int) -> None:
        """All words of an access."""
        where = provenance, direction, access[Lanes.operand], Queue.array
        self.counters.words[where] += lanes
        self.counters.bytes[where] += lanes * DType(access[Lanes.dtype]).size

    def _ports(self) -> None:
        """What is on the ports in this cycle comes to the first row and column."""
        rows = self.shape[0]
        self.entering.read(self.on_ports, self.accumulator)
        self.h[:, self.at], self.v[self.at] = self.on_ports[:rows], self.on_ports[rows:]

    def _multiply(self, now: int) -> None:
        """Every PE executes the beat that has come to it."""
        rows, cols = self.shape
        beats = [op for op in MACS if now < self.last[op] + self.depth]
        if not beats:
            return
        h, v, w, g = self.h[:, self.at : self.at + cols], self.v[self.at : self.at + rows], self.w, self.g
        here = {op: self._at_beats(op) for op in beats}
        factor = _chosen(here, {Op.fwd: h, Op.dx: v, Op.dw: v})
        other = _chosen(here, {Op.fwd: w, Op.dx: w, Op.dw: h})
        result = self._multiplied(factor) * self._multiplied(other)
        result += _chosen(here, {Op.fwd: v, Op.dx: h, Op.dw: g})
        for op, place in ((Op.fwd, v), (Op.dx, h), (Op.dw, g)):
            if op in here:
                np.putmask(place, here[op], result)

    def _at_beats(self, op: Op) -> npt.NDArray[np.bool_]:
        """[r, c]: whether PE(r,c) has such a beat in this cycle, the one that was issued r+c cycles ago."""
        start = op * self.flags.shape[1] + self.at
        return np.ascontiguousarray(np.ndarray(self.shape, np.bool_, self.flags, start, (1, 1)))

    def _multiplied(self, values: Array) -> Array:
        """Values as a multiplier takes them; the product is formed in the accumulator's type."""
        return convert(convert(values, self.operand), self.accumulator)

    def _exchange_weights(self, now: int) -> None:
        for exchange in self.exchanges:
            if exchange.swap:
                here = self._wave(now - exchange.issued)
                self.w.reshape(-1)[here] = self.weights.registers.reshape(-1)[here]

    def _exchange_gradients(self, now: int) -> None:
        """`upd` and `take`, which leave their result in g_out and clear g."""
        w, g, out = (registers.reshape(-1) for registers in (self.w, self.g, self.gradients.registers))
        for exchange in self.exchanges:
            if exchange.take:
                here = self._wave(now - exchange.issued)
                if exchange.rates:
                    w[here] = updated(w[here], g[here], *exchange.rates)
                out[here] = w[here] if exchange.rates else g[here]
                g[here] = 0

    def _wave(self, age: int) -> slice:
        """Where in an array of registers the PEs lie that a beat has come to so many cycles after its issue: all (r,c) with r+c = age."""
        rows, cols = self.shape
        first, last = max(0, age - cols + 1), min(rows - 1, age)
        return slice(age + first * (cols - 1), age + last * (cols - 1) + 1, max(1, cols - 1))

    def _sums_leave(self, now: int) -> None:
        rows, cols = self.shape
        if now < self.last[Op.fwd] + self.depth:
            self.leaving.write(0, self.v[self.at + rows - 1])
        if now < self.last[Op.dx] + self.depth:
            self.leaving.write(cols, self.h[:, self.at + cols - 1])


def _chosen(here: dict[Op, npt.NDArray[np.bool_]], values: dict[Op, Array]) -> Array:
    """For each PE the values that belong to its beat; any where it has none."""
    (first, *others) = reversed(here)
    chosen = values[first]
    for op in others:
        if values[op] is not values[first]:
            chosen = np.where(here[op], values[op], chosen)
    return chosen
