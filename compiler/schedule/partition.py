"""How the arrays of a machine share one nest: which of its loops is dealt out to them.

Each array walks an equal part of one loop.  Along an axis that the result has, nothing is left to do: the arrays write different words.
Along one that is summed over, accumulators of several arrays are parts of one sum, and have to be added.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from compiler.schedule.cost import tile_interval
from isa.machine import Machine

CLASSES = {"batch": "b", "rows": "kg", "columns": "ng"}
"""The classes of axes (see `axes.py`) that each partition deals out: batch and pixels, inputs, outputs. Groups are both of the latter."""
PARTITIONS = ("auto", "none", *CLASSES)


def numbered(name: str, number: int) -> str:
    """The name of what each array has of its own; the first one's has no number."""
    return f"{name}.{number}" if number else name


@dataclass(frozen=True, slots=True)
class Candidate:
    """A loop that may be dealt out. ``kind``: the class of its axis; ``streams``: whether its turns are beats rather than tiles."""

    axis: str
    kind: str
    turns: int
    streams: bool
    adds: bool
    """Whether the arrays' accumulators have to be added."""
    evenly: bool = False
    """Whether all arrays need as many turns."""

    def arrays(self, most: int) -> int:
        """How many take part."""
        most = min(most, self.turns)
        return next(number for number in range(most, 0, -1) if not self.evenly or self.turns % number == 0)


def choose(partition: str, candidates: Sequence[Candidate], tiles: int, beats: int, machine: Machine, slots: int) -> Candidate | None:
    """The loop by which a nest of so many tiles, each of so many beats, should take the fewest cycles; None: one array is as quick.

    A partition that the nest does not allow leaves the choice to the estimate; ``slots`` is 1 without double buffering.
    """
    if partition == "none" or machine.arrays == 1:
        return None
    asked = [candidate for candidate in candidates if candidate.kind in CLASSES.get(partition, "bkng")] or list(candidates)

    def cycles(candidate: Candidate) -> int:
        return estimate(candidate, tiles, beats, machine, slots)

    best = min(asked, key=cycles, default=None)
    return best if best and best.arrays(machine.arrays) > 1 else None


def estimate(candidate: Candidate, tiles: int, beats: int, machine: Machine, slots: int) -> int:
    """Cycles of the array that has most to do, and of the vector unit where it adds, whichever binds. Only to choose between loops."""
    rows, cols = machine.rows, machine.cols
    arrays = candidate.arrays(machine.arrays)
    share = ceil(candidate.turns / arrays)
    if candidate.streams:
        beats = beats // candidate.turns * share
    else:
        tiles = tiles // candidate.turns * share
    interval = tile_interval(beats, machine, double_buffer=slots > 1)
    adding = (arrays - 1) * (machine.vector.latency + ceil(rows * cols / machine.vector.lanes)) if candidate.adds else 0
    return tiles * max(interval, adding)
