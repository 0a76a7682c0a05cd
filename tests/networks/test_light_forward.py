"""The nine networks that ONNX brings along, executed forward by the interpreter of the train level, against JAX; weights He-normal."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax_oracle import constants, run_graph
from jax_trace import Trace
from light_models import NAMES, light_model
from xdsl.context import Context

from compiler.dialects.train import ConcatOp, PlaceOp, PoolOp, ProductOp, TransposeOp
from compiler.frontend.importer import import_model
from compiler.frontend.initialize import reinitialize
from compiler.frontend.load import prepare_model
from compiler.interpret import interpret_train
from compiler.transforms.convert_onnx_to_train import ConvertOnnxToTrain

SIZES = {"bvlc_alexnet": 67, "densenet121": 32, "squeezenet": 32, "vgg19": 32, "zfnet512": 67, "resnet50": 193}
"""Small inputs; the others need about the 224×224 that they are made for."""

LONG = set(NAMES) - {"squeezenet", "zfnet512"}


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow if n in LONG else []) for n in NAMES])
def test_forward(name: str) -> None:
    model = light_model(name, SIZES.get(name, 224))
    module, weights = import_model(prepare_model(model, name), name)
    weights = reinitialize(module, weights, "he", 1)
    ConvertOnnxToTrain().apply(Context(), module)
    module.verify()
    image = next(value for value in model.graph.input if value.name not in {t.name for t in model.graph.initializer})
    shape = [dim.dim_value for dim in image.type.tensor_type.shape.dim]
    leaves = {image.name: np.random.default_rng(0).standard_normal(shape), **weights}
    (found,) = interpret_train(module, leaves).values()
    with jax.enable_x64(True):
        values = constants(model) | {name: jnp.asarray(value, jnp.float64) for name, value in leaves.items()}
        expected = np.asarray(run_graph(model, values, Trace(0.0, 9))[model.graph.output[0].name])
    assert found.shape == expected.shape
    assert expected.std() > 0.1 / expected.size  # the network tells its classes apart, so that mistakes show
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())


COUNTS = {  # products, pools, paddings, concatenations, transposes
    "bvlc_alexnet": (8, 5, 7, 0, 0),
    "densenet121": (121, 4, 60, 58, 0),
    "inception_v1": (58, 16, 32, 9, 0),
    "inception_v2": (70, 13, 44, 10, 0),
    "resnet50": (54, 2, 18, 0, 0),
    "shufflenet": (50, 5, 21, 3, 16),
    "squeezenet": (26, 3, 8, 8, 0),
    "vgg19": (19, 5, 16, 0, 0),
    "zfnet512": (8, 5, 5, 0, 0),
}


@pytest.mark.parametrize("name", NAMES)
def test_train_level_is_small(name: str) -> None:
    """One product a convolution or Gemm node, one pool a pooling or LRN node, one padding where something is padded, no layout changes."""
    model = light_model(name)
    module, _ = import_model(prepare_model(model, name), name)
    ConvertOnnxToTrain().apply(Context(), module)
    module.verify()
    counts = tuple(sum(isinstance(op, kind) for op in module.walk()) for kind in (ProductOp, PoolOp, PlaceOp, ConcatOp, TransposeOp))
    nodes = [node.op_type for node in model.graph.node]
    assert counts == COUNTS[name]
    assert counts[0] == nodes.count("Conv") + nodes.count("Gemm")
    assert counts[1] == nodes.count("MaxPool") + nodes.count("AveragePool") + nodes.count("LRN")
    assert counts[3:] == (nodes.count("Concat"), nodes.count("Transpose"))
