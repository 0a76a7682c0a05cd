"""Tiles of a nest on their way: stationary operands to the arrays, accumulators from them, through rings or directly."""

from collections.abc import Sequence
from dataclasses import replace

from xdsl.ir import Operation, SSAValue

from compiler.dialects import tile
from compiler.schedule.access import row_major
from compiler.schedule.axes import strides_of
from compiler.schedule.partition import numbered
from compiler.transforms.systolic_nest import Nest, Stack
from compiler.transforms.systolic_streams import Memory, dim_of, ring_of
from isa.instructions import Queue
from isa.stream import Dim, Operand, Stream

Moved = tile.ResidentOp | tile.PreloadOp | tile.DrainOp | tile.DrainWeightsOp


def _tile_dims(nest: Nest, memory: Memory, axes: str, stack: Stack) -> list[Dim]:
    """A tile of a whole tensor, rows of the array and columns in stored order."""
    strides = strides_of(axes, memory.strides)
    return [dim_of(axis, nest.sizes[axis], nest.tile[axis], strides[axis], stack) for axis in nest.lanes(axes)]


def _slot_dims(slot: Memory, like: Sequence[Dim]) -> list[Dim]:
    """The same tile packed into a slot."""
    strides = row_major([dim.count for dim in like], slot.dtype.size)
    return [replace(dim, stride=stride) for dim, stride in zip(like, strides, strict=True)]


def _slot_stream(nest: Nest, slot: SSAValue, dims: list[Dim], tag: str, stack: Stack) -> Stream:
    memory = Memory.of(slot)
    return memory.stream(dims, (), ring_of(memory, nest.context.phase(slot), stack), Operand[tag])


def _array_order(nest: Nest, dims: list[Dim], axes: str) -> list[Dim]:
    """Rows of the array first, then its columns."""
    order = nest.lanes(axes)
    return [dims[order.index(axis)] for axis in nest.rows + nest.cols]


def _at_dram(nest: Nest, tensor: SSAValue, slot: SSAValue, axes: str, tag: str, stack: Stack) -> tuple[Stream, Stream]:
    """A tile in its tensor and in its ring."""
    memory = Memory.of(tensor)
    dims = _tile_dims(nest, memory, axes, stack)
    far = nest.stream(memory, dims, axes, tag, stack)
    return far, _slot_stream(nest, slot, _slot_dims(Memory.of(slot), dims), tag, stack)


def _at_array(nest: Nest, queue: Queue, op: Moved, tensor: SSAValue, stack: Stack) -> Stream:
    """A tile where the array's chain finds or leaves it: in its ring, or in the whole tensor if there is none."""
    memory, axes, tag = Memory.of(tensor), op.axes.data, op.tag.data
    dims = _tile_dims(nest, memory, axes, stack)
    if op.slot:
        slot = nest.slot(op.slot, queue.number)
        packed = _slot_dims(Memory.of(slot), dims)
        return _slot_stream(nest, slot, _array_order(nest, packed, axes), tag, stack)
    nest.touch(queue, memory, writes=queue.unit is Queue.gchain)
    return nest.stream(memory, _array_order(nest, dims, axes), axes, tag, stack)


def _token(nest: Nest, name: str, slot: SSAValue | None = None) -> int:
    """A semaphore; one of empty slots starts with all of the ring's."""
    return nest.context.semaphore(name, 0 if slot is None else Memory.of(slot).slots)


def _load(nest: Nest, src: SSAValue, slot: SSAValue, op: Moved, rings: Sequence[str], stack: Stack) -> list[Operation]:
    """A tile from DRAM into its ring, for the readers of these names."""
    nest.touch(Queue.dma_in, Memory.of(src), writes=False)
    nest.context.reads(src)
    source, target = _at_dram(nest, src, slot, op.axes.data, op.tag.data, stack)
    return [
        *(nest.wait(_token(nest, f"{ring}.empty", slot)) for ring in rings),
        nest.make("ld", dst=target, src=source),
        *(nest.signal(_token(nest, f"{ring}.full")) for ring in rings),
    ]


def _weights(nest: Nest, number: int) -> str:
    """The ring of an array's stationary tiles: its own, or its side of one that all of so many read."""
    return numbered(f"w.all{nest.arrays}" if nest.summed else "w", number)


def load(nest: Nest, op: tile.ResidentOp | tile.PreloadOp, stack: Stack) -> list[Operation]:
    """Tiles for the array from DRAM: one for all arrays, or each array's own."""
    views = nest.views(stack)
    if isinstance(op, tile.PreloadOp):
        return [code for number, own in views for code in _load(nest, op.src, op.slot[number], op, [numbered("v", number)], own)]
    if nest.summed:
        return _load(nest, op.src, op.slot[0], op, [_weights(nest, number) for number in range(nest.arrays)], stack)
    return [code for number, own in views for code in _load(nest, op.src, op.slot[number], op, [_weights(nest, number)], own)]


def wload(nest: Nest, queue: Queue, op: tile.ResidentOp, stack: Stack) -> list[Operation]:
    """A tile from its ring, or from a whole tensor, into the array."""
    number = queue.number
    before = [nest.wait(nest.context.semaphore(numbered("tile.free", number), 1))] if nest.single else []
    code = nest.make("wload", src=_at_array(nest, queue, op, op.src, stack))
    if not op.slot:
        return [*before, code]
    ring = _weights(nest, number)
    empty = _token(nest, f"{ring}.empty", nest.slot(op.slot, number))
    return [*before, nest.wait(_token(nest, f"{ring}.full")), code, nest.signal(empty)]


def gload(nest: Nest, queue: Queue, op: tile.PreloadOp, stack: Stack) -> list[Operation]:
    """A tile from its ring for the accumulators to begin with."""
    ring = numbered("v", queue.number)
    code = nest.make("gload", src=_at_array(nest, queue, op, op.src, stack), scale=op.scale.value.data)
    return [nest.wait(_token(nest, f"{ring}.full")), code, nest.signal(_token(nest, f"{ring}.empty", op.slot[queue.number]))]


def _out(op: tile.DrainOp | tile.DrainWeightsOp, number: int) -> str:
    """The ring through which an array's tiles leave."""
    return numbered("u" if isinstance(op, tile.DrainWeightsOp) else "s" if op.adds else "g", number)


def drained(nest: Nest, queue: Queue, op: tile.DrainOp | tile.DrainWeightsOp, stack: Stack) -> list[Operation]:
    """Accumulators or weights from the array into their ring, or into a whole tensor; the accumulators come last."""
    number, last = queue.number, isinstance(op, tile.DrainOp)
    after = [nest.signal(nest.context.semaphore(numbered("g.free", number), 1))] if nest.single and last else []
    code = nest.make("drain" if last else "wdrain", dst=_at_array(nest, queue, op, op.dst, stack))
    if not op.slot:
        return [code, *after]
    ring = _out(op, number)
    empty = nest.wait(_token(nest, f"{ring}.empty", op.slot[number]))
    return [empty, code, nest.signal(_token(nest, f"{ring}.partial" if adds(nest, op) else f"{ring}.full")), *after]


def adds(nest: Nest, op: tile.DrainOp | tile.DrainWeightsOp) -> bool:
    """Whether the vector unit adds what is drained to what other arrays or earlier blocks have."""
    return isinstance(op, tile.DrainOp) and (nest.summed or op.adds or bool(op.before))


def reload(nest: Nest, op: tile.DrainOp, stack: Stack) -> list[Operation]:
    """What earlier blocks have summed, from DRAM; there is one tile for all arrays that are added to each other."""
    views = nest.views(stack)[: len(op.before)]
    return [code for number, own in views for code in _load(nest, op.dst, op.before[number], op, [numbered("p", number)], own)]


def accumulate(nest: Nest, op: tile.DrainOp, stack: Stack) -> list[Operation]:
    """Drained accumulators plus those of the other arrays, or plus those of the blocks before."""
    views = nest.views(stack)
    if op.adds:
        nest.touch(Queue.vector, Memory.of(op.dst), writes=True)
        return [code for number, own in views for code in _add_in_place(nest, op, own, number)]
    if nest.summed:
        return _accumulate(nest, op, stack, [number for number, _ in views], 0)
    return [code for number, own in views for code in _accumulate(nest, op, own, [number], number)]


def _add_in_place(nest: Nest, op: tile.DrainOp, stack: Stack, number: int) -> list[Operation]:
    """An array's accumulators, added to what the scratchpad has."""
    memory, axes, tag, ring = Memory.of(op.dst), op.axes.data, op.tag.data, numbered("s", number)
    dims = _tile_dims(nest, memory, axes, stack)
    sums, slot = nest.stream(memory, dims, axes, tag, stack), op.slot[number]
    return [
        nest.wait(_token(nest, f"{ring}.partial")),
        nest.make("vec", fn="add", dst=sums, a=sums, b=_slot_stream(nest, slot, _slot_dims(Memory.of(slot), dims), tag, stack)),
        nest.signal(_token(nest, f"{ring}.empty", slot)),
    ]


def _accumulate(nest: Nest, op: tile.DrainOp, stack: Stack, arrays: Sequence[int], into: int) -> list[Operation]:
    dims = _slot_dims(Memory.of(op.slot[0]), _tile_dims(nest, Memory.of(op.dst), op.axes.data, stack))

    def stream(slot: SSAValue) -> Stream:
        return _slot_stream(nest, slot, dims, op.tag.data, stack)

    def add(slot: SSAValue) -> Operation:
        return nest.make("vec", fn="add", dst=stream(op.slot[into]), a=stream(op.slot[into]), b=stream(slot))

    code = [nest.wait(_token(nest, f"{numbered('g', number)}.partial")) for number in arrays]
    code += [add(op.slot[number]) for number in arrays if number != into]
    if op.before:
        ring, slot = numbered("p", into), op.before[into]
        code += [nest.wait(_token(nest, f"{ring}.full")), add(slot), nest.signal(_token(nest, f"{ring}.empty", slot))]
    return [*code, nest.signal(_token(nest, f"{numbered('g', into)}.summed"))]


def store(nest: Nest, op: tile.DrainOp | tile.DrainWeightsOp, stack: Stack) -> list[Operation]:
    """Tiles of accumulators or weights from their rings to DRAM; the slots of arrays that are added to each other are free together."""
    nest.touch(Queue.dma_out, Memory.of(op.dst), writes=True)
    nest.context.writes(op.dst)
    state, code = "summed" if adds(nest, op) else "full", []
    views = nest.views(stack)
    for number, own in views[:1] if nest.summed else views:
        target, source = _at_dram(nest, op.dst, op.slot[number], op.axes.data, op.tag.data, own)
        free = range(nest.arrays) if nest.summed else (number,)
        code += [
            nest.wait(_token(nest, f"{_out(op, number)}.{state}")),
            nest.make("st", dst=target, src=source),
            *(nest.signal(_token(nest, f"{_out(op, other)}.empty", op.slot[other])) for other in free),
        ]
    return code
