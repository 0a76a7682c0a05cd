"""The gradient rules: one row a primitive, all in ``RULES``.

A row is called with a builder, the operation, its result ``y`` and its operands.  It gives, per operand, a function that builds the
operand's gradient from the gradient ``g`` of ``y``, or None where no gradient flows; the caller calls only those that something
needs.  Gradients of broadcast operands are left in the result's shape: :func:`gradients` sums them back.

Where a function has a kink the rules follow JAX and PyTorch: relu and abs have gradient 0 at 0, leaky_relu 1.  At a tie, max and min
give the gradient to their first operand, so that a value on the bound of a Clip passes it; equal maxima of a reduction share it evenly,
those of a pooling window do not: the first gets it all.
"""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from xdsl.ir import Operation, SSAValue

from compiler.autodiff.builder import Builder
from compiler.dialects.dense import to_array
from compiler.dialects.train import (
    ConcatOp,
    ConstantOp,
    MapOp,
    PlaceOp,
    PoolOp,
    ProductOp,
    ReduceOp,
    SliceOp,
    TransposeOp,
    element_of,
    shape_of,
    to_ints,
)

Gradient = Callable[[SSAValue], SSAValue]
Rule = Callable[..., Sequence[Gradient | None]]


def key(op: Operation) -> str:
    """The row of ``RULES`` for an operation, for instance ``map tanh``, ``reduce sum`` or ``product``."""
    name = op.name.removeprefix("train.")
    return f"{name} {op.fn.data}" if isinstance(op, MapOp | ReduceOp | PoolOp) else name


def gradients(b: Builder, op: Operation) -> list[Gradient | None]:
    """How each operand of ``op`` gets its gradient, in the operand's shape."""

    def in_shape_of(x: SSAValue, gradient: Gradient) -> Gradient:
        return lambda g: b.unbroadcast(gradient(g), shape_of(x))

    rows = RULES[key(op)](b, op, op.results[0], *op.operands)
    return [row and in_shape_of(x, row) for x, row in zip(op.operands, rows, strict=True)]


def scalar(value: SSAValue) -> float | None:
    """The number a value is known to be, if it is a constant with one value throughout."""
    if not isinstance(value.owner, ConstantOp):
        return None
    values = np.unique(to_array(value.owner.value))
    return float(values[0]) if values.size == 1 else None


def _copy(b: Builder, op: Operation, y: SSAValue, x: SSAValue) -> Sequence[Gradient | None]:
    """A cast's gradient is cast back; a copy marked ``stop_gradient`` counts as a constant."""
    return (None,) if "stop_gradient" in op.attributes else (lambda g: b.cast(g, element_of(x)),)


def _pow(b: Builder, op: Operation, y: SSAValue, x: SSAValue, p: SSAValue) -> Sequence[Gradient | None]:
    """p·x^(p−1) and y·ln x; where p = 0 or x = 0 they are 0 in the limit, and must not become 0·∞."""
    exponent = scalar(p)

    def base(g: SSAValue) -> SSAValue:
        if exponent == 0:
            return b.map("mul", g, 0.0)
        if exponent is None:
            lower = b.map("pow", x, b.map("select", p, b.map("sub", p, 1.0), 1.0))
            return b.map("mul", g, b.map("mul", p, lower))
        lower = x if exponent == 2 else b.map("pow", x, exponent - 1)
        return b.map("mul", g, b.map("mul", lower, exponent))

    return base, lambda g: b.map("mul", g, b.map("mul", y, b.map("log", b.map("select", x, x, 1.0))))


def _reduce_max(b: Builder, op: Operation, y: SSAValue, x: SSAValue) -> Sequence[Gradient | None]:
    assert isinstance(op, ReduceOp)
    axes = to_ints(op.axes)

    def gradient(g: SSAValue) -> SSAValue:
        largest = b.map("eq", x, y)
        return b.map("mul", largest, b.map("div", g, b.reduce("sum", largest, axes)))

    return (gradient,)


def _transpose(b: Builder, op: Operation, y: SSAValue, x: SSAValue) -> Sequence[Gradient | None]:
    assert isinstance(op, TransposeOp)
    perm = to_ints(op.perm)
    return (lambda g: b.transpose(g, [perm.index(i) for i in range(len(perm))]),)


def _product(b: Builder, op: Operation, y: SSAValue, x: SSAValue, w: SSAValue) -> Sequence[Gradient | None]:
    """With dX = dY·Wᵀ and dW = Xᵀ·dY: the same named axes in another order, so nothing is transposed."""
    assert isinstance(op, ProductOp)
    of_x, of_w, of_y = op.stored
    return (
        lambda g: b.product(f"{of_y},{of_w}->{of_x}", g, w, "dx", shape_of(x)),
        lambda g: b.product(f"{of_x},{of_y}->{of_w}", x, g, "dw", shape_of(w)),
    )


def _slice(b: Builder, op: Operation, y: SSAValue, x: SSAValue) -> Sequence[Gradient | None]:
    """What was not taken has gradient 0."""
    assert isinstance(op, SliceOp)
    return (lambda g: b.place(g, to_ints(op.starts), to_ints(op.steps), shape_of(x)),)


def _place(b: Builder, op: Operation, y: SSAValue, x: SSAValue) -> Sequence[Gradient | None]:
    assert isinstance(op, PlaceOp)
    return (lambda g: b.slice(g, to_ints(op.starts), shape_of(x), to_ints(op.steps)),)


def _concat(b: Builder, op: Operation, y: SSAValue, *parts: SSAValue) -> Sequence[Gradient | None]:
    assert isinstance(op, ConcatOp)
    axis, end, rows = op.axis.value.data, 0, list[Gradient | None]()
    for part in parts:
        starts = [end if i == axis else 0 for i in range(len(shape_of(y)))]
        rows.append(partial(_part, b, starts, shape_of(part)))
        end += shape_of(part)[axis]
    return rows


def _part(b: Builder, starts: Sequence[int], sizes: Sequence[int], g: SSAValue) -> SSAValue:
    return b.slice(g, starts, sizes, [1] * len(sizes))


def _pool(b: Builder, op: Operation, y: SSAValue, x: SSAValue) -> Sequence[Gradient | None]:
    assert isinstance(op, PoolOp)
    return (lambda g: b.pool_grad(op, g),)


def _zero(b: Builder, op: Operation, y: SSAValue, *operands: SSAValue) -> Sequence[Gradient | None]:
    """Piecewise constant functions pass no gradient."""
    return (None,) * len(operands)


RULES: dict[str, Rule] = {
    "map copy": _copy,
    "map neg": lambda b, op, y, x: (lambda g: b.map("neg", g),),
    "map abs": lambda b, op, y, x: (lambda g: b.map("mul", g, b.map("sign", x)),),
    "map exp": lambda b, op, y, x: (lambda g: b.map("mul", g, y),),
    "map log": lambda b, op, y, x: (lambda g: b.map("div", g, x),),
    "map sqrt": lambda b, op, y, x: (lambda g: b.map("div", b.map("mul", g, 0.5), y),),
    "map reciprocal": lambda b, op, y, x: (lambda g: b.map("neg", b.map("mul", g, b.map("mul", y, y))),),
    "map tanh": lambda b, op, y, x: (lambda g: b.map("tanh_grad", g, y),),
    "map sigmoid": lambda b, op, y, x: (lambda g: b.map("sigmoid_grad", g, y),),
    "map erf": lambda b, op, y, x: (lambda g: b.map("erf_grad", g, x),),
    "map relu": lambda b, op, y, x: (lambda g: b.map("relu_grad", g, y),),
    "map leaky_relu": lambda b, op, y, x, a: (
        lambda g: b.map("leaky_relu_grad", g, x, a),
        lambda g: b.map("mul", g, b.map("min", x, 0.0)),
    ),
    "map add": lambda b, op, y, x, z: (lambda g: g, lambda g: g),
    "map sub": lambda b, op, y, x, z: (lambda g: g, lambda g: b.map("neg", g)),
    "map mul": lambda b, op, y, x, z: (lambda g: b.map("mul", g, z), lambda g: b.map("mul", g, x)),
    "map div": lambda b, op, y, x, z: (
        lambda g: b.map("div", g, z),
        lambda g: b.map("neg", b.map("div", b.map("mul", g, y), z)),
    ),
    "map max": lambda b, op, y, x, z: (
        lambda g: b.map("select", b.map("le", z, x), g, 0.0),
        lambda g: b.map("select", b.map("lt", x, z), g, 0.0),
    ),
    "map min": lambda b, op, y, x, z: (
        lambda g: b.map("select", b.map("le", x, z), g, 0.0),
        lambda g: b.map("select", b.map("lt", z, x), g, 0.0),
    ),
    "map pow": _pow,
    "map select": lambda b, op, y, c, x, z: (
        None,
        lambda g: b.map("select", c, g, 0.0),
        lambda g: b.map("select", c, 0.0, g),
    ),
    "map fma": lambda b, op, y, x, z, c: (
        lambda g: b.map("mul", g, z),
        lambda g: b.map("mul", g, x),
        lambda g: g,
    ),
    "map sign": _zero,
    "map eq": _zero,
    "map lt": _zero,
    "map le": _zero,
    "reduce sum": lambda b, op, y, x: (lambda g: b.broadcast(g, shape_of(x)),),
    "reduce max": _reduce_max,
    "reshape": lambda b, op, y, x: (lambda g: b.reshape(g, shape_of(x)),),
    "transpose": _transpose,
    "broadcast": lambda b, op, y, x: (lambda g: g,),
    "product": _product,
    "slice": _slice,
    "place": _place,
    "concat": _concat,
    "pool sum": _pool,
    "pool max": _pool,
}
