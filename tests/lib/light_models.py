"""The nine networks under ``onnx/backend/test/data/light``, whole or with a smaller input."""

from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

FOLDER = Path(onnx.__file__).parent / "backend/test/data/light"
NAMES = (
    "bvlc_alexnet", "densenet121", "inception_v1", "inception_v2", "resnet50", "shufflenet", "squeezenet", "vgg19", "zfnet512",
)  # fmt: skip


def light_model(name: str, size: int = 224, batch: int = 1) -> onnx.ModelProto:
    """The network for inputs of ``size``×``size``; a fully-connected layer behind the convolutions shrinks with them.

    In these models every weight is a ``ConstantOfShape`` whose shape is an initializer.
    """
    model = onnx.load(FOLDER / f"light_{name}.onnx")
    graph = model.graph
    stored = {tensor.name: tensor for tensor in graph.initializer}
    image = next(value for value in graph.input if value.name not in stored)
    for dim, extent in zip(image.type.tensor_type.shape.dim, (batch, 3, size, size), strict=True):
        dim.dim_value = extent
    makers = {node.output[0]: node for node in graph.node}
    flat = {
        node.output[0]: node
        for node in graph.node
        if node.op_type == "Reshape" and makers[node.input[0]].op_type != "ConstantOfShape"
        if numpy_helper.to_array(stored[node.input[1]]).size == 2
    }
    for node in flat.values():
        _store(stored[node.input[1]], [batch, -1])
    features = _features(model, list(flat))
    for node in graph.node:
        if node.op_type == "Gemm" and (source := _source(makers, node.input[0])) in flat:
            maker = makers[node.input[1]]
            if maker.op_type == "ConstantOfShape" and source in features:
                shape = stored[maker.input[0]]
                _store(shape, [numpy_helper.to_array(shape)[0], features[source]])
    del graph.value_info[:]
    return model


def _source(makers: dict[str, onnx.NodeProto], name: str) -> str:
    """Where a tensor comes from, before dropout."""
    return _source(makers, makers[name].input[0]) if makers[name].op_type == "Dropout" else name


def _features(model: onnx.ModelProto, names: list[str]) -> dict[str, int]:
    """Second dimension of these tensors."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    ends = [i for i, node in enumerate(copy.graph.node) if node.op_type == "Gemm"]
    if ends:
        del copy.graph.node[ends[0] :]
    del copy.graph.value_info[:], copy.graph.output[:]
    copy.graph.output.extend(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names)
    inferred = onnx.shape_inference.infer_shapes(copy, data_prop=True)
    found = {value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in inferred.graph.output}
    return {name: shape[1] for name, shape in found.items() if len(shape) == 2}


def _store(tensor: onnx.TensorProto, values: list[int]) -> None:
    tensor.CopyFrom(numpy_helper.from_array(np.array(values, np.int64), tensor.name))


def drawn(model: onnx.ModelProto, seed: int) -> onnx.ModelProto:
    """The model with its fills replaced by initializers: products He-normal, scales and variances about 1, offsets and means about 0."""
    graph, generator = model.graph, np.random.default_rng(seed)
    stored = {tensor.name: tensor for tensor in graph.initializer}
    users = {name: (node, i) for node in reversed(graph.node) for i, name in enumerate(node.input)}
    kept = []
    for node in graph.node:
        if node.op_type != "ConstantOfShape":
            kept.append(node)
            continue
        (name,), shape = node.output, [int(n) for n in numpy_helper.to_array(stored[node.input[0]])]
        user, place = users[name]
        while user.op_type in ("Unsqueeze", "Reshape"):
            user, place = users[user.output[0]]
        if user.op_type in ("Conv", "Gemm") and place == 1:
            attributes = {a.name: a.i for a in user.attribute}
            fan_in = int(np.prod(shape[1:] if user.op_type == "Conv" or attributes.get("transB") else shape[:1]))
            array = generator.normal(size=shape) * np.sqrt(2 / fan_in)
        elif (user.op_type, place) in (("BatchNormalization", 1), ("BatchNormalization", 4)) or user.op_type == "Mul":
            array = generator.uniform(0.5, 1.5, shape)
        else:
            array = generator.normal(size=shape) * 0.1
        graph.initializer.append(numpy_helper.from_array(array.astype(np.float32), name))
    del graph.node[:]
    graph.node.extend(kept)
    return model
