"""SCALE-Sim's topology tables: how long the training step of each takes to compile, and its cycles.

    python benchmarks/tables.py ../shared/data/scalesim_topologies --machine programs/machines/32x32.toml -o docs/scalesim_tables.json

Layers stand alone: each has its forward product and both gradients.  Values are not computed: no cycle depends on any.  Where that takes
longer than the limit, the row has no cycles.  Rows that are in the file already are kept, so an interrupted run goes on.
``--table FILE…`` prints files as Markdown.
"""

import json
import signal
import time
from pathlib import Path
from types import FrameType
from typing import Any

import click

from compiler.driver import lower, training_step
from compiler.frontend.topology import read_table
from emulator import timing
from isa.files import write
from isa.machine import load_machine
from isa.program import Program


def timed(program: Program, limit: int) -> dict[str, Any]:
    """The report's figures; none after ``limit`` seconds."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(limit)
    try:
        return timing(program).to_dict()
    except TimeoutError:
        return {}
    finally:
        signal.alarm(0)


def measure(path: Path, machine_file: str, batch: int, limit: int) -> dict[str, Any]:
    """One row."""
    machine = load_machine(machine_file)
    start = time.perf_counter()
    program = lower(training_step(path, batch=batch), machine, schedule="interleaved")
    compiled = time.perf_counter()
    figures = timed(program, limit)
    seconds = {"compile_s": round(compiled - start, 1), "timing_s": round(time.perf_counter() - compiled, 1)}
    macs = sum(entry.macs for entry in program.provenance)
    row = {"table": path.stem, "machine": machine.name, "batch": batch, "layers": len(read_table(str(path))), "macs": macs}
    click.echo(f"{path.stem} on {machine.name}: {figures.get('cycles')} cycles, {seconds}", err=True)
    return row | {k: figures.get(k) for k in ("cycles", "bound_cycles", "utilization", "dram_bytes")} | seconds


def table(files: list[str]) -> str:
    """The rows as Markdown."""
    lines = [
        "| table | layers | machine | batch | MACs | cycles | of the array | cycles ÷ bound | DRAM bytes | compiled in | timed in |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for file in files:
        for row in json.loads(Path(file).read_text(encoding="utf-8")):
            figures = ["", "", "", ""]
            if row["cycles"] is not None:
                times_bound = row["cycles"] / row["bound_cycles"]
                figures = [f"{row['cycles']:,}", f"{row['utilization']:.1%}", f"{times_bound:.2f}", f"{row['dram_bytes']:,}"]
            timed_in = f"{'' if row['cycles'] else 'over '}{row['timing_s']} s"
            cells = [*(row[name] for name in ("table", "layers", "machine", "batch")), f"{row['macs']:,}"]
            cells += [*figures, f"{row['compile_s']} s", timed_in]
            lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("--machine", default="programs/machines/32x32.toml", show_default=True)
@click.option("--batch", default=1, show_default=True)
@click.option("--limit", default=120, show_default=True, help="Seconds that the timing of one table may take.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="JSON file, written after each table.")
@click.option("--table", "files", multiple=True, type=click.Path(exists=True), help="Print these files as a table instead.")
def main(paths: tuple[Path, ...], machine: str, batch: int, limit: int, output: Path | None, files: tuple[str, ...]) -> None:
    """Measure tables (.csv), or all tables in folders."""
    if files:
        click.echo(table(list(files)))
        return
    rows: list[dict[str, Any]] = json.loads(output.read_text(encoding="utf-8")) if output and output.exists() else []
    done = {(row["table"], row["machine"], row["batch"]) for row in rows}
    for path in [file for given in paths for file in (sorted(given.glob("**/*.csv")) if given.is_dir() else [given])]:
        if (path.stem, load_machine(machine).name, batch) not in done:
            rows.append(measure(path, machine, batch, limit))
            if output:
                write(output, json.dumps(rows, indent=1) + "\n")
    if not output:
        click.echo(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
