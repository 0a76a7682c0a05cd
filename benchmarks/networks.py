"""The nine networks of the onnx package under every schedule: cycles and accesses of a training step.

    python benchmarks/networks.py --machine programs/machines/128x128.toml --batch 1 -o docs/networks-128x128-batch1.json

Weights are drawn (the models' are constant fills), there is no optimizer, values are not computed: no figure depends on any.  Rows that
are in the file already are kept, so an interrupted run goes on.  ``--table FILE…`` prints files as Markdown.
"""

import json
import time
from pathlib import Path
from typing import Any

import click
import onnx.backend.test

from compiler.driver import lower, training_step
from emulator import timing
from isa.files import write
from isa.machine import load_machine

NETWORKS = (
    "squeezenet", "shufflenet", "inception_v1", "resnet50", "bvlc_alexnet", "zfnet512", "inception_v2", "densenet121", "vgg19",
)  # fmt: skip
SCHEDULES = ("sequential", "ws", "os", "is", "interleaved")
BASELINES = SCHEDULES[:-1]
FOLDER = Path(onnx.backend.test.__file__).parent / "data" / "light"


def measure(network: str, machine_file: str, batch: int, schedules: list[str]) -> list[dict[str, Any]]:
    """One row for each schedule."""
    machine = load_machine(machine_file)
    step = training_step(FOLDER / f"light_{network}.onnx", batch=batch, init="he")
    rows = []
    for schedule in schedules:
        start = time.perf_counter()
        program = lower(step, machine, schedule=schedule)
        compiled = time.perf_counter()
        figures = timing(program).to_dict()
        kept = ("cycles", "bound_cycles", "macs", "utilization", "dram_bytes", "scratchpad_reads", "scratchpad_writes", "energy_pj")
        seconds = {"compile_s": round(compiled - start, 1), "timing_s": round(time.perf_counter() - compiled, 1)}
        rows.append({"network": network, "batch": batch, "schedule": schedule, **{k: figures[k] for k in kept}, **seconds})
        click.echo(f"{network} batch {batch} {schedule}: {figures['cycles']:,} cycles, {seconds}", err=True)
    return rows


def table(files: list[str]) -> str:
    """Ratios of each baseline to interleaved, as Markdown."""
    lines = [
        "| network | batch | interleaved, cycles | " + " | ".join(f"{name} ÷ interleaved" for name in BASELINES) + " | scratchpad words, "
        "sequential ÷ interleaved | DRAM bytes, sequential ÷ interleaved |",
        "|---|---|---|" + "---|" * (len(BASELINES) + 2),
    ]
    for file in files:
        rows = json.loads(Path(file).read_text(encoding="utf-8"))
        for network in dict.fromkeys(row["network"] for row in rows):
            by = {row["schedule"]: row for row in rows if row["network"] == network}
            ours = by["interleaved"]
            ratios = [f"{by[name]['cycles'] / ours['cycles']:.2f}" if name in by else "" for name in BASELINES]
            words = [row["scratchpad_reads"] + row["scratchpad_writes"] for row in (by["sequential"], ours)]
            dram = by["sequential"]["dram_bytes"] / ours["dram_bytes"]
            figures = [f"{ours['cycles']:,}", *ratios, f"{words[0] / words[1]:.2f}", f"{dram:.2f}"]
            lines.append(f"| {network} | {ours['batch']} | " + " | ".join(figures) + " |")
    return "\n".join(lines)


@click.command()
@click.option("--machine", default="programs/machines/128x128.toml", show_default=True)
@click.option("--batch", default=1, show_default=True)
@click.option("--network", "networks", multiple=True, type=click.Choice(NETWORKS), help="Default: all nine.")
@click.option("-o", "--output", type=click.Path(dir_okay=False), help="JSON file, written after each network.")
@click.option("--table", "files", multiple=True, type=click.Path(exists=True), help="Print these files as a table instead.")
def main(machine: str, batch: int, networks: tuple[str, ...], output: str | None, files: tuple[str, ...]) -> None:
    """Measure the nine networks of the onnx package."""
    if files:
        click.echo(table(list(files)))
        return
    rows: list[dict[str, Any]] = json.loads(Path(output).read_text(encoding="utf-8")) if output and Path(output).exists() else []
    for network in networks or NETWORKS:
        done = {row["schedule"] for row in rows if row["network"] == network}
        rows += measure(network, machine, batch, [s for s in SCHEDULES if s not in done])
        if output:
            write(Path(output), json.dumps(rows, indent=1) + "\n")
    if not output:
        click.echo(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
