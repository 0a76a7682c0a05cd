"""Constant folding: what shapes and axes are computed from, never what training changes.

A weight is a floating-point tensor of rank 1 or more, stored as an initializer or made by ``Constant`` or ``ConstantOfShape``; large ones
of the latter kind stay as they are, since they say in a few bytes what an initializer needs megabytes for.
What is computed from weights stays in the graph, since gradients flow through it, unless the result is integer: then none can.
"""

import math

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from compiler.dialects.dense import Array

_FOLDABLE = """
    Add And Cast Ceil Concat Constant ConstantOfShape Div Equal Expand Flatten Floor Gather Greater Identity Less Max Min Mod Mul Neg Not
    Or Pow Range ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum Reshape Shape Size Slice Split Sqrt Squeeze Sub Tile Transpose
    Unsqueeze Where
"""
FOLDABLE = frozenset(_FOLDABLE.split())
"""Deterministic operators that exporters compute shapes with."""

LARGEST = 1 << 24
"""Elements of the largest tensor that folding makes."""

FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16, onnx.TensorProto.DOUBLE)


def is_weight(tensor: onnx.TensorProto) -> bool:
    """Whether training changes the tensor."""
    return tensor.data_type in FLOATS and len(tensor.dims) > 0


def is_constant(node: onnx.NodeProto) -> bool:
    """Whether the node is a ``Constant`` that holds a tensor."""
    return node.op_type == "Constant" and [attr.name for attr in node.attribute] == ["value"]


SMALL = 4096
"""Elements of the largest weight that integers are computed from, and of the largest one that is written out."""


def static_shapes(graph: onnx.GraphProto) -> dict[str, tuple[int, ...]]:
    """Shape of every tensor for which inference found a static one."""
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        tensor = value.type.tensor_type
        if tensor.HasField("shape") and all(dim.WhichOneof("value") == "dim_value" for dim in tensor.shape.dim):
            shapes[value.name] = tuple(dim.dim_value for dim in tensor.shape.dim)
    return shapes


def fold_constants(model: onnx.ModelProto) -> bool:
    """Evaluate in place what can be; say whether anything changed."""
    graph = model.graph
    folder = _Folder(static_shapes(graph), {entry.domain: entry.version for entry in model.opset_import})
    nodes: list[onnx.NodeProto] = []
    weights: list[onnx.TensorProto] = []
    for tensor in graph.initializer:
        if is_weight(tensor):
            weights.append(tensor)
            folder.tainted.add(tensor.name)
            if math.prod(tensor.dims) <= SMALL:
                folder.values[tensor.name] = numpy_helper.to_array(tensor)
        else:
            nodes.append(helper.make_node("Constant", [], [tensor.name], name=tensor.name, value=tensor))
            folder.values[tensor.name] = numpy_helper.to_array(tensor)
    changed = len(weights) < len(graph.initializer)
    for node in graph.node:
        results = folder.evaluate(node)
        if results is None:
            nodes.append(node)
            continue
        for tensor in results:
            if is_weight(tensor) and node.op_type in ("Constant", "ConstantOfShape"):
                weights.append(tensor)
                folder.tainted.add(tensor.name)
            else:
                nodes.append(helper.make_node("Constant", [], [tensor.name], name=node.name, value=tensor))
        changed = changed or node.op_type != "Constant" or any(map(is_weight, results))
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(weights)
    return changed


class _Folder:
    """The values known so far, by name; ``tainted`` are those computed from weights."""

    def __init__(self, shapes: dict[str, tuple[int, ...]], opsets: dict[str, int]) -> None:
        self.shapes = shapes
        self.opsets = opsets
        self.values: dict[str, Array] = {}
        self.tainted: set[str] = set()

    def evaluate(self, node: onnx.NodeProto) -> list[onnx.TensorProto] | None:
        """The constants that replace the node, None where it stays."""
        if node.domain not in ("", "ai.onnx") or node.op_type not in FOLDABLE:
            return None
        if is_constant(node):
            results = [numpy_helper.to_array(node.attribute[0].t)]
        elif self._is_large_fill(node):
            self.tainted.update(node.output)
            return None
        elif node.op_type in ("Shape", "Size") and node.input[0] in self.shapes:
            shape = self.shapes[node.input[0]]
            attributes = {a.name: a.i for a in node.attribute}
            part = shape[attributes.get("start", 0) : attributes.get("end")]
            results = [np.array(part if node.op_type == "Shape" else math.prod(shape), np.int64)]
        elif all(name in self.values or not name for name in node.input) and self._fits(node):
            feeds = {name: self.values[name] for name in node.input if name}
            with np.errstate(all="ignore"):
                results = ReferenceEvaluator(node, opsets=self.opsets).run(None, feeds)  # type: ignore[assignment]
        else:
            return None
        if not all(isinstance(result, (np.ndarray, np.generic)) and result.dtype != object for result in results):
            return None  # strings, sequences
        arrays = dict(zip(node.output, map(np.asarray, results), strict=False))
        arrays.pop("", None)
        self.values.update(arrays)
        tensors = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
        if self.tainted.intersection(node.input) and any(tensor.data_type in FLOATS for tensor in tensors):
            self.tainted.update(arrays)
            return None
        return tensors

    def _is_large_fill(self, node: onnx.NodeProto) -> bool:
        """Whether the node is a weight full of one value, which is better not written out."""
        floats = any(attr.t.data_type in FLOATS for attr in node.attribute) or not node.attribute
        return node.op_type == "ConstantOfShape" and floats and math.prod(self.shapes.get(node.output[0], ())) > SMALL

    def _fits(self, node: onnx.NodeProto) -> bool:
        """Whether the results are known to be of bearable size."""
        limit = SMALL if self.tainted.intersection(node.input) else LARGEST
        return all(name in self.shapes and math.prod(self.shapes[name]) <= limit for name in node.output if name)


def _keeps_outputs(node: onnx.NodeProto) -> bool:
    """Whether the number of outputs says what the node does."""
    return node.op_type == "Split" or any(attr.name == "training_mode" and attr.i for attr in node.attribute)


def drop_unused(graph: onnx.GraphProto) -> None:
    """Remove nodes, weights and further outputs of nodes that no graph output depends on."""
    needed = {value.name for value in graph.output}
    nodes = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            nodes.append(node)
            needed.update(node.input)
            while node.output[-1] not in needed and not _keeps_outputs(node):
                del node.output[-1]
    weights = [tensor for tensor in graph.initializer if tensor.name in needed]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(reversed(nodes))
    graph.initializer.extend(weights)
