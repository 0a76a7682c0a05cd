"""Operators that only change the shape; shape inference has already worked out which."""

from xdsl.ir import SSAValue

from compiler.decompose.table import Lowering, decomposes
from compiler.dialects.train import shape_of


@decomposes("Reshape", "Flatten", "Squeeze", "Unsqueeze")
def reshape(b: Lowering) -> SSAValue:
    return b.reshape(b.x, b.shape)


@decomposes("Transpose")
def transpose(b: Lowering) -> SSAValue:
    perm = b.node.get("perm")
    return b.transpose(b.x, tuple(reversed(range(len(shape_of(b.x))))) if perm is None else perm)
