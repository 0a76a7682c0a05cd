"""The oracle itself, against what is neither JAX nor this project: ONNX's reference implementation, differences, and arithmetic."""

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from jax_oracle import constants, difference, oracle, sgd
from network_check import mismatches, well_conditioned
from onnx import parser
from onnx.reference import ReferenceEvaluator
from random_networks import Case, networks

QUICK = settings(max_examples=20, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
HEADER = '<ir_version: 10, opset_import: ["" : 21]>\n'


@QUICK
@given(networks())
def test_outputs_are_those_of_the_reference_implementation(case: Case) -> None:
    expected = oracle(case.model, case.inputs, case.options.loss)
    assume(well_conditioned(expected))
    names = [output.name for output in case.model.graph.output]
    feeds = {value.name: case.inputs[value.name] for value in case.model.graph.input}
    got = ReferenceEvaluator(case.model).run(None, feeds)
    for name, value in zip(names, got, strict=True):
        assert difference(np.asarray(value, np.float64), expected.values[name]) < 1e-4, case


@QUICK
@given(networks())
def test_gradients_are_slopes(case: Case) -> None:
    """Along a random direction of all weights at once."""
    options = case.options
    expected = oracle(case.model, case.inputs, options.loss)
    weights = [name.removeprefix("grad/") for name in expected.values if name.startswith("grad/")]
    assume(weights and well_conditioned(expected) and expected.kink > 1e-4)
    rng, step = np.random.default_rng(0), 1e-6
    start = {name: constants(case.model)[name] for name in weights}
    direction = {name: rng.normal(size=value.shape) for name, value in start.items()}

    def height(sign: int) -> float:
        state = {name: value + sign * step * direction[name] for name, value in start.items()}
        values = oracle(case.model, case.inputs, options.loss, state=state).values
        if options.loss is not None:
            return float(values["loss"])
        return sum(float(np.sum(values[output.name] * case.inputs[f"grad/{output.name}"])) for output in case.model.graph.output)

    slopes = [float(np.sum(expected.values[f"grad/{name}"] * direction[name])) for name in weights]
    size = sum(float(np.linalg.norm(expected.values[f"grad/{name}"]) * np.linalg.norm(direction[name])) for name in weights)
    assert sum(slopes) == pytest.approx((height(1) - height(-1)) / (2 * step), abs=1e-5 * size + 1e-9), case


def test_a_layer_by_hand() -> None:
    model = parser.parse_model(
        HEADER
        + "net (float[1, 2] x) => (float[1, 2] y) <float[2, 2] w = {1, -2, 3, 4}, float[2] b = {0.5, 1}> { h = Gemm(x, w, b) y = Relu(h) }"
    )
    # x = [1, 2]: h = [1 + 6 + 0.5, −2 + 8 + 1] = [7.5, 7]; x = [1, −2]: h = [−4.5, −9], where Relu passes nothing.
    inputs = {"x": np.array([[1.0, 2.0]]), "grad/y": np.array([[10.0, 100.0]])}
    step = {"lr": 0.1, "momentum": 0.5, "weight_decay": 2.0}
    found = oracle(model, inputs, None, step, ("x",), state={"velocity/b": np.array([1.0, -1.0])}).values
    expected = {
        "y": [[7.5, 7.0]],
        "grad/w": [[10.0, 100.0], [20.0, 200.0]],
        "grad/b": [10.0, 100.0],
        "grad/x": [[-190.0, 430.0]],
        "param/velocity/w": [[12.0, 96.0], [26.0, 208.0]],
        "param/w": [[-0.2, -11.6], [0.4, -16.8]],
        "param/velocity/b": [11.5, 101.5],
        "param/b": [-0.65, -9.15],
    }
    assert not mismatches({name: np.array(value) for name, value in expected.items()}, found, 1e-12)
    inputs["x"] = np.array([[1.0, -2.0]])
    assert not oracle(model, inputs).values["grad/w"].any()


def test_losses_by_hand() -> None:
    model = parser.parse_model(HEADER + "net (float[2, 2] x) => (float[2, 2] y) { y = Neg(x) }")
    x = np.array([[0.0, -np.log(3.0)], [0.0, 0.0]])
    cross_entropy = oracle(model, {"x": x, "labels": np.array([1, 0])}, "softmax-cross-entropy", input_grads=("x",)).values
    assert cross_entropy["loss"] == pytest.approx((-np.log(0.75) - np.log(0.5)) / 2)
    np.testing.assert_allclose(cross_entropy["grad/x"], [[-0.125, 0.125], [0.25, -0.25]])
    squared = oracle(model, {"x": np.ones((2, 2)), "labels": np.array([[0.0, 1.0], [-1.0, 1.0]])}, "mse", input_grads=("x",)).values
    assert squared["loss"] == pytest.approx((1 + 4 + 0 + 4) / 4)
    np.testing.assert_allclose(squared["grad/x"], [[0.5, 1.0], [0.0, 1.0]])


def test_sgd_without_momentum_takes_the_plain_step() -> None:
    w, v = sgd(np.array(2.0), np.array(3.0), 100.0, lr=0.5, momentum=0.0, weight_decay=0.25)
    assert (w, v) == (2.0 - 0.5 * 3.5, 3.5)
