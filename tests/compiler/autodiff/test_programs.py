"""The models in ``programs/`` against JAX, at the train level."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from interpreted import execute
from jax_oracle import oracle
from network_check import mismatches
from random_networks import Options

PROGRAMS = Path(__file__).parents[3] / "programs"
MODELS = ("digits_mlp.onnxtxt", "digits_cnn.onnxtxt", "deep_mlp.onnxtxt", "torch_mlp.onnx")
BATCH = 3
SGD = {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.01}


def load(name: str) -> onnx.ModelProto:
    """The model with its symbolic batch size bound."""
    path = PROGRAMS / name
    model = onnx.parser.parse_model(path.read_text()) if path.suffix == ".onnxtxt" else onnx.load(path)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = BATCH
    return model


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(
    "options",
    [Options(input_grads=("x",)), Options(loss="softmax-cross-entropy", optimizer=SGD), Options(loss="mse")],
    ids=["plain", "sgd", "mse"],
)
def test_gradients_are_those_of_jax(name: str, options: Options) -> None:
    model, rng = load(name), np.random.default_rng(0)
    (output,) = (value.name for value in model.graph.output)
    inputs = {"x": rng.uniform(0, 1, (BATCH, 64)).astype(np.float32)}
    if options.loss == "softmax-cross-entropy":
        inputs["labels"] = rng.integers(0, 10, BATCH)
    else:
        inputs["labels" if options.loss else f"grad/{output}"] = rng.normal(size=(BATCH, 10)).astype(np.float32)
    expected = oracle(model, inputs, options.loss, options.optimizer, options.input_grads)
    assert not mismatches(expected.values, execute(model, inputs, options), 1e-9)
