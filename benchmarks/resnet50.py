"""Seconds to compile ResNet-50's training step, and to run it with values.

    python benchmarks/resnet50.py --batch 1 --machine programs/machines/128x128.toml

The model is the one of the onnx package, its weights drawn.  Compiling is all that ``gradweave compile`` does: reading, every pass, the
check of the program.  Medians of several runs, and the peak of this process' memory.
"""

import resource
import statistics
import time
from pathlib import Path

import click
import onnx.backend.test

import gradweave
from emulator import Emulator, draw_inputs, timing
from isa.machine import load_machine

MODEL = Path(onnx.backend.test.__file__).parent / "data" / "light" / "light_resnet50.onnx"


def seconds(repeat: int, what: str, *runs: float) -> None:
    """One line: the median and the spread."""
    click.echo(f"{what:32} {statistics.median(runs):6.2f} s   (median of {repeat}; {min(runs):.2f} to {max(runs):.2f})")


@click.command()
@click.option("--machine", default="programs/machines/128x128.toml", show_default=True)
@click.option("--batch", default=1, show_default=True)
@click.option("--schedule", default="interleaved", show_default=True)
@click.option("--repeat", default=3, show_default=True)
def main(machine: str, batch: int, schedule: str, repeat: int) -> None:
    """Time compiling and running."""
    compiling, timed, running = [], [], []
    for _ in range(repeat):
        start = time.perf_counter()
        program = gradweave.compile(MODEL, machine=load_machine(machine), batch=batch, schedule=schedule, init="he")
        compiling.append(time.perf_counter() - start)
        start = time.perf_counter()
        report = timing(program)
        timed.append(time.perf_counter() - start)
        inputs = draw_inputs(program, 0)
        start = time.perf_counter()
        cycles = Emulator(program).run(inputs).report.cycles
        running.append(time.perf_counter() - start)
        assert cycles == report.cycles
    click.echo(f"ResNet-50, batch {batch}, {Path(machine).stem}, {schedule}: {cycles:,} cycles, {report.whole.macs:,} MACs")
    seconds(repeat, "compile", *compiling)
    seconds(repeat, "run, timing only", *timed)
    seconds(repeat, "run, with values", *running)
    click.echo(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
