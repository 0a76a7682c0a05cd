"""A training step's work as plain NumPy does it: each product as one matmul of whole matrices, all else tensor by tensor."""

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from xdsl.ir import SSAValue

from compiler.dialects import train
from compiler.dialects.train import shape_of, to_ints
from compiler.driver import TrainingStep
from compiler.interpret import FUNCTIONS, REDUCTIONS
from compiler.interpret_windows import Window, pool, pool_grad
from compiler.schedule.axes import axes_in

Array = npt.NDArray[Any]
VIEWS = (train.ReshapeOp, train.BroadcastOp, train.TransposeOp)
WORD = 4
"""Bytes of an fp32 word."""


def seconds(step: TrainingStep) -> tuple[float, float, int]:
    """Seconds of the products, of the vector unit's work, and MACs; operands are there before, results are fresh."""
    products = vector = 0.0
    macs = 0
    with np.errstate(all="ignore"):
        for op in step.module.walk():
            if isinstance(op, train.ProductOp):
                groups, rows, inner, columns = matmul_shape(op)
                macs += groups * rows * inner * columns
                left, right = (np.full(shape, 0.5, np.float32) for shape in ((groups, rows, inner), (groups, inner, columns)))
                products += _timed(np.matmul, left, right)
            elif (work := _vector_work(op)) is not None:
                vector += _timed(work)
    return products, vector, macs


def matmul_shape(op: train.ProductOp) -> tuple[int, int, int, int]:
    """(groups, rows, summed, columns) of a product as a matmul; a convolution's taps are among what is summed, or among the columns."""
    left, right, result = (axes_in(text) for text in op.stored)
    kinds = (left & right & result, left & result - right, left & right - result, right & result - left)
    groups, rows, inner, columns = (math.prod(op.sizes[axis] for axis in axes) for axes in kinds)
    return groups, rows, inner, columns


def _timed(work: Callable[..., object], *operands: Array) -> float:
    start = time.perf_counter()
    work(*operands)
    return time.perf_counter() - start


def _vector_work(op: object) -> Callable[[], object] | None:
    """What NumPy does where the vector unit works; None where it does not."""
    match op:
        case train.MapOp():
            inputs = [_array(value) for value in op.operands]
            return lambda: FUNCTIONS[op.fn.data](*inputs)
        case train.ReduceOp():
            whole = _array(op.operands[0])
            return lambda: REDUCTIONS[op.fn.data](whole, axis=to_ints(op.axes), keepdims=True)
        case train.PoolOp() | train.PoolGradOp():
            inputs, window = (
                [_array(value) for value in op.operands],
                Window(to_ints(op.kernel), to_ints(op.strides), to_ints(op.dilations)),
            )
            if isinstance(op, train.PoolOp):
                return lambda: pool(op.fn.data, inputs[0], window)
            return lambda: pool_grad(op.fn.data, inputs, window, shape_of(op.result))
        case train.UpdateOp():
            weight, gradient = (_array(value) for value in op.operands[:2])
            return lambda: weight - np.float32(0.01) * gradient
        case _:
            return None


def _array(value: SSAValue) -> Array:
    """An operand of that shape; broadcast ones take no room."""
    if isinstance(value.owner, train.BroadcastOp):
        return np.broadcast_to(_array(value.owner.operands[0]), shape_of(value))
    return np.full(shape_of(value), 0.5, np.float32)


def live_bytes(step: TrainingStep) -> int:
    """The most bytes of tensors that are live at one time: from their making, leaves from the start, to their last use."""
    graph = next(op for op in step.module.walk() if isinstance(op, train.GraphOp))
    work = list(graph.body.block.ops)
    last: dict[SSAValue, int] = {}
    first: dict[SSAValue, int] = {}
    for index, op in enumerate(work):
        for value in op.operands:
            last[_whole(value)] = len(work) if isinstance(op, train.OutputOp) else max(index, last.get(_whole(value), 0))
        for result in op.results:
            if _whole(result) is result:
                first[result] = -1 if isinstance(op, train.LeafOp) else index
    changes = [0] * (len(work) + 3)
    for value, start in first.items():
        size = WORD * math.prod(shape_of(value))
        changes[start + 1] += size
        changes[last.get(value, start) + 2] -= size
    live = np.cumsum(changes)
    return int(live.max())


def _whole(value: SSAValue) -> SSAValue:
    """What a view is of."""
    while isinstance(value.owner, VIEWS):
        value = value.owner.operands[0]
    return value
