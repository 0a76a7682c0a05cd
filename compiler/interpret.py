"""Executes the ``train`` level in float64: what a lowering below it must agree with.

Written from the definitions of the primitives alone; it shares no code with the emulator.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike
from xdsl.dialects.builtin import ArrayAttr, BFloat16Type, Float16Type, IntegerAttr, IntegerType, ModuleOp
from xdsl.ir import Operation, SSAValue

from compiler.dialects import train
from compiler.dialects.dense import Array, numpy_type, to_array
from compiler.dialects.train import element_of, shape_of, to_ints
from compiler.interpret_windows import Window, pool, pool_grad, product


def _sigmoid(a: Array) -> Array:
    return 1 / (1 + np.exp(-a))


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "copy": lambda a: a,
    "neg": np.negative,
    "abs": np.abs,
    "sign": np.sign,
    "exp": np.exp,
    "log": np.log,
    "sqrt": np.sqrt,
    "reciprocal": lambda a: 1 / a,
    "tanh": np.tanh,
    "sigmoid": _sigmoid,
    "erf": np.vectorize(math.erf, otypes=[np.float64]),
    "relu": lambda a: np.maximum(a, 0),
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "max": np.maximum,
    "min": np.minimum,
    "pow": np.power,
    "eq": np.equal,
    "lt": np.less,
    "le": np.less_equal,
    "leaky_relu": lambda a, b: np.where(a >= 0, a, b * a),
    "relu_grad": lambda a, b: np.where(b > 0, a, 0),
    "tanh_grad": lambda a, b: a * (1 - b**2),
    "sigmoid_grad": lambda a, b: a * b * (1 - b),
    "erf_grad": lambda a, b: a * 2 / math.sqrt(math.pi) * np.exp(-b * b),
    "leaky_relu_grad": lambda a, b, c: np.where(b >= 0, a, c * a),
    "select": lambda a, b, c: np.where(a != 0, b, c),
    "fma": lambda a, b, c: a * b + c,
}

REDUCTIONS: dict[str, Callable[..., Any]] = {"sum": np.sum, "max": np.max}


def interpret_train(module: ModuleOp, leaves: Mapping[str, Array], operand: DTypeLike = np.float64) -> dict[str, Array]:
    """The outputs of the module's ``train.graph`` by target name, for the given value of each leaf.

    Floats are computed in float64 (only a cast to a 16-bit type rounds), integers in int64.  The operands of products are rounded
    to ``operand`` beforehand, as the multipliers of a machine do.

    Raises:
        KeyError: a leaf has no value.
    """
    graph = next(op for op in module.walk() if isinstance(op, train.GraphOp))
    values: dict[SSAValue, Array] = {}
    outputs: dict[str, Array] = {}
    with np.errstate(all="ignore"):
        for op in graph.body.block.ops:
            if isinstance(op, train.OutputOp):
                outputs[op.target.data] = values[op.input]
                continue
            inputs = [values[value] for value in op.operands]
            if isinstance(op, train.ProductOp):
                inputs = [value.astype(operand).astype(np.float64) for value in inputs]
            results = _execute(op, inputs, leaves)
            for value, result in zip(op.results, results, strict=True):
                assert result.shape == shape_of(value), f"{op.name}: {result.shape} where {shape_of(value)} is declared"
                values[value] = _as_element(value, result)
    return outputs


def _as_element(value: SSAValue, result: Array) -> Array:
    """In float64 or int64, with the range and precision of 16-bit floats where the value is one."""
    element = element_of(value)
    if isinstance(element, IntegerType):
        return result.astype(np.int64)
    if isinstance(element, Float16Type | BFloat16Type):
        result = result.astype(np.float32).astype(numpy_type(element))
    return result.astype(np.float64)


def _execute(op: Operation, inputs: list[Array], leaves: Mapping[str, Array]) -> list[Array]:
    """The results of one operation."""
    match op:
        case train.LeafOp():
            return [np.asarray(leaves[op.leaf.data])]
        case train.ConstantOp():
            return [to_array(op.value)]
        case train.MapOp():
            return [np.asarray(FUNCTIONS[op.fn.data](*inputs))]
        case train.ReduceOp():
            return [np.asarray(REDUCTIONS[op.fn.data](inputs[0], axis=to_ints(op.axes), keepdims=True))]
        case train.ReshapeOp():
            return [inputs[0].reshape(shape_of(op.result))]
        case train.TransposeOp():
            return [inputs[0].transpose(to_ints(op.perm))]
        case train.BroadcastOp():
            return [np.broadcast_to(inputs[0], shape_of(op.result))]
        case train.ProductOp():
            return [product(op.stored, op.sizes, inputs[0], inputs[1], shape_of(op.result))]
        case train.SliceOp():
            return [inputs[0][region(op.starts, op.steps, shape_of(op.result))]]
        case train.PlaceOp():
            whole = np.full(shape_of(op.result), op.value.value.data, inputs[0].dtype)
            whole[region(op.starts, op.steps, inputs[0].shape)] = inputs[0]
            return [whole]
        case train.ConcatOp():
            return [np.concatenate(inputs, op.axis.value.data)]
        case train.PoolOp():
            return [pool(op.fn.data, inputs[0], _window(op))]
        case train.PoolGradOp():
            return [pool_grad(op.fn.data, inputs, _window(op), shape_of(op.result))]
        case train.UpdateOp():
            return _update(op, *inputs)
    raise AssertionError(f"{op.name} is no primitive of the train level")


def region(starts: ArrayAttr[IntegerAttr], steps: ArrayAttr[IntegerAttr], sizes: Sequence[int]) -> tuple[slice, ...]:
    """``size`` entries from ``start`` on, ``step`` apart, in each dimension."""
    ends = [s + by * n for s, by, n in zip(to_ints(starts), to_ints(steps), sizes, strict=True)]
    # Going backwards, the end in front of the first entry is None: -1 would be the last.
    return tuple(slice(s, end if end >= 0 else None, by) for s, end, by in zip(to_ints(starts), ends, to_ints(steps), strict=True))


def _window(op: train.PoolOp | train.PoolGradOp) -> Window:
    return Window(to_ints(op.kernel), to_ints(op.strides), to_ints(op.dilations))


def _update(op: train.UpdateOp, weight: Array, gradient: Array, *velocity: Array) -> list[Array]:
    """SGD: v ← μ·v + (g + λ·w); w ← w − η·v."""
    step = gradient + op.decay.value.data * weight
    if velocity:
        step = op.momentum.value.data * velocity[0] + step
    return [weight - op.lr.value.data * step, step][: len(op.outs)]
