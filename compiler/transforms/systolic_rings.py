"""Tiles of a nest on their way: stationary operands to the array, accumulators from it, through rings or directly."""

from collections.abc import Sequence

from xdsl.ir import Operation, SSAValue

from compiler.dialects import tile
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
    outer, inner = like
    size = slot.dtype.size
    return [Dim(outer.count, inner.count * size, outer.limit, outer.level), Dim(inner.count, size, inner.limit, inner.level)]


def _slot_stream(nest: Nest, slot: SSAValue, dims: list[Dim], tag: str, stack: Stack) -> Stream:
    memory = Memory.of(slot)
    return memory.stream(dims, (), ring_of(memory, nest.context.phase(slot), stack), Operand[tag])


def _array_order(nest: Nest, dims: list[Dim], axes: str) -> list[Dim]:
    """Rows of the array first, then its columns."""
    order = nest.lanes(axes)
    return [dims[order.index(nest.rows)], dims[order.index(nest.cols)]]


def load(nest: Nest, src: SSAValue, slot: SSAValue, axes: str, tag: str, ring: str, stack: Stack) -> list[Operation]:
    """A tile from DRAM into its ring."""
    memory = Memory.of(src)
    nest.touch(Queue.dma_in, memory, writes=False)
    nest.context.reads(src)
    dims = _tile_dims(nest, memory, axes, stack)
    source = memory.stream(dims, nest.moved(memory, axes, stack), None, Operand[tag])
    target = _slot_stream(nest, slot, _slot_dims(Memory.of(slot), dims), tag, stack)
    return [
        nest.wait(nest.context.semaphore(f"{ring}.empty", Memory.of(slot).slots)),
        nest.make("ld", dst=target, src=source),
        nest.signal(nest.context.semaphore(f"{ring}.full", 0)),
    ]


def wload(nest: Nest, op: tile.ResidentOp, stack: Stack) -> list[Operation]:
    """A tile from its ring, or from a whole tensor, into the array."""
    memory, axes, tag = Memory.of(op.src), op.axes.data, op.tag.data
    before = [nest.wait(nest.context.semaphore("tile.free", 1))] if nest.single else []
    dims = _tile_dims(nest, memory, axes, stack)
    if not op.slot:
        nest.touch(Queue.wchain, memory, writes=False)
        source = memory.stream(_array_order(nest, dims, axes), nest.moved(memory, axes, stack), None, Operand[tag])
        return [*before, nest.make("wload", src=source)]
    packed = _slot_dims(Memory.of(op.slot[0]), dims)
    source = _slot_stream(nest, op.slot[0], _array_order(nest, packed, axes), tag, stack)
    return [
        *before,
        nest.wait(nest.context.semaphore("w.full", 0)),
        nest.make("wload", src=source),
        nest.signal(nest.context.semaphore("w.empty")),
    ]


def drained(nest: Nest, op: tile.DrainOp, stack: Stack) -> list[Operation]:
    """Accumulators from the array into their ring, or into a whole tensor."""
    memory, axes, tag = Memory.of(op.dst), op.axes.data, op.tag.data
    after = [nest.signal(nest.context.semaphore("g.free", 1))] if nest.single else []
    dims = _tile_dims(nest, memory, axes, stack)
    if not op.slot:
        nest.touch(Queue.gchain, memory, writes=True)
        target = memory.stream(_array_order(nest, dims, axes), nest.moved(memory, axes, stack), None, Operand[tag])
        return [nest.make("drain", dst=target), *after]
    packed = _slot_dims(Memory.of(op.slot[0]), dims)
    target = _slot_stream(nest, op.slot[0], _array_order(nest, packed, axes), tag, stack)
    return [
        nest.wait(nest.context.semaphore("g.empty", Memory.of(op.slot[0]).slots)),
        nest.make("drain", dst=target),
        nest.signal(nest.context.semaphore("g.partial" if len(op.slot) > 1 else "g.full")),
        *after,
    ]


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
    memory, axes, tag = Memory.of(op.dst), op.axes.data, op.tag.data
    nest.touch(Queue.dma_out, memory, writes=True)
    nest.context.writes(op.dst)
    dims = _tile_dims(nest, memory, axes, stack)
    source = _slot_stream(nest, op.slot[0], _slot_dims(Memory.of(op.slot[0]), dims), tag, stack)
    target = memory.stream(dims, nest.moved(memory, axes, stack), None, Operand[tag])
    return [
        nest.wait(nest.context.semaphore("g.summed" if len(op.slot) > 1 else "g.full")),
        nest.make("st", dst=target, src=source),
        nest.signal(nest.context.semaphore("g.empty", Memory.of(op.slot[0]).slots)),
    ]
