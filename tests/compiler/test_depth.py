"""Compiling takes work in proportion to the depth of the network: lines of Python executed, which do not depend on the machine."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import onnx
import pytest
from scripts import script

import gradweave
from compiler.pass_times import PassTimes

models = script(Path(__file__).parents[2] / "benchmarks" / "models.py")


def lines(model: onnx.ModelProto) -> dict[str, float]:
    """Lines executed by each pass."""
    executed = 0

    def count(frame: FrameType, event: str, arg: Any) -> Callable[..., Any]:
        nonlocal executed
        executed += 1
        return count

    times = PassTimes(clock=lambda: executed)
    before = sys.gettrace()
    sys.settrace(count)
    try:
        gradweave.compile(model, optimizer="sgd", times=times)
    finally:
        sys.settrace(before)
    return {name: entry.seconds for name, entry in times.passes.items()}


@pytest.mark.parametrize("network", [models.mlp, models.residual_cnn])
def test_twice_the_layers_take_at_most_twice_the_work(network: Callable[[int], onnx.ModelProto]) -> None:
    """Each pass; two hundredths are left for what a network has once."""
    gradweave.compile(network(24), optimizer="sgd")  # imports, and fills the caches, whatever was compiled before
    small, large = lines(network(12)), lines(network(24))
    assert small.keys() == large.keys()
    assert {name: large[name] / small[name] for name in small if large[name] > 2.02 * small[name]} == {}
