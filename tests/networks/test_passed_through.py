"""Outputs that no node makes: an input, or a weight, as it is."""

import numpy as np
import onnx.parser
import pytest
from emulated import execute_both
from jax_oracle import oracle
from network_check import mismatches
from random_networks import Options


@pytest.mark.parametrize("nodes", ["", "y = Relu(x)"])
@pytest.mark.parametrize("opset", [17, 22])
def test_outputs_that_are_leaves(opset: int, nodes: str) -> None:
    outputs = "float[2,3] x, float[2] w" + (", float[2,3] y" if nodes else "")
    text = f'<ir_version: 8, opset_import: ["": {opset}]> g (float[2,3] x) => ({outputs}) <float[2] w = {{1,2}}> {{ {nodes} }}'
    rng = np.random.default_rng(0)
    shapes = {"x": (2, 3), "grad/x": (2, 3), "grad/w": (2,), "grad/y": (2, 3)}
    inputs = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items() if nodes or name != "grad/y"}
    model = onnx.parser.parse_model(text)
    options = Options(rows=3, cols=4)
    got = execute_both(model, inputs, options)
    np.testing.assert_array_equal(got["x"], inputs["x"])
    np.testing.assert_array_equal(got["w"], [1, 2])
    np.testing.assert_array_equal(got["grad/w"], inputs["grad/w"])
    assert mismatches(oracle(model, inputs, None, None, ()).values, got, 1e-6) == []
