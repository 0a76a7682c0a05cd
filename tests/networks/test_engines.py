"""Both engines on every machine of ``programs/machines``, under every schedule and option."""

from functools import cache
from pathlib import Path

import numpy as np
import onnx.parser
import pytest

from compiler.driver import TrainingStep, lower, training_step
from compiler.schedule import SCHEDULES
from emulator import Emulator, draw_inputs
from isa.check import check
from isa.machine import load_machine
from isa.program import Program

FILES = sorted((Path(__file__).parents[2] / "programs" / "machines").glob("*.toml"))
MACHINES = [path for path in FILES if path.stem != "micro2023-large"]  # its array is that of 128x128
MODEL = """
<ir_version: 10, opset_import: ["" : 21]>
mlp (float[3, 9] x) => (float[3, 5] y) <float[9, 34] w1, float[34] b1, float[5, 34] w2> {
  [fc1] h = Gemm(x, w1, b1)
  [relu] a = Relu(h)
  [fc2] y = Gemm<transB = 1>(a, w2)
}
"""
"""Edges of tiles are ragged on each of the machines."""

ROUNDING = 34 * 2.0**-24
"""The longest sum has 34 terms, which the fast engine may add in another order: as many fp32 roundings, relative to the largest entry."""


@cache
def step(optimizer: str = "sgd:lr=0.1,weight_decay=0.01") -> TrainingStep:
    model = onnx.parser.parse_model(MODEL)
    random = np.random.default_rng(8)
    for name, shape in (("w1", (9, 34)), ("b1", (34,)), ("w2", (5, 34))):
        model.graph.initializer.append(onnx.numpy_helper.from_array(random.normal(size=shape).astype(np.float32), name))
    return training_step(model, loss="softmax-cross-entropy", optimizer=optimizer, input_grads=["x"])


@pytest.mark.parametrize("fused_update", [False, True], ids=["separate", "fused"])
@pytest.mark.parametrize("double_buffer", [False, True], ids=["single", "double"])
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("path", MACHINES, ids=lambda path: path.stem)
def test_engines_agree(path: Path, schedule: str, double_buffer: bool, fused_update: bool) -> None:
    agree(lower(step(), load_machine(path), schedule=schedule, double_buffer=double_buffer, fused_update=fused_update), 1)


@pytest.mark.parametrize("schedule", ["sequential", "interleaved"])
@pytest.mark.parametrize("path", MACHINES, ids=lambda path: path.stem)
def test_they_do_with_momentum_in_the_array(path: Path, schedule: str) -> None:
    """In a second step, too, which finds a velocity; on a machine of several arrays each has tiles of its own."""
    momentum = step("sgd:lr=0.1,momentum=0.9,weight_decay=0.01")
    program = lower(momentum, load_machine(path), schedule=schedule, fused_update=True)
    assert "gload" in {instruction.op for code in program.queues.values() for instruction in code}
    agree(program, 2)


def agree(program: Program, times: int) -> None:
    """That both engines do the same, so many times."""
    check(program, "mlp")
    inputs = draw_inputs(program, 3)
    emulators = [Emulator(program, engine) for engine in ("fast", "stepped")]
    for _ in range(times):
        fast, stepped = (emulator.run(inputs) for emulator in emulators)
    assert fast.report.to_dict() == stepped.report.to_dict()
    assert fast.outputs.keys() == stepped.outputs.keys()
    for name, value in stepped.outputs.items():
        np.testing.assert_allclose(fast.outputs[name], value, rtol=0, atol=ROUNDING * np.abs(value).max(), err_msg=name)
