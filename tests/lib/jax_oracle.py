"""What a training step must give: ONNX executed and differentiated by JAX in float64, without any of this project's code.

``oracle`` returns values under the names the project's outputs have.  It also says how far they can be trusted in float32:
see :class:`Expected`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import jax_operators
import jax_windows
import numpy as np
import onnx
from jax_trace import Trace, attributes, wide
from onnx import numpy_helper

Arrays = Mapping[str, np.ndarray]

# Networks are small and each is executed twice: compiling fast matters more than running fast.
COMPILER = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}

DISTURBANCE = 2.0**-20
"""Relative size of the disturbance of each node's result that :attr:`Expected.sensitivity` is measured with: 16 float32 roundings."""


@dataclass(frozen=True)
class Expected:
    """The values of one step, and their conditioning.

    ``sensitivity``: per value, the largest change, relative to the value's largest entry, when every node's result is disturbed
    by DISTURBANCE; infinite for what is zero only by cancellation, not measured for large networks.
    ``kink``: the smallest distance of an entry from a kink (of Relu, Clip, …) it does not lie on exactly, relative to its tensor.
    ``stray``: how far a visited value lies at most from what is computed of those before it, relative to its largest entry.
    """

    values: dict[str, np.ndarray]
    sensitivity: dict[str, float]
    kink: float
    stray: float


OPERATORS = jax_operators.OPERATORS | jax_windows.OPERATORS
EXACT = jax_operators.EXACT | jax_windows.EXACT

SETTINGS = {"Pad": {1, 2, 3}, "Resize": {1, 2, 3}, "Upsample": {1}, "BatchNormalization": {3, 4}}
"""Operands of floating-point type that say what is done, or are statistics: they are no weights."""


def run_graph(model: onnx.ModelProto, leaves: Mapping[str, Any], trace: Trace) -> dict[str, Any]:
    """Every value of the graph by name, given those of its inputs and constants."""
    values = dict(leaves)
    for node in model.graph.node:
        if node.output[0] in values:
            continue
        operands = [values[name] if name else None for name in node.input]
        at = attributes(node) | ({"outputs": len(node.output)} if node.op_type == "Split" else {})
        if operands and all(v is None or _is_known_integer(v) for v in operands):
            with jax.ensure_compile_time_eval():  # shapes have to be known while the graph is traced
                results = jax.tree.map(np.asarray, OPERATORS[node.op_type](trace, at, *operands))
        else:
            results = OPERATORS[node.op_type](trace, at, *operands)
        for name, result in zip(node.output, results if isinstance(results, tuple) else (results,), strict=False):
            exact = node.op_type in EXACT or _is_known_integer(result)
            values[name] = trace.visit(name, result if exact else trace.disturb(name, result))
    return values


def _is_known_integer(value: Any) -> bool:
    return isinstance(value, np.ndarray | np.integer) and value.dtype.kind in "iub"


def opset_of(model: onnx.ModelProto) -> int:
    """Version of ONNX' own operators."""
    return next(int(entry.version) for entry in model.opset_import if entry.domain in ("", "ai.onnx"))


def constants(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    """What the model brings along: initializers, and what its Constant and ConstantOfShape nodes make; floats in float64."""
    known = {t.name: wide(numpy_helper.to_array(t)) for t in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type in ("Constant", "ConstantOfShape") and known.keys() >= set(node.input):
            known[node.output[0]] = OPERATORS[node.op_type](None, attributes(node), *(known[name] for name in node.input))
    return known


def reached(graph: onnx.GraphProto) -> set[str]:
    """The names the graph's outputs depend on, other than as settings."""
    names = {output.name for output in graph.output}
    for node in reversed(graph.node):
        if names & set(node.output):
            settings = SETTINGS.get(node.op_type, set())
            names |= {name for i, name in enumerate(node.input) if i not in settings}
    return names


def trained(model: onnx.ModelProto) -> list[str]:
    """The weights: constants of floating-point type and rank 1 or more that the outputs depend on, statistics left out."""
    used = reached(model.graph)
    return [name for name, value in constants(model).items() if value.dtype.kind == "f" and value.ndim and name in used]


def _loss(kind: str, model: onnx.ModelProto, values: Mapping[str, Any], labels: Any) -> Any:
    (output,) = model.graph.output
    if kind == "mse":
        return jnp.mean((values[output.name] - labels) ** 2)
    # A model that ends in Softmax over the classes is trained on the Softmax's input.
    last = next((n for n in model.graph.node if output.name in n.output), None)
    logits = values[output.name]
    if last is not None and last.op_type == "Softmax":
        axis = attributes(last).get("axis", 1 if opset_of(model) < 13 else -1)
        logits = values[last.input[0]] if axis % logits.ndim == 1 else logits
    logits = jnp.reshape(logits, logits.shape[:2])  # pixel dimensions of size 1 may be left
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(logits, axis=1), labels[:, None], axis=1))


def oracle(
    model: onnx.ModelProto,
    inputs: Arrays,
    loss: str | None = None,
    optimizer: Mapping[str, float] | None = None,
    input_grads: Sequence[str] = (),
    state: Arrays | None = None,
    large: bool = False,
    visited: Arrays | None = None,
) -> Expected:
    """One training step: outputs, ``loss``, ``grad/<name>``, and with an optimizer ``param/<name>``.

    ``inputs`` holds the graph's inputs, and ``labels`` with a loss, ``grad/<output>`` without.
    ``optimizer`` has ``lr``, ``momentum`` and ``weight_decay``.
    ``state`` holds weights that are not the model's any more, and velocities, which else are zero, as ``velocity/<name>``.
    ``large`` networks are compiled for speed and executed only once: their sensitivity is not measured.
    ``visited`` holds values of the graph as an execution in float32 had them: all that follows, and all gradients, are those at these
    values.  So both decide alike on which side of a kink an entry lies; among millions of entries some always lie nearer than roundings.
    """
    graph = model.graph
    state = state or {}
    weights = {name: state.get(name, value) for name, value in constants(model).items()}
    names = trained(model)
    outputs = [output.name for output in graph.output]
    given = {name: wide(np.asarray(value)) for name, value in inputs.items()}
    fixed = {name: value for name, value in {**weights, **given}.items() if name not in {*names, *input_grads}}

    def step(noise: Any, free: dict[str, Any]) -> Any:
        def forward(free: dict[str, Any]) -> Any:
            trace = Trace(noise, opset_of(model), visited=visited or {})
            values = run_graph(model, {**fixed, **free}, trace)
            found = {name: values[name] for name in outputs}
            if loss is not None:
                found["loss"] = _loss(loss, model, values, given["labels"])
            return found, (jnp.min(jnp.stack([jnp.inf, *trace.kinks])), jnp.max(jnp.stack([0.0, *trace.strays])))

        found, pull, distances = jax.vjp(forward, free, has_aux=True)
        seeds = {name: given[f"grad/{name}"] if loss is None else jnp.zeros_like(found[name]) for name in outputs}
        if loss is not None:
            seeds["loss"] = jnp.ones(())
        (grads,) = pull(seeds)
        return {**found, **{f"grad/{name}": g for name, g in grads.items()}}, distances

    free = {name: {**weights, **given}[name] for name in (*names, *input_grads)}
    compiled = jax.jit(step).lower(0.0, free).compile(None if large else COMPILER)
    results, (kink, stray) = compiled(0.0, free)
    disturbed = results if large else compiled(DISTURBANCE, free)[0]
    values = {name: np.asarray(value) for name, value in results.items()}
    sensitivity = {name: difference(np.asarray(disturbed[name]), value) for name, value in values.items()}
    if optimizer is not None:
        for name in names:
            updated = sgd(weights[name], values[f"grad/{name}"], state.get(f"velocity/{name}", 0.0), **optimizer)
            values[f"param/{name}"], velocity = updated
            if optimizer["momentum"]:
                values[f"param/velocity/{name}"] = velocity
    return Expected(values, sensitivity, float(kink), float(stray))


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
