"""The table of decompositions, and the builder they are written with."""

from collections.abc import Callable, Sequence

import numpy as np
from xdsl.dialects.builtin import UnitAttr
from xdsl.ir import Attribute, Block, Operation, SSAValue

from compiler.dialects import train
from compiler.dialects.dense import Array, dense
from compiler.dialects.onnx import NodeOp
from compiler.dialects.train import shape_of

Decomposition = Callable[["Lowering"], "SSAValue | tuple[SSAValue, ...]"]

DECOMPOSITIONS: dict[str, tuple[Decomposition, str]] = {}
"""By ONNX operator name: the function, and the role of what it builds."""


def decomposes(*operators: str, role: str = "fwd") -> Callable[[Decomposition], Decomposition]:
    """Register a function for ONNX operators; it returns the values of the node's outputs."""

    def register(function: Decomposition) -> Decomposition:
        DECOMPOSITIONS.update(dict.fromkeys(operators, (function, role)))
        return function

    return register


class Lowering:
    """Builds the ``train`` operations of one ONNX node; each carries the node's name as its layer."""

    def __init__(self, node: NodeOp, inputs: Sequence[SSAValue | None], block: Block, role: str) -> None:
        self.node = node
        self.inputs = inputs
        self._block = block
        self._from = (node.node.data, role)

    @property
    def x(self) -> SSAValue:
        """The first input."""
        return self.input(0)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the first output."""
        return shape_of(self.node.outs[0])

    def input(self, index: int) -> SSAValue:
        """An input that is there."""
        value = self.inputs[index]
        assert value is not None
        return value

    def optional(self, index: int) -> SSAValue | None:
        """An input that may be missing."""
        return self.inputs[index] if index < len(self.inputs) else None

    def _add(self, op: Operation) -> SSAValue:
        self._block.add_op(op)
        return op.results[0]

    def map(self, fn: str, *inputs: SSAValue, element: Attribute | None = None) -> SSAValue:
        return self._add(train.MapOp(fn, inputs, *self._from, element=element))

    def reduce(self, fn: str, x: SSAValue, axes: Sequence[int]) -> SSAValue:
        return self._add(train.ReduceOp(fn, x, axes, *self._from))

    def reshape(self, x: SSAValue, shape: Sequence[int]) -> SSAValue:
        return x if shape_of(x) == tuple(shape) else self._add(train.ReshapeOp(x, shape, *self._from))

    def transpose(self, x: SSAValue, perm: Sequence[int]) -> SSAValue:
        return x if list(perm) == sorted(perm) else self._add(train.TransposeOp(x, perm, *self._from))

    def broadcast(self, x: SSAValue, shape: Sequence[int]) -> SSAValue:
        return x if shape_of(x) == tuple(shape) else self._add(train.BroadcastOp(x, shape, *self._from))

    def product(self, axes: str, lhs: SSAValue, rhs: SSAValue, shape: Sequence[int] | None = None) -> SSAValue:
        return self._add(train.ProductOp(axes, lhs, rhs, *self._from, shape=shape))

    def slice(self, x: SSAValue, starts: Sequence[int], sizes: Sequence[int], steps: Sequence[int] | None = None) -> SSAValue:
        """``sizes`` entries from ``starts`` on, ``steps`` (1) apart."""
        if shape_of(x) == tuple(sizes):
            return x
        return self._add(train.SliceOp(x, starts, sizes, steps or [1] * len(starts), *self._from))

    def place(self, x: SSAValue, starts: Sequence[int], shape: Sequence[int], value: float = 0.0) -> SSAValue:
        """``x`` from ``starts`` on in a tensor of ``shape`` full of ``value``."""
        if shape_of(x) == tuple(shape):
            return x
        return self._add(train.PlaceOp(x, starts, [1] * len(starts), shape, value, *self._from))

    def concat(self, parts: Sequence[SSAValue], axis: int) -> SSAValue:
        """The parts one after the other; empty ones leave nothing."""
        parts = [part for part in parts if shape_of(part)[axis]] or parts[:1]
        return parts[0] if len(parts) == 1 else self._add(train.ConcatOp(parts, axis, *self._from))

    def pool(self, fn: str, x: SSAValue, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]) -> SSAValue:
        """Maximum or sum over a window that slides over the last dimensions, as many as ``kernel`` has."""
        ones = [1] * (len(shape_of(x)) - len(kernel))
        return self._add(train.PoolOp(fn, x, [*ones, *kernel], [*ones, *strides], [*ones, *dilations], *self._from))

    def by_channel(self, x: SSAValue, rank: int) -> SSAValue:
        """A vector with one entry a channel, so that it broadcasts to a tensor [batch, channel, …] of ``rank``."""
        return self.reshape(x, (1, *shape_of(x), *[1] * (rank - 2)))

    def constant(self, array: Array) -> SSAValue:
        return self._add(train.ConstantOp(dense(array)))

    def scalar(self, value: float) -> SSAValue:
        return self.constant(np.array(value, np.float32))

    def scale(self, x: SSAValue, factor: float) -> SSAValue:
        """``factor · x``; nothing where the factor is 1."""
        return x if factor == 1 else self.map("mul", x, self.scalar(factor))

    def without_gradient(self, x: SSAValue) -> SSAValue:
        """The same value, through which no gradient flows."""
        copy = train.MapOp("copy", [x], *self._from)
        copy.attributes["stop_gradient"] = UnitAttr()
        return self._add(copy)
