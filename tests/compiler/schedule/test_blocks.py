"""Plans for tensors that the scratchpad does not hold, against counting every word of every loop turn."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise, product

from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.schedule.axes import axes_in, blocked, parse_axes, shared
from compiler.schedule.blocks import (
    Extents,
    Flow,
    Nest,
    Panels,
    Plan,
    Streamed,
    divisor_below,
    divisors,
    enclosing,
    panel_shape,
    panels_of,
    turns_of,
)
from compiler.schedule.plans import plans

Turn = dict[str, range]
"""Where the loops stand: the entries of each axis that are worked on."""

Box = list[range]
"""Words of a tensor: a range of each dimension."""

LAYERS = {
    "matrices": {"X": "bk", "W": "kn", "Y": "bn"},
    "batched": {"X": "gbk", "W": "gkn", "Y": "gbn"},
    "convolution": {"X": "bk(2y+r)(x+s)", "W": "nkrs", "Y": "bnyx"},
    "strided": {"X": "bk(2y)(3x)", "W": "nk", "Y": "bnyx"},
    "groups": {"X": "b(3g+k)(y+2r)", "W": "(2g+n)kr", "Y": "b(2g+n)y"},
    "transposed": {"X": "bky", "W": "knr", "Y": "bn(2y+r)"},
}
CLASSES = {**dict.fromkeys("bpyx", "b"), **dict.fromkeys("krs", "k"), "n": "n", "g": "g"}
FIXED = {"batched": {}, "groups": {"k": 3, "n": 2}}
"""Extents that the axes themselves say."""


@dataclass(frozen=True)
class Case:
    """A nest in the order of its loops, and a plan for it."""

    nest: Nest
    plan: Plan
    order: tuple[str, ...]

    @property
    def sizes(self) -> dict[str, int]:
        return self.plan.split(self.nest.sizes)

    def turns(self) -> Iterator[Turn]:
        """Every turn of the loops, in order."""
        steps = {axis: self.nest.tiles.get(axis, 1) for axis in self.order}
        starts = [range(0, self.sizes[axis], steps[axis]) for axis in self.order]
        for position in product(*starts):
            yield {axis: range(s, min(s + steps[axis], self.sizes[axis])) for axis, s in zip(self.order, position, strict=True)}

    def words(self, axes: str, turn: Turn) -> set[tuple[int, ...]]:
        """Indices into a tensor that a turn touches, streaming along the axes that are no loops."""
        names = sorted(axes_in(axes))
        found = set()
        for entries in product(*(turn.get(axis, range(self.sizes[axis])) for axis in names)):
            at = dict(zip(names, entries, strict=True))
            found.add(tuple(sum(factor * at[axis] for axis, factor in terms) for terms in parse_axes(axes)))
        return found

    def chosen(self, axes: str) -> list[str]:
        """The loops that choose a panel, by the definition: of those that the plan names, all but those of tiles that overlap."""
        outer = [a for a in self.plan.outer if a.isupper() or a == "g" or not shared(axes, a)]
        return [axis for axis in outer if axis in axes_in(axes)]

    def visits(self, tensor: Streamed) -> list[list[Turn]]:
        """The turns through which one panel stays in the scratchpad, for each of the panels that come by."""
        axes = blocked(tensor.axes, self.plan.blocks)
        chosen = self.chosen(axes)
        return [list(group) for _, group in groupby(self.turns(), key=lambda turn: [turn[axis].start for axis in chosen])]

    def touched(self, tensor: Streamed) -> list[Box]:
        """The box around all that a visit touches, for each of the panels that come by."""
        axes = blocked(tensor.axes, self.plan.blocks)
        touched = [set[tuple[int, ...]]().union(*(self.words(axes, turn) for turn in visit)) for visit in self.visits(tensor)]
        return [[range(min(column), max(column) + 1) for column in zip(*words, strict=True)] for words in touched]

    def panels(self, tensor: Streamed) -> list[Box]:
        """The words of each panel that comes by.

        Those that begin as zeros and are complete when they leave go on to where the next one begins, or the tensor ends, if these are all
        as far apart, and all words of the tensor are in one of them then.
        """
        boxes = self.touched(tensor)
        if not tensor.zeroed or self.accumulates(tensor):
            return boxes
        for dimension, size in enumerate(tensor.shape or ()):
            starts = sorted({box[dimension].start for box in boxes})
            apart = {end - start for start, end in pairwise([*starts, size])}
            for box in boxes if len(apart) == 1 else ():
                words = box[dimension]
                box[dimension] = range(words.start, max(words.stop, words.start + min(apart)))
        return boxes if covered(boxes) == volume(tensor.shape or ()) else self.touched(tensor)

    def leaves_words(self, tensor: Streamed) -> bool:
        """Whether some words of a result are in none of its panels."""
        return tensor.shape is not None and covered(self.panels(tensor)) < volume(tensor.shape)

    def accumulates(self, tensor: Streamed) -> bool:
        """Whether a word of a result is in a panel that goes out, and in one that comes in later."""
        boxes = self.touched(tensor)
        return tensor.result and sum(volume(list(map(len, box))) for box in boxes) > covered(boxes)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    name = draw(st.sampled_from(sorted(LAYERS)))
    layer = LAYERS[name]
    axes = [axis for axis in "gbyxknrs" if any(axis in axes_in(text) for text in layer.values())]
    sizes = {axis: draw(st.sampled_from((1, 2, 3, 4))) for axis in axes if axis not in "rs"}
    sizes |= {axis: draw(st.integers(1, 2)) for axis in "rs" if axis in axes} | FIXED.get(name, {})
    result = draw(st.sampled_from("XWY"))
    summed = {"X": "n", "W": "b", "Y": "k"}[result]
    taps = "rs" if name != "transposed" else ""
    classes = {axis: "n" if axis == "r" and not taps else CLASSES[axis] for axis in axes}
    # Rows, columns and time are three classes; what streams along time is no loop.
    time = draw(st.sampled_from("bkn"))
    rows, cols = (kind for kind in "bkn" if kind != time)
    lane = {"b": "b", "k": "k", "n": "n"}
    tiles = {lane[kind]: draw(st.integers(1, 4)) for kind in (rows, cols)}
    tensors = [Streamed(n, text) for n, text in layer.items() if n != result and draw(st.booleans())]
    text = layer[result]
    overlaps = any(shared(text, a) for a in axes_in(text))
    if overlaps or draw(st.booleans()):
        # A dimension that does not give an axis' extent may be larger than what products write.
        steps = [dict(terms) for terms in parse_axes(text)]
        free = [2 if "g" not in terms and list(terms.values()) != [1] else 0 for terms in steps]
        shape = tuple(n + draw(st.integers(0, more)) for n, more in zip(panel_shape(text, "", sizes, {}), free, strict=True))
        holes = volume(shape) > volume([sizes[a] for a in axes_in(text)])
        tensors.append(Streamed(result, text, shape, True, frozenset(a for a in axes if classes[a] == summed), overlaps or holes))
    batch = [axis for axis in axes if classes[axis] == "b" and axis not in tiles]
    blocks_summed = frozenset(a for a in axes if classes[a] == time) if draw(st.booleans()) else frozenset()
    nest = Nest(Extents(sizes), Extents(tiles), tuple(tensors), loaded=False, stored=False, summed=blocks_summed)
    plan = draw(st.sampled_from(list(plans(nest, batch, draw(st.integers(1, 2))))))
    inner = draw(st.permutations([axis for axis in axes if classes[axis] != time]))
    return Case(nest, plan, tuple(plan.order(inner)))


@settings(deadline=None, max_examples=1500)
@given(cases())
def test_panels_hold_what_their_turns_touch(case: Case) -> None:
    """A panel's shape, and the bytes that all panels move, counted turn by turn."""
    plan, nest, sizes = case.plan, case.nest, case.sizes
    turns = turns_of(sizes, nest.tiles)
    for tensor in nest.tensors:
        axes = blocked(tensor.axes, plan.blocks)
        outside = plan.outside(axes, turns)
        panels = [tuple(map(len, box)) for box in case.panels(tensor)]
        found = panels_of(tensor, plan, case.order, sizes, turns, nest.tiles)
        shape = panel_shape(axes, outside, sizes, nest.tiles, found.whole)
        assert shape == tuple(map(max, zip(*panels, strict=True)))
        accumulates = case.accumulates(tensor)
        slots = 1 if accumulates or len(panels) == 1 else plan.slots
        # Sums that come back start as zeros in DRAM, and words that are in no panel are zeros too.
        zeros = 4 * volume(tensor.shape or ()) if accumulates or case.leaves_words(tensor) else 0
        assert found == Panels(outside, shape, slots, accumulates, zeros > 0, found.whole)
        flow = Flow(4 * volume(shape), slots, 4 * sum(map(volume, panels)), accumulates, zeros)
        assert nest.flow(plan, tensor, case.order, sizes, turns) == flow
        assert flow.taken == slots * 4 * volume(shape)
        assert flow.traffic == zeros + (2 if accumulates else 1) * flow.moved


@settings(deadline=None)
@given(cases())
def test_tiles_on_the_array_are_moved_once_a_turn(case: Case) -> None:
    """The stationary operand's tiles and the accumulators', whatever the streams move."""
    sizes = case.sizes
    turns = turns_of(sizes, case.nest.tiles)

    def traffic(**options: bool) -> int:
        return replace(case.nest, summed=frozenset(), **options).tile_traffic(case.order, sizes, turns)

    tiles = [volume([len(turn[axis]) for axis in case.nest.tiles]) for turn in case.turns()]
    assert traffic(loaded=True) == 4 * sum(tiles)
    assert traffic(stored=True) == 4 * sum(tiles)
    # Blocks read what those before have stored; the first reads zeros that had to be written.
    added = [axis for axis in case.order if axis.isupper() and axis.lower() in case.nest.summed]
    number = volume([sizes[axis] for axis in added])
    adding = replace(case.nest, stored=True).tile_traffic(case.order, sizes, turns)
    assert adding == 4 * (sum(tiles) if number == 1 else 2 * sum(tiles) + sum(tiles) // number)
    # What is in the scratchpad as a whole is moved once, whatever the blocks; sums only if somebody wants them in DRAM.
    whole = replace(case.nest, loaded=True, stored=True, held=5, sums=7)
    assert whole.tile_traffic(case.order, sizes, turns, {"tiles", "sums"}) == 4 * (5 + 7) == whole.kept({"tiles", "sums"})
    assert replace(whole, stored=False).tile_traffic(case.order, sizes, turns, {"tiles", "sums"}) == 4 * 5


def covered(boxes: Sequence[Box]) -> int:
    """Words that are in one of them at least."""
    return len(set[tuple[int, ...]]().union(*(product(*box) for box in boxes)))


def volume(shape: Sequence[int]) -> int:
    words = 1
    for extent in shape:
        words *= extent
    return words


def test_loops_around_a_panel() -> None:
    assert enclosing("gYknr", "") == []
    assert enclosing("gYknr", "Y") == ["g", "Y"]
    assert enclosing("gYknr", "gn") == ["g", "Y", "k", "n"]


def test_loops_of_one_turn_choose_nothing() -> None:
    """Otherwise a panel would be moved for every turn of the loops around them."""
    plan = Plan({"y": 4}, ("g", "Y", "n"))
    assert plan.outside("b(2g+n)(4Y+y)", {"g": 3, "n": 2, "Y": 5}) == "gYn"
    assert plan.outside("b(2g+n)(4Y+y)", {"g": 3, "n": 1, "Y": 1}) == "g"
    assert Plan({"y": 4}, ("Y",)).outside("b(2g+n)(4Y+y)", {"g": 3, "n": 2, "Y": 5}) == "Y"


@given(st.integers(1, 200), st.integers(0, 250))
def test_divisors(number: int, most: int) -> None:
    assert divisors(number) == [d for d in range(number, 0, -1) if number % d == 0]
    assert divisor_below(number, most) == max((d for d in range(1, number + 1) if number % d == 0 and d <= most), default=0)


def test_divisors_of_a_large_tensor() -> None:
    """Every entry of 64 maps of 2048×2048 tried as a divisor would take longer than compiling a network."""
    assert divisors(64 * 2048 * 2048) == [2**n for n in range(28, -1, -1)]
    assert divisors(64 * 2046 * 2046)[:4] == [267911424, 133955712, 89303808, 66977856]
