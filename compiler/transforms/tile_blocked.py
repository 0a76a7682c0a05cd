"""The vector unit's work on tensors that live in DRAM: block by block through the scratchpad."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import prod

from xdsl.ir import Operation, SSAValue

from compiler.dialects import tile, train
from compiler.dialects.train import shape_of
from compiler.schedule.blocks import PANELS, WORD, divisors
from compiler.transforms.allocate_memory import ScratchpadError
from compiler.transforms.tile_builder import TileBuilder

CHANNELS = 1
"""The axis of channels, in tensors that have any."""

Axes = Sequence[int | None]
"""For each axis of the iteration space the dimension of the tensor it walks, None where the tensor is the same all along."""


@dataclass(slots=True)
class Work:
    """Elementwise, reducing or windowed work: the space it walks, which axes may be split, and what it touches."""

    layer: str
    product: str
    space: Sequence[int]
    free: Sequence[int]
    ins: Sequence[tuple[SSAValue, Axes]]
    out: SSAValue
    out_axes: Axes
    temps: Sequence[tuple[int, ...]] = field(default_factory=list)
    """Shapes of buffers to work in; they are split as the first operand is."""
    merged: range = range(0)
    """Dimensions of the space that are seen as one, the last of them; the others have 1 entry then."""

    def shape(self, value: SSAValue, axes: Axes) -> tuple[int, ...]:
        """Shape of a tensor as it is seen."""
        return _merged(shape_of(value), [own for i in self.merged if (own := axes[i]) is not None])

    def merges(self) -> "Iterator[Work]":
        """The same work with as many dimensions as possible seen as one, which is split: the first ones, the last ones."""
        operands = [*self.ins, (self.out, self.out_axes)]

        def side_by_side(dimensions: range) -> bool:
            """Whether every tensor has them all, one after the other, or is the same along them."""
            own = [[axes[i] for i in dimensions] for _, axes in operands]
            whole = [self.space[i] for i in dimensions]
            return set(dimensions) <= set(self.free) and all(
                set(found) == {None}
                or (found[0] is not None and found == [found[0] + i for i in range(len(found))]
                    and [shape_of(value)[i] for i in found if i is not None] == whole)
                for (value, _), found in zip(operands, own, strict=True)
            )  # fmt: skip

        rank = len(self.space)
        first = [range(n) for n in range(rank, 1, -1)]
        last = [range(rank - n, rank) for n in range(rank - 1, 1, -1)]
        for tried in (first, last):
            dimensions = next((found for found in tried if side_by_side(found)), None)
            if dimensions is not None:
                work = replace(self, merged=dimensions, free=[dimensions[-1]])
                work.space, work.temps = _merged(self.space, dimensions), [_merged(shape, dimensions) for shape in self.temps]
                yield work


def _merged(shape: Sequence[int], dimensions: Sequence[int]) -> tuple[int, ...]:
    """A shape with some dimensions merged into the last of them."""
    if not dimensions:
        return tuple(shape)
    whole = prod(shape[i] for i in dimensions)
    return tuple(whole if i == dimensions[-1] else 1 if i in dimensions else n for i, n in enumerate(shape))


Emit = Callable[[list[SSAValue], SSAValue, list[SSAValue]], list[Operation]]
"""(operands, result, buffers) in the scratchpad → operations on them."""


def run(builder: TileBuilder, work: Work, name: str, emit: Emit) -> None:
    """The work in the scratchpad as a whole, or in blocks if a tensor of it stays in DRAM."""
    large_in = [builder.comes_in_parts(value) for value, _ in work.ins]
    large_out = builder.large(work.out)
    if not any(large_in) and not large_out:
        ins = [builder.in_spad(value, work.layer, work.product) for value, _ in work.ins]
        out = builder.result(work.out, f"{work.layer}.{name}")
        temps = [builder.buffer(f"{work.layer}.{name}.work", shape, train.element_of(work.out)) for shape in work.temps]
        for op in emit(ins, out, temps):
            builder.add(op)
        return
    _in_blocks(builder, work, name, large_in, large_out).emit(emit)


def _in_blocks(builder: TileBuilder, work: Work, name: str, large_in: list[bool], large_out: bool) -> "_Blocks":
    """Blocks of one dimension, or if none makes them small enough of several seen as one."""
    failure: ScratchpadError | None = None
    for seen in (work, *work.merges()):
        try:
            return _Blocks(builder, seen, name, large_in, large_out)
        except ScratchpadError as error:
            failure = failure or error
    assert failure is not None
    raise failure


class _Blocks:
    def __init__(self, builder: TileBuilder, work: Work, name: str, large_in: list[bool], large_out: bool) -> None:
        self.builder, self.work, self.name = builder, work, name
        self.large_in, self.large_out = large_in, large_out
        self.slots, self.axis, self.size = self.choose()

    def choose(self) -> tuple[int, int, int]:
        """Buffers to a ring, the axis to split and the size of a block; single buffers where two do not fit.

        Channels are what most work can be split along, sums over pixels included, and as few blocks as leave room for others' panels:
        so that passes over one tensor agree on their blocks, and can be fused.
        """
        whole = [value for (value, _), large in zip(self.work.ins, self.large_in, strict=True) if not large]
        room = self.builder.room_beside([*whole, *([] if self.large_out else [self.work.out])])
        for slots in dict.fromkeys((self.builder.slots, 1)):
            fits = []
            for axis in self.work.free:
                for size in divisors(self.work.space[axis]):
                    blocks = self.work.space[axis] // size
                    largest, total = self.bytes_of(axis, size, slots)
                    roomy = PANELS * largest <= self.builder.panel_budget
                    if total <= room:
                        fits.append((axis != CHANNELS, not roomy, blocks if roomy else -blocks, slots, axis, size))
            if fits:
                return min(fits)[3:]
        raise self.builder.does_not_fit(self.work.layer, f"what its {self.name} works on")

    def part(self, shape: Sequence[int], axes: Axes, axis: int, size: int) -> tuple[int, ...]:
        dimension = axes[axis]
        return tuple(size if i == dimension else n for i, n in enumerate(shape))

    def bytes_of(self, axis: int, size: int, slots: int) -> tuple[int, int]:
        """Scratchpad bytes of the largest ring of panels, and of all together."""
        work = self.work
        panels = [(work.shape(v, axes), axes) for (v, axes), large in zip(work.ins, self.large_in, strict=True) if large]
        panels += [(work.shape(work.out, work.out_axes), work.out_axes)] if self.large_out else []
        rings = [WORD * slots * prod(self.part(shape, axes, axis, size)) for shape, axes in panels]
        temps = [WORD * prod(self.part(shape, work.ins[0][1], axis, size)) for shape in work.temps]
        return max(rings), sum(rings) + sum(temps)

    def emit(self, emit: Emit) -> None:
        builder, work = self.builder, self.work
        # A tensor that is read twice comes in once.
        whole = {value: self.memory(value, axes) for value, axes in dict(work.ins).items()}
        home = builder.result_in_dram if self.large_out else builder.result
        out = builder.view(home(work.out, f"{work.layer}.{self.name}"), work.shape(work.out, work.out_axes))
        body: list[Operation] = []
        parts: dict[SSAValue, SSAValue] = {}
        ins = []
        for (value, axes), large in zip(work.ins, self.large_in, strict=True):
            if value not in parts:
                parts[value] = self.window(whole[value], axes, body)
                if large:
                    parts[value] = self.staged(parts[value], body)
            ins.append(parts[value])
        result = self.window(out, work.out_axes, body)
        panel = self.panel(result) if self.large_out else result
        shapes = [self.part(shape, work.ins[0][1], self.axis, self.size) for shape in work.temps]
        temps = [builder.buffer(f"{work.layer}.{self.name}.work", shape, train.element_of(work.out)) for shape in shapes]
        body += emit(ins, panel, temps)
        if self.large_out:
            body.append(tile.CopyOp(panel, result, work.layer, work.product))
        builder.add(tile.BlocksOp(work.space[self.axis] // self.size, self.slots, work.layer, work.product, body))

    def memory(self, value: SSAValue, axes: Axes) -> SSAValue:
        """A tensor as it is seen: for another shape its words have to lie side by side."""
        builder, work = self.builder, self.work
        seen = work.shape(value, axes)
        if builder.comes_in_parts(value):
            if seen != shape_of(value):
                builder.make_contiguous_in_dram(value)
            return builder.view(builder.in_dram(value), seen)
        memory = builder.in_spad(value, work.layer, work.product)
        if seen != shape_of(value):
            builder.make_contiguous(value, work.layer, work.product)
            memory = builder.in_spad(value, work.layer, work.product)
        return builder.view(memory, seen)

    def window(self, memory: SSAValue, axes: Axes, body: list[Operation]) -> SSAValue:
        """The current block of a tensor."""
        dimension = axes[self.axis]
        if dimension is None or self.size == self.work.space[self.axis]:
            return memory
        op = tile.WindowOp(memory, dimension, self.size)
        body.append(op)
        return op.result

    def panel(self, window: SSAValue) -> SSAValue:
        type = tile.memref_of(window)
        return self.builder.buffer(f"{self.work.layer}.{self.name}.panel", type.get_shape(), type.element_type, self.slots)

    def staged(self, window: SSAValue, body: list[Operation]) -> SSAValue:
        panel = self.panel(window)
        body.append(tile.CopyOp(window, panel, self.work.layer, self.work.product))
        return panel
