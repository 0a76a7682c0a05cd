"""Trained weights back into programs and into ONNX files."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import onnx
import onnx.printer
from onnx import helper, numpy_helper

from compiler.frontend.load import EXTENSIONS
from gradweave.arrays import Array
from isa.errors import UserError
from isa.files import write
from isa.program import Program


def with_weights(program: Program, weights: Mapping[str, Array]) -> Program:
    """The same program with other initial values for the params that are named."""
    changed = {s.address: weights[s.name].astype(s.dtype.numpy).tobytes() for s in program.named("param") if s.name in weights}
    return replace(program, data=[(address, changed.get(address, data)) for address, data in program.data])


def check_model_path(path: str | Path) -> None:
    """Raises UserError unless the name's end says which format a model is to be written in."""
    if Path(path).suffix not in EXTENSIONS:
        raise UserError(str(path), f"the name of a model ends in {' or '.join(EXTENSIONS)}")


def write_model(path: str | Path, model: onnx.ModelProto, weights: Mapping[str, Array]) -> None:
    """Write a copy of the model in which initializers, constants and fills of these names have these values.

    The name's end decides the format: ``.onnx`` or ``.onnxtxt``.

    Raises:
        UserError: the name ends in neither, or the file cannot be written.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for node in copy.graph.node:
        if node.op_type == "ConstantOfShape" and node.output[0] in weights:  # it can hold one value only
            tensor = numpy_helper.from_array(weights[node.output[0]], node.output[0])
            node.CopyFrom(helper.make_node("Constant", [], list(node.output), name=node.name, value=tensor))
    constants = [
        (node.output[0], a.t) for node in copy.graph.node if node.op_type == "Constant" for a in node.attribute if a.name == "value"
    ]
    for name, tensor in [(tensor.name, tensor) for tensor in copy.graph.initializer] + constants:
        if name in weights:
            old = numpy_helper.to_array(tensor)
            tensor.CopyFrom(numpy_helper.from_array(weights[name].reshape(old.shape).astype(old.dtype), tensor.name))
    check_model_path(path)
    write(path, onnx.printer.to_text(copy) if Path(path).suffix == ".onnxtxt" else copy.SerializeToString())
