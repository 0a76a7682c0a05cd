"""The nine networks of the onnx package under every schedule: cycles and accesses of a training step.

    python benchmarks/networks.py --machine programs/machines/128x128.toml --batch 1 -o docs/networks-128x128-batch1.json

Weights are drawn (the models' are constant fills), there is no optimizer, values are not computed: no figure depends on any.  Networks that
are in the file already are kept, so an interrupted run goes on.  ``--table FILE…`` prints files as Markdown; ``--readme``
puts those of the README there.
"""

import json
import time
from pathlib import Path
from typing import Any

import click
import onnx.backend.test

from compiler.driver import training_step
from compiler.schedule.search import auto, best_sequential
from gradweave.reproduce.sections import put_into
from gradweave.scheduling import search_for
from isa.files import write
from isa.machine import load_machine

NETWORKS = (
    "squeezenet", "shufflenet", "inception_v1", "resnet50", "bvlc_alexnet", "zfnet512", "inception_v2", "vgg19", "densenet121",
)  # fmt: skip
BASELINES = ("sequential", "ws", "os", "is", "best-sequential", "tile-interleaved")
SCHEDULES = (*BASELINES, "interleaved", "auto")
KEPT = ("cycles", "bound_cycles", "macs", "utilization", "dram_bytes", "scratchpad_reads", "scratchpad_writes", "energy_pj")
FOLDER = Path(onnx.backend.test.__file__).parent / "data" / "light"


def measure(network: str, machine_file: str, batch: int) -> list[dict[str, Any]]:
    """One row for each schedule, all from one search."""
    step = training_step(FOLDER / f"light_{network}.onnx", batch=batch, init="he")
    start = time.perf_counter()
    search = search_for(step, load_machine(machine_file))
    best_sequential(search)
    sequential = search.least
    auto(search, fused_update=False)
    click.echo(f"{network} batch {batch}: {len(search.tried)} runs in {time.perf_counter() - start:.0f} s", err=True)
    runs = dict(search.tried) | {"best-sequential": sequential, "auto": search.least}
    found = {name: run.report.to_dict() for name, run in runs.items() if run is not None and run.report is not None}
    of = {"network": network, "batch": batch}
    return [{**of, "schedule": name, **{key: found[name][key] for key in KEPT}} for name in SCHEDULES if name in found]


def table(files: list[str]) -> str:
    """Ratios of each baseline to interleaved, as Markdown."""
    heads = [
        "network", "batch", "interleaved, cycles", *(f"{name} ÷ interleaved" for name in BASELINES), "interleaved ÷ auto",
        "scratchpad words, sequential ÷ interleaved", "DRAM bytes, sequential ÷ interleaved",
    ]  # fmt: skip
    lines = [heads, ["---", *["--:"] * (len(heads) - 1)]]
    for file in files:
        rows = json.loads(Path(file).read_text(encoding="utf-8"))
        for network in dict.fromkeys(row["network"] for row in rows):
            by = {row["schedule"]: row for row in rows if row["network"] == network}
            ours = by["interleaved"]
            ratios = [f"{by[name]['cycles'] / ours['cycles']:.2f}" if name in by else "–" for name in BASELINES]
            words = [row["scratchpad_reads"] + row["scratchpad_writes"] for row in (by["sequential"], ours)]
            dram = by["sequential"]["dram_bytes"] / ours["dram_bytes"]
            figures = [*ratios, f"{ours['cycles'] / by['auto']['cycles']:.2f}", f"{words[0] / words[1]:.2f}", f"{dram:.2f}"]
            lines.append([network, str(ours["batch"]), f"{ours['cycles']:,}", *figures])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


ROOT = Path(__file__).parents[1]
FILES = [f"docs/networks-128x128-batch{batch}.json" for batch in (1, 8)]


def section() -> str:
    """What stands in the README."""
    return table([str(ROOT / file) for file in FILES])


@click.command()
@click.option("--machine", default="programs/machines/128x128.toml", show_default=True)
@click.option("--batch", default=1, show_default=True)
@click.option("--network", "networks", multiple=True, type=click.Choice(NETWORKS), help="Default: all nine.")
@click.option("-o", "--output", type=click.Path(dir_okay=False), help="JSON file, written after each network.")
@click.option("--table", "files", multiple=True, type=click.Path(exists=True), help="Print these files as a table instead.")
@click.option("--readme", is_flag=True, help="Put the table of the files in docs/ into README.md instead.")
def main(machine: str, batch: int, networks: tuple[str, ...], output: str | None, files: tuple[str, ...], readme: bool) -> None:
    """Measure the nine networks of the onnx package."""
    if readme:
        put_into(ROOT / "README.md", {"networks": section()})
        return
    if files:
        click.echo(table(list(files)))
        return
    rows: list[dict[str, Any]] = json.loads(Path(output).read_text(encoding="utf-8")) if output and Path(output).exists() else []
    for network in networks or NETWORKS:
        if any(row["network"] == network for row in rows):
            continue
        rows += measure(network, machine, batch)
        if output:
            write(Path(output), json.dumps(rows, indent=1) + "\n")
    if not output:
        click.echo(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
