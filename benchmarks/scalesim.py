"""SCALE-Sim beside the engines ``fast``, which computes values, and ``timing``: MAC/s and peak memory, table by table.

    python benchmarks/scalesim.py ../shared/data/scalesim_topologies/gemm/vit_s.csv ../shared/data/scalesim_topologies/training/dlrm_fwd.csv

Compared is one product a row of the table: the layer's forward product, at batch 1, on the same array; gradients are left out, for
SCALE-Sim has none.  It runs the rows one by one until the limit; all sides then count the rows that it finished.  Its weights are
stationary, its buffers never stall, its traces are off.  Seconds are of the run alone, and medians of several on our side: with ``fast``
they are those of further runs, which need not look at the program's events again.  Those of compiling stand beside.  SCALE-Sim gets an
environment of its own, which is kept.  Exits with 2 if that cannot be made.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click
from children import in_child

import gradweave
from emulator import Emulator, draw_inputs, timing
from isa.machine import load_machine
from isa.program import Program

PACKAGES = ("scalesim==3.0.0", "numpy<2")
DRIVER = Path(__file__).with_name("scalesim_layers.py")
TARGETS = {"fast": 1_000, "timing": 10_000}


def environment(folder: Path) -> Path:
    """The Python that has SCALE-Sim."""
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
    found = subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], capture_output=True, text=True, check=False)
    if found.returncode:
        click.echo(f"pip cannot install {' '.join(PACKAGES)}: {(found.stderr.strip().splitlines() or ['no reason given'])[-1]}", err=True)
        sys.exit(2)
    return python


def scalesim(python: Path, table: Path, rows: int, columns: int, limit: float) -> tuple[int, float, int]:
    """Rows that it finished before the limit, the seconds of these, and the peak of its memory in bytes."""
    process = subprocess.Popen([python, "-P", DRIVER, table, str(rows), str(columns)], stdout=subprocess.PIPE, text=True)
    try:
        printed, _ = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        process.kill()
        printed, _ = process.communicate()
    done = [json.loads(line) for line in printed.splitlines()]
    return len(done), sum(entry["seconds"] for entry in done), max((entry["peak"] for entry in done), default=0)


@dataclass(frozen=True, slots=True)
class Measured:
    """One engine on one table: seconds to compile, median seconds of a run."""

    macs: int
    compiled: float
    seconds: float


def measure(engine: str, table: Path, machine: str, repeat: int) -> Measured:
    """Compile the table's forward products and run them."""
    start = time.perf_counter()
    program = gradweave.compile(table, machine=load_machine(machine), backward=False)
    compiled = time.perf_counter() - start
    run = runner(program, engine)
    seconds = []
    for _ in range(repeat):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return Measured(sum(entry.macs for entry in program.provenance), compiled, statistics.median(seconds))


def runner(program: Program, engine: str) -> Callable[[], object]:
    """One run of the engine."""
    if engine == "timing":
        return lambda: timing(program)
    emulator, inputs = Emulator(program), draw_inputs(program, 0)
    return lambda: emulator.run(inputs)


def first_rows(table: Path, count: int, folder: str) -> Path:
    """A table of the first layers only."""
    header, *layers = [line for line in table.read_text("utf-8-sig").splitlines() if line.strip(", ")]
    path = Path(folder, table.name)
    path.write_text("\n".join([header, *layers[:count]]) + "\n", encoding="utf-8")
    return path


def compare(python: Path, table: Path, machine: str, limit: float, repeat: int) -> None:
    """Print the table's lines."""
    array = load_machine(machine).array
    done, seconds, peak = scalesim(python, table, array.rows, array.cols, limit)
    click.echo(f"\n{table.stem} on {array.rows}x{array.cols}: {done} rows finished by SCALE-Sim in {limit:.0f} s")
    if not done:
        return
    with tempfile.TemporaryDirectory() as folder:
        part = first_rows(table, done, folder)
        found = {engine: in_child(measure, engine, part, machine, repeat) for engine in TARGETS}
    macs = found["timing"][0].macs
    theirs = macs / seconds
    click.echo(f"  {'SCALE-Sim':10}{macs:16,} MACs {seconds:10.3f} s {theirs / 1e6:12,.1f} million MAC/s {peak >> 20:6} MiB")
    for engine, (ours, ours_peak) in found.items():
        rate = macs / ours.seconds
        ratio = f"{rate / theirs:9,.0f}x (target {TARGETS[engine]:,}x), compiled in {ours.compiled:.1f} s"
        click.echo(f"  {engine:10}{macs:16,} MACs {ours.seconds:10.3f} s {rate / 1e6:12,.1f} million MAC/s {ours_peak >> 20:6} MiB {ratio}")


@click.command()
@click.argument("tables", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--machine", "machines", multiple=True, default=[f"programs/machines/{n}x{n}.toml" for n in (32, 128)], show_default=True)
@click.option("--limit", default=60.0, show_default=True, help="Seconds that SCALE-Sim may take for one table.")
@click.option("--repeat", default=3, show_default=True)
@click.option("--environment", "folder", type=click.Path(path_type=Path), help="Of SCALE-Sim; default: in the folder for temporary files.")
def main(tables: tuple[Path, ...], machines: tuple[str, ...], limit: float, repeat: int, folder: Path | None) -> None:
    """Measure tables (.csv), or all tables in folders."""
    python = environment(folder or Path(tempfile.gettempdir()) / "gradweave-scalesim")
    for given in tables:
        for table in sorted(given.glob("**/*.csv")) if given.is_dir() else [given]:
            for machine in machines:
                compare(python, table, machine, limit, repeat)


if __name__ == "__main__":
    main()
