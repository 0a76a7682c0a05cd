"""The array of processing elements, register by register: what each PE does in each cycle.

    PE(r,c) in the cycle t+r+c, for the beat issued at t          h_in from the west, v_in from the north
      fwd   v_out = v_in + h_in·w        h_out = h_in
      dx    h_out = h_in + v_in·w        v_out = v_in
      dw    g = g + h_in·v_in            h_out = h_in,  v_out = v_in

A beat is executed by a diagonal of PEs at a time, those with the same r+c, and by all of them in the course of R+C−1 cycles.
"""

from dataclasses import dataclass

import numpy as np

from emulator.beats import updated
from emulator.chains import AccumulatorChain, GradientChain, WeightChain
from emulator.links import MACS, Links, Mask, Window
from emulator.memory import Array, Memory, convert
from emulator.ports import Access, Side, Timetable, nothing
from isa.machine import Machine


@dataclass(slots=True)
class Exchange:
    """A beat in flight that moves a weight or a gradient between the registers of a PE."""

    issued: int
    swap: bool
    preload: bool
    take: bool
    rates: tuple[float, float] | None
    """Learning rate and decay of an `upd` or a `mupd`."""
    apart: bool
    """Whether it is a `mupd`, which puts velocity and weight into registers of their own."""


class Grid:
    """All registers of the array, its ports, and its two chains."""

    def __init__(self, machine: Machine, spad: Memory) -> None:
        self.operand, self.accumulator = machine.operand, machine.accumulator
        rows, cols = self.shape = (machine.rows, machine.cols)
        self.depth = depth = rows + cols - 1
        """Cycles for which a beat is in flight."""
        self.w, self.g = (np.zeros(self.shape, self.accumulator.numpy) for _ in range(2))
        self.flat_w, self.flat_g = self.w.reshape(-1), self.g.reshape(-1)
        self.links = Links(machine)
        self.last = [-depth] * len(MACS)
        """Cycle in which the last beat of each kind was issued."""
        self.quiet = 0
        """First cycle in which no beat is in flight."""
        self.west, self.north, self.above = Side(0, rows), Side(rows, cols), Side(rows + cols, cols)
        self.entering = Timetable(spad, rows + 2 * cols, depth)
        on_lanes = self.on_lanes = np.zeros(rows + 2 * cols, self.accumulator.numpy)
        """What is on the lanes that enter: of the west port, of the north port, and of the weights' chain."""
        self.on_west, self.on_north, self.on_above = on_lanes[:rows], on_lanes[rows : rows + cols], on_lanes[rows + cols :]
        self.east, self.south, self.below = Side(0, rows), Side(rows, cols), Side(rows + cols, cols)
        self.leaving = Timetable(spad, rows + 2 * cols, depth)
        self.weights = WeightChain(machine, self.entering, self.above)
        self.preloads = AccumulatorChain(machine, self.entering, self.above)
        self.gradients, self.updates = (GradientChain(machine, self.leaving, self.below) for _ in range(2))
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
            entering = nothing(sums.dtype, len(sums.addresses)) if zero else sums
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
            self.exchanges.append(exchange)
        if op in MACS:
            kind = MACS[op]
            self.links.window.beat[kind], self.last[kind] = True, now
        self.quiet = now + self.depth

    def cycle(self, now: int) -> None:
        """One cycle of all that is under way."""
        window = self.links.window
        beats, loads, drains = now < self.quiet, self.weights.steps(now, window.load), self.gradients.steps(now, window.drain)
        preloads, updates = self.preloads.steps(now, window.preload), self.updates.steps(now, window.update)
        if beats or loads or preloads:
            self.entering.read(self.on_lanes, self.accumulator)
        if drains:
            leaving = self.gradients.shift(window.drains)
        if updates:
            weights = self.updates.shift(window.updates)
            leaving = np.where(window.updates[-1], weights, leaving) if drains else weights
        if beats:
            self._execute(now, window)
        if loads:
            self.weights.shift(window.loads, self.on_above)
        if preloads:
            self.preloads.shift(window.preloads, self.on_above)
        # Whatever is written in this cycle can be read from the next one.
        if drains or updates:
            self.leaving.write(self.below, leaving)
        if now < self.last[MACS["fwd"]] + self.depth:
            self.leaving.write(self.south, window.south)
        if now < self.last[MACS["dx"]] + self.depth:
            self.leaving.write(self.east, window.east)
        if beats or loads or preloads or drains or updates:
            self.links.advance()
            self.entering.advance()
            self.leaving.advance()

    def _execute(self, now: int, window: Window) -> None:
        """What is on the ports in this cycle comes to the first row and column, and every PE executes the beat that has come to it."""
        window.west[:], window.north[:] = self.on_west, self.on_north
        self.exchanges = [exchange for exchange in self.exchanges if now < exchange.issued + self.depth]
        for exchange in self.exchanges:
            here = self.waves[now - exchange.issued]
            if exchange.swap:
                self.flat_w[here] = self.weights.flat[here]
            if exchange.preload:
                self.flat_g[here] = self.preloads.flat[here]
        self._multiply(now, window)
        for exchange in self.exchanges:
            if exchange.take:
                self._take(self.waves[now - exchange.issued], exchange)

    def _multiply(self, now: int, window: Window) -> None:
        """The products and sums of all PEs; kinds of beats of which none is in flight are left out."""
        here = {kind: window.beats[kind].copy() for kind, last in enumerate(self.last) if now < last + self.depth}
        if not here:
            return
        h, v, w, g = window.h, window.v, self.w, self.g
        operands = (h, w, v), (v, w, h), (v, h, g)
        first, *others = here
        left, right, addend = operands[first]
        for kind in others:
            its_left, its_right, its_addend = operands[kind]
            left, right = _where(here[kind], its_left, left), _where(here[kind], its_right, right)
            addend = _where(here[kind], its_addend, addend)
        if self.operand is not self.accumulator:
            left, right = (convert(convert(values, self.operand), self.accumulator) for values in (left, right))
        result = left * right
        result += addend
        places = (v, h, g)
        for kind, having in here.items():
            np.putmask(places[kind], having, result)

    def _take(self, here: slice, exchange: Exchange) -> None:
        """`take`, `upd` and `mupd`, which leave their result in g_out and clear g."""
        w, g, out = self.flat_w, self.flat_g, self.gradients.flat
        if exchange.rates:
            g[here], w[here] = updated(w[here], g[here], *exchange.rates)
        out[here] = w[here] if exchange.rates and not exchange.apart else g[here]
        if exchange.apart:
            self.updates.flat[here] = w[here]
        g[here] = 0


def _wave(age: int, rows: int, cols: int) -> slice:
    """Where in an array of registers the PEs lie that a beat has come to so many cycles after its issue: all (r,c) with r+c = age."""
    first, last = max(0, age - cols + 1), min(rows - 1, age)
    return slice(age + first * (cols - 1), age + last * (cols - 1) + 1, max(1, cols - 1))


def _where(having: Mask, values: Array, others: Array) -> Array:
    """As ``np.where``, in half the time, and in none where all values are the same."""
    if values is others:
        return values
    chosen = others.copy()
    np.putmask(chosen, having, values)
    return chosen
