"""The engines' speed and peak memory on a large fully-connected layer, ResNet-50 and a GPT-2-sized transformer.

    python benchmarks/speed.py --machine programs/machines/128x128.toml --model fully-connected

``fast`` computes values: a whole training step, beside the same products as NumPy matmuls of whole matrices, and all else, which is the
vector unit's, as NumPy does it tensor by tensor.  What the products' share is, a second program tells that has nothing but them: their
beats, the transfers of their tiles and panels, and what the vector unit does to their sums.  A third one does nothing: it tells what it
takes to hand over inputs and outputs, which is listed apart.  The first run of a program looks at its events, too; what is compared are
further runs, which compute values alone.  ``timing`` is run on all models.
Everything is measured in processes of its own; seconds are medians of several runs.
"""

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import onnx
import onnx.backend.test
import plain_numpy
from children import in_child
from models import fully_connected, gpt2

import gradweave
from compiler.driver import TrainingStep, training_step
from emulator import Emulator, draw_inputs, timing
from isa.instructions import Instruction, Queue
from isa.machine import load_machine
from isa.program import Program

RESNET = str(Path(onnx.backend.test.__file__).parent / "data" / "light" / "light_resnet50.onnx")
MODELS: dict[str, tuple[Callable[[], str | onnx.ModelProto], dict[str, Any]]] = {
    "fully-connected": (lambda: fully_connected(4096, 256), {"optimizer": "sgd", "input_grads": ("x",)}),
    "resnet50": (lambda: RESNET, {"batch": 8, "init": "he", "optimizer": "sgd"}),
    "gpt2": (gpt2, {"optimizer": "sgd"}),
}
VALUES = ("fully-connected", "resnet50")
PRODUCTS = ("fwd", "dx", "dw", "dx+dw")
UNTIMED = ("loop", "end", "wait", "signal")
TIMING_TARGETS = {"resnet50": 2.0, "gpt2": 5.0}
COMPILE_TARGETS = {"resnet50": 8.0}


def step_of(name: str) -> TrainingStep:
    """The model's training step."""
    make, options = MODELS[name]
    return training_step(make(), **options)


def program_of(name: str, machine: str) -> tuple[Program, float]:
    """The model's program, and the seconds to compile it."""
    make, options = MODELS[name]
    model = make()
    start = time.perf_counter()
    program = gradweave.compile(model, machine=load_machine(machine), **options)
    return program, time.perf_counter() - start


def products_of(program: Program) -> dict[Queue, list[Instruction]]:
    """The program's code with nothing but the work that is for products, and without loops that are empty then."""
    kept: dict[Queue, list[Instruction]] = {queue: [] for queue in program.queues}
    for queue, code in program.queues.items():
        for instruction in code:
            owner = instruction.provenance
            if instruction.op == "end" and kept[queue][-1].op == "loop":
                kept[queue].pop()
            elif owner is None or instruction.op in UNTIMED or program.provenance[owner].product in PRODUCTS:
                kept[queue].append(instruction)
    return kept


def median(repeat: int, run: Callable[[], object]) -> float:
    """Seconds of a run."""
    found = []
    for _ in range(repeat):
        start = time.perf_counter()
        run()
        found.append(time.perf_counter() - start)
    return statistics.median(found)


def run_timing(name: str, machine: str, repeat: int) -> tuple[float, float]:
    """Seconds to compile, and of the engine without values."""
    program, compiled = program_of(name, machine)
    return compiled, median(repeat, lambda: timing(program))


def run_values(name: str, machine: str, repeat: int, part: str) -> tuple[float, float]:
    """Seconds of the engine with values in the first run and in further ones: of ``all``, of ``products``, or of ``nothing``."""
    program, _ = program_of(name, machine)
    if part != "all":
        program.queues = products_of(program) if part == "products" else {}
    emulator, inputs = Emulator(program), draw_inputs(program, 0)
    return median(1, lambda: emulator.run(inputs)), median(repeat, lambda: emulator.run(inputs))


def run_numpy(name: str, repeat: int) -> tuple[float, float, int, int]:
    """Seconds of NumPy's products and of its other work, MACs, and bytes of live tensors."""
    step = step_of(name)
    runs = [plain_numpy.seconds(step) for _ in range(repeat)]
    return statistics.median(run[0] for run in runs), statistics.median(run[1] for run in runs), runs[0][2], plain_numpy.live_bytes(step)


def compare_values(name: str, machine: str, repeat: int) -> None:
    """Print what ``fast`` and NumPy take."""
    (products, vector, macs, live), numpy_peak = in_child(run_numpy, name, repeat)
    (first, whole), peak = in_child(run_values, name, machine, repeat, "all")
    rest, handed = (in_child(run_values, name, machine, repeat, part)[0][1] for part in ("products", "nothing"))
    shares = ("products", rest - handed, products, 1.5), ("vector unit", whole - rest, vector, 2)
    click.echo(f"{name}, fast on {Path(machine).stem}, {macs:,} MACs: first run {first:.3f} s, then {whole:.3f} s")
    for share, seconds, other, target in shares:
        click.echo(f"  {share:12} {seconds:9.3f} s, NumPy {other:9.3f} s: {seconds / other:7.2f}x (target {target:g}x)")
    click.echo(f"  in and out   {handed:9.3f} s")
    ratio = f"{peak / live:.2f}x the {live / 1e6:,.0f} MB of live tensors (target 2x)"
    click.echo(f"  peak memory  {peak / 1e6:9,.0f} MB, NumPy {numpy_peak / 1e6:9,.0f} MB; {ratio}")


def compare_timing(name: str, machine: str, repeat: int) -> None:
    """Print what compiling and ``timing`` take."""
    (compiled, seconds), peak = in_child(run_timing, name, machine, repeat)
    targets = [f"(target {found[name]:g} s)" if name in found else "" for found in (COMPILE_TARGETS, TIMING_TARGETS)]
    click.echo(f"{name}, timing on {Path(machine).stem}")
    click.echo(f"  compiled in  {compiled:9.3f} s {targets[0]}, then {seconds:9.3f} s {targets[1]}, peak memory {peak / 1e6:,.0f} MB")


@click.command()
@click.option("--model", "models", multiple=True, type=click.Choice(list(MODELS)), default=list(MODELS), show_default=True)
@click.option("--machine", "machines", multiple=True, default=[f"programs/machines/{n}x{n}.toml" for n in (32, 128)], show_default=True)
@click.option("--repeat", default=3, show_default=True)
def main(models: tuple[str, ...], machines: tuple[str, ...], repeat: int) -> None:
    """Measure both engines."""
    for name in models:
        for machine in machines:
            if name in VALUES:
                compare_values(name, machine, repeat)
            compare_timing(name, machine, repeat)


if __name__ == "__main__":
    main()
