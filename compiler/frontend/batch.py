"""The batch size: the first axis of every input, given with ``--batch``."""

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import numpy_helper

from compiler.frontend.support import used_names
from isa.errors import UserError


def bind_batch(graph: onnx.GraphProto, place: str, batch: int | None) -> None:
    """Give the first axis of every input the batch size, whether it was symbolic or another fixed one.

    Raises:
        UserError: a shape stays dynamic, or it is not clear which axis is the batch.
    """
    used = used_names(graph)
    inputs = [value for value in graph.input if value.name in used and value.type.HasField("tensor_type")]
    problems, bound = [], False
    for value in inputs:
        tensor = value.type.tensor_type
        if not tensor.HasField("shape"):
            problems.append(f'input "{value.name}": its shape is unknown; export the model with shapes')
        for axis, dim in enumerate(tensor.shape.dim):
            if dim.dim_value > 0 or (axis > 0 and dim.WhichOneof("value") == "dim_value" and dim.dim_value == 0):
                continue
            shown = f' ("{dim.dim_param}")' if dim.dim_param else ""
            if axis > 0:
                problems.append(
                    f'input "{value.name}": axis {axis}{shown} is dynamic; --batch N binds only the first axis: export with a fixed size'
                )
            elif batch is None:
                problems.append(f'input "{value.name}": the batch size{shown} is not fixed; give it with --batch N')
            else:
                dim.dim_value, bound = batch, True
    if problems:
        raise UserError(place, f"{len(problems)} dynamic shape{'s' if len(problems) > 1 else ''}", problems)
    if batch is not None and not bound:
        _rebind(graph, inputs, place, batch)


def _rebind(graph: onnx.GraphProto, inputs: Sequence[onnx.ValueInfoProto], place: str, batch: int) -> None:
    """Replace a fixed batch size, in the inputs and in what reshapes name as the first axis of what comes from them."""
    firsts = [value.type.tensor_type.shape.dim[0] for value in inputs if value.type.tensor_type.shape.dim]
    fixed = {dim.dim_value for dim in firsts}
    if batch in fixed:
        return
    if len(fixed) != 1:
        sizes = " and ".join(map(str, sorted(fixed))) or "none"
        raise UserError(place, f"--batch {batch} has nothing to bind: the model's first axes are fixed ({sizes})")
    (old,) = fixed
    for dim in firsts:
        dim.dim_value = batch
    _rebind_reshapes(graph, {value.name for value in inputs}, old, batch)


def _rebind_reshapes(graph: onnx.GraphProto, data: set[str], old: int, batch: int) -> None:
    """``data``: tensors that depend on the inputs.  Nodes come in an order in which they can be computed."""
    initializers = {tensor.name: tensor for tensor in graph.initializer}
    constants = {node.output[0]: node.attribute[0].t for node in graph.node if node.op_type == "Constant" and node.attribute}
    for node in graph.node:
        if not data & set(node.input):
            continue
        data |= set(node.output)
        if node.op_type != "Reshape" or node.input[0] not in data:
            continue
        for attribute in node.attribute:  # opset 1
            if attribute.name == "shape" and attribute.ints and attribute.ints[0] == old:
                attribute.ints[0] = batch
        tensor = (initializers | constants).get(node.input[1]) if len(node.input) > 1 else None
        if tensor is None:
            continue
        target = numpy_helper.to_array(tensor)
        if target.size and target[0] == old:
            # Of its own: another node may read the same constant.
            name = f"{node.name}/shape"
            graph.initializer.append(numpy_helper.from_array(np.array([batch, *target[1:]], np.int64), name))
            node.input[1] = name
