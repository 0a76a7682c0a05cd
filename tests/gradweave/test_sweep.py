"""``gradweave sweep``: killed and resumed, on a cluster, with workers that die and points that fail."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import psutil
import pytest
from click.testing import Result
from distributed import Client, LocalCluster

import gradweave
from gradweave.sweeping import cluster as dask_cluster
from gradweave.sweeping.cluster import code_digest
from gradweave.sweeping.grid import load_grid
from gradweave.sweeping.points import Outcome, measure

Cli = Callable[..., Result]
PACKAGES = Path(gradweave.__file__).parents[1]
ROOT = Path(__file__).parents[2]
MODELS = [f"programs/{name}" for name in ("digits_mlp.onnxtxt", "digits_cnn.onnxtxt", "deep_mlp.onnxtxt", "torch_mlp.onnx")]
GRID = """\
base = "programs/machines/8x8.toml"
[grid]
machine = [
    {array = {rows = 4, cols = 3}, dram.latency = 9},
    {array = {rows = 8, cols = 8}, dram.latency = 9},
    {array = {rows = 8, cols = 8}, scratchpad.bytes = 64},
    {array = {rows = 16, cols = 4}, scratchpad.bytes = 65536},
    {array = {rows = 16, cols = 16}, vector.lanes = 2},
]
"""
FIELDS = ["array.rows", "array.cols", "dram.latency", "scratchpad.bytes", "vector.lanes"]
MACHINES = [(4, 3, 9, 524288, 8), (8, 8, 9, 524288, 8), (8, 8, 100, 64, 8), (16, 4, 100, 65536, 8), (16, 16, 100, 524288, 2)]
FIGURES = ["cycles", "utilization", "macs", "dram_bytes", "scratchpad_words", "energy_pj", "error"]
SIZES = {
    40: ([2], ["sequential", "interleaved"]),
    500: ([1, 2, 3, 5, 8], ["sequential", "ws", "os", "is", "interleaved"]),
}
"""Batch sizes and schedules, by the number of points."""


def lines(path: Path) -> list[str]:
    """The complete lines of a journal."""
    return path.read_text().split("\n")[:-1] if path.exists() else []


def gradweave_command(*arguments: str) -> dict[str, Any]:
    """What ``subprocess`` needs to run ``gradweave``, installed or not."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(PACKAGES), os.environ.get("PYTHONPATH", "")])}
    return {"args": [sys.executable, "-c", "from gradweave.cli import main; main()", *arguments], "env": environment, "text": True}


@pytest.fixture(scope="module", params=[40, pytest.param(500, marks=pytest.mark.slow)])
def size(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the programs and the grid."""
    folder = tmp_path_factory.mktemp("sweep")
    (folder / "programs").symlink_to(ROOT / "programs")
    (folder / "grid.toml").write_text(GRID)
    return folder


@pytest.fixture(scope="module")
def killed(here: Path, size: int) -> dict[str, list[str]]:
    """The journal of a sweep when it was killed halfway, and after the same command was run again; its last words; its table."""
    batches, schedules = SIZES[size]
    command = gradweave_command(
        "sweep", *MODELS, "--machine-grid", "grid.toml", "--batch", ",".join(map(str, batches)), "--schedule", ",".join(schedules),
        "-o", f"killed{size}.csv", "--workers", "1",
    )  # fmt: skip
    journal = here / f"killed{size}.csv.journal"
    with subprocess.Popen(**command, cwd=here, stderr=subprocess.PIPE) as sweep:
        while len(lines(journal)) < size // 2:
            assert sweep.poll() is None, sweep.stderr and sweep.stderr.read()
            time.sleep(0.02)
        workers = psutil.Process(sweep.pid).children(recursive=True)
        sweep.send_signal(signal.SIGKILL)
    gone, alive = psutil.wait_procs(workers, timeout=30)
    assert gone
    assert not alive
    assert not (here / f"killed{size}.csv").exists()
    before = lines(journal)
    again = subprocess.run(**command, cwd=here, capture_output=True, check=True)
    table = (here / f"killed{size}.csv").read_text().splitlines()
    return {"before": before, "after": lines(journal), "said": again.stderr.splitlines(), "table": table}


def test_a_killed_sweep_goes_on_where_it_stopped(killed: dict[str, list[str]], size: int) -> None:
    before, after = killed["before"], killed["after"]
    assert size // 2 <= len(before) < size
    assert after[: len(before)] == before
    keys = [json.loads(line)["key"] for line in after]
    assert len(keys) == len(set(keys)) == size
    failures = sum(",64,8," in line for line in killed["table"])
    name = f"killed{size}.csv"
    assert killed["said"] == [f"{name}: {size} points, {failures} with an error; {len(before)} were in {name}.journal"]


def test_the_table_has_every_point_in_order(killed: dict[str, list[str]], size: int) -> None:
    rows = list(csv.DictReader(killed["table"]))
    assert list(rows[0]) == ["model", "batch", "schedule", *FIELDS, "machine", *FIGURES]
    found = [(row["model"], int(row["batch"]), row["schedule"], tuple(int(row[name]) for name in FIELDS)) for row in rows]
    batches, schedules = SIZES[size]
    assert found == list(product(MODELS, batches, schedules, MACHINES))
    assert {row["machine"] for row in rows} >= {"8x8 array.rows=4 array.cols=3 dram.latency=9"}


def test_points_that_fail_are_in_the_table(killed: dict[str, list[str]], size: int) -> None:
    rows = list(csv.DictReader(killed["table"]))
    small = [row for row in rows if row["scratchpad.bytes"] == "64"]
    assert len(small) == size // 5
    for row in small:
        assert "scratchpad of machine 8x8 array.rows=8 array.cols=8 scratchpad.bytes=64 (64 bytes); give the machine" in row["error"]
        assert all(row[name] == "" for name in FIGURES[:-1])
    for row in rows:
        if row not in small:
            assert row["error"] == ""
            assert all(float(row[name]) > 0 for name in FIGURES[:-1])


def test_figures_are_those_of_a_run(killed: dict[str, list[str]], here: Path) -> None:
    rows = [row for row in csv.DictReader(killed["table"]) if row["machine"].startswith("8x8 array.rows=16 array.cols=16")]
    machine = load_grid(here / "grid.toml").machines[-1]
    for row in rows[:: len(rows) // 4]:
        report = gradweave.run(here / row["model"], machine=machine, schedule=row["schedule"], batch=int(row["batch"])).report.to_dict()
        words = report["scratchpad_reads"] + report["scratchpad_writes"]
        expected = {name: report[name] for name in FIGURES[:-1] if name in report} | {"scratchpad_words": words}
        assert {name: float(row[name]) for name in expected} == expected


def test_a_cluster_gives_the_same_table_though_a_worker_dies(killed: dict[str, list[str]], here: Path, size: int) -> None:
    batches, schedules = SIZES[size]
    victims: list[int] = []
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs=50) as cluster, Client(cluster) as client:
        pids = set(client.run(os.getpid).values())

        def each(done: int, total: int) -> None:
            if done == total // 2:
                victims.append(min(pids))
                os.kill(victims[0], signal.SIGKILL)

        arguments = {"schedules": schedules, "batches": batches, "scheduler": cluster.scheduler_address, "each": each}
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(here)
            result = gradweave.sweep(MODELS, "grid.toml", f"cluster{size}.csv", **arguments)  # type: ignore[arg-type]
        assert len(pids) == 2
        assert not psutil.pid_exists(victims[0]) or psutil.Process(victims[0]).status() == psutil.STATUS_ZOMBIE
    assert result.resumed == 0
    assert (here / f"cluster{size}.csv").read_text().splitlines() == killed["table"]
    assert len(lines(here / f"cluster{size}.csv.journal")) == size


@pytest.fixture
def small_grid(folder: Path) -> Path:
    """Beside the small model: a grid of two machines."""
    (folder / "grid.toml").write_text('base = "4x3.toml"\n[grid]\ndram.latency = [5, 50]\n')
    return folder


SWEEP = ("sweep", "small.onnxtxt", "--machine-grid", "grid.toml", "--batch", "2,3", "--workers", "1")


def test_ctrl_c_ends_it_in_one_word_and_keeps_the_journal(small_grid: Path) -> None:
    command = gradweave_command(*SWEEP, "--batch", ",".join(map(str, range(4, 1000))), "-o", "t.csv")
    with subprocess.Popen(**command, cwd=small_grid, stderr=subprocess.PIPE, start_new_session=True) as sweep:
        while len(lines(small_grid / "t.csv.journal")) < 3:
            assert sweep.poll() is None
            time.sleep(0.02)
        os.killpg(sweep.pid, signal.SIGINT)
        _, said = sweep.communicate()
    assert said == "\nAborted!\n"
    assert sweep.returncode == 1
    assert not (small_grid / "t.csv").exists()
    assert len(lines(small_grid / "t.csv.journal")) >= 3


def test_what_can_be_mended_is_in_the_table_and_tried_again(small_grid: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that dies of a point, one that has no memory, one that sees another model; the other points are as ever."""
    sweep = {"batches": [2, 3, 4, 5], "workers": 1}
    with monkeypatch.context() as patch:

        def fail(point: gradweave.sweeping.points.Point, path: str, cache: str | None) -> tuple[Outcome, list[str]]:
            if point.machine.dram.latency == 50:
                match point.step.batch:
                    case 2:
                        os.kill(os.getpid(), signal.SIGKILL)
                    case 3:
                        raise MemoryError
                    case 4:
                        return measure(point, "/elsewhere/small.onnxtxt", cache)
            return measure(point, path, cache)

        patch.setattr(dask_cluster, "measure", fail)
        first = gradweave.sweep(["small.onnxtxt"], "grid.toml", "t.csv", **sweep)  # type: ignore[arg-type]
    errors = [str(row["error"]) for row in first.failed]
    assert [row["batch"] for row in first.failed] == [2, 3, 4]
    assert "4 workers died of this point" in errors[0]
    assert "out of memory" in errors[1]
    assert "/elsewhere/small.onnxtxt: cannot be read: No such file or directory; workers have to see the models" in errors[2]
    assert len(lines(small_grid / "t.csv.journal")) == 5
    second = gradweave.sweep(["small.onnxtxt"], "grid.toml", "t.csv", **sweep)  # type: ignore[arg-type]
    assert second.resumed == 5
    assert second.failed == []
    assert [row for row in second.rows if row["batch"] == 5] == [row for row in first.rows if row["batch"] == 5]


def test_a_larger_sweep_takes_over_what_is_done_and_a_changed_model_nothing(cli: Cli, small_grid: Path) -> None:
    assert cli(*SWEEP, "-o", "t.csv", "--cache", "kept").stderr == "cache: 0 hits, 4 stored in kept\nt.csv: 4 points\n"
    larger = cli(*SWEEP, "-o", "t.csv", "--cache", "kept", "--batch", "4", "--plot", "p.svg")
    assert larger.stderr == "cache: 0 hits, 2 stored in kept\nt.csv: 6 points; 4 were in t.csv.journal\n"
    assert {path.stem for path in (small_grid / "kept").iterdir()} == {json.loads(line)["key"] for line in lines(Path("t.csv.journal"))}
    assert (small_grid / "p.svg").read_text().startswith("<?xml")
    (small_grid / "t.csv.journal").unlink()
    assert "cache: 6 hits, 0 stored" in cli(*SWEEP, "-o", "t.csv", "--cache", "kept", "--batch", "4").stderr
    model = small_grid / "small.onnxtxt"
    model.write_text(model.read_text().replace("Relu", "Tanh"))
    assert cli(*SWEEP, "-o", "t.csv", "--batch", "4").stderr == "t.csv: 6 points\n"
    (small_grid / "copy").mkdir()
    (small_grid / "copy" / "small.onnxtxt").write_text(model.read_text())
    assert cli(*SWEEP, "copy/small.onnxtxt", "-o", "t.csv").stderr == "t.csv: 8 points; 4 were in t.csv.journal\n"


def test_mistakes_of_the_compilers_own_end_no_sweep(small_grid: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gradweave.sweeping import points

    monkeypatch.setattr(points, "timing", lambda program: {}["missing"])
    options = gradweave.sweeping.points.StepOptions(batch=2)
    (point,) = points.points(["small.onnxtxt"], [2], ["ws"], [gradweave.Machine()], options, points.Lowering(""))
    assert measure(point, str(small_grid / "small.onnxtxt"), None)[0] == Outcome(error="KeyError: 'missing'")


def test_workers_with_another_gradweave_are_refused(small_grid: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own, real = os.getpid(), code_digest
    monkeypatch.setattr(dask_cluster, "code_digest", lambda: real() if os.getpid() == own else "other")
    refused = pytest.raises(gradweave.UserError, match="another gradweave is installed on worker tcp://")
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0", silence_logs=50) as cluster, refused:
        gradweave.sweep(["small.onnxtxt"], "grid.toml", "t.csv", batches=[2], scheduler=cluster.scheduler_address)
    assert not (small_grid / "t.csv").exists()
    assert not (small_grid / "t.csv.journal").exists()


def test_a_scheduler_that_goes_away_is_told_and_loses_no_point(small_grid: Path) -> None:
    waiting: list[str] = []
    with LocalCluster(n_workers=0, threads_per_worker=1, dashboard_address=":0", silence_logs=50) as cluster:

        def tell(line: str) -> None:
            waiting.append(line)
            cluster.scale(1)

        def each(done: int, total: int) -> None:
            if done == 3:
                cluster.close()

        options = {"batches": range(2, 30), "scheduler": cluster.scheduler_address, "each": each, "tell": tell}
        with pytest.raises(gradweave.UserError, match="the Dask scheduler is gone"):
            gradweave.sweep(["small.onnxtxt"], "grid.toml", "t.csv", **options)  # type: ignore[arg-type]
    assert waiting == [f"no workers at {options['scheduler']} yet; waiting for some: dask worker {options['scheduler']}"]
    assert not (small_grid / "t.csv").exists()
    assert 3 <= len(lines(small_grid / "t.csv.journal")) < 56


MISTAKES = {
    "no model": ("missing.onnx -o t.csv --machine-grid grid.toml", "missing.onnx: cannot be read"),
    "no grid": ("small.onnxtxt -o t.csv --machine-grid missing.toml", "missing.toml: cannot read"),
    "no table": ("small.onnxtxt -o t.txt --machine-grid grid.toml", "t.txt: the name of a table ends in .csv or .parquet"),
    "no such folder": ("small.onnxtxt -o missing/t.csv --machine-grid grid.toml", "missing/t.csv.journal: cannot be written"),
    "no plot": ("small.onnxtxt -o t.csv --machine-grid grid.toml --plot p.gif", "p.gif: the name of a plot ends in .svg or .png"),
    "no scheduler": ("small.onnxtxt -o t.csv --machine-grid grid.toml --scheduler tcp://127.0.0.1:9", "no Dask scheduler answers there"),
    "no address": ("small.onnxtxt -o t.csv --machine-grid grid.toml --scheduler x://y", "no Dask scheduler answers there"),
    "both": ("small.onnxtxt -o t.csv --machine-grid grid.toml --scheduler tcp://a:1 --workers 2", "--workers: counts processes"),
    "no update": ("small.onnxtxt -o t.csv --machine-grid grid.toml --fused-update", "--fused-update: without --optimizer"),
    "eats a model": ("--cache small.onnxtxt small.onnxtxt -o t.csv --machine-grid grid.toml", "--cache small.onnxtxt: takes a folder"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes(case: str, cli: Cli, small_grid: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_cluster, "SECONDS_TO_CONNECT", 0.5)
    arguments, message = MISTAKES[case]
    before = sorted(small_grid.rglob("*"))
    result = cli("sweep", *arguments.split())
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert message in result.stderr
    assert sorted(small_grid.rglob("*")) == before


@pytest.mark.parametrize("option", ["--batch 0", "--batch 2,x", "--schedule fastest", "--workers 0"])
def test_impossible_options(option: str, cli: Cli, small_grid: Path) -> None:
    result = cli(*SWEEP, "-o", "t.csv", *option.split())
    assert result.exit_code == 2
    assert option.split()[0] in result.stderr


@pytest.mark.parametrize(("module", "extra", "options"), [
    ("distributed", "sweep", "-o t.csv"), ("pyarrow", "parquet", "-o t.parquet"), ("matplotlib", "plot", "-o t.csv --plot p.svg"),
])  # fmt: skip
def test_packages_that_are_missing(
    module: str, extra: str, options: str, cli: Cli, small_grid: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    before = sorted(small_grid.rglob("*"))
    monkeypatch.setitem(sys.modules, module, None)
    result = cli(*SWEEP, *options.split())
    assert result.exit_code == 1
    assert f"needs the package {module}; install it with: pip install 'gradweave[{extra}]'" in result.stderr
    assert sorted(small_grid.rglob("*")) == before
