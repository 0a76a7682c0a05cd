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


def fully_connected(width: int, batch: int) -> onnx.ModelProto:
    """One layer without a bias."""
    net = Builder("fully_connected", x=((batch, width), TensorProto.FLOAT))
    return net.model(net.node("MatMul", "x", net.weight(width, width)), batch, width)


def gpt2(layers: int = 12, width: int = 768, heads: int = 12, tokens: int = 1024, vocabulary: int = 8192) -> onnx.ModelProto:
    """A transformer of the size of GPT-2 small, with a smaller vocabulary, from embedded tokens to logits."""
    net = Builder("gpt2", x=((1, tokens, width), TensorProto.FLOAT))
    split = net.constant([1, tokens, heads, width // heads])
    joined = net.constant([1, tokens, width])
    scale = net.constant(np.float32((width // heads) ** -0.5))
    mask = net.constant(np.triu(np.full((tokens, tokens), -1e9, np.float32), 1))

    def dense(x: str, inputs: int, outputs: int) -> str:
        return net.node("Add", net.node("MatMul", x, net.weight(inputs, outputs)), net.weight(outputs))

    def gelu(x: str) -> str:
        cube = net.node("Mul", net.node("Mul", x, net.node("Mul", x, x)), net.constant(np.float32(0.044715)))
        inner = net.node("Mul", net.node("Add", x, cube), net.constant(np.float32((2 / np.pi) ** 0.5)))
        outer = net.node("Add", net.node("Tanh", inner), net.constant(np.float32(1)))
        return net.node("Mul", net.node("Mul", x, outer), net.constant(np.float32(0.5)))

    def normal(x: str) -> str:
        return net.node("LayerNormalization", x, net.weight(width), net.weight(width))

    def attention(x: str) -> str:
        query, key, value = (net.node("Reshape", dense(x, width, width), split) for _ in range(3))
        query, value = (net.node("Transpose", part, perm=[0, 2, 1, 3]) for part in (query, value))
        scores = net.node("MatMul", net.node("Mul", query, scale), net.node("Transpose", key, perm=[0, 2, 3, 1]))
        mixed = net.node("MatMul", net.node("Softmax", net.node("Add", scores, mask)), value)
        return dense(net.node("Reshape", net.node("Transpose", mixed, perm=[0, 2, 1, 3]), joined), width, width)

    x = net.node("Add", "x", net.weight(1, tokens, width))
    for _ in range(layers):
        x = net.node("Add", x, attention(normal(x)))
        x = net.node("Add", x, dense(gelu(dense(normal(x), width, 4 * width)), 4 * width, width))
    return net.model(net.node("MatMul", normal(x), net.weight(width, vocabulary)), 1, tokens, vocabulary)
