"""Random networks of the supported ONNX operators, as a hypothesis strategy, so that a failure shrinks to a small one.

A network is grown node by node: each step draws an operator and an operand among the tensors there are.  Two things are seen to on the
way, since float32 is to be compared with float64: magnitudes stay near 1 (estimated by ``Value.scale``), and log, roots, powers and
divisions get positive operands.  What is still badly conditioned is recognised by the oracle and not used.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import prod
from typing import Any

import numpy as np
import onnx
from hypothesis import strategies as st
from jax_oracle import trained
from onnx import TensorProto, helper, numpy_helper

SIZES = (3, 1, 2, 5, 4, 7, 8, 11, 16, 19, 33)
LARGEST = 1200
"""Elements of the largest tensor."""

SCHEDULES = ("interleaved", "sequential", "ws", "os", "is", "best-sequential")

SMOOTH = {"Sigmoid", "Tanh", "Softmax", "LogSoftmax", "Exp", "Log", "Sqrt", "Pow", "Div", "SoftmaxCrossEntropyLoss"}
"""Operators of a network that is no longer products and piecewise-linear functions."""


@dataclass(frozen=True)
class Options:
    """How a network is compiled: the array, the schedule, and what is trained."""

    rows: int = 4
    cols: int = 3
    schedule: str = "interleaved"
    double_buffer: bool = True
    fused_update: bool = False
    loss: str | None = None
    optimizer: dict[str, float] | None = None
    """``lr``, ``momentum`` and ``weight_decay`` of sgd."""
    input_grads: tuple[str, ...] = ()


@dataclass(frozen=True)
class Case:
    """A network, what goes in, how it is compiled, and how near the results must be, relative to each tensor's largest entry."""

    model: onnx.ModelProto
    inputs: dict[str, np.ndarray]
    options: Options
    tolerance: float

    def __repr__(self) -> str:
        return f"{self.options}\n{onnx.printer.to_text(self.model)}"


@dataclass(frozen=True)
class Value:
    """A tensor of the network: name, shape, and about how large its entries are."""

    name: str
    shape: tuple[int, ...]
    scale: float


@dataclass
class Network:
    """What has been grown so far."""

    draw: Callable[..., Any]
    opset: int
    rng: np.random.Generator
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: list[onnx.TensorProto] = field(default_factory=list)
    inputs: list[onnx.ValueInfoProto] = field(default_factory=list)
    pool: list[Value] = field(default_factory=list)
    params: list[Value] = field(default_factory=list)
    data: dict[str, np.ndarray] = field(default_factory=dict)

    def one_of(self, choices: Sequence[Any]) -> Any:
        return self.draw(st.sampled_from(choices))

    def chance(self) -> bool:
        return bool(self.draw(st.booleans()))

    def fresh(self, prefix: str) -> str:
        return f"{prefix}{len(self.nodes) + len(self.initializers)}"

    def node(self, op: str, operands: Sequence[str], shape: Sequence[int], scale: float, **attributes: Any) -> Value:
        """Appends a node; its result is not in the pool yet."""
        name = self.fresh("t")
        self.nodes.append(helper.make_node(op, list(operands), [name], name=f"{op}_{len(self.nodes)}", **attributes))
        return Value(name, tuple(shape), scale)

    def constant(self, array: np.ndarray) -> str:
        """An initializer that is no weight: a shape, axes, a scalar; perhaps as a Constant node."""
        name = self.fresh("c")
        if self.chance():
            self.nodes.append(helper.make_node("Constant", [], [name], value=numpy_helper.from_array(array, name)))
        else:
            self.initializers.append(numpy_helper.from_array(array, name))
        return name

    def number(self, value: float) -> str:
        return self.constant(np.array(value, np.float32))

    def ints(self, values: Sequence[int]) -> str:
        return self.constant(np.array(values, np.int64))

    def param(self, shape: Sequence[int], scale: float = 1.0, offset: float = 0.0) -> Value:
        """A weight: one that is there already, a new initializer, a Constant or ConstantOfShape node, or one computed from another."""
        shape = tuple(shape)
        same = [p for p in self.params if p.shape == shape and not offset]
        if same and self.chance():
            return self.one_of(same)
        name = self.fresh("w")
        array = (offset + scale * self.rng.uniform(-1.7, 1.7, shape)).astype(np.float32)
        form = self.one_of(("initializer", "initializer", "node", "transposed", "filled", "identity"))
        if form == "transposed" and len(shape) == 2:
            self.initializers.append(numpy_helper.from_array(array.T.copy(), name))
            return self.node("Transpose", [name], shape, scale)
        if form == "node":
            self.nodes.append(helper.make_node("Constant", [], [name], value=numpy_helper.from_array(array, name)))
        elif form == "filled" and len(shape) == 1:
            size = self.ints(shape)
            fill = numpy_helper.from_array(np.array([offset + scale], np.float32))
            self.nodes.append(helper.make_node("ConstantOfShape", [size], [name], value=fill))
        else:
            self.initializers.append(numpy_helper.from_array(array, name))
        weight = Value(name, shape, scale)
        if form == "identity":
            return self.node("Identity", [name], shape, scale)
        self.params.append(weight)
        return weight

    def operand(self, accept: Callable[[Value], bool] = lambda v: True) -> Value | None:
        """One of the tensors there are, the latest first; none if none is acceptable."""
        found = [v for v in reversed(self.pool) if accept(v)]
        return self.one_of(found) if found else None

    def tamed(self, x: Value) -> Value:
        """The same tensor with entries near 1, so that functions do not saturate."""
        if 0.05 < x.scale < 2.0:
            return x
        factor = float(np.float32(1 / x.scale))
        return self.node("Mul", [x.name, self.number(factor)], x.shape, x.scale * factor)

    def positive(self, x: Value) -> Value:
        """sigmoid(x) + 0.5."""
        s = self.node("Sigmoid", [self.tamed(x).name], x.shape, 0.5)
        return self.node("Add", [s.name, self.number(0.5)], x.shape, 1.0)

    def matrix(self) -> Value | None:
        """A tensor of rank 2, flattened if need be."""
        x = self.operand()
        if x is None or len(x.shape) == 2:
            return x
        axis = self.draw(st.integers(0, len(x.shape)))
        return self.node("Flatten", [x.name], (prod(x.shape[:axis]), prod(x.shape[axis:])), x.scale, axis=axis)


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
    partial(unary, "Exp", np.exp),
    *(partial(of_positive, op) for op in ("Log", "Sqrt")),
    power,
    *(partial(softmax, op) for op in ("Softmax", "LogSoftmax")),
)


def _cross_entropy_node(n: Network) -> Value | None:
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


@st.composite
def networks(draw: Callable[..., Any]) -> Case:
    """Random cases: network, data, and options."""
    n = Network(draw, draw(st.sampled_from((21, 17, 13))), np.random.default_rng(draw(st.integers(0, 2**32 - 1))))
    shape = tuple(draw(st.lists(st.sampled_from(SIZES), min_size=2, max_size=3).filter(lambda s: prod(s) <= LARGEST // 2)))
    n.inputs.append(helper.make_tensor_value_info("x", TensorProto.FLOAT, shape))
    n.data["x"] = n.rng.normal(size=shape).astype(np.float32)
    n.pool.append(Value("x", shape, 1.0))
    first = gemm if len(shape) == 2 else matmul
    for step in [first, *draw(st.lists(st.sampled_from(STEPS), max_size=9))]:
        value = step(n)
        if value is not None and 1e-6 < value.scale < 1e6:
            n.pool.append(value)
    if n.one_of((False, False, False, True)) and (value := _cross_entropy_node(n)) is not None:
        n.pool.append(value)

    outputs = [n.pool[-1]]
    others = n.pool[1:-1]
    if others and n.one_of((False, False, True)):
        outputs.append(n.one_of(others))
    model = _model(n, outputs)
    losses = [None]
    if len(outputs) == 1 and "classes" not in n.data:
        losses += ["mse", "softmax-cross-entropy"] if len(outputs[0].shape) == 2 and outputs[0].scale < 4 else ["mse"]
    options = Options(
        rows=draw(st.integers(1, 40)),
        cols=draw(st.integers(1, 40)),
        schedule=draw(st.sampled_from(SCHEDULES)),
        double_buffer=draw(st.booleans()),
        fused_update=draw(st.booleans()),
        loss=draw(st.sampled_from(losses)),
        optimizer=draw(st.none() | st.fixed_dictionaries(_SGD)) if trained(model) else None,
        input_grads=draw(st.sampled_from(((), ("x",)))),
    )
    op_types = {node.op_type for node in n.nodes}
    smooth = op_types & SMOOTH or options.loss == "softmax-cross-entropy"
    return Case(model, _data(n, outputs, options.loss), options, 1e-4 if smooth else 1e-5)


_SGD = {"lr": st.sampled_from((0.1, 0.02)), "momentum": st.sampled_from((0.0, 0.9)), "weight_decay": st.sampled_from((0.0, 0.01))}


def _model(n: Network, outputs: Sequence[Value]) -> onnx.ModelProto:
    results = [helper.make_tensor_value_info(v.name, TensorProto.FLOAT, v.shape) for v in outputs]
    graph = helper.make_graph(n.nodes, "random", n.inputs, results, n.initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", n.opset)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model


def _data(n: Network, outputs: Sequence[Value], loss: str | None) -> dict[str, np.ndarray]:
    data = dict(n.data)
    if loss is None:
        for v in outputs:
            data[f"grad/{v.name}"] = n.rng.normal(size=v.shape).astype(np.float32)
    elif loss == "mse":
        data["labels"] = n.rng.normal(size=outputs[0].shape).astype(np.float32)
    else:
        rows, classes = outputs[0].shape
        data["labels"] = n.rng.integers(0, classes, rows).astype(np.int32)
    return data
