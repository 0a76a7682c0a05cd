"""The interlock of partial sums, for whole nests: who wrote which row lately, and how long that holds beats up.

Most nests read rows that are far from those which are still on their way: it is enough to compare where they lie.  Only where they may
meet are rows looked at one by one.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from emulator.nest import Nest
from isa.machine import Machine

Ints = npt.NDArray[np.int64]
Shift = tuple[int, int]
"""The number of a beat in the nest, and how many cycles late it and all that follow it are."""
Span = tuple[int, int]
"""The lowest and the highest of some addresses."""

_NESTS = 4
"""So many nests are kept as such before their rows are taken down."""


def cycle_of(number: int, costs: Sequence[int]) -> int:
    """When a beat of a nest issues if nothing holds it up, counted from the first; ``costs``: cycles of each beat of the body."""
    turns, position = divmod(number, len(costs))
    return turns * sum(costs) + sum(costs[:position])


def shift_at(shifts: Sequence[Shift], number: int) -> int:
    """Cycles that a beat is late."""
    return next(late for first, late in reversed(shifts) if first <= number)


class Row(NamedTuple):
    """A row of a nest's sums."""

    number: int
    """Of its beat in the nest."""
    cycle: int
    """Of that, if nothing holds it up (see `cycle_of`)."""
    position: int
    """The beat's in the body."""
    offset: int
    """Bytes from where the sums of that beat of the body begin."""


class Rows:
    """Rows of sums at one end of a nest: ``numbers`` of beats and ``offsets``, by the position of the beat in the body."""

    def __init__(self, numbers: Mapping[int, Ints], offsets: Mapping[int, Ints], costs: Sequence[int]) -> None:
        self._numbers, self._offsets, self._costs = numbers, offsets, costs
        self.spans = [(position, int(found.min()), int(found.max())) for position, found in offsets.items()]
        """Of each position, the lowest and the highest offset."""
        self.first = min((int(found[0]) for found in numbers.values()), default=0)
        self.last = {position: cycle_of(int(found[-1]), costs) for position, found in numbers.items()}
        """By position, the cycle of the last beat."""

    @cached_property
    def rows(self) -> list[Row]:
        """All of them, in the order of the beats."""
        begins = [0, *accumulate(self._costs)]
        width = len(self._costs)
        found = [
            Row(number, number // width * begins[-1] + begins[position], position, offset)
            for position, numbers in self._numbers.items()
            for number, offset in zip(numbers.tolist(), self._offsets[position].tolist(), strict=True)
        ]
        return sorted(found)

    def at(self, bases: Sequence[int]) -> list[Span]:
        """Where they lie."""
        return [(bases[position] + low, bases[position] + high) for position, low, high in self.spans]


@dataclass(frozen=True, slots=True)
class Written:
    """A nest's last rows."""

    rows: Rows
    bases: tuple[int, ...]
    delays: tuple[int, ...]
    """Cycles from a beat's issue until its row is back, by its position in the body."""
    start: int
    shifts: tuple[Shift, ...]
    spans: list[Span]
    latest: int
    """None is back later."""

    def ready(self) -> Iterable[tuple[int, int]]:
        """Each row and the cycle from which on it is back."""
        final = self.shifts[-1]
        for number, cycle, position, offset in self.rows.rows:
            late = final[1] if number >= final[0] else shift_at(self.shifts, number)
            yield self.bases[position] + offset, self.start + late + cycle + self.delays[position]


@dataclass(frozen=True, slots=True)
class OnTheirWay:
    """Rows (by the address of lane 0) with the first cycle that may read them: those taken down one by one, then those of nests since."""

    ready: Mapping[int, int]
    nests: tuple[Written, ...] = ()

    def rows(self) -> dict[int, int]:
        """All of them; some may be back already."""
        rows = dict(self.ready)
        for nest in self.nests:
            rows.update(nest.ready())
        return rows


class RecentSums:
    """Rows of partial sums that are still on their way.

    A row written by `fwd` is back R cycles after the beat's issue, one written by `dx` C cycles after.
    """

    def __init__(self, machine: Machine) -> None:
        self.delay = {"fwd": machine.rows, "dx": machine.cols}
        self.horizon = max(self.delay.values())
        self.now = OnTheirWay({})
        self.latest = 0
        """None is back later."""
        self._latest = 0
        """None of those that were taken down one by one."""

    def rows(self, nest: Nest, turns: Sequence[int], zeros: Sequence[bool], beats: int, costs: Sequence[int]) -> tuple[Rows, Rows]:
        """The rows that the first of a nest's beats read and the last ones write, ``beats`` of which are issued."""
        width = len(nest.beats)

        def rows(positions: Iterable[int], numbers: range) -> Rows:
            found = {position: np.arange(numbers.start + (position - numbers.start) % width, numbers.stop, width) for position in positions}
            found = {position: own for position, own in found.items() if len(own)}
            return Rows(found, {position: _offsets(nest, position, turns, own // width) for position, own in found.items()}, costs)

        writes = [position for position, beat in enumerate(nest.beats) if beat.acc is not None]
        reads = [position for position in writes if not zeros[position]]
        return rows(reads, range(min(beats, self.horizon))), rows(writes, range(max(0, beats - self.horizon), beats))

    def back(self, row: int) -> int:
        """First cycle that may read a row."""
        if self._meets([(row, row)]):
            self._take_down()
        return self.now.ready.get(row, 0)

    def shifts(self, rows: Rows, bases: Sequence[int], start: int) -> tuple[Shift, ...]:
        """How many cycles later than they would from ``start`` on the beats issue.

        ``bases``: where the sums of each beat of the body begin.  Only the first few beats can meet a row that was written before the
        nest, and rows within a nest are distinct.
        """
        if self.latest <= start:
            return ((0, 0),)
        if self._meets(rows.at(bases)):
            self._take_down()
        elif self._latest <= start:
            return ((0, 0),)
        shifts, latest, ready = [(0, 0)], 0, self.now.ready
        for number, cycle, position, offset in rows.rows:
            late = ready.get(bases[position] + offset, 0) - start - cycle
            if late > latest:
                latest = late
                shifts.append((number, late))
        return tuple(shifts)

    def record(self, nest: Nest, rows: Rows, bases: Sequence[int], start: int, shifts: tuple[Shift, ...]) -> None:
        """Remember the rows that the last beats wrote."""
        if not rows.spans:
            return
        if rows.first >= self.horizon or self.latest <= start:
            self.now, self._latest = OnTheirWay({}), 0
        elif len(self.now.nests) >= _NESTS:
            self._take_down()
        delays = tuple([self.delay.get(beat.op, 0) for beat in nest.beats])
        latest = start + shifts[-1][1] + max([cycle + delays[position] for position, cycle in rows.last.items()])
        written = Written(rows, tuple(bases), delays, start, shifts, rows.at(bases), latest)
        self.now = OnTheirWay(self.now.ready, (*self.now.nests, written))
        self.latest = max(self.latest, latest)

    def move(self, move: Callable[[int], int], cycles: int) -> None:
        """All that has happened, happened so many cycles later, to the rows that ``move`` gives."""
        self._take_down()
        self.now = OnTheirWay({move(row): ready + cycles for row, ready in self.now.ready.items()})
        self.latest += cycles
        self._latest += cycles

    def _meets(self, spans: Sequence[Span]) -> bool:
        """Whether rows in these places may be among those of nests."""
        return any(
            low <= high_written and low_written <= high
            for nest in self.now.nests
            for low_written, high_written in nest.spans
            for low, high in spans
        )

    def _take_down(self) -> None:
        self.now = OnTheirWay(self.now.rows())
        self._latest = self.latest


def _offsets(nest: Nest, position: int, turns: Sequence[int], numbers: Ints) -> Ints:
    """Bytes from the first row of a beat's sums to that of the given turns (counted over all loops of the nest)."""
    stream = nest.beats[position].acc
    assert stream is not None
    offsets = np.zeros(len(numbers), np.int64)
    for level, count in zip(reversed(nest.levels), reversed(turns), strict=True):
        numbers, counter = np.divmod(numbers, count)
        if level < len(stream.strides):
            offsets += stream.strides[level] * counter
    return offsets
