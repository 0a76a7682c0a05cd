"""ONNX's own tests of its operators, as cases for whatever executes a model forward.

``node_cases`` sorts them by what issue they raise for the project, without asking its code; ``check_cases`` runs them on an executor.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.backend.test.case.node import collect_testcases

Array = np.ndarray[Any, np.dtype[Any]]
Execute = Callable[[onnx.ModelProto, Mapping[str, Array], int | None], Mapping[str, Array]]
"""Outputs by name, from a model, its inputs and its batch size (None: the model has one)."""

OPERATORS = frozenset(
    [
        *("Gemm", "MatMul", "Add", "Sub", "Mul", "Div", "Relu", "LeakyRelu", "Sigmoid", "Tanh", "Clip", "Softmax", "LogSoftmax"),
        *("Exp", "Log", "Sqrt", "Neg", "Pow", "ReduceSum", "ReduceMean", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze"),
        *("Identity", "Cast", "Dropout", "Constant", "ConstantOfShape", "SoftmaxCrossEntropyLoss", "NegativeLogLikelihoodLoss"),
        *("Conv", "ConvTranspose", "MaxPool", "AveragePool", "GlobalMaxPool", "GlobalAveragePool", "LRN"),
        *("BatchNormalization", "InstanceNormalization", "LayerNormalization"),
        *("Concat", "Split", "Slice", "Pad", "Gather", "Expand", "Tile", "Resize", "Shape", "Size"),
        *("Sum", "Mean", "Max", "Min", "PRelu", "HardSigmoid", "HardSwish", "Elu", "Selu", "Softplus", "Abs", "Reciprocal", "Erf", "Gelu"),
    ]
)

CONSTANT_INPUTS = {
    ("Pow", 1), ("ReduceSum", 1), ("ReduceMean", 1), ("Reshape", 1), ("Squeeze", 1), ("Unsqueeze", 1), ("Dropout", 1), ("Dropout", 2),
    ("ConstantOfShape", 0), ("Split", 1), *(("Slice", i) for i in (1, 2, 3, 4)), *(("Pad", i) for i in (1, 2, 3)),
    ("Gather", 1), ("Expand", 1), ("Tile", 1),
    *(("Resize", i) for i in (1, 2, 3)),
}  # fmt: skip
"""Inputs that are constants in any model this project compiles; the cases pass them as graph inputs."""

LABEL_INPUTS = {("SoftmaxCrossEntropyLoss", 1), ("NegativeLogLikelihoodLoss", 1)}


COUNTS = {
    "pass": 505,
    "3-D convolutions": 1,
    "Resize that interpolates": 24,
    "Slice backwards": 1,
    "dropout in training mode": 2,
    "element type bool": 5,
    "element type double": 11,
    "element type float16": 3,
    "element type float4e2m1": 8,
    "element type float8e4m3fn": 12,
    "element type float8e4m3fnuz": 12,
    "element type float8e5m2": 12,
    "element type float8e5m2fnuz": 12,
    "element type float8e8m0": 4,
    "element type int16": 6,
    "element type int2": 10,
    "element type int32": 10,
    "element type int4": 10,
    "element type int64": 25,
    "element type int8": 10,
    "element type uint16": 6,
    "element type uint2": 10,
    "element type uint32": 6,
    "element type uint4": 10,
    "element type uint64": 6,
    "element type uint8": 7,
    "expanded function bodies with operators outside the list": 263,
    "sequences and optionals": 2,
}
"""What of version 1.23 of the onnx package passes, and what is skipped, by reason."""


@dataclass(frozen=True)
class NodeCase:
    """One case: ``model`` has constant inputs as initializers; ``batch`` is 0 where a first axis is empty."""

    name: str
    model: onnx.ModelProto
    inputs: dict[str, Array]
    outputs: dict[str, Array]
    batch: int | None
    rtol: float
    atol: float


Skipped = dict[str, list[onnx.ModelProto]]
"""Models by the reason for which they are not among the cases."""


@cache
def node_cases() -> tuple[list[NodeCase], Skipped]:
    """The cases of supported operators in supported types, and the rest of those that use a supported operator."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # overflowing casts, on purpose
        collected = [case for case in collect_testcases() if OPERATORS.intersection(node.op_type for node in case.model.graph.node)]
    supported: list[NodeCase] = []
    skipped: Skipped = {}
    for test in collected:
        given, expected = test.data_sets[0]
        model, inputs = _with_constants(test.model, given)
        if reason := _reason(model.graph, test.name):
            skipped.setdefault(reason, []).append(model)
        else:
            outputs = {value.name: _array(data) for value, data in zip(model.graph.output, expected, strict=True)}
            empty = any(array.ndim and array.shape[0] == 0 for array in inputs.values())
            supported.append(NodeCase(test.name, model, inputs, outputs, 0 if empty else None, test.rtol, test.atol))
    return supported, skipped


def failures(cases: Sequence[NodeCase], execute: Execute) -> list[str]:
    """One line for each case that raises or whose outputs differ from the expected ones by more than the case allows."""
    found = []
    for case in cases:
        try:
            got = execute(case.model, case.inputs, case.batch)
            for name, want in case.outputs.items():
                have = np.asarray(got[name])
                assert have.shape == want.shape, f"{name} has shape {have.shape}, not {want.shape}"
                np.testing.assert_allclose(have.astype(np.float64), want.astype(np.float64), rtol=case.rtol, atol=case.atol, err_msg=name)
        except Exception as error:  # every case is reported, whatever happens to one
            found.append(f"{case.name}: {type(error).__name__}: {' '.join(str(error).split())[:300]}")
    return found


def check_cases(execute: Execute, tell: Callable[[str], None]) -> None:
    """All supported cases pass; how many, and what is skipped for which reason, is told, and is COUNTS."""
    supported, skipped = node_cases()
    found = failures(supported, execute)
    counts = {"pass": len(supported) - len(found)} | {reason: len(models) for reason, models in sorted(skipped.items())}
    tell(", ".join(f"{count} {reason}" for reason, count in counts.items()))
    assert not found, "\n".join(found)
    if onnx.__version__.startswith("1.23."):
        assert counts == COUNTS


def _with_constants(model: onnx.ModelProto, given: Sequence[Any]) -> tuple[onnx.ModelProto, dict[str, Any]]:
    """A copy of the model with the inputs that must be constant as initializers, without unused ones, and the inputs left."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    constant = {name for node in copy.graph.node for i, name in enumerate(node.input) if (node.op_type, i) in CONSTANT_INPUTS}
    used = {name for node in copy.graph.node for name in node.input} | {value.name for value in copy.graph.output}
    inputs = {}
    for value, data in zip(model.graph.input, given, strict=True):
        if value.name not in used:
            copy.graph.input.remove(value)  # expanded function bodies leave some
        elif value.name in constant:
            copy.graph.initializer.append(numpy_helper.from_array(_array(data), value.name))
            copy.graph.input.remove(value)
        else:
            inputs[value.name] = _array(data)
    return copy, inputs


def _array(data: Any) -> Any:
    """Tensors as arrays; sequences stay lists."""
    return numpy_helper.to_array(data) if isinstance(data, TensorProto) else np.asarray(data) if not isinstance(data, list) else data


def _reason(graph: onnx.GraphProto, name: str) -> str | None:
    """Why a case is none for this project; None: it is one."""
    if {node.op_type for node in graph.node} - OPERATORS:
        return f"{'expanded function bodies' if '_expanded' in name else 'models'} with operators outside the list"
    if any(not value.type.HasField("tensor_type") for value in (*graph.input, *graph.output)):
        return "sequences and optionals"
    uses = {(name, node.op_type, i) for node in graph.node for i, name in enumerate(node.input)}
    casts = {name for node in graph.node if node.op_type == "Cast" for name in (*node.input, *node.output)}
    for value in (*graph.input, *graph.output):
        element = value.type.tensor_type.elem_type
        consumers = {(op, i) for name, op, i in uses if name == value.name}
        allowed = {TensorProto.FLOAT}
        if value.name in casts:
            allowed |= {TensorProto.FLOAT16, TensorProto.BFLOAT16}
        if consumers and consumers <= LABEL_INPUTS:
            allowed |= {TensorProto.INT64, TensorProto.INT32}
        if element not in allowed:
            return f"element type {TensorProto.DataType.Name(element).lower()}"
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    shapes = {value.name: value.type.tensor_type.shape.dim for value in graph.input}
    for node in graph.node:
        attributes = {attr.name: helper.get_attribute_value(attr) for attr in node.attribute}
        if node.op_type == "Resize" and attributes.get("mode", b"nearest") != b"nearest":
            return "Resize that interpolates"
        if node.op_type == "Slice" and len(node.input) == 5 and (constants.get(node.input[4], np.ones(1)) < 0).any():
            return "Slice backwards"
        if node.op_type in ("Conv", "ConvTranspose") and len(shapes.get(node.input[0], ())) == 5:
            return "3-D convolutions"
        if node.op_type == "Dropout" and len(node.input) == 3 and constants[node.input[2]] and constants.get(node.input[1], True):
            return "dropout in training mode"
    return None
