"""The interlock of partial sums, for whole nests: who wrote which row lately, and how long that holds beats up."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from emulator.nest import Nest
from isa.machine import Machine

Ints = npt.NDArray[np.int64]


class RecentSums:
    """Rows of partial sums (by the address of lane 0) that are still on their way, with the first cycle that may read them.

    A row written by `fwd` is back R cycles after the beat's issue, one written by `dx` C cycles after.
    """

    def __init__(self, machine: Machine) -> None:
        self.delay = {"fwd": machine.rows, "dx": machine.cols}
        self.horizon = max(self.delay.values())
        self.ready: dict[int, int] = {}
        self.latest = 0

    def shifts(self, nest: Nest, counters: Sequence[int], turns: Sequence[int], zeros: Sequence[bool], beats: int, start: int) -> Ints:
        """How many cycles later than one a cycle from ``start`` the first beats issue; the last entry holds for all later ones.

        ``beats``: how many of the nest's beats are issued.  Only the first few can meet a row that was written before the nest,
        and rows within a nest are distinct.
        """
        width = len(nest.beats)
        first = min(beats, self.latest - start)
        waits = [beat.acc is not None and not zero for beat, zero in zip(nest.beats, zeros, strict=True)]
        if first <= 0 or not any(waits):
            return np.zeros(1, np.int64)
        earliest = np.full((-(-first // width), width), start, np.int64)
        for position, beat in enumerate(nest.beats):
            if waits[position] and beat.acc is not None:
                rows = _rows(nest, position, counters, turns, np.arange(len(earliest)))
                earliest[:, position] = [self.ready.get(row, start) for row in rows.tolist()]
        late = earliest.reshape(-1)[:first] - start - np.arange(first)
        return np.maximum(np.maximum.accumulate(late), 0)

    def record(self, nest: Nest, counters: Sequence[int], turns: Sequence[int], beats: int, start: int, shifts: Ints) -> None:
        """Remember the rows that the last of ``beats`` beats wrote."""
        width = len(nest.beats)
        first = max(0, beats - self.horizon)
        if not any(beat.acc for beat in nest.beats):
            return
        if first or len(self.ready) > 4 * self.horizon:
            now = start + beats
            self.ready = {} if first else {row: ready for row, ready in self.ready.items() if ready > now}
        turn = np.arange(first // width, -(-beats // width))
        written: list[tuple[int, int, int]] = []
        for position, beat in enumerate(nest.beats):
            if beat.acc is None:
                continue
            numbers = turn * width + position
            issued = numbers < beats
            numbers = numbers[issued]
            ready = start + numbers + shifts[np.minimum(numbers, len(shifts) - 1)] + self.delay[beat.op]
            rows = _rows(nest, position, counters, turns, turn[issued])
            written.extend(zip(numbers.tolist(), rows.tolist(), ready.tolist(), strict=True))
        if len(nest.beats) > 1:
            written.sort()
        for _, row, cycle in written:
            self.ready[row] = cycle
            self.latest = max(self.latest, cycle)

    def shift(self, nbytes: int, cycles: int) -> None:
        """All that has happened, happened so many cycles later, to rows so many bytes on."""
        self.ready = {row + nbytes: ready + cycles for row, ready in self.ready.items()}
        self.latest += cycles


def _rows(nest: Nest, position: int, counters: Sequence[int], turns: Sequence[int], numbers: Ints) -> Ints:
    """Addresses of the rows of sums of one beat of the body in the given turns (counted over all loops of the nest)."""
    stream = nest.beats[position].acc
    assert stream is not None
    rows = np.full(len(numbers), stream.address(counters), np.int64)
    for level, count in zip(reversed(nest.levels), reversed(turns), strict=True):
        numbers, counter = np.divmod(numbers, count)
        if level < len(stream.strides):
            rows += stream.strides[level] * counter
    return rows
