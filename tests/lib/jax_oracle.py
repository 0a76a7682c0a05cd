"""What a training step must give: ONNX executed and differentiated by JAX in float64, without any of this project's code.

``oracle`` returns values under the names the project's outputs have.  It also says how far they can be trusted in float32:
see :class:`Expected`.
"""

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import onnx
from onnx import helper, numpy_helper

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_platforms", "cpu")

Arrays = Mapping[str, np.ndarray]

# Networks are small and each is executed twice: compiling fast matters more than running fast.
COMPILER = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}

DISTURBANCE = 2.0**-20
"""Relative size of the disturbance of each node's result that :attr:`Expected.sensitivity` is measured with: 16 float32 roundings."""


@dataclass(frozen=True)
class Expected:
    """The values of one step, and their conditioning.

    ``sensitivity``: per value, the largest change, relative to the value's largest entry, when every node's result is disturbed
    by DISTURBANCE; infinite for what is zero only by cancellation.
    ``kink``: the smallest distance of an entry from a kink (of Relu, Clip, …) it does not lie on exactly, relative to its tensor.
    """

    values: dict[str, np.ndarray]
    sensitivity: dict[str, float]
    kink: float


@dataclass
class _Trace:
    """What one execution of the graph leaves besides its outputs."""

    noise: Any
    kinks: list[Any] = field(default_factory=list)

    def disturb(self, name: str, value: Any) -> Any:
        generator = np.random.default_rng(zlib.crc32(name.encode()))
        return value * (1 + self.noise * generator.uniform(-1, 1, value.shape))

    def kink(self, x: Any, *at: float) -> None:
        for place in at:
            distance = jnp.abs(x - place)
            scale = jnp.maximum(jnp.max(jnp.abs(x)), 1e-300)
            self.kinks.append(jnp.min(jnp.where(distance == 0, jnp.inf, distance / scale)))


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """The node's attributes as Python values."""
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}


def _gemm(t: _Trace, at: dict[str, Any], a: Any, b: Any, c: Any = 0.0) -> Any:
    a = a.T if at.get("transA", 0) else a
    b = b.T if at.get("transB", 0) else b
    return at.get("alpha", 1.0) * (a @ b) + at.get("beta", 1.0) * c


def _relu(t: _Trace, at: dict[str, Any], x: Any) -> Any:
    t.kink(x, 0.0)
    return jax.nn.relu(x)


def _leaky_relu(t: _Trace, at: dict[str, Any], x: Any) -> Any:
    t.kink(x, 0.0)
    return jax.nn.leaky_relu(x, at.get("alpha", float(np.float32(0.01))))


def _clip(t: _Trace, at: dict[str, Any], x: Any, low: Any = None, high: Any = None) -> Any:
    for bound in (low, high):
        if bound is not None:
            t.kink(x, bound)
    return jnp.clip(x, low, high)


def _axes(at: dict[str, Any], axes: Any) -> tuple[int, ...] | None:
    """Axes come as an input or, in older operator sets, as an attribute."""
    found = at.get("axes") if axes is None else np.asarray(axes)
    return None if found is None or len(found) == 0 else tuple(int(a) for a in found)


def _reduce(function: Callable[..., Any]) -> Callable[..., Any]:
    def run(t: _Trace, at: dict[str, Any], x: Any, axes: Any = None) -> Any:
        over = _axes(at, axes)
        if over is None and at.get("noop_with_empty_axes", 0):
            return x
        return function(x, axis=over, keepdims=bool(at.get("keepdims", 1)))

    return run


def _reshape(t: _Trace, at: dict[str, Any], x: Any, shape: Any) -> Any:
    keep = not at.get("allowzero", 0)
    return jnp.reshape(x, [x.shape[i] if n == 0 and keep else int(n) for i, n in enumerate(np.asarray(shape))])


def _flatten(t: _Trace, at: dict[str, Any], x: Any) -> Any:
    axis = at.get("axis", 1)
    rows = int(np.prod(x.shape[: axis if axis >= 0 else axis + x.ndim], dtype=int))
    return jnp.reshape(x, (rows, -1))


def _cross_entropy(t: _Trace, at: dict[str, Any], scores: Any, labels: Any, weight: Any = None) -> Any:
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


def _constant(t: _Trace, at: dict[str, Any]) -> Any:
    (name, value), *_ = at.items()
    if name == "value":
        return _wide(numpy_helper.to_array(value))
    return np.asarray(value, np.float64 if name.startswith("value_float") else np.int64)


def _constant_of_shape(t: _Trace, at: dict[str, Any], shape: Any) -> Any:
    value = numpy_helper.to_array(at["value"])[0] if "value" in at else np.float32(0)
    return _wide(np.full([int(n) for n in shape], value))


OPERATORS: dict[str, Callable[..., Any]] = {
    "Gemm": _gemm,
    "MatMul": lambda t, at, a, b: jnp.matmul(a, b),
    "Add": lambda t, at, a, b: a + b,
    "Sub": lambda t, at, a, b: a - b,
    "Mul": lambda t, at, a, b: a * b,
    "Div": lambda t, at, a, b: a / b,
    "Pow": lambda t, at, a, b: jnp.power(a, b),
    "Relu": _relu,
    "LeakyRelu": _leaky_relu,
    "Sigmoid": lambda t, at, x: jax.nn.sigmoid(x),
    "Tanh": lambda t, at, x: jnp.tanh(x),
    "Clip": _clip,
    "Softmax": lambda t, at, x: jax.nn.softmax(x, axis=at.get("axis", -1)),
    "LogSoftmax": lambda t, at, x: jax.nn.log_softmax(x, axis=at.get("axis", -1)),
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


def _wide(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float64) if array.dtype.kind in "fV" else array


def run_graph(graph: onnx.GraphProto, leaves: Mapping[str, Any], trace: _Trace) -> dict[str, Any]:
    """Every value of the graph by name, given those of its inputs and constants."""
    values = dict(leaves)
    for node in graph.node:
        if node.output[0] not in values:
            operands = [values[name] if name else None for name in node.input]
            result = OPERATORS[node.op_type](trace, attributes(node), *operands)
            values[node.output[0]] = result if node.op_type in EXACT else trace.disturb(node.output[0], result)
    return values


def constants(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    """What the model brings along: initializers, and what its Constant and ConstantOfShape nodes make; floats in float64."""
    known = {t.name: _wide(numpy_helper.to_array(t)) for t in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type in ("Constant", "ConstantOfShape"):
            known[node.output[0]] = OPERATORS[node.op_type](None, attributes(node), *(known[name] for name in node.input))
    return known


def reached(graph: onnx.GraphProto) -> set[str]:
    """The names the graph's outputs depend on."""
    names = {output.name for output in graph.output}
    for node in reversed(graph.node):
        if names & set(node.output):
            names |= set(node.input)
    return names


def trained(model: onnx.ModelProto) -> list[str]:
    """The weights: constants of floating-point type and rank 1 or more that the outputs depend on."""
    used = reached(model.graph)
    return [name for name, value in constants(model).items() if value.dtype.kind == "f" and value.ndim and name in used]


def _loss(kind: str, model: onnx.ModelProto, values: Mapping[str, Any], labels: Any) -> Any:
    (output,) = model.graph.output
    if kind == "mse":
        return jnp.mean((values[output.name] - labels) ** 2)
    # A model that ends in Softmax over the classes is trained on the Softmax's input.
    last = next((n for n in model.graph.node if output.name in n.output), None)
    is_softmax = last is not None and last.op_type == "Softmax" and attributes(last).get("axis", -1) in (1, -1)
    logits = values[last.input[0] if is_softmax else output.name]
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(logits, axis=1), labels[:, None], axis=1))


def oracle(
    model: onnx.ModelProto,
    inputs: Arrays,
    loss: str | None = None,
    optimizer: Mapping[str, float] | None = None,
    input_grads: Sequence[str] = (),
    state: Arrays | None = None,
) -> Expected:
    """One training step: outputs, ``loss``, ``grad/<name>``, and with an optimizer ``param/<name>``.

    ``inputs`` holds the graph's inputs, and ``labels`` with a loss, ``grad/<output>`` without.
    ``optimizer`` has ``lr``, ``momentum`` and ``weight_decay``.
    ``state`` holds weights that are not the model's any more, and velocities, which else are zero, as ``velocity/<name>``.
    """
    graph = model.graph
    state = state or {}
    weights = {name: state.get(name, value) for name, value in constants(model).items()}
    names = trained(model)
    outputs = [output.name for output in graph.output]
    given = {name: _wide(np.asarray(value)) for name, value in inputs.items()}
    fixed = {name: value for name, value in {**weights, **given}.items() if name not in {*names, *input_grads}}

    def step(noise: Any, free: dict[str, Any]) -> Any:
        def forward(free: dict[str, Any]) -> Any:
            trace = _Trace(noise)
            values = run_graph(graph, {**fixed, **free}, trace)
            found = {name: values[name] for name in outputs}
            if loss is not None:
                found["loss"] = _loss(loss, model, values, given["labels"])
            return found, jnp.min(jnp.stack([jnp.inf, *trace.kinks]))

        found, pull, kink = jax.vjp(forward, free, has_aux=True)
        seeds = {name: given[f"grad/{name}"] if loss is None else jnp.zeros_like(found[name]) for name in outputs}
        if loss is not None:
            seeds["loss"] = jnp.ones(())
        (grads,) = pull(seeds)
        return {**found, **{f"grad/{name}": g for name, g in grads.items()}}, kink

    free = {name: {**weights, **given}[name] for name in (*names, *input_grads)}
    compiled = jax.jit(step).lower(0.0, free).compile(COMPILER)
    results, kink = compiled(0.0, free)
    disturbed, _ = compiled(DISTURBANCE, free)
    values = {name: np.asarray(value) for name, value in results.items()}
    sensitivity = {name: difference(np.asarray(disturbed[name]), value) for name, value in values.items()}
    if optimizer is not None:
        for name in names:
            updated = sgd(weights[name], values[f"grad/{name}"], state.get(f"velocity/{name}", 0.0), **optimizer)
            values[f"param/{name}"], velocity = updated
            if optimizer["momentum"]:
                values[f"param/velocity/{name}"] = velocity
    return Expected(values, sensitivity, float(kink))


def sgd(w: Any, g: Any, v: Any, lr: float, momentum: float, weight_decay: float) -> tuple[Any, Any]:
    """One step of stochastic gradient descent: the new weight and the new velocity."""
    v = momentum * v + (g + weight_decay * w)
    return w - lr * v, v


def difference(got: np.ndarray, want: np.ndarray) -> float:
    """The largest difference, relative to the largest entry that is wanted; 0 if both are zero, infinite if only that is."""
    if want.size == 0 or np.array_equal(got, want):
        return 0.0
    largest = float(np.max(np.abs(want)))
    worst = float(np.max(np.abs(got - want)))
    return worst / largest if largest > 0 and np.isfinite(worst) else float("inf")
