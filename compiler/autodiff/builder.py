"""Appends ``train`` operations to a block, all of one layer and one role: what gradient rules and losses are written with."""

from collections.abc import Sequence
from math import prod

import numpy as np
from xdsl.ir import Attribute, Block, Operation, SSAValue

from compiler.dialects.dense import dense, numpy_type
from compiler.dialects.train import (
    BroadcastOp,
    ConcatOp,
    ConstantOp,
    MapOp,
    PlaceOp,
    PoolGradOp,
    PoolOp,
    ProductOp,
    ReduceOp,
    ReshapeOp,
    SliceOp,
    TransposeOp,
    element_of,
    shape_of,
)

Operand = SSAValue | float


class Builder:
    """Every method appends one operation, or none where nothing would change, and returns its value."""

    def __init__(self, block: Block, layer: str, role: str = "grad") -> None:
        self.block, self.layer, self.role = block, layer, role

    def _append(self, op: Operation) -> SSAValue:
        self.block.add_op(op)
        return op.results[0]

    def constant(self, element: Attribute, values: float | Sequence[float], shape: Sequence[int] = ()) -> SSAValue:
        """A constant of ``shape``: one value for all of it, or its values in row-major order."""
        array = np.broadcast_to(np.array(values, numpy_type(element)), (prod(shape),)).reshape(shape)
        return self._append(ConstantOp(dense(array)))

    def map(self, fn: str, *operands: Operand) -> SSAValue:
        """An elementwise function; numbers become scalar constants of the first tensor's element type."""
        element = next(element_of(v) for v in operands if isinstance(v, SSAValue))
        values = [v if isinstance(v, SSAValue) else self.constant(element, v) for v in operands]
        return self._append(MapOp(fn, values, self.layer, self.role, element))

    def cast(self, x: SSAValue, element: Attribute) -> SSAValue:
        """``x`` as another element type."""
        return x if element_of(x) == element else self._append(MapOp("copy", [x], self.layer, self.role, element))

    def reduce(self, fn: str, x: SSAValue, axes: Sequence[int]) -> SSAValue:
        """Sum or maximum over ``axes``, which stay with size 1."""
        return self._append(ReduceOp(fn, x, axes, self.layer, self.role)) if axes else x

    def reshape(self, x: SSAValue, shape: Sequence[int]) -> SSAValue:
        return x if shape_of(x) == tuple(shape) else self._append(ReshapeOp(x, shape, self.layer, self.role))

    def transpose(self, x: SSAValue, perm: Sequence[int]) -> SSAValue:
        return self._append(TransposeOp(x, perm, self.layer, self.role))

    def broadcast(self, x: SSAValue, shape: Sequence[int]) -> SSAValue:
        return x if shape_of(x) == tuple(shape) else self._append(BroadcastOp(x, shape, self.layer, self.role))

    def unbroadcast(self, g: SSAValue, shape: Sequence[int]) -> SSAValue:
        """The transpose of broadcasting ``shape`` to the shape of ``g``: sums over every dimension that was repeated."""
        have = shape_of(g)
        aligned = (1,) * (len(have) - len(shape)) + tuple(shape)
        axes = [i for i, (n, want) in enumerate(zip(have, aligned, strict=True)) if n != want]
        return self.reshape(self.reduce("sum", g, axes), shape)

    def product(self, axes: str, lhs: SSAValue, rhs: SSAValue, role: str, shape: Sequence[int] | None = None) -> SSAValue:
        """A matrix product or convolution; its role is its own (fwd, dx or dw).

        ``shape`` of the result has to be given where a dimension of it is an expression of several axes.
        """
        return self._append(ProductOp(axes, lhs, rhs, self.layer, role, shape))

    def slice(self, x: SSAValue, starts: Sequence[int], sizes: Sequence[int], steps: Sequence[int]) -> SSAValue:
        """In each dimension ``size`` entries from ``start`` on, ``step`` apart."""
        return self._append(SliceOp(x, starts, sizes, steps, self.layer, self.role))

    def place(self, x: SSAValue, starts: Sequence[int], steps: Sequence[int], shape: Sequence[int], value: float = 0.0) -> SSAValue:
        """A tensor full of ``value`` with ``x`` at ``starts``, its entries ``steps`` apart."""
        return self._append(PlaceOp(x, starts, steps, shape, value, self.layer, self.role))

    def concat(self, parts: Sequence[SSAValue], axis: int) -> SSAValue:
        """Tensors one after the other along an axis."""
        return self._append(ConcatOp(parts, axis, self.layer, self.role))

    def pool(self, fn: str, x: SSAValue, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]) -> SSAValue:
        """Maximum or sum over sliding windows; all three lists have an entry for each dimension."""
        return self._append(PoolOp(fn, x, kernel, strides, dilations, self.layer, self.role))

    def pool_grad(self, pool: PoolOp, g: SSAValue) -> SSAValue:
        """The gradient of a pool's input from that of its result."""
        return self._append(PoolGradOp(pool, g, self.layer, self.role))
