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

from emulator import Emulator
from isa.errors import UserError
from isa.instructions import Queue
from isa.machine import Array, Machine, Scratchpad
from isa.stream import Stream


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
    """On the smallest scratchpad that a network can do with; the rows have several axes of operands that come in panels."""
    both = 0

    def in_parts(model: onnx.ModelProto, inputs: Mapping[str, np.ndarray], options: Options) -> dict[str, np.ndarray]:
        nonlocal both
        for shift in range(10, 21):
            array = Array(rows=9 + options.rows // 2, cols=min(4, options.cols))
            machine = Machine(name="small", array=array, scratchpad=Scratchpad(bytes=1 << shift))
            try:
                program = compiled(model, options, machine)
            except UserError:
                continue
            ports = [beat.args.get("h") for beat in program.queues[Queue.array]]
            both += any(isinstance(h, Stream) and len(h.dims) > 1 and ".panels" in (h.symbol or "") for h in ports)
            return Emulator(program).run(inputs).outputs
        raise AssertionError("fits no scratchpad")

    check_networks(network_count // 10, in_parts, cases=conv_networks(few_channels=True))
    tell(f"random networks with taps beside channels on the rows, from panels: {both} of {network_count // 10}")
    assert both >= network_count // 60
