"""SCALE-Sim's topology tables: how long the training step of each takes to compile, and its cycles.

    python benchmarks/tables.py ../shared/data/scalesim_topologies --machine programs/machines/32x32.toml -o docs/scalesim_tables.json

Layers stand alone: each has its forward product and both gradients.  Values are not computed: no cycle depends on any.  Rows that are in
the file already are kept, so an interrupted run goes on.  ``--table FILE…`` prints files as Markdown.
"""

import json
import time
from pathlib import Path
from typing import Any

import click

from compiler.driver import lower, training_step
from compiler.frontend.topology import read_table
from emulator import timing
from isa.files import write
from isa.machine import load_machine


def measure(path: Path, machine_file: str, batch: int) -> dict[str, Any]:
    """One row."""
    machine = load_machine(machine_file)
    start = time.perf_counter()
    program = lower(training_step(path, batch=batch), machine, schedule="interleaved")
    compiled = time.perf_counter()
    figures = timing(program).to_dict()
    seconds = {"compile_s": round(compiled - start, 1), "timing_s": round(time.perf_counter() - compiled, 1)}
    kept = ("cycles", "bound_cycles", "macs", "utilization", "dram_bytes")
    row = {"table": path.stem, "machine": machine.name, "batch": batch, "layers": len(read_table(str(path)))}
    click.echo(f"{path.stem} on {machine.name}: {figures['cycles']:,} cycles, {seconds}", err=True)
    return row | {k: figures[k] for k in kept} | seconds


def table(files: list[str]) -> str:
    """The rows as Markdown."""
    lines = [
        "| table | layers | machine | batch | MACs | cycles | of the array | cycles ÷ bound | DRAM bytes | compiled in | timed in |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for file in files:
        for row in json.loads(Path(file).read_text(encoding="utf-8")):
            figures = [f"{row['macs']:,}", f"{row['cycles']:,}", f"{row['utilization']:.1%}", f"{row['cycles'] / row['bound_cycles']:.2f}"]
            figures += [f"{row['dram_bytes']:,}", f"{row['compile_s']} s", f"{row['timing_s']} s"]
            lines.append(f"| {row['table']} | {row['layers']} | {row['machine']} | {row['batch']} | " + " | ".join(figures) + " |")
    return "\n".join(lines)


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("--machine", default="programs/machines/32x32.toml", show_default=True)
@click.option("--batch", default=1, show_default=True)
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="JSON file, written after each table.")
@click.option("--table", "files", multiple=True, type=click.Path(exists=True), help="Print these files as a table instead.")
def main(paths: tuple[Path, ...], machine: str, batch: int, output: Path | None, files: tuple[str, ...]) -> None:
    """Measure tables (.csv), or all tables in folders."""
    if files:
        click.echo(table(list(files)))
        return
    rows: list[dict[str, Any]] = json.loads(output.read_text(encoding="utf-8")) if output and output.exists() else []
    done = {(row["table"], row["machine"], row["batch"]) for row in rows}
    for path in [file for given in paths for file in (sorted(given.glob("**/*.csv")) if given.is_dir() else [given])]:
        if (path.stem, load_machine(machine).name, batch) not in done:
            rows.append(measure(path, machine, batch))
            if output:
                write(output, json.dumps(rows, indent=1) + "\n")
    if not output:
        click.echo(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
