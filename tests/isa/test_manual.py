"""docs/isa.md is what the tables say, and its example assembles."""

from pathlib import Path

from isa.asm import assemble
from isa.instructions import INSTRUCTIONS, Queue
from isa.manual import manual
from isa.vector import FUNCTIONS


def test_the_manual_is_current() -> None:
    written = Path(__file__).parents[2] / "docs" / "isa.md"
    assert written.read_text(encoding="utf-8") == manual(), "run: python -m isa.manual > docs/isa.md"


def test_the_manual_names_every_instruction_field_and_function() -> None:
    text = manual()
    names = [f"### `{op}`" for op in INSTRUCTIONS] + [f"| `{name}` |" for name in FUNCTIONS]
    names += [f"| `{field.name}` |" for spec in INSTRUCTIONS.values() for field in spec.fields]
    assert [name for name in names if name not in text] == []


def test_the_example_of_the_manual_assembles() -> None:
    example = next(block for block in manual().split("```\n") if block.startswith(".program"))
    program = assemble(example, "manual")
    assert [instruction.op for instruction in program.queues[Queue.array]] == ["wait", "loop", "dx", "dw", "end"]
