"""Writes what rides on a nest: where the pieces of tensors are while they are worked on, and the ``tile.epilogue`` itself."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from math import ceil, prod
from string import ascii_lowercase

import numpy as np
from xdsl.ir import Attribute, Operation, SSAValue

from compiler.dialects import tile
from compiler.dialects.integers import integer
from compiler.dialects.tile_epilogue import chosen_dimensions, part_of
from compiler.dialects.train import to_ints
from compiler.schedule.access import regrouped
from compiler.schedule.allocate import align
from compiler.schedule.axes import format_axes, parse_axes
from compiler.schedule.blocks import WORD
from compiler.transforms.epilogue_steps import Operand, Place, Shape, Step, Value, around, shape_of, symbol_of

JOIN = {"sum": "add", "max": "max"}
"""The function that makes one of two reductions of parts."""
NOTHING = {"sum": 0.0, "max": -np.inf}
"""What a reduction of no elements gives."""


@dataclass(frozen=True, slots=True)
class Panel:
    """The panel of a nest's result, as the epilogue sees it: axes as in the nest where the loops choose, any elsewhere."""

    stage: tile.StageOp
    axes: str
    space: Shape
    """Shape of the whole result."""
    shape: Shape
    turns: Collection[int]
    """Dimensions of which there is only a part at a time."""

    def part(self, shape: Sequence[int]) -> Shape:
        """Of a tensor what belongs to the panel."""
        return part_of(shape, self.axes, self.stage.outside.data, self.shape)

    def whole_at_once(self, shape: Sequence[int]) -> bool:
        """Whether sums of this shape are complete with one panel."""
        return all(shape[dimension] > 1 for dimension in self.turns)


def panel_of(stage: tile.StageOp, space: Shape) -> Panel | None:
    """The panels of a result as parts of it, seen in another shape; None if they are not, or are parts of no dimensions of that shape."""
    whole, own = shape_of(stage.tensor), shape_of(stage.panel)
    outside, dimensions = stage.outside.data, parse_axes(stage.axes.data)
    turns = {op.axis.data: ceil(op.extent.value.data / op.step.value.data) for op in _loops(stage)}
    if any(count > 1 and axis not in outside for axis, count in turns.items()):
        return None
    for terms, size, part in zip(dimensions, whole, own, strict=True):
        if part * prod(turns[axis] for axis, _ in terms if axis in outside) != size:
            return None
    unused = (letter for letter in ascii_lowercase if letter not in stage.axes.data)
    shape = list(space)
    axes: list[tuple[tuple[str, int], ...]] = [((next(unused), 1),) for _ in space]
    for dimension in chosen_dimensions(stage.axes.data, outside):
        seen = regrouped([n if i == dimension else 1 for i, n in enumerate(whole)], whole, space)
        at = [i for i, n in enumerate(seen or ()) if n > 1]
        if not at or prod(space[i] for i in at) != whole[dimension]:
            return None
        # Pixels in blocks of whole rows may be seen as rows.
        row, terms = prod(space[i] for i in at[1:]), dimensions[dimension]
        if own[dimension] % row or any(factor % row for axis, factor in terms if axis in outside):
            return None
        axes[at[0]], shape[at[0]] = tuple((axis, max(1, factor // row)) for axis, factor in terms), own[dimension] // row
    chosen = [i for i, (n, part) in enumerate(zip(space, shape, strict=True)) if part < n]
    return Panel(stage, format_axes(axes), space, tuple(shape), chosen)


def _loops(op: Operation) -> Iterator[tile.ForOp]:
    """The loops around an operation."""
    parent = op.parent_op()
    while isinstance(parent, tile.ForOp):
        yield parent
        parent = parent.parent_op()


@dataclass(eq=False, slots=True)
class Room:
    """Buffers of a piece's size: a ring of panels that DMA fills or empties, or one that only the vector unit uses."""

    name: str
    shape: Shape
    loaded: bool = False
    stored: bool = False

    def slots(self, ring: int) -> int:
        return ring if self.loaded or self.stored else 1

    def bytes(self, ring: int) -> int:
        return self.slots(ring) * align(WORD * prod(self.shape))


class Layout:
    """Which room each value has; a result takes the room of an operand that nobody needs any more."""

    def __init__(self, panel: Panel, steps: Sequence[Step], product: Value, stored: Collection[Value]) -> None:
        self.panel = panel
        self.own = Room("", panel.shape, stored=product in stored)
        """The panel of the product."""
        self.rooms: dict[Value, Room] = {product: self.own}
        self.instead: dict[Value, Value] = {}
        """In whose place a result is."""
        self.sums: list[Room] = []
        """Where sums over one panel are, in the order of the steps, before they are added to those of the others."""
        last: dict[Value, int] = dict.fromkeys(stored, len(steps))
        for index, step in enumerate(steps):
            for value in _values(step.ins):
                for known in (value, value.base[0]) if value.base else (value,):
                    last[known] = max(index, last.get(known, 0))
        for index, step in enumerate(steps):
            ins = _values(step.ins)
            for value in ins:
                self.rooms.setdefault(value, self._new(value, last))
            if not isinstance(step.out, Value):
                if not panel.whole_at_once(step.out[1]):
                    self.sums.append(Room(f"{symbol_of(step.out[0])}.part", panel.part(step.out[1])))
                continue
            free = [v for v in ins if v.shape == step.out.shape and last[v] == index and (v.base is None or last[v.base[0]] <= index)]
            free = [v for v in free if not (self.rooms[v].loaded and step.out in stored)]
            if free:
                chosen = min(free, key=lambda v: self.rooms[v].loaded)
                self.instead[step.out], self.rooms[step.out] = chosen, self.rooms[chosen]
            else:
                self.rooms[step.out] = Room(step.out.name, panel.part(step.out.shape))
            self.rooms[step.out].stored |= step.out in stored
            last.setdefault(step.out, index)

    def _new(self, value: Value, last: dict[Value, int]) -> Room:
        if value.base is not None:
            return self.rooms[value.base[0]]
        return Room(value.name, self.panel.part(value.shape), loaded=value.loaded)

    def bytes(self, own: int, others: int) -> int:
        """Scratchpad bytes with so many slots."""
        rooms = {*self.rooms.values(), *self.sums} - {self.own}
        return own * align(WORD * prod(self.own.shape)) + sum(room.bytes(others) for room in rooms)


def _values(operands: Sequence[Operand]) -> list[Value]:
    return [operand for operand in operands if isinstance(operand, Value)]


class Writer:
    """Makes the operations; those of ``outside`` go before the nest."""

    def __init__(self, layout: Layout, own: int, others: int, slots: int) -> None:
        self.layout, self.panel, self.others, self.slots = layout, layout.panel, others, slots
        self.outside: list[Operation] = []
        self.inside: list[Operation] = []
        self.buffers: dict[Room, SSAValue] = {layout.own: self.panel.stage.panel}
        self.memories: dict[Value, SSAValue] = {}
        ring = self.panel.stage.panel.owner
        assert isinstance(ring, tile.BufferOp)
        ring.ring = integer(own) if own > 1 else None

    def write(self, steps: Sequence[Step], stored: Sequence[Value], places: Sequence[tuple[Place, SSAValue]]) -> tile.EpilogueOp:
        """The epilogue; ``places``: with the memories that have the values' words."""
        for value in dict.fromkeys(v for step in steps for v in _values(step.ins) if v.loaded):
            piece = self.piece(self.view(value.home, value.shape))
            self.inside.append(tile.CopyOp(piece, self.memory(value), value.layer, value.product))
        sums = iter(self.layout.sums)
        for step in steps:
            ins = [self.operand(operand) for operand in step.ins]
            if isinstance(step.out, Value):
                self.inside.append(_again(step.op, ins, self.memory(step.out)))
            else:
                self.sum(step, ins[0], sums)
        for value in stored:
            home = self.piece(self.view(value.home, value.shape))
            self.inside.append(tile.CopyOp(self.memory(value), home, value.layer, value.product))
        for place, part in places:
            self.inside.append(tile.CopyOp(self.memory(place.value), self.piece(part), place.layer, place.product))
            if place.fill is not None:
                self.surround(place, place.fill)
        stage = self.panel.stage
        zeroed = stage.way.data == "zeroed"
        return tile.EpilogueOp(stage.panel, stage.axes.data, stage.tag.data, stage.outside.data, zeroed, self.inside)

    # -- memories -----------------------------------------------------------------------------------------------------

    def memory(self, value: Value) -> SSAValue:
        """Where the piece of a value is."""
        if value not in self.memories:
            self.memories[value] = self.found(value)
        return self.memories[value]

    def found(self, value: Value) -> SSAValue:
        if value in self.layout.instead:
            return self.memory(self.layout.instead[value])
        if value.base is not None:
            base, part = value.base
            starts = [0 if i in self.panel.turns else n for i, n in enumerate(to_ints(part.starts))]
            return self.add(tile.SliceOp(self.memory(base), starts, self.panel.part(value.shape), to_ints(part.steps)))
        room = self.layout.rooms[value]
        return self.view(self.buffer(room, tile.memref_of(value.home).element_type), self.panel.part(value.shape))

    def buffer(self, room: Room, element: Attribute) -> SSAValue:
        if room not in self.buffers:
            slots = room.slots(self.others)
            type = tile.memref(room.shape, element, tile.SPAD)
            self.buffers[room] = self.add(tile.BufferOp(room.name, type, slots if slots > 1 else None))
        return self.buffers[room]

    def view(self, memory: SSAValue, shape: Shape) -> SSAValue:
        return memory if shape_of(memory) == shape else self.add(tile.ViewOp(memory, shape))

    def add(self, op: tile.SliceOp | tile.ViewOp | tile.BufferOp) -> SSAValue:
        self.outside.append(op)
        return op.result

    def piece(self, memory: SSAValue) -> SSAValue:
        """The part of a whole tensor that belongs to the panel."""
        if self.panel.part(shape_of(memory)) == shape_of(memory):
            return memory
        op = tile.PieceOp(memory, self.panel.axes, self.panel.stage.outside.data, self.panel.shape)
        self.inside.append(op)
        return op.result

    def operand(self, operand: Operand) -> SSAValue:
        return self.memory(operand) if isinstance(operand, Value) else self.piece(self.view(*operand))

    # -- work -----------------------------------------------------------------------------------------------------------

    def sum(self, step: Step, source: SSAValue, sums: Iterator[Room]) -> None:
        """A sum over a panel; if that is not all of it, it is added to those over the panels before."""
        assert isinstance(step.op, tile.ReduceOp)
        assert not isinstance(step.out, Value)
        op, out = step.op, self.view(*step.out)
        if self.panel.whole_at_once(step.out[1]):
            self.inside.append(tile.ReduceOp(op.fn.data, source, self.piece(out), op.layer.data, op.product.data))
            return
        part = self.buffer(next(sums), tile.memref_of(out).element_type)
        self.outside.append(tile.MapOp("copy", [], out, op.layer.data, op.product.data, NOTHING[op.fn.data], [0]))
        self.inside.append(tile.ReduceOp(op.fn.data, source, part, op.layer.data, op.product.data))
        total = self.piece(out)
        self.inside.append(tile.MapOp(JOIN[op.fn.data], [total, part], total, op.layer.data, op.product.data))

    def surround(self, place: Place, value: tile.MapOp) -> None:
        """What lies around the part of a larger tensor is stored before the nest."""
        whole = shape_of(place.home)
        for starts, sizes in around(whole, place.value.shape, place.starts):
            region = tile.SliceOp(place.home, starts, sizes, [1] * len(whole))
            type = tile.memref((1, *sizes[1:]), tile.memref_of(place.home).element_type, tile.SPAD)
            fill = tile.BufferOp(f"{symbol_of(place.home)}.around{len(self.outside)}", type)
            window = tile.WindowOp(region.result, 0, 1)
            body = [window, tile.CopyOp(fill.result, window.result, place.layer, place.product)]
            blocks = tile.BlocksOp(sizes[0], self.slots, place.layer, place.product, body)
            self.outside += [region, fill, _again(value, [], fill.result), blocks]


def _again(op: tile.MapOp | tile.ReduceOp, ins: Sequence[SSAValue], out: SSAValue) -> tile.MapOp:
    """The same function on other memories."""
    assert isinstance(op, tile.MapOp)
    immediates = to_ints(op.imm_at) if op.imm_at else ()
    return tile.MapOp(op.fn.data, ins, out, op.layer.data, op.product.data, op.imm.value.data if op.imm else None, immediates)
