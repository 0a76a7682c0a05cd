"""ONNX files into one normal form: one opset, one batch size, static shapes, constants folded.

In the normal form every initializer and every ``ConstantOfShape`` is a weight (see ``fold.py``), every other constant is a ``Constant``
node, every node has a name, and nothing is left that no output needs.
"""

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import onnx
import onnx.checker
import onnx.external_data_helper
import onnx.inliner
import onnx.parser
import onnx.shape_inference
import onnx.version_converter
from google.protobuf.descriptor import FieldDescriptor  # type: ignore[import-untyped]
from google.protobuf.message import Message  # type: ignore[import-untyped]

from compiler.frontend.batch import bind_batch
from compiler.frontend.fold import SMALL, drop_unused, fold_constants, is_weight
from compiler.frontend.old_opsets import give_training_mode, spread_slopes, take_training_mode
from compiler.frontend.support import is_known, operator_problems, unsupported, value_problems
from isa.errors import UserError

OPSET = 22
"""All models are converted to this opset.  The converter reaches it from 7 on; newer models are converted down where nothing is lost."""

EXTENSIONS = (".onnx", ".onnxtxt")


def load_model(path: str, batch: int | None = None) -> onnx.ModelProto:
    """Read ``.onnx`` (with external data beside it) or ONNX's text format ``.onnxtxt``, in normal form.

    ``batch`` is the first axis of the inputs, see ``batch.py``.

    Raises:
        UserError: the file is missing, damaged, newer than the ``onnx`` package, or has shapes that stay dynamic.
    """
    if batch is not None and batch < 1:
        raise UserError(path, f"--batch {batch}: a batch has at least one row")
    return prepare_model(read_model(path), path, batch)


def read_model(path: str) -> onnx.ModelProto:
    """The model as the file has it, with its external data."""
    file = Path(path)
    if file.suffix not in EXTENSIONS:
        raise UserError(path, f"not a model: the name of a model ends in {' or '.join(EXTENSIONS)}")
    try:
        data = file.read_bytes()
    except OSError as error:
        raise UserError(path, f"cannot be read: {error.strerror}") from error
    if file.suffix == ".onnxtxt":
        with told(path, "not valid ONNX text"):
            model = onnx.parser.parse_model(data.decode())
    else:
        with told(path, "not a valid ONNX file"):
            model = onnx.load_model_from_string(data)
    with told(path, "external data cannot be loaded"):
        onnx.external_data_helper.load_external_data_for_model(model, str(file.parent))
    return model


def _is_text(message: Message) -> bool:
    """Whether all strings are: where they are not, protobuf hands out bytes, which nothing expects."""
    for field, value in message.ListFields():
        values = [value] if isinstance(value, Message | str | bytes) else value
        if field.type == FieldDescriptor.TYPE_STRING and any(isinstance(v, bytes) for v in values):
            return False
        if field.type == FieldDescriptor.TYPE_MESSAGE and not all(map(_is_text, values)):
            return False
    return True


def prepare_model(model: onnx.ModelProto, place: str, batch: int | None = None) -> onnx.ModelProto:
    """The normal form of a model; the model passed in stays as it is.  ``place`` names it in errors."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    model = copy
    if not _is_text(model):
        raise UserError(place, "not a valid model: a name in it is not UTF-8")
    version = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)
    newest = onnx.defs.onnx_opset_version()
    if not 1 <= version <= newest:
        raise UserError(place, f"opset {version} is not known to the installed onnx package (1 to {newest}); export for opset {OPSET}")
    if model.functions:
        with told(place, "functions of the model cannot be inlined"):
            model = onnx.inliner.inline_local_functions(model)
    _name_nodes(model.graph)
    training = take_training_mode(model.graph, version)
    drop_unused(model.graph)
    if not all(is_known(node) for node in model.graph.node):
        raise unsupported(place, operator_problems(model.graph))  # nothing below would understand these nodes
    initialized = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in initialized]  # IR version 3 lists weights as inputs
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    model.ir_version = max(model.ir_version, 4)
    bind_batch(model.graph, place, batch)
    _check(model, place)
    if version != OPSET:
        spread_slopes(model, version)
    weights = _set_aside(model.graph)
    if version != OPSET:
        model = _convert(model, place, version)
    give_training_mode(model.graph, training)
    _forget_shapes(model.graph)
    model = _fold(model, place)
    _put_back(model.graph, weights)
    return model


def _set_aside(graph: onnx.GraphProto) -> dict[str, onnx.TensorProto]:
    """The large weights by name; in the graph stay their names and shapes: nothing folds them, and all that onnx does copies the model."""
    whole = list(graph.initializer)
    large = {tensor.name: tensor for tensor in whole if is_weight(tensor) and math.prod(tensor.dims) > SMALL}
    del graph.initializer[:]
    for tensor in whole:
        only_shape = onnx.TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
        graph.initializer.append(only_shape if tensor.name in large else tensor)
    return large


def _put_back(graph: onnx.GraphProto, weights: Mapping[str, onnx.TensorProto]) -> None:
    for tensor in graph.initializer:
        if tensor.name in weights:
            tensor.CopyFrom(weights[tensor.name])


def _check(model: onnx.ModelProto, place: str) -> None:
    """Run ONNX's checker."""
    known = _leaf_shapes(model.graph)
    for value in model.graph.output:
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.shape.CopyFrom(known.get(value.name, onnx.TensorShapeProto()))  # the checker wants some
    with told(place, "not a valid model"):
        onnx.checker.check_model(model)


def _forget_shapes(graph: onnx.GraphProto) -> None:
    """What the file says of shapes, inputs apart, may hold for another batch size."""
    del graph.value_info[:]
    known = _leaf_shapes(graph)
    for value in graph.output:
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.ClearField("shape")
            if value.name in known:
                value.type.tensor_type.shape.CopyFrom(known[value.name])


def _leaf_shapes(graph: onnx.GraphProto) -> dict[str, onnx.TensorShapeProto]:
    """Shapes of inputs and weights: what onnx infers is wrong where such a tensor is an output too, of another shape or of none."""
    leaves = [onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims) for tensor in graph.initializer]
    return {value.name: value.type.tensor_type.shape for value in (*graph.input, *leaves) if value.type.tensor_type.HasField("shape")}


def _fold(model: onnx.ModelProto, place: str) -> onnx.ModelProto:
    """Infer shapes and fold in turn: a folded shape makes further shapes static, a static shape folds further."""
    while True:
        with told(place, "shapes do not fit"):
            model = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
        with told(place, "constants cannot be folded"):
            changed = fold_constants(model)
        drop_unused(model.graph)
        if not changed:
            _name_nodes(model.graph)
            return model
        del model.graph.value_info[:]


def _convert(model: onnx.ModelProto, place: str, version: int) -> onnx.ModelProto:
    try:
        with told(place, f"cannot be converted from opset {version} to {OPSET}; export for opset {OPSET}"):
            return onnx.version_converter.convert_version(model, OPSET)
    except UserError:
        if problems := operator_problems(model.graph) + value_problems(model.graph):  # more likely the reason, and more useful to know
            raise unsupported(place, problems) from None
        raise


def _name_nodes(graph: onnx.GraphProto) -> None:
    """Give every node a name of its own: ``Gemm_3`` for the fourth node, a further number where a name is taken."""
    taken: set[str] = {node.name for node in graph.node}
    seen: set[str] = set()
    for index, node in enumerate(graph.node):
        name = base = node.name or f"{node.op_type}_{index}"
        count = 1
        while name in seen or (name != node.name and name in taken):
            count += 1
            name = f"{base}_{count}"
        seen.add(name)
        node.name = name


@contextmanager
def told(place: str, what: str) -> Iterator[None]:
    """Whatever the onnx package raises on a damaged model becomes one line: it raises far more than its documentation lists."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(place, f"{what}: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    text = error.args[0].decode(errors="replace") if error.args and isinstance(error.args[0], bytes) else str(error)
    text = re.sub(r"\S*/onnx/\S+:\d+: |\w+: Assertion `.*?` failed: |^\[\w+\] ", "", text.strip())  # its own source helps no user
    return " ".join(text.split())[:300] or type(error).__name__
