"""Four arrays of 64x64 under every partition, against one of them and against one array of as many elements, all with the same memories.

python benchmarks/arrays.py           # print the table of docs/arrays.md
python benchmarks/arrays.py --write   # put it there
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
import onnx.backend.test
from models import fully_connected

from compiler.driver import TrainingStep, lower, training_step
from compiler.schedule.schedules import SCHEDULES, partitioned
from emulator import timing
from gradweave.reproduce.sections import print_or_write
from isa.machine import Machine, load_machine

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "arrays.md"
LIGHT = Path(onnx.backend.test.__file__).parent / "data" / "light"
PARTITIONS = ("batch", "rows", "columns", "auto")
RUN = ("sequential", "interleaved")


def _fully_connected(width: int, batch: int) -> TrainingStep:
    return training_step(fully_connected(width, batch), input_grads=("x",))


STEPS: Mapping[str, Callable[[], TrainingStep]] = {
    "fully connected, 256 × 256, batch 64": lambda: _fully_connected(256, 64),
    "fully connected, 1024 × 1024, batch 64": lambda: _fully_connected(1024, 64),
    "fully connected, 1024 × 1024, batch 1024": lambda: _fully_connected(1024, 1024),
    "SqueezeNet, batch 8": lambda: training_step(LIGHT / "light_squeezenet.onnx", batch=8, init="he"),
}
COLUMNS = ("one 64×64", *(f"four, {name}" for name in PARTITIONS), "one 128×128", "one 64×64 ÷ four, auto", "128×128 ÷ four, auto")


def machines() -> tuple[Machine, Machine, Machine]:
    """One small array, four of them, and one of as many elements."""
    four, large = (load_machine(ROOT / "programs" / "machines" / f"{name}.toml") for name in ("4x64x64", "128x128"))
    return msgspec.structs.replace(four, arrays=1), four, large


def row(name: str, step: TrainingStep, schedule: str) -> str:
    """Cycles of one training step under one schedule."""

    def cycles(machine: Machine, partition: str = "auto") -> int:
        return timing(lower(step, machine, schedule=partitioned(SCHEDULES[schedule], partition))).cycles

    one, four, large = machines()
    shared = {partition: cycles(four, partition) for partition in PARTITIONS}
    whole = [cycles(one), *shared.values(), cycles(large)]
    ratios = [whole[0] / shared["auto"], whole[-1] / shared["auto"]]
    return f"| {name} | `{schedule}` | {' | '.join(f'{n:,}' for n in whole)} | {' | '.join(f'{ratio:.2f}' for ratio in ratios)} |"


def table() -> str:
    """All steps under both schedules."""
    lines = [f"| step | schedule | {' | '.join(COLUMNS)} |", "|---|---|" + "--:|" * len(COLUMNS)]
    for name, step in STEPS.items():
        made = step()
        lines += [row(name, made, schedule) for schedule in RUN]
    return "\n".join(lines)


def main() -> None:
    """Print the table, or write it into the page."""
    print_or_write(PAGE, {"cycles": table()})


if __name__ == "__main__":
    main()
