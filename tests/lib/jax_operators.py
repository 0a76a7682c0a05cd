"""ONNX operators in JAX: arithmetic, activations, products of matrices, and shapes.

Each gets the trace, its attributes and its operands, None where an optional one is left out.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax_trace import Trace, f32, wide
from onnx import numpy_helper


def _gemm(t: Trace, at: dict[str, Any], a: Any, b: Any, c: Any = 0.0) -> Any:
    a = a.T if at.get("transA", 0) else a
    b = b.T if at.get("transB", 0) else b
    return at.get("alpha", 1.0) * (a @ b) + at.get("beta", 1.0) * c


def _relu(t: Trace, at: dict[str, Any], x: Any) -> Any:
    t.kink(x, 0.0)
    return jax.nn.relu(x)


def _gelu(t: Trace, at: dict[str, Any], x: Any) -> Any:
    """The constants are float32, as in the function body that defines the operator."""
    if at.get("approximate", b"none") == b"tanh":
        return 0.5 * x * (1 + jnp.tanh(f32(np.sqrt(2 / np.pi)) * (x + f32(0.044715) * x**3)))
    return 0.5 * x * (1 + jax.scipy.special.erf(f32(np.sqrt(0.5)) * x))


def _leaky_relu(t: Trace, at: dict[str, Any], x: Any) -> Any:
    t.kink(x, 0.0)
    return jax.nn.leaky_relu(x, at.get("alpha", f32(0.01)))


def _clip(t: Trace, at: dict[str, Any], x: Any, low: Any = None, high: Any = None) -> Any:
    low, high = (at.get(name) if bound is None else bound for name, bound in (("min", low), ("max", high)))
    for bound in (low, high):
        if bound is not None:
            t.kink(x, bound)
    return jnp.clip(x, low, high)


def _softmax(function: Callable[..., Any]) -> Callable[..., Any]:
    """Over one axis, or in older operator sets over all from one axis on."""

    def run(t: Trace, at: dict[str, Any], x: Any) -> Any:
        if t.opset >= 13:
            return function(x, axis=at.get("axis", -1))
        return function(x, axis=tuple(range(at.get("axis", 1) % x.ndim, x.ndim)))

    return run


def _div(t: Trace, at: dict[str, Any], a: Any, b: Any) -> Any:
    return a // b if a.dtype.kind == "i" else a / b


def _axes(at: dict[str, Any], axes: Any) -> tuple[int, ...] | None:
    """Axes come as an input or, in older operator sets, as an attribute."""
    found = at.get("axes") if axes is None else np.asarray(axes)
    return None if found is None or len(found) == 0 else tuple(int(a) for a in found)


def _reduce(function: Callable[..., Any]) -> Callable[..., Any]:
    def run(t: Trace, at: dict[str, Any], x: Any, axes: Any = None) -> Any:
        over = _axes(at, axes)
        if over is None and at.get("noop_with_empty_axes", 0):
            return x
        return function(x, axis=over, keepdims=bool(at.get("keepdims", 1)))

    return run


def _reshape(t: Trace, at: dict[str, Any], x: Any, shape: Any = None) -> Any:
    shape = at["shape"] if shape is None else shape
    keep = not at.get("allowzero", 0)
    return jnp.reshape(x, [x.shape[i] if n == 0 and keep else int(n) for i, n in enumerate(np.asarray(shape))])


def _flatten(t: Trace, at: dict[str, Any], x: Any) -> Any:
    axis = at.get("axis", 1)
    rows = int(np.prod(x.shape[: axis if axis >= 0 else axis + x.ndim], dtype=int))
    return jnp.reshape(x, (rows, -1))


def _cross_entropy(t: Trace, at: dict[str, Any], scores: Any, labels: Any, weight: Any = None) -> Any:
    log_p = jax.nn.log_softmax(scores, axis=1)
    ignored = at.get("ignore_index")
    counted = jnp.ones(labels.shape) if ignored is None else (labels != ignored) * 1.0
    chosen = jnp.where(counted > 0, labels, 0)
    each = -jnp.take_along_axis(log_p, jnp.expand_dims(chosen, 1), axis=1).squeeze(1)
    weights = counted if weight is None else weight[chosen] * counted
    reduction = at.get("reduction", b"mean").decode()
    if reduction == "none":
        return each * weights
    total = jnp.sum(each * weights)
    return total / jnp.sum(weights) if reduction == "mean" else total


def _constant(t: Trace, at: dict[str, Any]) -> Any:
    (name, value), *_ = at.items()
    if name == "value":
        return wide(numpy_helper.to_array(value))
    return np.asarray(value, np.float64 if name.startswith("value_float") else np.int64)


def _constant_of_shape(t: Trace, at: dict[str, Any], shape: Any) -> Any:
    value = numpy_helper.to_array(at["value"])[0] if "value" in at else np.float32(0)
    return wide(np.full([int(n) for n in shape], value))


OPERATORS: dict[str, Callable[..., Any]] = {
    "Gemm": _gemm,
    "MatMul": lambda t, at, a, b: jnp.matmul(a, b),
    "Add": lambda t, at, a, b: a + b,
    "Sub": lambda t, at, a, b: a - b,
    "Mul": lambda t, at, a, b: a * b,
    "Div": _div,
    "Pow": lambda t, at, a, b: jnp.power(a, b),
    "Relu": _relu,
    "LeakyRelu": _leaky_relu,
    "Sigmoid": lambda t, at, x: jax.nn.sigmoid(x),
    "Tanh": lambda t, at, x: jnp.tanh(x),
    "Erf": lambda t, at, x: jax.scipy.special.erf(x),
    "Gelu": _gelu,
    "Clip": _clip,
    "Softmax": _softmax(jax.nn.softmax),
    "LogSoftmax": _softmax(jax.nn.log_softmax),
    "Exp": lambda t, at, x: jnp.exp(x),
    "Log": lambda t, at, x: jnp.log(x),
    "Sqrt": lambda t, at, x: jnp.sqrt(x),
    "Neg": lambda t, at, x: -x,
    "ReduceSum": _reduce(jnp.sum),
    "ReduceMean": _reduce(jnp.mean),
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Transpose": lambda t, at, x: jnp.transpose(x, at.get("perm")),
    "Squeeze": lambda t, at, x, axes=None: jnp.squeeze(x, _axes(at, axes)),
    "Unsqueeze": lambda t, at, x, axes=None: jnp.expand_dims(x, _axes(at, axes)),
    "Identity": lambda t, at, x: x,
    # Everything is float64 here; a cast to a narrower type is not rounded.
    "Cast": lambda t, at, x: x,
    "Dropout": lambda t, at, x, ratio=None, training=None: x,
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "SoftmaxCrossEntropyLoss": _cross_entropy,
}

EXACT = {"Relu", "Clip", "Neg", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Identity", "Cast", "Dropout"}
"""Operators that round nothing."""
