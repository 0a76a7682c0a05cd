"""What of a model is not supported, in the user's words: all of it at once."""

from collections.abc import Mapping, Sequence
from typing import Any

import onnx
from onnx import TensorProto, helper

from compiler.dialects.dense import Array, element_type
from compiler.dialects.onnx_operators import OPERATORS
from compiler.dialects.onnx_row import Facts, Operator
from compiler.frontend.fold import FOLDABLE, LARGEST, is_weight
from isa.errors import UserError

HINTS = dict.fromkeys(("LSTM", "GRU", "RNN", "Loop", "Scan"), "recurrent operators can be unrolled by the exporter")

FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16)
INTEGERS = (TensorProto.INT64, TensorProto.INT32)

Types = Mapping[str, tuple[int, tuple[int, ...] | None]]
"""Element type (ONNX's number) and static shape (None: dynamic) of every tensor whose type is known."""


def unsupported(place: str, problems: list[str]) -> UserError:
    """The one error that lists them."""
    count = f"{len(problems)} part{'s' if len(problems) > 1 else ''} of the model {'are' if len(problems) > 1 else 'is'} not supported"
    if any("operator not supported" in problem for problem in problems):
        problems = [*problems, f"supported operators: {', '.join(sorted(OPERATORS))}"]
    return UserError(place, count, problems)


def is_known(node: onnx.NodeProto) -> bool:
    """Whether ONNX itself defines the node's operator."""
    return node.domain in ("", "ai.onnx") and bool(onnx.defs.has(node.op_type))


def operator_problems(graph: onnx.GraphProto) -> list[str]:
    """Nodes whose operators are neither supported nor ones that may still be folded away."""
    nodes = [node for node in graph.node if not (is_known(node) and node.op_type in FOLDABLE)]
    return [f'node "{node.name}" {problem}' for node in nodes if (problem := _operator_problem(node))]


def _operator_problem(node: onnx.NodeProto) -> str | None:
    if node.domain not in ("", "ai.onnx"):
        return f"({node.domain}.{node.op_type}): operator not supported; supported: ONNX's own domain"
    if node.op_type in FOLDABLE - OPERATORS.keys():
        return f"({node.op_type}): operator supported only on constants, which are folded (up to {LARGEST} elements)"
    if node.op_type not in OPERATORS:
        hint = f"; {HINTS[node.op_type]}" if node.op_type in HINTS else ""
        return f"({node.op_type}): operator not supported{hint}"
    return None


def node_problems(node: onnx.NodeProto, types: Types, constants: Mapping[str, Array], weights: Mapping[str, Array]) -> list[str]:
    """What of one node of a model in normal form is not supported."""
    if problem := _operator_problem(node):
        return [f'node "{node.name}" {problem}']
    row = OPERATORS[node.op_type]
    problems = [*_attribute_problems(node, row), *_input_problems(node, row, types, constants, weights)]
    if "" in node.output:
        problems.append("an output without a name not supported; supported: named outputs, those that are not needed left out at the end")
    if extra := node.output[row.outputs :]:  # outputs that nothing uses are gone
        problems.append(f'output "{extra[-1]}" not supported; supported: the first {row.outputs if row.outputs > 1 else "output"}')
    return [f'node "{node.name}" ({node.op_type}): {problem}' for problem in problems]


def value_problems(graph: onnx.GraphProto) -> list[str]:
    """Inputs that are used, outputs and initializers of types that are not supported."""
    used = used_names(graph)
    values: list[tuple[str, onnx.ValueInfoProto, tuple[int, ...]]]
    values = [("input", value, (*FLOATS, *INTEGERS)) for value in graph.input if value.name in used]
    values += [("output", value, FLOATS) for value in graph.output]
    problems = []
    for kind, value, allowed in values:
        if not value.type.HasField("tensor_type"):
            problems.append(f'{kind} "{value.name}": not a tensor; supported: tensors')
        else:
            problems += _dtype_problem(kind, value.name, value.type.tensor_type.elem_type, allowed)
    for tensor in graph.initializer:
        if is_weight(tensor):
            problems += _dtype_problem("initializer", tensor.name, tensor.data_type, FLOATS)
    if graph.sparse_initializer:
        problems.append("sparse initializers not supported; supported: dense ones")
    return problems


def used_names(graph: onnx.GraphProto) -> set[str]:
    """Tensors that a node or the user gets."""
    return {name for node in graph.node for name in node.input} | {value.name for value in graph.output}


def _dtype_problem(kind: str, name: str, data_type: int, allowed: Sequence[int]) -> list[str]:
    if data_type in allowed:
        return []
    return [f'{kind} "{name}": {dtype_name(data_type)} not supported; supported: {", ".join(map(dtype_name, allowed))}']


def _attribute_problems(node: onnx.NodeProto, row: Operator) -> list[str]:
    problems = []
    for attr in node.attribute:
        if attr.name not in row.attributes:
            problems.append(f"attribute {attr.name} not supported; supported: {', '.join(row.attributes) or 'none'}")
            continue
        value, choices = attribute_value(attr), row.choices(attr.name)
        if choices and value not in choices:
            shown = [_shown(attr.name, v) for v in (value, *choices)]
            problems.append(f"{attr.name} {shown[0]} not supported; supported: {', '.join(shown[1:])}")
    return problems


def _input_problems(
    node: onnx.NodeProto, row: Operator, types: Types, constants: Mapping[str, Array], weights: Mapping[str, Array]
) -> list[str]:
    problems, shapes, known = [], {}, {}
    for slot, name in zip(row.slots(len(node.input)), node.input, strict=True):
        if not name:
            continue
        element, shape = types.get(name, (0, None))
        if shape is not None:
            shapes[slot.name] = shape
        if slot.constant:
            if name in constants or name in weights:
                known[slot.name] = constants[name] if name in constants else weights[name]
            else:
                problems.append(f'input {slot.name} ("{name}") must be a constant')
        elif element not in (*FLOATS, *INTEGERS) and name not in constants:
            continue  # already told where it comes from: an input, a weight, a cast, an operator that is not supported
        elif _element(element) not in slot.elements:
            names = ", ".join(_LONG[element] for element in slot.elements)
            problems.append(f'{dtype_name(element)} not supported (input "{name}"); supported: {names}')
    attributes = {name: row.default(name) for name in row.attributes} | {attr.name: attribute_value(attr) for attr in node.attribute}
    if row.check and (problem := row.check(Facts(shapes, known, attributes))):
        problems.append(problem)
    return problems


_LONG = {"f32": "float32", "f16": "float16", "bf16": "bfloat16", "i64": "int64", "i32": "int32"}


def _element(data_type: int) -> str | None:
    if data_type not in helper.get_all_tensor_dtypes() or data_type == TensorProto.STRING:
        return None
    element = element_type(helper.tensor_dtype_to_np_dtype(data_type))
    return None if element is None else str(element)


def dtype_name(data_type: int) -> str:
    """An ONNX element type as users know it."""
    if data_type not in helper.get_all_tensor_dtypes():
        return f"element type {data_type}"
    name = str(TensorProto.DataType.Name(data_type)).lower()
    return {"float": "float32", "double": "float64"}.get(name, name)


def attribute_value(attr: onnx.AttributeProto) -> Any:
    """An attribute's value: int, float, str, tuple of ints; other kinds as onnx has them."""
    value = helper.get_attribute_value(attr)
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return tuple(value) if attr.type == onnx.AttributeProto.INTS else value


def _shown(name: str, value: Any) -> str:
    return dtype_name(value) if name == "to" else f'"{value}"' if isinstance(value, str) else str(value)
