"""Tiles of a nest on their way: stationary operands to the array, accumulators from it, through rings or directly."""

from collections.abc import Sequence
from dataclasses import replace

from xdsl.ir import Operation, SSAValue

from compiler.dialects import tile
from compiler.schedule.access import row_major
from compiler.schedule.axes import strides_of
from compiler.transforms.systolic_nest import Nest, Stack
from compiler.transforms.systolic_streams import Memory, dim_of, ring_of
from isa.instructions import Queue
from isa.stream import Dim, Operand, Stream


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
    far = memory.stream(dims, nest.moved(memory, axes, stack), None, Operand[tag])
    return far, _slot_stream(nest, slot, _slot_dims(Memory.of(slot), dims), tag, stack)


def _at_array(nest: Nest, queue: Queue, op: tile.ResidentOp | tile.DrainOp, tensor: SSAValue, stack: Stack) -> Stream:
    """A tile where the array's chain finds or leaves it: in its ring, or in the whole tensor if there is none."""
    memory, axes, tag = Memory.of(tensor), op.axes.data, op.tag.data
    dims = _tile_dims(nest, memory, axes, stack)
    if op.slot:
        packed = _slot_dims(Memory.of(op.slot[0]), dims)
        return _slot_stream(nest, op.slot[0], _array_order(nest, packed, axes), tag, stack)
    nest.touch(queue, memory, writes=queue is Queue.gchain)
    return memory.stream(_array_order(nest, dims, axes), nest.moved(memory, axes, stack), None, Operand[tag])


def load(nest: Nest, src: SSAValue, slot: SSAValue, axes: str, tag: str, ring: str, stack: Stack) -> list[Operation]:
    """A tile from DRAM into its ring."""
    nest.touch(Queue.dma_in, Memory.of(src), writes=False)
    nest.context.reads(src)
    source, target = _at_dram(nest, src, slot, axes, tag, stack)
    return [
        nest.wait(nest.context.semaphore(f"{ring}.empty", Memory.of(slot).slots)),
        nest.make("ld", dst=target, src=source),
        nest.signal(nest.context.semaphore(f"{ring}.full", 0)),
    ]


def wload(nest: Nest, op: tile.ResidentOp, stack: Stack) -> list[Operation]:
    """A tile from its ring, or from a whole tensor, into the array."""
    before = [nest.wait(nest.context.semaphore("tile.free", 1))] if nest.single else []
    code = nest.make("wload", src=_at_array(nest, Queue.wchain, op, op.src, stack))
    if not op.slot:
        return [*before, code]
    return [*before, nest.wait(nest.context.semaphore("w.full", 0)), code, nest.signal(nest.context.semaphore("w.empty"))]


def drained(nest: Nest, op: tile.DrainOp, stack: Stack) -> list[Operation]:
    """Accumulators from the array into their ring, or into a whole tensor."""
    after = [nest.signal(nest.context.semaphore("g.free", 1))] if nest.single else []
    code = nest.make("drain", dst=_at_array(nest, Queue.gchain, op, op.dst, stack))
    if not op.slot:
        return [code, *after]
    empty = nest.wait(nest.context.semaphore("g.empty", Memory.of(op.slot[0]).slots))
    return [empty, code, nest.signal(nest.context.semaphore("g.partial" if len(op.slot) > 1 else "g.full")), *after]


def accumulate(nest: Nest, op: tile.DrainOp, stack: Stack) -> list[Operation]:
    """Drained accumulators plus those of the blocks before."""
    axes, tag = op.axes.data, op.tag.data
    dims = _slot_dims(Memory.of(op.slot[0]), _tile_dims(nest, Memory.of(op.dst), axes, stack))
    drained, before = (_slot_stream(nest, slot, dims, tag, stack) for slot in op.slot)
    return [
        nest.wait(nest.context.semaphore("g.partial")),
        nest.wait(nest.context.semaphore("p.full")),
        nest.make("vec", fn="add", dst=drained, a=drained, b=before),
        nest.signal(nest.context.semaphore("p.empty")),
        nest.signal(nest.context.semaphore("g.summed")),
    ]


def store(nest: Nest, op: tile.DrainOp, stack: Stack) -> list[Operation]:
    """A tile of accumulators from its ring to DRAM."""
    nest.touch(Queue.dma_out, Memory.of(op.dst), writes=True)
    nest.context.writes(op.dst)
    target, source = _at_dram(nest, op.dst, op.slot[0], op.axes.data, op.tag.data, stack)
    return [
        nest.wait(nest.context.semaphore("g.summed" if len(op.slot) > 1 else "g.full")),
        nest.make("st", dst=target, src=source),
        nest.signal(nest.context.semaphore("g.empty", Memory.of(op.slot[0]).slots)),
    ]
