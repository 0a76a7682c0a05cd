"""How the time of each pass grows with the depth of a network: doubling the depth must at most double it.

    python benchmarks/depth.py --network residual-cnn

Networks of 25, 50, 100 and 200 equal layers; seconds are of the processor, medians of several compilations that take turns.  Behind each
column stands the ratio to half the depth; that of passes of a few milliseconds says little.  The layers are small: all tensors of the
deepest network lie side by side in the scratchpad.  Where memory is used again, programs have more instructions a layer: waits, transfers.
"""

import gc
import statistics
import time
from collections.abc import Callable

import click
import onnx
from models import mlp, residual_cnn

import gradweave
from compiler.pass_times import PassTimes
from isa.machine import load_machine

NETWORKS: dict[str, Callable[[int], onnx.ModelProto]] = {"mlp": mlp, "residual-cnn": residual_cnn}
DEPTHS = (25, 50, 100, 200)


def measure(network: str, depth: int, machine: str) -> dict[str, float]:
    """Seconds of each pass and of all, and the program's size."""
    model = NETWORKS[network](depth)
    gc.collect()
    times = PassTimes(clock=time.process_time)
    start = time.process_time()
    program = gradweave.compile(model, machine=load_machine(machine), optimizer="sgd", times=times)
    total = time.process_time() - start
    instructions = sum(len(code) for code in program.queues.values())
    return {name: entry.seconds for name, entry in times.passes.items()} | {"total": total, "1,000 instructions": instructions / 1000}


def table(seconds: dict[int, dict[str, float]]) -> str:
    """A row for each pass, the slowest first."""
    depths = list(seconds)
    lines = [f"{'pass':26}" + "".join(f"{f'{depth} layers':>14} {'':6}" for depth in depths)]
    for name in sorted(seconds[depths[-1]], key=lambda name: seconds[depths[-1]][name]):
        line = f"{name:26}"
        for depth, half in zip(depths, [0, *depths], strict=False):
            ratio = f"{seconds[depth][name] / seconds[half][name]:5.2f}x" if half else ""
            line += f"{seconds[depth][name]:12.4f}   {ratio:6}"
        lines.append(line.rstrip())
    return "\n".join(lines)


@click.command()
@click.option("--network", "networks", multiple=True, type=click.Choice(list(NETWORKS)), default=list(NETWORKS), show_default=True)
@click.option("--machine", default="programs/machines/128x128.toml", show_default=True)
@click.option("--repeat", default=3, show_default=True)
def main(networks: tuple[str, ...], machine: str, repeat: int) -> None:
    """Compile networks of growing depth."""
    for network in networks:
        runs: dict[int, list[dict[str, float]]] = {depth: [] for depth in DEPTHS}
        measure(network, DEPTHS[0], machine)
        for _ in range(repeat):
            for depth, found in runs.items():
                found.append(measure(network, depth, machine))
        medians = {d: {name: statistics.median(run[name] for run in found) for name in found[0]} for d, found in runs.items()}
        click.echo(
            f"{network} on {machine}, seconds, medians of {repeat}; target: at most 2x in total for each doubling\n{table(medians)}\n"
        )


if __name__ == "__main__":
    main()
