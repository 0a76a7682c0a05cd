"""Losses, optimizers and chosen gradients: what users may ask for, and what they are told when it cannot be."""

from collections.abc import Callable

import numpy as np
import pytest
from interpreted import training_step
from jax_oracle import oracle
from network_check import mismatches
from onnx import ModelProto, parser
from random_networks import Options

from compiler.autodiff.optimizer import Sgd, parse_optimizer
from compiler.interpret import interpret_train
from compiler.transforms.add_optimizer import initial_velocities
from isa.errors import UserError

HEADER = '<ir_version: 10, opset_import: ["" : 21]>\n'
TIED = parser.parse_model(
    HEADER
    + """net (float[5, 3] x) => (float[5, 3] y) <float[3, 3] w = {1, 2, -1, 0.5, -2, 1, 0.25, 1, -0.5}, float[3] b = {0.5, -1, 2}>
    { h = Gemm(x, w, b)  t = Tanh(h)  y = Gemm<transB = 1>(t, w) }"""
)


@pytest.mark.parametrize("loss", ["softmax-cross-entropy", "mse"])
def test_three_steps_of_momentum_and_decay_are_those_of_jax(loss: str) -> None:
    sgd = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.05}
    module, state = training_step(TIED, Options(loss=loss, optimizer=sgd), simplify=False)
    rng = np.random.default_rng(0)
    expected_state: dict[str, np.ndarray] = {}
    for _ in range(3):
        labels = rng.integers(0, 3, 5) if loss == "softmax-cross-entropy" else rng.normal(size=(5, 3))
        inputs = {"x": rng.normal(size=(5, 3)), "labels": labels}
        expected = oracle(TIED, inputs, loss, sgd, state=expected_state).values
        got = interpret_train(module, state | inputs)
        assert not mismatches(expected, got, 1e-12)
        expected_state = {name.removeprefix("param/"): value for name, value in expected.items() if name.startswith("param/")}
        state = {name.removeprefix("param/"): value for name, value in got.items() if name.startswith("param/")}


def test_velocities_start_at_zero_and_only_with_momentum() -> None:
    for momentum, names in ((0.9, {"velocity/w", "velocity/b"}), (0.0, set())):
        options = Options(loss="mse", optimizer={"lr": 0.1, "momentum": momentum, "weight_decay": 0.0})
        module, _ = training_step(TIED, options, simplify=True)
        velocities = initial_velocities(module)
        assert set(velocities) == names
        assert not any(v.any() for v in velocities.values())


def test_gradients_of_an_input_only_when_asked_for() -> None:
    for input_grads in ((), ("x",)):
        module, weights = training_step(TIED, Options(input_grads=input_grads), simplify=True)
        found = interpret_train(module, weights | {"x": np.ones((5, 3)), "grad/y": np.ones((5, 3))})
        assert ("grad/x" in found) == bool(input_grads)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sgd", Sgd(0.01, 0.0, 0.0)),
        ("sgd:lr=0.5", Sgd(0.5, 0.0, 0.0)),
        ("sgd:weight_decay=1e-4, momentum=.9", Sgd(0.01, 0.9, 1e-4)),
    ],
)
def test_optimizers_are_parsed(text: str, expected: Sgd) -> None:
    assert parse_optimizer(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("adam", "'adam' is not supported"),
        ("", "'' is not supported"),
        ("sgd:rate=1", "'rate' is none of lr, momentum, weight_decay"),
        ("sgd:lr=fast,momentum", "lr=fast is not a number; momentum= is not a number"),
        ("sgd:lr=1,lr=2", "lr is given twice"),
        ("sgd:lr=-1,momentum=nan", "lr is -1.0, momentum is nan"),
        ("sgd:lr=inf", "lr is inf"),
    ],
)
def test_mistakes_in_optimizers(text: str, message: str) -> None:
    with pytest.raises(UserError) as error:
        parse_optimizer(text)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def model(text: str) -> ModelProto:
    return parser.parse_model(HEADER + text)


MISTAKES: dict[str, tuple[Callable[[], ModelProto], Options, str]] = {
    "unknown input": (lambda: TIED, Options(input_grads=("x", "z", "w")), "no floating-point input is named 'z', 'w'; the model's are: x"),
    "unknown loss": (lambda: TIED, Options(loss="hinge"), "'hinge' is none of softmax-cross-entropy, mse"),
    "two outputs": (
        lambda: model("net (float[2, 3] x) => (float[2, 3] y, float[2, 3] z) { y = Relu(x) z = Neg(x) }"),
        Options(loss="mse"),
        "one floating-point output; this one has y, z",
    ),
    "not a matrix": (
        lambda: model("net (float[2, 3, 4] x) => (float[2, 3, 4] y) { y = Relu(x) }"),
        Options(loss="softmax-cross-entropy"),
        "the model's is [2, 3, 4]",
    ),
    "labels there": (
        lambda: model("net (float[2, 3] labels) => (float[2, 3] loss) { loss = Relu(labels) }"),
        Options(loss="mse"),
        "already has labels and loss",
    ),
    "no weights": (
        lambda: model("net (float[2, 3] x) => (float[2, 3] y) { y = Relu(x) }"),
        Options(optimizer={"lr": 0.1, "momentum": 0.0, "weight_decay": 0.0}),
        "nothing to train",
    ),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes(case: str) -> None:
    source, options, message = MISTAKES[case]
    with pytest.raises(UserError) as error:
        training_step(source(), options, simplify=False)
    assert message in str(error.value)
