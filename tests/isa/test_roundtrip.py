"""Program → binary → program, binary → assembly → binary and assembly → binary → assembly are identities."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isa.asm import assemble, disassemble
from isa.binary import read_program, write_program
from isa.instructions import Queue
from isa.machine import EnergyTable, Machine
from isa.program import Program

SETTINGS = settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))


@SETTINGS
@given(data=st.data())
def test_any_program_survives_binary_and_assembly(any_program: st.SearchStrategy[Program], data: st.DataObject) -> None:
    program = data.draw(any_program)
    binary = write_program(program)
    assert read_program(binary, "p.gwb") == program
    text = disassemble(program)
    again = assemble(text, "p.s")
    assert again == program
    assert write_program(again) == binary
    assert disassemble(again) == text


def test_names_may_hold_what_ends_a_line_elsewhere() -> None:
    """Only a newline ends a line of assembly, not the other separators that Python's ``splitlines`` knows."""
    machine = Machine(name="a\x85b\u2028c", energy=EnergyTable(source="\x1c\x0c\u2029"))
    program = Program("\x85", machine, {queue: [] for queue in Queue})
    assert assemble(disassemble(program), "p.s") == program
