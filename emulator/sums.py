"""The interlock of partial sums, for whole nests: who wrote which row lately, and how long that holds beats up."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from emulator.nest import Nest
from isa.machine import Machine

Row = tuple[int, int, int, int]
"""A row of a nest's sums: the number of its beat in the nest, the cycle of that (see `cycle_of`), the beat's position in the body, bytes
from where the beat's sums begin."""


def cycle_of(number: int, costs: Sequence[int]) -> int:
    """When a beat of a nest issues if nothing holds it up, counted from the first; ``costs``: cycles of each beat of the body."""
    turns, position = divmod(number, len(costs))
    return turns * sum(costs) + sum(costs[:position])


Shift = tuple[int, int]
"""The number of a beat in the nest, and how many cycles late it and all that follow it are."""


def shift_at(shifts: Sequence[Shift], number: int) -> int:
    """Cycles that a beat is late."""
    return next(late for first, late in reversed(shifts) if first <= number)


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows at either end of a nest that can meet others."""

    read: tuple[Row, ...]
    written: tuple[Row, ...]


class RecentSums:
    """Rows of partial sums (by the address of lane 0) that are still on their way, with the first cycle that may read them.

    A row written by `fwd` is back R cycles after the beat's issue, one written by `dx` C cycles after.
    """

    def __init__(self, machine: Machine) -> None:
        self.delay = {"fwd": machine.rows, "dx": machine.cols}
        self.horizon = max(self.delay.values())
        self.ready: dict[int, int] = {}
        self.latest = 0

    def rows(self, nest: Nest, turns: Sequence[int], zeros: Sequence[bool], beats: int, costs: Sequence[int]) -> Rows:
        """The rows of the first and the last of a nest's beats, ``beats`` of which are issued."""
        width = len(nest.beats)
        read = [(beat.acc is not None and not zero, range(min(beats, self.horizon))) for beat, zero in zip(nest.beats, zeros, strict=True)]
        written = [(beat.acc is not None, range(max(0, beats - self.horizon), beats)) for beat in nest.beats]

        def rows(wanted: Sequence[tuple[bool, range]]) -> tuple[Row, ...]:
            found: list[Row] = []
            for position, (touches, numbers) in enumerate(wanted):
                if touches:
                    own = np.array([number for number in numbers if number % width == position], np.int64)
                    offsets = _offsets(nest, position, turns, own // width)
                    found += [
                        (number, cycle_of(number, costs), position, offset)
                        for number, offset in zip(own.tolist(), offsets.tolist(), strict=True)
                    ]
            return tuple(sorted(found))

        return Rows(rows(read), rows(written))

    def shifts(self, rows: Rows, bases: Sequence[int], start: int) -> list[Shift]:
        """How many cycles later than they would from ``start`` on the beats issue.

        ``bases``: where the sums of each beat of the body begin.  Only the first few beats can meet a row that was written before the
        nest, and rows within a nest are distinct.
        """
        shifts, latest = [(0, 0)], 0
        if self.latest > start:
            for number, cycle, position, offset in rows.read:
                late = self.ready.get(bases[position] + offset, 0) - start - cycle
                if late > latest:
                    latest = late
                    shifts.append((number, late))
        return shifts

    def record(self, nest: Nest, rows: Rows, bases: Sequence[int], start: int, shifts: Sequence[Shift]) -> None:
        """Remember the rows that the last beats wrote."""
        if not rows.written:
            return
        first = rows.written[0][0]
        if first >= self.horizon:
            self.ready = {}
        elif len(self.ready) > 4 * self.horizon:
            self.ready = {row: ready for row, ready in self.ready.items() if ready > start}
        delays = [self.delay.get(beat.op, 0) for beat in nest.beats]
        changes = shifts[-1][0] > first
        start += shifts[-1][1]
        for number, cycle, position, offset in rows.written:
            ready = start + cycle + delays[position]
            if changes:
                ready += shift_at(shifts, number) - shifts[-1][1]
            self.ready[bases[position] + offset] = ready
            if ready > self.latest:
                self.latest = ready

    def move(self, move: Callable[[int], int], cycles: int) -> None:
        """All that has happened, happened so many cycles later, to the rows that ``move`` gives."""
        self.ready = {move(row): ready + cycles for row, ready in self.ready.items()}
        self.latest += cycles


def _offsets(
    nest: Nest, position: int, turns: Sequence[int], numbers: "np.ndarray[tuple[int, ...], np.dtype[np.int64]]"
) -> "np.ndarray[tuple[int, ...], np.dtype[np.int64]]":
    """Bytes from the first row of a beat's sums to that of the given turns (counted over all loops of the nest)."""
    stream = nest.beats[position].acc
    assert stream is not None
    offsets = np.zeros(len(numbers), np.int64)
    for level, count in zip(reversed(nest.levels), reversed(turns), strict=True):
        numbers, counter = np.divmod(numbers, count)
        if level < len(stream.strides):
            offsets += stream.strides[level] * counter
    return offsets
