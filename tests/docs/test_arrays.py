"""docs/arrays.md: the cycles that it states are those that programs take, and what it says of a small scratchpad is so."""

from pathlib import Path

import msgspec
import pytest
from scripts import script

from compiler.driver import lower, training_step
from emulator import timing
from isa.machine import load_machine

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "name", ["fully connected, 256 × 256, batch 64", "fully connected, 1024 × 1024, batch 1024", "SqueezeNet, batch 8"]
)
def test_the_cycles_are_current(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one schedule each; the others take as long to measure."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    benchmark = script(ROOT / "benchmarks" / "arrays.py")
    table = (ROOT / "docs" / "arrays.md").read_text(encoding="utf-8").split("<!-- cycles -->\n")[1].split("<!-- end -->")[0]
    assert benchmark.row(name, benchmark.STEPS[name](), "interleaved") in table.splitlines(), "run: python benchmarks/arrays.py --write"
    assert all(f"| {step} | `{schedule}` |" in table for step in benchmark.STEPS for schedule in benchmark.RUN)


def test_the_four_arrays_are_as_many_elements_with_the_same_memories() -> None:
    four, large = (load_machine(str(ROOT / "programs" / "machines" / f"{name}.toml")) for name in ("4x64x64", "128x128"))
    assert four.elements == large.elements
    assert (four.scratchpad, four.dram, four.vector, four.energy) == (large.scratchpad, large.dram, large.vector, large.energy)


def test_more_arrays_can_be_slower() -> None:
    step = training_step(ROOT / "programs" / "digits_cnn.onnxtxt", batch=16, loss="softmax-cross-entropy")
    small = load_machine(str(ROOT / "programs" / "machines" / "8x8.toml"))
    scratchpad = msgspec.structs.replace(small.scratchpad, bytes=48 << 10)
    machines = [msgspec.structs.replace(small, arrays=arrays, scratchpad=scratchpad) for arrays in (1, 4)]
    one, four = (timing(lower(step, machine, schedule="interleaved")) for machine in machines)
    assert one.cycles < four.cycles
