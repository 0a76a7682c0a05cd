"""A network that is being grown: its nodes, weights and inputs so far, and the draws that decide how it goes on.

Magnitudes stay near 1, as :attr:`Value.scale` estimates them, and roots, logarithms and divisions get positive operands, since
float32 is to be compared with float64.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
import onnx
from hypothesis import strategies as st
from onnx import helper, numpy_helper

SIZES = (3, 1, 2, 5, 4, 7, 8, 11, 16, 19, 33)
LARGEST = 1200
"""Elements of the largest tensor."""


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
