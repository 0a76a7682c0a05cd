"""Elementwise operators: mostly one function of the vector unit each."""

import math
from collections.abc import Callable

import numpy as np
from xdsl.ir import SSAValue

from compiler.decompose.table import Lowering, decomposes
from compiler.dialects.train import element_of


@decomposes("Add", "Sub", "Mul", "Div", "Relu", "Sigmoid", "Tanh", "Exp", "Log", "Sqrt", "Neg", "Abs", "Reciprocal", "Erf")
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


@decomposes("Sum", "Mean", "Max", "Min")
def variadic(b: Lowering) -> SSAValue:
    """One input after the other."""
    name = b.node.operator.name
    fn = {"Sum": "add", "Mean": "add"}.get(name, name.lower())
    y = b.x
    for index in range(1, len(b.inputs)):
        y = b.map(fn, y, b.input(index))
    return b.map("div", y, b.scalar(len(b.inputs))) if name == "Mean" else y


@decomposes("PRelu")
def prelu(b: Lowering) -> SSAValue:
    return b.map("leaky_relu", b.x, b.input(1))


@decomposes("HardSigmoid")
def hard_sigmoid(b: Lowering) -> SSAValue:
    """max(0, min(1, α·x + β))."""
    return _ramp(b, b.node.get("alpha"), b.node.get("beta"))


@decomposes("HardSwish")
def hard_swish(b: Lowering) -> SSAValue:
    return b.map("mul", b.x, _ramp(b, 1 / 6, 0.5))


def _ramp(b: Lowering, slope: float, offset: float) -> SSAValue:
    line = b.map("fma", b.x, b.scalar(slope), b.scalar(offset))
    return b.map("max", b.map("min", line, b.scalar(1.0)), b.scalar(0.0))


@decomposes("Elu")
def elu(b: Lowering) -> SSAValue:
    return _elu(b)


@decomposes("Selu")
def selu(b: Lowering) -> SSAValue:
    return b.scale(_elu(b), b.node.get("gamma"))


def _elu(b: Lowering) -> SSAValue:
    """relu(x) + α·(exp(min(x, 0)) − 1); at 0 the gradient is that of the exponential, as in JAX and PyTorch."""
    powers = b.map("exp", b.map("min", b.x, b.scalar(0.0)))
    alpha = b.node.get("alpha")
    return b.map("add", b.map("relu", b.x), b.map("fma", powers, b.scalar(alpha), b.scalar(-alpha)))


@decomposes("Softplus")
def softplus(b: Lowering) -> SSAValue:
    """ln(1 + eˣ) as m + ln(eˣ⁻ᵐ + e⁻ᵐ) with m = max(x, 0): no power overflows, and the gradient through m cancels."""
    m = b.without_gradient(b.map("relu", b.x))
    powers = b.map("add", b.map("exp", b.map("sub", b.x, m)), b.map("exp", b.map("neg", m)))
    return b.map("add", m, b.map("log", powers))


@decomposes("Gelu")
def gelu(b: Lowering) -> SSAValue:
    """x·Φ(x) with Φ(x) = ½ + ½·erf(x/√2), or its approximation ½ + ½·tanh(√(2/π)·(x + 0.044715·x³))."""
    x = b.x
    if b.node.get("approximate") == "tanh":
        bend = b.map("fma", b.map("mul", x, x), b.scalar(0.044715), b.scalar(1.0))
        s = b.map("tanh", b.scale(b.map("mul", x, bend), math.sqrt(2 / math.pi)))
    else:
        s = b.map("erf", b.scale(x, math.sqrt(0.5)))
    return b.map("mul", x, b.map("fma", s, b.scalar(0.5), b.scalar(0.5)))


@decomposes("Identity", "Dropout")
def identity(b: Lowering) -> SSAValue:
    """Dropout is the identity in inference, and as such it is compiled."""
    return b.x


@decomposes("Cast")
def cast(b: Lowering) -> SSAValue:
    element = element_of(b.node.outs[0])
    return b.x if element == element_of(b.x) else b.map("copy", b.x, element=element)
