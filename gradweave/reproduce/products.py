"""Products that stand alone, as an ONNX model: what layer tables are made of."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from compiler.driver import TrainingStep, training_step
from compiler.frontend.topology import read_table

OPSET = 21


@dataclass(frozen=True, slots=True)
class Product:
    """One layer: an operator (``Gemm``, ``MatMul``, ``Conv``) and the shapes of what it multiplies; ``x`` has the batch first."""

    name: str
    operator: str
    x: tuple[int, ...]
    w: tuple[int, ...]
    stride: int = 1
    activation: bool = False
    """Whether ``w`` is an activation too, with a batch of its own, as in attention."""


def table_products(path: Path, rows: Sequence[str] = ()) -> list[Product]:
    """The layers of a topology table, or of it the rows with these names.

    Raises:
        UserError: as ``read_table``.
    """
    layers = [layer for layer in read_table(str(path)) if not rows or layer.name in rows]
    return [Product(layer.name, layer.operator, layer.x, layer.w, layer.stride) for layer in layers]


def products_model(name: str, products: Sequence[Product], batch: int) -> onnx.ModelProto:
    """A model in which product ``p`` has the input ``p/x``, the weight (or the second input) ``p/w`` and the output ``p``.

    Weights are 0: no figure depends on a value.
    """
    nodes, inputs, outputs, weights = [], [], [], []
    for product in products:
        x, w = f"{product.name}/x", f"{product.name}/w"
        strides: dict[str, Any] = {"strides": [product.stride] * 2} if product.operator == "Conv" else {}
        nodes.append(helper.make_node(product.operator, [x, w], [product.name], product.name, **strides))
        inputs.append(helper.make_tensor_value_info(x, TensorProto.FLOAT, [batch, *product.x[1:]]))
        outputs.append(helper.make_tensor_value_info(product.name, TensorProto.FLOAT, None))
        if product.activation:
            inputs.append(helper.make_tensor_value_info(w, TensorProto.FLOAT, [batch, *product.w[1:]]))
        else:
            weights.append(numpy_helper.from_array(np.zeros(product.w, np.float32), w))
    graph = helper.make_graph(nodes, name, inputs, outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])


def products_step(
    name: str, products: Sequence[Product], batch: int, *, optimizer: str | None = None, first_dx: bool = True
) -> TrainingStep:  # fmt: skip
    """Forward and backward of every product, and the update of its weight if there is an optimizer.

    Args:
        name: of the model.
        products: the layers, each for itself.
        batch: first axis of all activations.
        optimizer: as in ``gradweave.compile``.
        first_dx: whether the first one's input gradient is wanted too.
    """
    model = products_model(name, products, batch)
    wanted = [value.name for value in model.graph.input][0 if first_dx else 1 :]
    return training_step(model, optimizer=optimizer, input_grads=wanted)
