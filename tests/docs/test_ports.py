"""docs/ports.md: the cycles that it states are those that programs take."""

from pathlib import Path

import msgspec

from compiler.driver import lower, training_step
from emulator import timing
from isa.machine import Machine

ROOT = Path(__file__).parents[2]


def test_the_cycles_are_current() -> None:
    page = (ROOT / "docs" / "ports.md").read_text(encoding="utf-8")
    table = page.split("<!-- cycles -->\n")[1].split("<!-- end -->")[0].splitlines()
    head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    step = training_step(ROOT / "programs" / "digits_mlp.onnxtxt", batch=256, loss="softmax-cross-entropy", optimizer="sgd:lr=0.1")
    assert len(rows) == 6
    for row in rows:
        banks, read_ports, write_ports = (0 if cell == "unlimited" else int(cell) for cell in row[:3])
        scratchpad = msgspec.structs.replace(Machine().scratchpad, banks=banks, read_ports=read_ports, write_ports=write_ports)
        machine = msgspec.structs.replace(Machine(), scratchpad=scratchpad)
        assert row[3:] == [f"{timing(lower(step, machine, schedule=name)).cycles:,}" for name in head[3:]]
