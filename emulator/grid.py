"""The array of processing elements, register by register: what each PE does in each cycle.

    PE(r,c) in the cycle t+r+c, for the beat issued at t          h_in from the west, v_in from the north
      fwd   v_out = v_in + h_in·w        h_out = h_in
      dx    h_out = h_in + v_in·w        v_out = v_in
      dw    g = g + h_in·v_in            h_out = h_in,  v_out = v_in

A beat is executed by a diagonal of PEs at a time, those with the same r+c, and by all of them in the course of R+C−1 cycles.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from emulator.beats import updated
from emulator.chains import GradientChain, WeightChain
from emulator.memory import Array, Memory, convert
from emulator.ports import Access, Side, Timetable
from isa.machine import Machine

Mask = npt.NDArray[np.bool_]
MACS = {"fwd": 0, "dx": 1, "dw": 2}
"""The beats that multiply."""


@dataclass(slots=True)
class Exchange:
    """A beat in flight that moves a weight or a gradient between the registers of a PE."""

    issued: int
    swap: bool
    take: bool
    rates: tuple[float, float] | None
    """Learning rate and decay of an `upd`."""


class Grid:
    """All registers of the array, its ports, and its two chains.

    Values on a link go on by one PE a cycle.  Instead of moving them, the window on them moves against them: in this cycle, PE(r,c)
    finds what comes from the west at ``h[r, at+c]`` and what comes from the north at ``v[at+r, c]``, and leaves there what goes on.
    Likewise ``flags[kind, at+d]`` tells whether the beat that was issued d cycles ago is of that kind of ``MACS``.
    """

    def __init__(self, machine: Machine, spad: Memory) -> None:
        self.operand, self.accumulator = machine.operand, machine.accumulator
        rows, cols = self.shape = (machine.rows, machine.cols)
        self.depth = depth = rows + cols - 1
        """Cycles for which a beat is in flight."""
        self.w, self.g = (np.zeros(self.shape, self.accumulator.numpy) for _ in range(2))
        self.at = depth
        self.h = np.zeros((rows, 2 * depth), self.accumulator.numpy)
        self.v = np.zeros((2 * depth, cols), self.accumulator.numpy)
        self.flags = np.zeros((len(MACS), 2 * depth), np.bool_)
        self.last = [-depth] * len(MACS)
        """Cycle in which the last beat of each kind was issued."""
        self.quiet = 0
        """First cycle in which no beat is in flight."""
        self.west, self.north, self.down = Side(0, rows), Side(rows, cols), Side(rows + cols, cols)
        self.entering = Timetable(spad, rows + 2 * cols, depth)
        self.on_ports = np.zeros(rows + 2 * cols, self.accumulator.numpy)
        """What is on the lanes that enter: of the west port, of the north port, and of the weights' chain."""
        self.south, self.east, self.out = Side(0, cols), Side(cols, rows), Side(rows + cols, cols)
        self.leaving = Timetable(spad, rows + 2 * cols, depth)
        self.weights = WeightChain(machine, self.entering, self.down)
        self.gradients = GradientChain(machine, self.leaving, self.out)
        self.exchanges: list[Exchange] = []
        self.waves = [_wave(age, rows, cols) for age in range(depth)]

    def issue(
        self, now: int, op: str, h: Access | None, v: Access | None, sums: Access | None, zero: bool, exchange: Exchange | None
    ) -> None:
        """A beat sets out in this cycle: which lane touches which word in which cycle is known from now on.

        ``h`` and ``v`` are the operands that enter the ports; what is None stays as it is on its port.  ``sums`` enter on the other
        port, as 0 with ``zero``, and are written where they come from.
        """
        if sums:
            entering = (*sums[:3], 0) if zero else sums
            if op == "fwd":
                v = entering
                self.leaving.enter(self.south, sums, self.shape[0] - 1)
            else:
                h = entering
                self.leaving.enter(self.east, sums, self.shape[1] - 1)
        if h:
            self.entering.enter(self.west, h)
        if v:
            self.entering.enter(self.north, v)
        if exchange:
            self.exchanges = [earlier for earlier in self.exchanges if now < earlier.issued + self.depth]
            self.exchanges.append(exchange)
        if op in MACS:
            kind = MACS[op]
            self.flags[kind, self.at], self.last[kind] = True, now
        self.quiet = now + self.depth

    def cycle(self, now: int) -> None:
        """One cycle of all that is under way."""
        beats, loads, drains = now < self.quiet, self.weights.shifts(now, self.at), self.gradients.shifts(now, self.at)
        if beats or loads:
            self.entering.read(self.on_ports, self.accumulator)
        if drains:
            leaving = self.gradients.shift(self.at)
        if beats:
            self._execute(now)
        if loads:
            self.weights.shift(self.at, self.on_ports[self.down.first :])
        # Whatever is written in this cycle can be read from the next one.
        if drains:
            self.leaving.write(self.out, leaving)
        if beats:
            self._sums_leave(now)
        if beats or loads or drains:
            self._move()

    def _move(self) -> None:
        """Everything in flight goes on by one PE."""
        if self.at == 0:
            self.at = self.depth
            for moving in (self.h.T, self.v, self.flags.T, self.weights.enables.T, self.gradients.enables.T):
                moving[self.depth :] = moving[: self.depth]
                moving[: self.depth] = 0
        self.at -= 1
        self.entering.advance()
        self.leaving.advance()

    def _execute(self, now: int) -> None:
        """What is on the ports in this cycle comes to the first row and column, and every PE executes the beat that has come to it."""
        rows = self.shape[0]
        self.h[:, self.at], self.v[self.at] = self.on_ports[:rows], self.on_ports[rows : self.down.first]
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
        here = {kind: self._having(kind) for kind in MACS.values() if now < self.last[kind] + self.depth}
        if not here:
            return
        h, v, w, g = self.h[:, self.at : self.at + cols], self.v[self.at : self.at + rows], self.w, self.g
        result = self._multiplied(_chosen(here, (h, v, v))) * self._multiplied(_chosen(here, (w, w, h)))
        result += _chosen(here, (v, h, g))
        places = (v, h, g)
        for kind, having in here.items():
            np.putmask(places[kind], having, result)

    def _having(self, kind: int) -> Mask:
        """[r, c]: whether PE(r,c) has such a beat in this cycle, the one that was issued r+c cycles ago."""
        start = kind * self.flags.shape[1] + self.at
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
        if now < self.last[MACS["fwd"]] + self.depth:
            self.leaving.write(self.south, self.v[self.at + rows - 1])
        if now < self.last[MACS["dx"]] + self.depth:
            self.leaving.write(self.east, self.h[:, self.at + cols - 1])


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
