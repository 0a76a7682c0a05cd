"""Elementwise operators: mostly one function of the vector unit each."""

from collections.abc import Callable

import numpy as np
from xdsl.ir import SSAValue

from compiler.decompose.table import Lowering, decomposes
from compiler.dialects.train import element_of


@decomposes("Add", "Sub", "Mul", "Div", "Relu", "Sigmoid", "Tanh", "Exp", "Log", "Sqrt", "Neg")
def same_name(b: Lowering) -> SSAValue:
    """The vector unit has the operator under its lower-case name; operands broadcast."""
    operands = [b.input(index) for index in range(len(b.inputs))]
    return b.map(b.node.operator.name.lower(), *operands)


@decomposes("LeakyRelu")
def leaky_relu(b: Lowering) -> SSAValue:
    return b.map("leaky_relu", b.x, b.scalar(b.node.get("alpha")))


@decomposes("Clip")
def clip(b: Lowering) -> SSAValue:
    """min(max(x, low), high), in ONNX's order: the upper bound wins where the bounds cross."""
    y = b.x
    for fn, bound in (("max", b.optional(1)), ("min", b.optional(2))):
        if bound is not None:
            y = b.map(fn, y, bound)
    return y


_POWERS: dict[float, Callable[[Lowering, SSAValue], SSAValue]] = {
    -1.0: lambda b, x: b.map("reciprocal", x),
    -0.5: lambda b, x: b.map("reciprocal", b.map("sqrt", x)),
    0.0: lambda b, x: b.scalar(1.0),
    0.5: lambda b, x: b.map("sqrt", x),
    1.0: lambda b, x: x,
    2.0: lambda b, x: b.map("mul", x, x),
    3.0: lambda b, x: b.map("mul", b.map("mul", x, x), x),
}
"""Exponents for which there is something cheaper than pow, with cheaper gradients."""


@decomposes("Pow")
def power(b: Lowering) -> SSAValue:
    exponent = b.node.constant(1)
    assert exponent is not None
    exponent = exponent.astype(np.float32)
    values = np.unique(exponent)
    if values.size == 1 and float(values[0]) in _POWERS:
        return b.broadcast(_POWERS[float(values[0])](b, b.x), b.shape)
    return b.map("pow", b.x, b.constant(exponent))


@decomposes("Identity", "Dropout")
def identity(b: Lowering) -> SSAValue:
    """Dropout is the identity in inference, and as such it is compiled."""
    return b.x


@decomposes("Cast")
def cast(b: Lowering) -> SSAValue:
    element = element_of(b.node.outs[0])
    return b.x if element == element_of(b.x) else b.map("copy", b.x, element=element)
