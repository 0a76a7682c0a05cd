"""PyTorch's exported test cases on the emulated machine: from the file to the binary, and executed."""

from collections.abc import Callable, Mapping

import pytorch_cases
from pytorch_cases import Array

from compiler.driver import lower, training_step
from emulator import Emulator
from isa import machine
from isa.binary import read_program, write_program
from isa.check import check

MACHINE = machine.Machine(name="5x7", array=machine.Array(rows=5, cols=7), scratchpad=machine.Scratchpad(1 << 24))


def emulate(path: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
    """Executor of the whole chain, forward only."""
    program = read_program(write_program(lower(training_step(path, backward=False), MACHINE, schedule="interleaved")), "case")
    check(program, "case")
    used = {symbol.name for symbol in program.named("input")}
    return Emulator(program).run({name: array for name, array in inputs.items() if name in used}).outputs


def test_cases_pass(tell: Callable[[str], None]) -> None:
    pytorch_cases.check_cases(emulate, lambda line: tell(f"PyTorch's exported cases on the emulated machine: {line}"))
