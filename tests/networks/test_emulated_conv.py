"""Random convolutional networks on the emulated machine against JAX in float64."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import onnx
import pytest
from conv_networks import conv_networks
from emulated import compiled, execute, execute_both
from network_check import check_networks
from random_networks import Options

from compiler.dialects.train import ProductOp
from compiler.driver import training_step
from emulator import Emulator
from isa.errors import UserError
from isa.machine import Array, Machine, Scratchpad


def test_training_steps_agree_with_jax(network_count: int) -> None:
    check_networks(network_count // 6, execute, cases=conv_networks())


def test_gathered_gradients_agree_with_jax(network_count: int) -> None:
    """With results in the array dX of a convolution is another product than elsewhere: both engines, on this schedule alone."""
    cases = conv_networks().map(lambda case: replace(case, options=replace(case.options, schedule="os")))
    check_networks(network_count // 20, execute_both, cases=cases)


@pytest.mark.slow
def test_both_engines_agree_with_jax(network_count: int) -> None:
    check_networks(network_count, execute_both, cases=conv_networks())


def test_scratchpads_that_hold_parts(network_count: int, tell: Callable[[str], None]) -> None:
    """On the smallest scratchpad that a network can do with; first layers with packed taps come in panels."""
    both = 0

    def in_parts(model: onnx.ModelProto, inputs: Mapping[str, np.ndarray], options: Options) -> dict[str, np.ndarray]:
        nonlocal both
        for shift in range(10, 21):
            machine = Machine(name="small", array=Array(rows=options.rows, cols=options.cols), scratchpad=Scratchpad(bytes=1 << shift))
            try:
                program = compiled(model, options, machine)
            except UserError:
                continue
            step = training_step(model, loss=options.loss)
            panels = {symbol.name.partition(".X.panels")[0] for symbol in program.symbols if ".X.panels" in symbol.name}
            packed = {op.layer.data for op in step.module.walk() if isinstance(op, ProductOp) and ",nrk->" in op.axes.data}
            both += bool(packed & panels)
            return Emulator(program).run(inputs).outputs
        raise AssertionError("fits no scratchpad")

    check_networks(network_count // 10, in_parts, cases=conv_networks(packed=True))
    tell(f"random networks with panels of packed taps: {both} of {network_count // 10}")
    assert both >= network_count // 60
