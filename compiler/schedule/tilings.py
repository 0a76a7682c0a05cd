"""What of a nest's axes lies on the array's rows at a time."""

from collections.abc import Collection, Sequence
from itertools import permutations
from math import prod

from compiler.schedule.blocks import Extents, turns_of
from isa.stream import MAX_DIMS


def tilings(plain: Extents, rows: Sequence[str], tiled: Collection[str], sizes: Extents) -> list[Extents]:
    """Ways to lay axes on the lanes, as entries of each axis in a tile, the columns' axis last; the one with fewest tiles first.

    Where all of one axis takes at most half of the rows, several entries of another have room beside it: taps beside channels, or channels
    beside taps.  A beat then reads each word wherever it lies.

    Args:
        plain: one axis on the rows, one on the columns.
        rows: axes that may be on the rows.
        tiled: axes of which the nest has one tile after the other.
        sizes: extents of all axes.
    """
    _, cols = plain
    most, width = plain.values()
    axes = [axis for axis in rows if sizes[axis] > 1]
    found = []
    for outer, *inner in (order for number in range(2, MAX_DIMS) for order in permutations(axes, number)):
        whole = {axis: sizes[axis] for axis in inner}
        room = most // prod(whole.values())
        if room > 1:
            found.append(Extents({outer: min(sizes[outer], room), **whole, cols: width}))

    def tiles(tiling: Extents) -> int:
        turns = turns_of(sizes, tiling)
        return prod(turns[axis] for axis in tiled)

    best = min(found, key=tiles, default=plain)
    return [best, plain] if tiles(best) < tiles(plain) else [plain]
