"""How a random network grows by one operator: one function each, all in ``STEPS``; each returns None where it does not apply."""

from collections.abc import Callable
from functools import partial
from math import prod
from typing import Any

import numpy as np
from hypothesis import strategies as st
from network_builder import LARGEST, SIZES, Network, Value
from onnx import TensorProto, helper


def gemm(n: Network) -> Value | None:
    """Gemm with a weight on either side, any transposes, factors and any form of C."""
    x = n.matrix()
    if x is None or x.shape[1] > 64:
        return None
    trans_w, attributes = int(n.chance()), {}
    if n.chance():  # the weight comes first and is multiplied with x or xᵀ
        trans_x = int(n.chance())
        k, cols = x.shape[::-1] if trans_x else x.shape
        rows = n.one_of(SIZES)
        w = n.param((k, rows) if trans_w else (rows, k), k**-0.5)
        operands, attributes, shape = [w.name, x.name], {"transA": trans_w, "transB": trans_x}, (rows, cols)
    else:
        trans_x = int(n.chance())
        rows, k = x.shape[::-1] if trans_x else x.shape
        cols = n.one_of(SIZES)
        w = n.param((cols, k) if trans_w else (k, cols), k**-0.5)
        operands, attributes, shape = [x.name, w.name], {"transA": trans_x, "transB": trans_w}, (rows, cols)
    if prod(shape) > LARGEST:
        return None
    if n.chance():
        attributes |= {"alpha": n.one_of((0.5, -1.25, 2.0)), "beta": n.one_of((0.75, 0.0, -1.5))}
    match n.one_of(("row", "none", "column", "full", "one", "scalar")):
        case "row":
            operands.append(n.param(shape[1:]).name)
        case "column":
            operands.append(n.param((shape[0], 1)).name)
        case "full":
            operands.append(n.param(shape).name)
        case "one":
            operands.append(n.param((1,)).name)
        case "scalar":
            operands.append(n.number(0.3))
    return n.node("Gemm", operands, shape, 1.5 * x.scale * attributes.get("alpha", 1.0) ** 2 + 1e-2, **attributes)


def matmul(n: Network) -> Value | None:
    """MatMul with a weight, batched or not, on either side, of rank 1 too."""
    x = n.operand(lambda v: len(v.shape) >= 2)
    if x is None:
        return None
    *batch, rows, k = x.shape
    size = n.one_of(SIZES)
    batch_w = n.one_of(([], batch, batch[1:], [1] * len(batch)))
    form = n.one_of(("right", "left", "vector"))
    if form == "vector":
        w, shape = n.param((k,), k**-0.5), (*batch, rows)
    elif form == "left":
        w, shape = n.param((*batch_w, size, rows), rows**-0.5), (*batch, size, k)
    else:
        w, shape = n.param((*batch_w, k, size), k**-0.5), (*batch, rows, size)
    if prod(shape) > LARGEST or prod(w.shape) > LARGEST:
        return None
    return n.node("MatMul", [w.name, x.name] if form == "left" else [x.name, w.name], shape, x.scale)


def self_product(n: Network) -> Value | None:
    """x·xᵀ, as in attention: a product of two activations."""
    x = n.operand(lambda v: len(v.shape) >= 2 and prod(v.shape) * v.shape[-2] <= 4 * LARGEST)
    if x is None:
        return None
    x = n.tamed(x)
    rank = len(x.shape)
    perm = [*range(rank - 2), rank - 1, rank - 2]
    y = n.node("Transpose", [x.name], [x.shape[p] for p in perm], x.scale, perm=perm)
    return n.node("MatMul", [x.name, y.name], (*x.shape[:-1], x.shape[-2]), x.scale**2 * x.shape[-1])


def binary(op: str, n: Network) -> Value | None:
    """An arithmetic function of a tensor and a number, a weight or another tensor, broadcast in any direction."""
    x = n.operand()
    assert x is not None
    other: Value | None = None
    match n.one_of(("param", "tensor", "number", "itself")):
        case "tensor":
            other = n.operand(lambda v: _broadcast(x.shape, v.shape) is not None)
            if other is not None and op == "Div":
                other = n.positive(other)
        case "itself" if op != "Sub":
            other = n.positive(x) if op == "Div" else x
        case "number":
            other = Value(n.number(n.one_of((0.5, 1.5, 2.0, 1.0))), (), 1.0)
    if other is None:
        kept = x.shape[n.draw(st.integers(0, len(x.shape))) :]
        other = n.param([1 if n.chance() else size for size in kept], *((0.2, 1.0) if op == "Div" else (1.0,)))
    shape = _broadcast(x.shape, other.shape)
    if shape is None or prod(shape) > LARGEST:
        return None
    pair = [x, other] if op == "Div" or n.chance() else [other, x]
    scale = {"Mul": x.scale * other.scale, "Div": x.scale}.get(op, x.scale + other.scale)
    return n.node(op, [v.name for v in pair], shape, scale)


def _broadcast(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...] | None:
    try:
        return np.broadcast_shapes(a, b)
    except ValueError:
        return None


def unary(op: str, scale: Callable[[float], float], n: Network, **attributes: Any) -> Value | None:
    x = n.tamed(n.pool[-1] if n.chance() else n.operand())  # type: ignore[arg-type]
    return n.node(op, [x.name], x.shape, scale(x.scale), **attributes)


def gelu(n: Network) -> Value | None:
    approximate = {"approximate": n.one_of(("none", "tanh"))} if n.chance() else {}
    return unary("Gelu", lambda s: s, n, **approximate) if n.opset >= 20 else None


def leaky_relu(n: Network) -> Value | None:
    return unary("LeakyRelu", lambda s: s, n, **({"alpha": n.one_of((0.2, 0.5, -0.25))} if n.chance() else {}))


def clip(n: Network) -> Value | None:
    """Bounds are weights' neighbours, never their values: exactly on a bound, every framework has another derivative."""
    x = n.tamed(n.operand())  # type: ignore[arg-type]
    low, high = n.one_of(((-0.62, 0.87), (None, 0.71), (-0.43, None), (0.12, 1.43)))
    bounds = ["" if b is None else n.number(b * float(n.rng.uniform(0.9, 1.1))) for b in (low, high)]
    return n.node("Clip", [x.name, *bounds], x.shape, x.scale)


def of_positive(op: str, n: Network) -> Value | None:
    x = n.positive(n.operand())  # type: ignore[arg-type]
    return n.node(op, [x.name], x.shape, 0.5)


def power(n: Network) -> Value | None:
    """Whole exponents of anything, others of what is positive."""
    x = n.tamed(n.operand())  # type: ignore[arg-type]
    exponent = n.one_of((2.0, 3.0, 1.0, 0.5, -1.0, 1.7, -0.5, 0.0))
    if exponent not in (1.0, 2.0, 3.0):
        x = n.positive(x)
    return n.node("Pow", [x.name, n.number(exponent)], x.shape, x.scale**exponent)


def softmax(op: str, n: Network) -> Value | None:
    x = n.operand(lambda v: len(v.shape) >= 1)
    if x is None:
        return None
    axis = n.draw(st.integers(-len(x.shape), len(x.shape) - 1))
    size = x.shape[axis]
    attributes = {} if axis == -1 and n.chance() else {"axis": axis}
    return n.node(op, [n.tamed(x).name], x.shape, 1 / size if op == "Softmax" else 1.0 + np.log(size), **attributes)


def reduce(op: str, n: Network) -> Value | None:
    x = n.operand(lambda v: len(v.shape) >= 1)
    if x is None:
        return None
    rank = len(x.shape)
    axes = sorted(n.draw(st.sets(st.integers(0, rank - 1))))
    keep = n.chance()
    attributes: dict[str, Any] = {} if keep else {"keepdims": 0}
    operands = [x.name]
    if axes:
        signed = [a - rank if n.chance() else a for a in axes]
        if op == "ReduceMean" and n.opset < 18:
            attributes["axes"] = signed
        else:
            operands.append(n.ints(signed))
    over = axes or range(rank)
    shape = [1 if i in over else size for i, size in enumerate(x.shape) if keep or i not in over]
    count = prod(x.shape[i] for i in over)
    return n.node(op, operands, shape, x.scale * (count**0.5 if op == "ReduceSum" else count**-0.5), **attributes)


def reshape(n: Network) -> Value | None:
    """Other dimensions of the same product, some written as 0 or −1."""
    x = n.operand(lambda v: len(v.shape) >= 1)
    if x is None:
        return None
    total = prod(x.shape)
    divisors = [d for d in range(1, total + 1) if total % d == 0]
    first = n.one_of([x.shape[0], *divisors])
    rest = n.one_of([d for d in divisors if (total // first) % d == 0])
    shape = n.one_of(([first, total // first], [total], [first, rest, total // first // rest]))
    written = list(shape)
    if n.chance():
        written[n.draw(st.integers(0, len(shape) - 1))] = -1
    if written[0] == x.shape[0] and n.chance():
        written[0] = 0
    return n.node("Reshape", [x.name, n.ints(written)], shape, x.scale)


def transpose(n: Network) -> Value | None:
    x = n.operand(lambda v: len(v.shape) >= 2)
    if x is None:
        return None
    perm = n.draw(st.permutations(range(len(x.shape))))
    if perm == sorted(perm, reverse=True):
        return n.node("Transpose", [x.name], x.shape[::-1], x.scale)
    return n.node("Transpose", [x.name], [x.shape[p] for p in perm], x.scale, perm=perm)


def unsqueeze(n: Network) -> Value | None:
    x = n.operand(lambda v: len(v.shape) <= 3)
    if x is None:
        return None
    axis = n.draw(st.integers(0, len(x.shape)))
    shape = [*x.shape[:axis], 1, *x.shape[axis:]]
    written = axis - len(shape) if n.chance() else axis
    return n.node("Unsqueeze", [x.name, n.ints([written])], shape, x.scale)


def squeeze(n: Network) -> Value | None:
    x = n.operand(lambda v: 1 in v.shape)
    if x is None:
        return None
    ones = [i for i, size in enumerate(x.shape) if size == 1]
    if n.chance():
        return n.node("Squeeze", [x.name], [s for s in x.shape if s != 1], x.scale)
    axis = n.one_of(ones)
    return n.node("Squeeze", [x.name, n.ints([axis])], [s for i, s in enumerate(x.shape) if i != axis], x.scale)


def dropout(n: Network) -> Value | None:
    x = n.operand()
    assert x is not None
    return n.node("Dropout", [x.name, *([n.number(0.3)] if n.chance() else [])], x.shape, x.scale)


STEPS: tuple[Callable[[Network], Value | None], ...] = (
    gemm,
    matmul,
    partial(unary, "Relu", lambda s: s),
    *(partial(binary, op) for op in ("Add", "Sub", "Mul", "Div")),
    leaky_relu,
    clip,
    partial(unary, "Neg", lambda s: s),
    partial(unary, "Identity", lambda s: s),
    partial(unary, "Cast", lambda s: s, to=TensorProto.FLOAT),
    dropout,
    reshape,
    transpose,
    squeeze,
    unsqueeze,
    *(partial(reduce, op) for op in ("ReduceSum", "ReduceMean")),
    self_product,
    partial(unary, "Sigmoid", lambda s: 0.5),
    partial(unary, "Tanh", lambda s: min(s, 1.0)),
    partial(unary, "Erf", lambda s: min(s, 1.0)),
    gelu,
    partial(unary, "Exp", np.exp),
    *(partial(of_positive, op) for op in ("Log", "Sqrt")),
    power,
    *(partial(softmax, op) for op in ("Softmax", "LogSoftmax")),
)


def cross_entropy_node(n: Network) -> Value | None:
    """The loss as a node of the network, with its labels as a graph input."""
    x = n.operand(lambda v: len(v.shape) == 2)
    if x is None:
        return None
    rows, classes = x.shape
    n.inputs.append(helper.make_tensor_value_info("classes", TensorProto.INT64, [rows]))
    n.data["classes"] = n.rng.integers(0, classes, rows)
    reduction = n.one_of(("mean", "sum", "none"))
    shape = [rows] if reduction == "none" else []
    return n.node("SoftmaxCrossEntropyLoss", [n.tamed(x).name, "classes"], shape, 2.0, reduction=reduction)
