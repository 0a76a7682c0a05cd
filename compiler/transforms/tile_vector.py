"""What is no product, as work of the vector unit."""

from collections.abc import Sequence

import numpy as np
from xdsl.ir import Operation, SSAValue

from compiler.dialects import tile, train
from compiler.dialects.train import shape_of, to_ints
from compiler.transforms import tile_blocked
from compiler.transforms.tile_blocked import Axes, Work
from compiler.transforms.tile_builder import VECTOR, TileBuilder
from isa.errors import UserError

NOTHING = {"sum": 0.0, "max": -np.inf}
"""What a reduction of no elements gives."""


def lower_vector(builder: TileBuilder, op: Operation) -> None:
    """An operation of the train level that is no product, update or output."""
    match op:
        case train.LeafOp():
            builder.leaf(op)
            return
        case train.ConstantOp() | train.ReshapeOp():
            return  # a constant is an immediate, or made a tensor by what needs it; a reshape moves nothing
        case train.MapOp():
            _map(builder, op)
        case train.ReduceOp():
            _reduce(builder, op)
        case train.TransposeOp():
            _transpose(builder, op)
        case train.BroadcastOp():
            _broadcast(builder, op)
        case train.SliceOp():
            builder.slice(op)
        case train.PlaceOp():
            _place(builder, op)
        case train.ConcatOp():
            _concat(builder, op)
        case train.PoolOp():
            _pool(builder, op)
        case train.PoolGradOp():
            _pool_grad(builder, op)
        case _:
            raise UserError(op.name, "convert-train-to-tile does not know this operation")
    builder.produced(op.results[0])


def _aligned(shape: Sequence[int], space: Sequence[int]) -> Axes:
    """Dimensions of a tensor that broadcasts to the space."""
    missing = len(space) - len(shape)
    return [None if i < missing or (shape[i - missing] == 1 and n != 1) else i - missing for i, n in enumerate(space)]


def _identity(shape: Sequence[int]) -> list[int]:
    return list(range(len(shape)))


def _work(
    op: train.TrainOp, space: Sequence[int], free: Sequence[int], ins: Sequence[tuple[SSAValue, Axes]], out: SSAValue, axes: Axes
) -> Work:
    return Work(op.layer.data, VECTOR[op.role.data], space, free, ins, out, axes)


def scalar(builder: TileBuilder, value: SSAValue) -> float | None:
    """The number that a constant of one element holds (an fp32 number, as the immediate is)."""
    owner = builder.root(value).owner
    if isinstance(owner, train.ConstantOp) and np.prod(shape_of(owner.result), dtype=int) == 1:
        return float(np.float32(owner.value.get_values()[0]))
    return None


def _map(builder: TileBuilder, op: train.MapOp) -> None:
    """An elementwise function; constants of one element become the immediate, as far as there is one."""
    immediate: float | None = None
    at: list[int] = []
    operands: list[SSAValue] = []
    for index, value in enumerate(op.inputs):
        number = scalar(builder, value)
        if number is not None and immediate in (None, number):
            immediate = number
            at.append(index)
        else:
            builder.materialise(value)
            operands.append(value)
    space = shape_of(op.result)
    work = _work(op, space, _identity(space), [(v, _aligned(shape_of(v), space)) for v in operands], op.result, _identity(space))

    def emit(ins: list[SSAValue], out: SSAValue, temps: list[SSAValue]) -> list[Operation]:
        return [tile.MapOp(op.fn.data, ins, out, work.layer, work.product, immediate, at)]

    tile_blocked.run(builder, work, op.fn.data, emit)


def _reduce(builder: TileBuilder, op: train.ReduceOp) -> None:
    space, reduced = shape_of(op.input), to_ints(op.axes)
    kept = [axis for axis in range(len(space)) if axis not in reduced]
    work = _work(op, space, kept, [(op.input, _identity(space))], op.result, [i if i in kept else None for i in range(len(space))])

    def emit(ins: list[SSAValue], out: SSAValue, temps: list[SSAValue]) -> list[Operation]:
        if 0 in space:
            return [tile.MapOp("copy", [], out, work.layer, work.product, NOTHING[op.fn.data], [0])]
        return [tile.ReduceOp(op.fn.data, ins[0], out, work.layer, work.product)]

    tile_blocked.run(builder, work, op.fn.data, emit)


def _transpose(builder: TileBuilder, op: train.TransposeOp) -> None:
    space, perm = shape_of(op.result), to_ints(op.perm)
    work = _work(op, space, _identity(space), [(op.input, perm)], op.result, _identity(space))

    def emit(ins: list[SSAValue], out: SSAValue, temps: list[SSAValue]) -> list[Operation]:
        return [tile.TransposeOp(ins[0], perm, out, work.layer, work.product)]

    tile_blocked.run(builder, work, "transpose", emit)


def _broadcast(builder: TileBuilder, op: train.BroadcastOp) -> None:
    space = shape_of(op.result)
    work = _work(op, space, _identity(space), [(op.input, _aligned(shape_of(op.input), space))], op.result, _identity(space))

    def emit(ins: list[SSAValue], out: SSAValue, temps: list[SSAValue]) -> list[Operation]:
        return [tile.MapOp("copy", ins, out, work.layer, work.product)]

    tile_blocked.run(builder, work, "broadcast", emit)


def _place(builder: TileBuilder, op: train.PlaceOp) -> None:
    """A fill and a copy into part of it; split along dimensions that are not padded."""
    whole, inner = shape_of(op.result), shape_of(op.input)
    starts, steps, value = to_ints(op.starts), to_ints(op.steps), op.value.value.data
    free = [axis for axis in range(len(whole)) if whole[axis] == inner[axis]]
    work = _work(op, whole, free, [(op.input, _identity(inner))], op.result, _identity(whole))

    def emit(ins: list[SSAValue], out: SSAValue, temps: list[SSAValue]) -> list[Operation]:
        part = tile.SliceOp(out, starts, tile.memref_of(ins[0]).get_shape(), steps)
        fill = tile.MapOp("copy", [], out, work.layer, work.product, value, [0])
        return [*([fill] if whole != inner else []), part, tile.MapOp("copy", ins, part.result, work.layer, work.product)]

    tile_blocked.run(builder, work, "padded", emit)


def _concat(builder: TileBuilder, op: train.ConcatOp) -> None:
    """Each operand is copied into its slice of the result."""
    layer, product, axis = op.layer.data, VECTOR[op.role.data], op.axis.value.data
    large = builder.large(op.result)
    out = builder.result_in_dram(op.result, f"{layer}.concat") if large else builder.result(op.result, f"{layer}.concat")
    at = 0
    for value in op.inputs:
        shape = shape_of(value)
        part = builder.part(out, [at if i == axis else 0 for i in range(len(shape))], shape, [1] * len(shape))
        at += shape[axis]
        if large and builder.stays_in_dram(value):
            builder.copy_in_dram(builder.in_dram(value), part, layer, product)
            continue
        source = builder.in_spad(value, layer, product)
        builder.add(tile.CopyOp(source, part, layer, product) if large else tile.MapOp("copy", [source], part, layer, product))


def _whole_windows(op: train.PoolOp | train.PoolGradOp) -> list[int]:
    """Dimensions that do not slide."""
    kernel, strides = to_ints(op.kernel), to_ints(op.strides)
    return [axis for axis in range(len(kernel)) if kernel[axis] == 1 and strides[axis] == 1]


def _pool(builder: TileBuilder, op: train.PoolOp) -> None:
    space = shape_of(op.result)
    work = _work(op, space, _whole_windows(op), [(op.input, _identity(space))], op.result, _identity(space))

    def emit(ins: list[SSAValue], out: SSAValue, temps: list[SSAValue]) -> list[Operation]:
        return [tile.PoolOp(op, ins[0], out, work.product)]

    tile_blocked.run(builder, work, "pool", emit)


def _pool_grad(builder: TileBuilder, op: train.PoolGradOp) -> None:
    grad = op.inputs[-1]
    space = shape_of(grad)
    work = _work(op, space, _whole_windows(op), [(v, _identity(space)) for v in op.inputs], op.result, _identity(space))
    if op.fn.data == "max":
        work.temps = [space, space]

    def emit(ins: list[SSAValue], out: SSAValue, temps: list[SSAValue]) -> list[Operation]:
        fill = tile.MapOp("copy", [], out, work.layer, work.product, 0.0, [0])
        return [fill, tile.PoolGradOp(op, [*ins, *temps], out, work.product)]

    tile_blocked.run(builder, work, "dX", emit)
