"""Operators that only change or repeat the shape; shape inference has already worked out which."""

from xdsl.ir import SSAValue

from compiler.decompose.table import Lowering, decomposes
from compiler.dialects.train import shape_of


@decomposes("Reshape", "Flatten", "Squeeze", "Unsqueeze")
def reshape(b: Lowering) -> SSAValue:
    return b.reshape(b.x, b.shape)


@decomposes("Expand")
def expand(b: Lowering) -> SSAValue:
    return b.broadcast(b.x, b.shape)


@decomposes("Tile")
def tile(b: Lowering) -> SSAValue:
    """Along each axis, the tensor repeated under a dimension of its own."""
    y = b.x
    for axis, wanted in enumerate(b.shape):
        shape = shape_of(y)
        repeated = b.broadcast(
            b.reshape(y, (*shape[:axis], 1, *shape[axis:])), (*shape[:axis], wanted // max(shape[axis], 1), *shape[axis:])
        )
        y = b.reshape(repeated, (*shape[:axis], wanted, *shape[axis + 1 :]))
    return y


@decomposes("Transpose")
def transpose(b: Lowering) -> SSAValue:
    perm = b.node.get("perm")
    return b.transpose(b.x, tuple(reversed(range(len(shape_of(b.x))))) if perm is None else perm)
