"""Matrix products: Gemm and MatMul."""

import math

import numpy as np
from xdsl.ir import SSAValue

from compiler.decompose.table import Lowering, decomposes
from compiler.dialects.train import shape_of


@decomposes("Gemm")
def gemm(b: Lowering) -> SSAValue:
    """One product, scaled by alpha, plus beta · C; A and B perhaps stored transposed."""
    lhs = "kb" if b.node.get("transA") else "bk"
    rhs = "nk" if b.node.get("transB") else "kn"
    y = b.scale(b.product(f"{lhs},{rhs}->bn", b.x, b.input(1)), b.node.get("alpha"))
    bias = b.optional(2)
    return y if bias is None else b.map("add", y, b.scale(bias, b.node.get("beta")))


@decomposes("MatMul")
def matmul(b: Lowering) -> SSAValue:
    """NumPy's matmul: vectors become matrices, leading dimensions broadcast.

    Against one matrix, leading dimensions are rows like all others: one product, not many.
    """
    x, w = b.x, b.input(1)
    if len(shape_of(x)) == 1:
        x = b.reshape(x, (1, *shape_of(x)))
    if len(shape_of(w)) == 1:
        w = b.reshape(w, (*shape_of(w), 1))
    *x_batch, rows, inner = shape_of(x)
    *w_batch, _, columns = shape_of(w)
    if math.prod(w_batch) == 1:
        flat = b.reshape(x, (math.prod(x_batch) * rows, inner))
        return b.reshape(b.product("bk,kn->bn", flat, b.reshape(w, (inner, columns))), b.shape)
    batch = np.broadcast_shapes(tuple(x_batch), tuple(w_batch))
    count = math.prod(batch)
    x = b.reshape(b.broadcast(x, (*batch, rows, inner)), (count, rows, inner))
    w = b.reshape(b.broadcast(w, (*batch, inner, columns)), (count, inner, columns))
    return b.reshape(b.product("gbk,gkn->gbn", x, w), b.shape)
