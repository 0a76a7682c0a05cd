"""Weights drawn anew."""

import numpy as np
import onnx
import pytest

from compiler.driver import training_step
from compiler.frontend.importer import import_model
from compiler.frontend.initialize import reinitialize
from compiler.frontend.load import prepare_model
from isa.errors import UserError

MODEL = """<ir_version: 8, opset_import: ["": 21]> net (float[2,8,9,9] x) => (float[2,20] y)
<int64[4] conv_shape = {64, 4, 3, 3}, int64[1] n64 = {64}, int64[2] fc_shape = {64, 20}, int64[1] n20 = {20}, int64[2] flat = {0, -1},
 int64[2] axes = {1, 2}>
{
  w = ConstantOfShape<value = float[1] {0.5}>(conv_shape)
  b = ConstantOfShape<value = float[1] {0.5}>(n64)
  scale = ConstantOfShape<value = float[1] {0.5}>(n64)
  offset = ConstantOfShape<value = float[1] {0.5}>(n64)
  mean = ConstantOfShape<value = float[1] {0.5}>(n64)
  variance = ConstantOfShape<value = float[1] {0.5}>(n64)
  factor = ConstantOfShape<value = float[1] {0.5}>(n64)
  exponent = ConstantOfShape<value = float[1] {0.5}>(n20)
  fc = ConstantOfShape<value = float[1] {0.5}>(fc_shape)
  c = ConstantOfShape<value = float[1] {0.5}>(n20)
  a = Conv<group = 2>(x, w, b)
  n = BatchNormalization(a, scale, offset, mean, variance)
  f = Unsqueeze(factor, axes)
  m = Mul(n, f)
  p = GlobalAveragePool(m)
  r = Reshape(p, flat)
  g = Gemm(r, fc, c)
  y = Pow(g, exponent)
}"""


def test_he() -> None:
    """Variance 2 by fan-in, 4·3·3 for a group of the convolution and 64 for Gemm; normalisation and factors begin as the identity."""
    module, weights = import_model(prepare_model(onnx.parser.parse_model(MODEL), "net"), "net")
    drawn = reinitialize(module, weights, "he", 1)
    assert drawn.keys() == weights.keys()
    assert {name: value.dtype for name, value in drawn.items()} == dict.fromkeys(weights, np.dtype(np.float32))
    for name, fan_in in (("w", 36), ("fc", 64)):
        assert drawn[name].shape == weights[name].shape
        assert abs(drawn[name].mean()) < 0.02
        assert drawn[name].std() == pytest.approx(np.sqrt(2 / fan_in), rel=0.05)
    fills = {name: np.unique(value).tolist() for name, value in drawn.items() if name not in ("w", "fc")}
    assert fills == {
        "b": [0], "scale": [1], "offset": [0], "mean": [0], "variance": [1], "factor": [1], "c": [0],
        "exponent": [0.5],  # nothing is known of it
    }  # fmt: skip


def test_the_seed_decides() -> None:
    model = onnx.parser.parse_model(MODEL)
    first, again, other = (training_step(model, init="he", seed=seed).weights["w"] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).all()
    assert np.unique(training_step(model, seed=1).weights["w"]).tolist() == [0.5]


def test_unknown_kind() -> None:
    with pytest.raises(UserError, match="--init: unknown way to draw weights 'xavier'; there is he"):
        training_step(onnx.parser.parse_model(MODEL), init="xavier")
