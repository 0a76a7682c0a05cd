"""The models in ``programs/`` on the emulated machine against JAX: outputs, gradients and updated weights."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import pytest
from emulated import compiled
from jax_oracle import oracle
from network_check import mismatches
from random_networks import Options

from compiler.frontend.load import load_model
from compiler.schedule import SCHEDULES
from emulator import Emulator
from isa.machine import load_machine

PROGRAMS = Path(__file__).parents[2] / "programs"
TOLERANCE = {"digits_mlp.onnxtxt": 1e-5, "digits_cnn.onnxtxt": 1e-5, "deep_mlp.onnxtxt": 1e-4, "torch_mlp.onnx": 1e-4}
"""Relative to each tensor's largest entry: products and piecewise-linear functions, and all others."""
BATCH = 5
STEPS = {
    "gradients": Options(input_grads=("x",)),
    "loss": Options(loss="softmax-cross-entropy", optimizer={"lr": 0.05, "momentum": 0.9, "weight_decay": 0.01}),
    "fused": Options(optimizer={"lr": 0.05, "momentum": 0.0, "weight_decay": 0.01}, fused_update=True),
    "momentum": Options(optimizer={"lr": 0.05, "momentum": 0.9, "weight_decay": 0.01}, fused_update=True),
}
"""Training steps: output gradients given; a loss, weights updated by the vector unit with momentum; weights updated in the array,
without and with momentum."""


@cache
def expected(name: str, step: str) -> tuple[onnx.ModelProto, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The model, the step's inputs, and what JAX makes of them."""
    model, random, options = load_model(str(PROGRAMS / name), BATCH), np.random.default_rng(0), STEPS[step]
    inputs = {"x": random.uniform(0, 1, (BATCH, 64)).astype(np.float32)}
    if options.loss:
        inputs["labels"] = random.integers(0, 10, BATCH)
    else:
        inputs[f"grad/{model.graph.output[0].name}"] = random.normal(size=(BATCH, 10)).astype(np.float32)
    return model, inputs, oracle(model, inputs, options.loss, options.optimizer, options.input_grads).values


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("machine", ["8x8", "16x64"])
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("name", TOLERANCE)
def test_training_steps_agree_with_jax(name: str, step: str, machine: str, schedule: str) -> None:
    model, inputs, values = expected(name, step)
    program = compiled(model, replace(STEPS[step], schedule=schedule), load_machine(PROGRAMS / "machines" / f"{machine}.toml"))
    got = Emulator(program).run(inputs).outputs
    if STEPS[step].fused_update:  # a weight that is updated inside the array leaves no gradient behind
        values = {key: value for key, value in values.items() if key in got or f"param/{key.removeprefix('grad/')}" not in got}
    assert not mismatches(values, got, TOLERANCE[name])


def test_every_model_is_tested() -> None:
    assert {path.name for path in PROGRAMS.glob("*.onnx*")} == TOLERANCE.keys()
