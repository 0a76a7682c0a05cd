"""Random networks of the supported ONNX operators, as a hypothesis strategy, so that a failure shrinks to a small one.

A network is grown node by node: each step draws an operator and an operand among the tensors there are.  What is badly conditioned
in spite of the care taken is recognised by the oracle and not used.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import onnx
from hypothesis import strategies as st
from jax_oracle import trained
from network_builder import LARGEST, SIZES, Network, Value
from network_steps import STEPS, cross_entropy_node, gemm, matmul
from onnx import TensorProto, helper

SCHEDULES = ("interleaved", "tile-interleaved", "sequential", "turned", "ws", "os", "is", "best-sequential")

SMOOTH = {
    *("Sigmoid", "Tanh", "Softmax", "LogSoftmax", "Exp", "Log", "Sqrt", "Pow", "Div", "SoftmaxCrossEntropyLoss"),
    *("BatchNormalization", "LRN", "Elu", "HardSwish", "Erf", "Gelu"),
}
"""Operators of a network that is no longer products and piecewise-linear functions."""


@dataclass(frozen=True)
class Options:
    """How a network is compiled: the array, the schedule, and what is trained."""

    rows: int = 4
    cols: int = 3
    schedule: str = "interleaved"
    double_buffer: bool = True
    fused_update: bool = False
    loss: str | None = None
    optimizer: dict[str, float] | None = None
    """``lr``, ``momentum`` and ``weight_decay`` of sgd."""
    input_grads: tuple[str, ...] = ()
    arrays: int = 1
    partition: str = "auto"


@dataclass(frozen=True)
class Case:
    """A network, what goes in, how it is compiled, and how near the results must be, relative to each tensor's largest entry."""

    model: onnx.ModelProto
    inputs: dict[str, np.ndarray]
    options: Options
    tolerance: float

    def __repr__(self) -> str:
        return f"{self.options}\n{onnx.printer.to_text(self.model)}"


@st.composite
def networks(draw: Callable[..., Any]) -> Case:
    """Random cases: network, data, and options."""
    n = Network(draw, draw(st.sampled_from((21, 17, 13))), np.random.default_rng(draw(st.integers(0, 2**32 - 1))))
    shape = tuple(draw(st.lists(st.sampled_from(SIZES), min_size=2, max_size=3).filter(lambda s: prod(s) <= LARGEST // 2)))
    n.inputs.append(helper.make_tensor_value_info("x", TensorProto.FLOAT, shape))
    n.data["x"] = n.rng.normal(size=shape).astype(np.float32)
    n.pool.append(Value("x", shape, 1.0))
    first = gemm if len(shape) == 2 else matmul
    for step in [first, *draw(st.lists(st.sampled_from(STEPS), max_size=9))]:
        value = step(n)
        if value is not None and 1e-6 < value.scale < 1e6:
            n.pool.append(value)
    if n.one_of((False, False, False, True)) and (value := cross_entropy_node(n)) is not None:
        n.pool.append(value)

    return finish(n, largest_array=40)


def finish(n: Network, largest_array: int) -> Case:
    """The grown network as a case: its outputs are its last tensor and perhaps another; the options are drawn."""
    draw = n.draw
    outputs = [n.pool[-1]]
    others = n.pool[1:-1]
    if others and n.one_of((False, False, True)):
        outputs.append(n.one_of(others))
    model = _model(n, outputs)
    losses = [None]
    if len(outputs) == 1 and "classes" not in n.data:
        losses += ["mse", "softmax-cross-entropy"] if len(outputs[0].shape) == 2 and outputs[0].scale < 4 else ["mse"]
    options = Options(
        rows=draw(st.integers(1, largest_array)),
        cols=draw(st.integers(1, largest_array)),
        schedule=draw(st.sampled_from(SCHEDULES)),
        double_buffer=draw(st.booleans()),
        fused_update=draw(st.booleans()),
        loss=draw(st.sampled_from(losses)),
        optimizer=draw(st.none() | st.fixed_dictionaries(_SGD)) if trained(model) else None,
        input_grads=draw(st.sampled_from(((), ("x",)))),
    )
    op_types = {node.op_type for node in n.nodes}
    smooth = op_types & SMOOTH or options.loss == "softmax-cross-entropy"
    return Case(model, _data(n, outputs, options.loss), options, 1e-4 if smooth else 1e-5)


_SGD = {"lr": st.sampled_from((0.1, 0.02)), "momentum": st.sampled_from((0.0, 0.9)), "weight_decay": st.sampled_from((0.0, 0.01))}


def _model(n: Network, outputs: Sequence[Value]) -> onnx.ModelProto:
    results = [helper.make_tensor_value_info(v.name, TensorProto.FLOAT, v.shape) for v in outputs]
    graph = helper.make_graph(n.nodes, "random", n.inputs, results, n.initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", n.opset)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model


def _data(n: Network, outputs: Sequence[Value], loss: str | None) -> dict[str, np.ndarray]:
    data = dict(n.data)
    if loss is None:
        for v in outputs:
            data[f"grad/{v.name}"] = n.rng.normal(size=v.shape).astype(np.float32)
    elif loss == "mse":
        data["labels"] = n.rng.normal(size=outputs[0].shape).astype(np.float32)
    else:
        rows, classes = outputs[0].shape
        data["labels"] = n.rng.integers(0, classes, rows).astype(np.int32)
    return data
