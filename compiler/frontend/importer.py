"""A model in normal form into the ``onnx`` dialect; weights stay outside, by name."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper
from xdsl.dialects.builtin import DenseIntOrFPElementsAttr, ModuleOp, TensorType
from xdsl.ir import Block, Operation, SSAValue

from compiler.dialects import onnx as dialect
from compiler.dialects.dense import Array, dense, element_type
from compiler.dialects.onnx_operators import OPERATORS
from compiler.frontend.fold import is_constant, static_shapes
from compiler.frontend.load import load_model
from compiler.frontend.support import attribute_value, node_problems, unsupported, used_names, value_problems


def import_model(model: onnx.ModelProto, name: str, place: str | None = None) -> tuple[ModuleOp, dict[str, Array]]:
    """A module with one ``onnx.graph @name``, and the weights by initializer name.

    Args:
        model: in the normal form of ``load.py``.
        name: of the graph.
        place: the file, for errors; left out: the name.

    Raises:
        UserError: operators, attributes, element types or shapes that are not supported, all of them at once.
    """
    importer = _Importer(model.graph)
    if problems := importer.problems():
        raise unsupported(place or name, problems)
    module = ModuleOp([dialect.GraphOp(name, importer.block())])
    module.verify()
    return module, importer.weights


class _Importer:
    """Translates one graph."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.graph = graph
        self.weights: dict[str, Array] = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        self.constants: dict[str, Array] = {}
        self.nodes: list[onnx.NodeProto] = []
        shapes = static_shapes(graph)
        self.types = {tensor.name: (tensor.data_type, shapes.get(tensor.name)) for tensor in graph.initializer}
        for value in (*graph.input, *graph.value_info, *graph.output):
            self.types[value.name] = (value.type.tensor_type.elem_type, shapes.get(value.name))
        for node in graph.node:
            if is_constant(node):
                tensor = node.attribute[0].t
                self.constants[node.output[0]] = numpy_helper.to_array(tensor)
                self.types[node.output[0]] = (tensor.data_type, tuple(tensor.dims))
            elif node.op_type == "ConstantOfShape" and node.input[0] in self.constants:
                value = numpy_helper.to_array(node.attribute[0].t) if node.attribute else np.zeros(1, np.float32)
                self.weights[node.output[0]] = np.broadcast_to(value, self.constants[node.input[0]])
            else:
                self.nodes.append(node)

    def problems(self) -> list[str]:
        """Everything of the graph that is not supported."""
        found = value_problems(self.graph)
        for node in self.nodes:
            found += node_problems(node, self.types, self.constants, self.weights)
        if found:
            return found
        for node in self.nodes:
            for name in filter(None, node.output):
                shape = self.types.get(name, (0, None))[1]
                if shape is None:
                    found.append(f'node "{node.name}" ({node.op_type}): the shape of its output "{name}" cannot be inferred')
                elif min(shape, default=0) < 0:
                    found.append(
                        f'node "{node.name}" ({node.op_type}): its window does not fit the input: its output would be {list(shape)}'
                    )
        return found

    def block(self) -> Block:
        """The body of the graph."""
        block = Block()
        values: dict[str, SSAValue] = {}
        used = used_names(self.graph)

        def add(op: Operation) -> Operation:
            block.add_op(op)
            return op

        def define(op: Operation, names: Sequence[str]) -> None:
            for name, result in zip(names, add(op).results, strict=True):
                values[name] = result
                result.name_hint = name if SSAValue.is_valid_name(name) else None

        for value in self.graph.input:
            if value.name in used:
                define(dialect.InputOp(value.name, self._type(value.name)), [value.name])
        for name in self.weights:
            define(dialect.ParamOp(name, self._type(name)), [name])
        for name, array in self.constants.items():
            define(dialect.ConstantOp(_dense(array)), [name])
        for node in self.nodes:
            operands: list[SSAValue] = []
            for slot, name in zip(OPERATORS[node.op_type].slots(len(node.input)), node.input, strict=True):
                if not name:
                    operands.append(add(dialect.NoneOp()).results[0])
                elif slot.constant and name in self.weights:  # a weight by its form, a constant by its use: an exponent, say
                    operands.append(add(dialect.ConstantOp(_dense(self.weights[name]))).results[0])
                else:
                    operands.append(values[name])
            attributes = {attr.name: attribute_value(attr) for attr in node.attribute}
            types = [self._type(name) for name in node.output]
            define(dialect.NODE_OPS[node.op_type](node.name, operands, attributes, types), node.output)
        for value in self.graph.output:
            add(dialect.OutputOp(value.name, values[value.name]))
        return block

    def _type(self, name: str) -> dialect.Tensor:
        data_type, shape = self.types[name]
        element = element_type(helper.tensor_dtype_to_np_dtype(data_type))
        assert element is not None
        assert shape is not None
        return TensorType(element, shape)


def _dense(array: Array) -> DenseIntOrFPElementsAttr:
    """The array as an attribute; integers of types that the IR lacks become int64, which holds all that shapes and exponents need."""
    return dense(array if element_type(array.dtype) is not None else array.astype(np.int64))


def parse_onnx_file(path: str, batch: int | None = None) -> ModuleOp:
    """A model's file as an ``onnx``-level module; its weights stay in the file."""
    return import_model(load_model(path, batch), graph_name(path), path)[0]


def graph_name(path: str) -> str:
    """The graph's name in the IR: the file's, with what symbols cannot hold replaced."""
    return "".join(c if c.isalnum() or c == "_" else "_" for c in Path(path).stem) or "model"
