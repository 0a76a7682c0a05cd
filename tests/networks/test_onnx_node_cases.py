"""ONNX's own tests of its operators on the emulated machine: from the model to the binary, and executed."""

from collections.abc import Callable, Mapping

import onnx
from onnx_node_cases import Array, check_cases

from compiler.driver import lower, training_step
from emulator import Emulator
from isa import machine
from isa.binary import read_program, write_program
from isa.check import check

MACHINE = machine.Machine(name="5x7", array=machine.Array(rows=5, cols=7), scratchpad=machine.Scratchpad(1 << 24))


def emulate(model: onnx.ModelProto, inputs: Mapping[str, Array], batch: int | None) -> Mapping[str, Array]:
    """Executor of the whole chain, forward only."""
    binary = write_program(lower(training_step(model, batch=batch, backward=False), MACHINE, schedule="interleaved"))
    program = read_program(binary, "case")
    check(program, "case")
    return Emulator(program).run(inputs).outputs


def test_supported_cases_pass(tell: Callable[[str], None]) -> None:
    check_cases(emulate, lambda line: tell(f"ONNX node tests on the emulated machine: {line}"))
