"""Models that the benchmarks make: networks of any depth, one fully-connected layer, and a transformer of GPT-2's kind."""

from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class Builder:
    """A graph that grows by one node at a time."""

    def __init__(self, name: str, **inputs: tuple[Sequence[int], int]) -> None:
        self._name = name
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []
        self._inputs = [helper.make_tensor_value_info(name, type, shape) for name, (shape, type) in inputs.items()]
        self._names: Iterator[str] = (f"t{number}" for number in count())

    def node(self, operator: str, *operands: str, **attributes: Any) -> str:
        """Name of the node's result."""
        name = next(self._names)
        self._nodes.append(helper.make_node(operator, operands, [name], name=name, **attributes))
        return name

    def weight(self, *shape: int) -> str:
        """A weight; its values do not matter."""
        name = next(self._names)
        scale = np.float32(np.prod(shape[1:]) ** -0.5)
        self._weights.append(numpy_helper.from_array(np.full(shape, scale), name))
        return name

    def constant(self, value: Any) -> str:
        """A constant that is no weight."""
        return self.node("Constant", value=numpy_helper.from_array(np.asarray(value)))

    def model(self, output: str, *shape: int) -> onnx.ModelProto:
        """The finished model."""
        outputs = [helper.make_tensor_value_info(output, TensorProto.FLOAT, shape)]
        graph = helper.make_graph(self._nodes, self._name, self._inputs, outputs, self._weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def mlp(layers: int, batch: int = 8, width: int = 32) -> onnx.ModelProto:
    """Fully-connected layers of one width, each with a bias, and ReLUs between them."""
    net = Builder("mlp", x=((batch, width), TensorProto.FLOAT))
    x = "x"
    for layer in range(layers):
        x = net.node("Relu", x) if layer else x
        x = net.node("Gemm", x, net.weight(width, width), net.weight(width), transB=1)
    return net.model(x, batch, width)


def residual_cnn(layers: int, batch: int = 1, channels: int = 8, size: int = 8) -> onnx.ModelProto:
    """3x3 convolutions with batch normalisation, in blocks of two around which the input is added."""
    shape = (batch, channels, size, size)
    net = Builder("residual_cnn", x=(shape, TensorProto.FLOAT))
    x = "x"
    for layer in range(layers):
        if layer % 2 == 0:
            around = x
        x = net.node("Conv", x, net.weight(channels, channels, 3, 3), pads=[1, 1, 1, 1])
        x = net.node("BatchNormalization", x, *(net.weight(channels) for _ in range(4)))
        x = net.node("Relu", net.node("Add", x, around) if layer % 2 else x)
    return net.model(x, *shape)
