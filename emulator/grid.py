"""The array of processing elements, register by register: what each PE does in each cycle.

    PE(r,c) in the cycle t+r+c, for the beat issued at t          h_in from the west, v_in from the north
      fwd   v_out = v_in + h_in·w        h_out = h_in
      dx    h_out = h_in + v_in·w        v_out = v_in
      dw    g = g + h_in·v_in            h_out = h_in,  v_out = v_in

A beat is executed by a diagonal of PEs at a time, those with the same r+c, and by all of them in the course of R+C−1 cycles.
"""

from collections.abc import Sequence
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
Mask = npt.NDArray[np.bool_]


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
SIZES = np.array([dtype.size for dtype in DType])
MANY = 1 << 12
"""Beats that are counted at a time."""


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
        self.depth = rows + cols - 1
        """Cycles for which a beat is in flight."""
        self.w, self.g = (np.zeros(self.shape, self.accumulator.numpy) for _ in range(2))
        self.weights = WeightChain(machine, spad, counters)
        self.gradients = GradientChain(machine, spad, counters)
        self.shifting = {WeightChain: 0, GradientChain: 0}
        """First cycle in which no column of a chain does a step that has begun."""
        self.at = 0
        self.h = np.zeros((rows, 2 * self.depth), self.accumulator.numpy)
        self.v = np.zeros((2 * self.depth, cols), self.accumulator.numpy)
        self.flags = np.zeros((len(Op), 2 * self.depth), np.bool_)
        self.last = [-self.depth] * len(Op)
        """Cycle in which the last beat of each kind was issued."""
        self.on_ports = np.zeros(rows + cols, self.accumulator.numpy)
        """What is on the lanes of the west port, then of the north port."""
        self.entering = Timetable(spad, rows + cols, max(rows, cols))
        self.leaving = Timetable(spad, cols + rows, self.depth)
        """Lanes of the south, then of the east side."""
        self.exchanges: list[Exchange] = []
        self.waves = [_wave(age, rows, cols) for age in range(self.depth)]
        self.uncounted: list[tuple[int, Ints]] = []
        """Beats, with the cycles of their issue."""

    def cycle(self, now: int, issued: Ints | None) -> None:
        """One cycle: ``issued`` is the beat that issues in it, as FIELDS."""
        loads, drains = self._shifts(self.weights, now), self._shifts(self.gradients, now)
        beats = issued is not None or now < max(self.last) + self.depth
        if beats:
            self._move()
        if issued is not None:
            self._issue(now, issued)
        if loads:
            entering = self.weights.read()
        if drains:
            leaving = self.gradients.shift()
        if beats:
            self._execute(now)
        if loads:
            self.weights.shift(entering)
            self.weights.finish(now)
        # Whatever is written in this cycle can be read from the next one.
        if drains:
            self.gradients.write(leaving)
            self.gradients.finish(now)
        if beats:
            self._sums_leave(now)

    def _shifts(self, chain: WeightChain | GradientChain, now: int) -> bool:
        """Whether any column of a chain does a step in this cycle."""
        if chain.waiting:
            self.shifting[type(chain)] = now + self.shape[1]
        return now < self.shifting[type(chain)]

    def _move(self) -> None:
        """Everything in flight goes on by one PE."""
        if self.at == 0:
            self.at = self.depth
            for moving in (self.h.T, self.v, self.flags.T):
                moving[self.depth :] = moving[: self.depth]
                moving[: self.depth] = 0
        self.at -= 1
        self.entering.advance()
        self.leaving.advance()

    def _issue(self, now: int, issued: Ints) -> None:
        """A beat sets out: which lane touches which word in which cycle is known from now on."""
        beat = issued.tolist()
        rows, cols = self.shape
        op = beat[F.op]
        self.flags[op, self.at], self.last[op] = True, now
        for mode, fields, lanes, first in ((beat[F.h_mode], F.h, rows, 0), (beat[F.v_mode], F.v, cols, rows)):
            if mode != Mode.keep:
                address, stride, touching, dtype, _ = beat[fields : fields + len(Lanes)]
                self.entering.enter(first, lanes, 0, dtype, address, stride, touching if mode == Mode.read else 0)
        if op == Op.fwd or op == Op.dx:
            address, stride, touching, dtype, _ = beat[F.out :]
            lanes, first, delay = (cols, 0, rows - 1) if op == Op.fwd else (rows, cols, cols - 1)
            self.leaving.enter(first, lanes, delay, dtype, address, stride, touching)
        if beat[F.swap] or beat[F.take]:
            rates = self.rates[beat[F.update]] if op == Op.upd else None
            self.exchanges = [exchange for exchange in self.exchanges if now < exchange.issued + self.depth]
            self.exchanges.append(Exchange(now, bool(beat[F.swap]), bool(beat[F.take]), rates))
        self.uncounted.append((now, issued))
        if len(self.uncounted) == MANY:
            self.count()

    def _execute(self, now: int) -> None:
        """What is on the ports in this cycle comes to the first row and column, and every PE executes the beat that has come to it."""
        rows = self.shape[0]
        self.entering.read(self.on_ports, self.accumulator)
        self.h[:, self.at], self.v[self.at] = self.on_ports[:rows], self.on_ports[rows:]
        passing = [(exchange, now - exchange.issued) for exchange in self.exchanges if now < exchange.issued + self.depth]
        for exchange, age in passing:
            if exchange.swap:
                here = self.waves[age]
                self.w.reshape(-1)[here] = self.weights.registers.reshape(-1)[here]
        self._multiply(now)
        for exchange, age in passing:
            if exchange.take:
                self._take(self.waves[age], exchange.rates)

    def _multiply(self, now: int) -> None:
        """The products and sums of all PEs; kinds of beats of which none is in flight are left out."""
        rows, cols = self.shape
        here = {kind: self._having(op) for kind, op in enumerate(MACS) if now < self.last[op] + self.depth}
        if not here:
            return
        h, v, w, g = self.h[:, self.at : self.at + cols], self.v[self.at : self.at + rows], self.w, self.g
        result = self._multiplied(_chosen(here, (h, v, v))) * self._multiplied(_chosen(here, (w, w, h)))
        result += _chosen(here, (v, h, g))
        places = (v, h, g)
        for kind, having in here.items():
            np.putmask(places[kind], having, result)

    def _having(self, op: Op) -> Mask:
        """[r, c]: whether PE(r,c) has such a beat in this cycle, the one that was issued r+c cycles ago."""
        start = op * self.flags.shape[1] + self.at
        return np.ascontiguousarray(np.ndarray(self.shape, np.bool_, self.flags, start, (1, 1)))

    def _multiplied(self, values: Array) -> Array:
        """Values as a multiplier takes them; the product is formed in the accumulator's type."""
        return convert(convert(values, self.operand), self.accumulator)

    def _take(self, here: slice, rates: tuple[float, float] | None) -> None:
        """`upd` and `take`, which leave their result in g_out and clear g."""
        w, g, out = (registers.reshape(-1) for registers in (self.w, self.g, self.gradients.registers))
        if rates:
            w[here] = updated(w[here], g[here], *rates)
        out[here] = w[here] if rates else g[here]
        g[here] = 0

    def _sums_leave(self, now: int) -> None:
        rows, cols = self.shape
        fwd, dx, _ = MACS
        if now < self.last[fwd] + self.depth:
            self.leaving.write(0, self.v[self.at + rows - 1])
        if now < self.last[dx] + self.depth:
            self.leaving.write(cols, self.h[:, self.at + cols - 1])

    def count(self) -> None:
        """Count what the beats do in the course of their flight that were issued since the last time."""
        if not self.uncounted:
            return
        issued, beats = np.array([cycle for cycle, _ in self.uncounted]), np.array([beat for _, beat in self.uncounted]).T
        self.uncounted = []
        counters, (rows, cols) = self.counters, self.shape
        op, provenance = beats[F.op], beats[F.provenance]
        macs = np.minimum(beats[F.rows], rows) * np.minimum(beats[F.cols], cols)
        np.add.at(counters.macs, provenance, np.where(np.isin(op, MACS), macs, 0))
        np.maximum.at(counters.finish, provenance, issued + self.depth)
        south, east = op == Op.fwd, op == Op.dx
        for fields, direction, touches, lanes in (
            (F.h, READ, beats[F.h_mode] == Mode.read, rows),
            (F.v, READ, beats[F.v_mode] == Mode.read, cols),
            (F.out, WRITE, south, cols),
            (F.out, WRITE, east, rows),
        ):
            _, _, touching, dtype, operand = beats[fields : fields + len(Lanes)]
            words = np.where(touches, np.minimum(touching, lanes), 0)
            where = provenance, direction, operand, Queue.array
            np.add.at(counters.words, where, words)
            np.add.at(counters.bytes, where, words * SIZES[dtype])


def _wave(age: int, rows: int, cols: int) -> slice:
    """Where in an array of registers the PEs lie that a beat has come to so many cycles after its issue: all (r,c) with r+c = age."""
    first, last = max(0, age - cols + 1), min(rows - 1, age)
    return slice(age + first * (cols - 1), age + last * (cols - 1) + 1, max(1, cols - 1))


def _chosen(here: dict[int, Mask], values: Sequence[Array]) -> Array:
    """For each PE the values that belong to its beat, of those for the kinds of ``MACS``; any where it has none of them."""
    first, *others = here
    chosen = values[first]
    for kind in others:
        if values[kind] is not values[first]:
            chosen = np.where(here[kind], values[kind], chosen)
    return chosen
