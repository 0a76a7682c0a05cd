"""The command line: what each command writes, and what it says to mistakes."""

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import Result
from onnx import numpy_helper

import gradweave
from compiler.schedule.schedules import SCHEDULES
from gradweave.cli import main
from isa.asm import assemble
from isa.binary import write_program
from isa.errors import UserError

Cli = Callable[..., Result]
SMALL = ("small.onnxtxt", "--batch", "6", "--machine", "4x3.toml")
STEP = (*SMALL, "--loss", "softmax-cross-entropy", "--optimizer", "sgd:lr=0.1")
FIGURES = {
    "cycles", "macs", "utilization", "bound_cycles", "dram_bytes", "scratchpad_reads", "scratchpad_writes", "energy_pj", "schedule",
}  # fmt: skip


@pytest.mark.parametrize("command", [None, *main.commands])
def test_help(cli: Cli, command: str | None) -> None:
    result = cli(*([command] if command else []), "--help")
    assert result.exit_code == 0
    assert f"gradweave {command or 'compare'} " in result.stdout.split("Options:")[0]


def test_a_binary_survives_disassembly(cli: Cli, folder: Path) -> None:
    assert cli("compile", *STEP).exit_code == 0
    binary = (folder / "small.gwb").read_bytes()
    assert cli("check", "small.gwb").exit_code == 0
    (folder / "a.s").write_text(cli("disasm", "small.gwb").stdout)
    assert cli("asm", "a.s").exit_code == 0
    assert (folder / "a.gwb").read_bytes() == binary
    assert cli("disasm", "a.gwb", "-o", "b.s").exit_code == 0
    assert (folder / "b.s").read_text() == (folder / "a.s").read_text()


def test_compile_writes_ir_and_assembly(cli: Cli, folder: Path) -> None:
    assert "systolic." in cli("compile", *STEP, "--emit", "ir").stdout
    assembly = cli("compile", *STEP, "--emit", "asm")
    lines = [line.split()[0] for line in assembly.stdout.splitlines() if line.split() and "@" not in line.split()[0]]
    assert ("dx", "dw") in pairwise(lines)
    cli("compile", *STEP, "--emit", "asm", "-o", "out.s", "--dump-ir", "ir")
    assert (folder / "out.s").read_text() == assembly.stdout
    levels = sorted(path.name for path in (folder / "ir").iterdir())
    assert levels == ["00-onnx.mlir", "01-train.mlir", "02-tile.mlir", "03-systolic.mlir", "machine.toml"]
    assert not (folder / "small.gwb").exists()


def test_run_reports_and_writes_outputs(cli: Cli, folder: Path) -> None:
    files = ("--outputs", "out.npz", "--json", "report.json", "--trace", "trace.json")
    result = cli("run", *STEP, "--input-grads", "x", "--seed", "3", *files)
    assert result.exit_code == 0
    for shown in ("fc1", "fc2", "dx+dw", "cycles", "loss"):
        assert shown in result.stdout
    with np.load(folder / "out.npz") as outputs:
        shapes = {name: outputs[name].shape for name in outputs.files}
    weights = {"fc1.weight": (7, 5), "fc1.bias": (7,), "fc2.weight": (3, 7)}
    assert shapes == {
        "y": (6, 3), "loss": (), "grad/x": (6, 5),
        **{f"grad/{name}": shape for name, shape in weights.items()},
        **{f"param/{name}": shape for name, shape in weights.items()},
    }  # fmt: skip
    report = json.loads((folder / "report.json").read_text())
    assert report.keys() >= FIGURES | {"layers"}
    assert all(layer.keys() >= FIGURES for layer in report["layers"])
    events = json.loads((folder / "trace.json").read_text())["traceEvents"]
    assert max(event["ts"] + event["dur"] for event in events if event["ph"] == "X") <= report["cycles"]
    assert report["macs"] == 6 * (5 * 7 + 7 * 3) * 3
    assert report["cycles"] == sum(layer["cycles"] for layer in report["layers"]) >= report["bound_cycles"]


def test_a_binary_runs_as_its_model_does(cli: Cli, folder: Path) -> None:
    cli("compile", *STEP, "-o", "p.gwb")
    cli("run", *STEP, "--outputs", "model.npz")
    for arguments in ((), ("--engine", "stepped")):
        assert cli("run", "p.gwb", "--outputs", "binary.npz", *arguments).exit_code == 0
        with np.load(folder / "model.npz") as model, np.load(folder / "binary.npz") as binary:
            assert model.files == binary.files
            for name in model.files:
                np.testing.assert_allclose(model[name], binary[name], rtol=0, atol=1e-6 * np.abs(model[name]).max())


def test_arrays_share_a_step(cli: Cli, folder: Path) -> None:
    """Each array has its queues in the report and in the trace, and its own row where units are compared; the partition is told."""
    machine = (folder / "4x3.toml").read_text()
    (folder / "two.toml").write_text(f"arrays = 2\n{machine}")
    options = ("--batch", "6", "--machine", "two.toml", "--partition", "batch", "--schedule", "sequential")
    assert cli("run", "small.onnxtxt", *options, "--json", "report.json", "--trace", "trace.json").exit_code == 0
    report = json.loads((folder / "report.json").read_text())
    assert report["schedule"].endswith(", partition batch")
    assert report["queues"]["array"]["busy"] == report["queues"]["array.1"]["busy"] > 0
    events = json.loads((folder / "trace.json").read_text())["traceEvents"]
    tracks = [event["args"]["name"] for event in events if event["name"] == "thread_name"]
    assert tracks == list(report["queues"])
    assert cli("compile", "small.onnxtxt", *options, "-o", "two.gwb").exit_code == 0
    assert ".queue array.1 " in cli("disasm", "two.gwb").stdout
    result = cli("compile", "small.onnxtxt", *options[:4], "--partition", "diagonal")
    assert result.exit_code != 0
    assert "'diagonal' is not one of 'auto', 'none', 'batch', 'rows', 'columns'" in result.stderr


def test_inputs_from_a_file_decide_the_outputs(cli: Cli, folder: Path) -> None:
    np.savez(folder / "in.npz", **{"x": np.zeros((6, 5)), "grad/y": np.ones((6, 3))})
    assert cli("run", *SMALL, "--inputs", "in.npz", "--outputs", "out.npz").exit_code == 0
    with np.load(folder / "out.npz") as outputs:
        assert not outputs["grad/fc1.weight"].any()
        assert outputs["grad/fc1.bias"].any()


def test_compare_names_every_schedule_and_its_baselines(cli: Cli, folder: Path) -> None:
    result = cli("compare", *SMALL, "--json", "table.json")
    assert result.exit_code == 0
    assert "gradients agree" in result.stdout
    rows = json.loads((folder / "table.json").read_text())
    assert {row["schedule"] for row in rows} == set(SCHEDULES)
    assert all(row.keys() >= FIGURES | {"layers"} for row in rows)
    assert {(row["double_buffer"], row["fused_update"]) for row in rows if row["schedule"] == "interleaved"} == {
        (True, True), (True, False), (False, True), (False, False),
    }  # fmt: skip
    cycles = {(row["schedule"], row["double_buffer"], row["fused_update"]): row["cycles"] for row in rows}
    for row in rows:
        options = (row["double_buffer"], row["fused_update"])
        if ("sequential", *options) in cycles:
            assert row["speedup_vs_sequential"] == pytest.approx(cycles["sequential", *options] / row["cycles"])
        assert row["worst_gradient"]["relative_error"] < 1e-5
        assert row["worst_weight"]["relative_error"] < 1e-5


def test_compare_on_a_machine_that_rounds_operands(cli: Cli, folder: Path) -> None:
    """Products of bf16 operands are held against a reference that rounds them too: what is left is the rounding of fp32 sums."""
    (folder / "bf16.toml").write_text((folder / "4x3.toml").read_text().replace("cols = 3", 'cols = 3\noperand = "bf16"'))
    result = cli("compare", *SMALL[:3], "--machine", "bf16.toml", "--json", "table.json")
    assert "gradients agree with a float64 reference (of bf16 products) to" in result.stdout
    rows = json.loads((folder / "table.json").read_text())
    assert max(row["worst_gradient"]["relative_error"] for row in rows) < 1e-6
    with_f32 = cli("compare", *SMALL, "--json", "f32.json")
    assert "gradients agree with a float64 reference to" in with_f32.stdout


def test_compare_without_optimizer(cli: Cli, folder: Path) -> None:
    assert cli("compare", *SMALL, "--optimizer", "none", "--json", "table.json").exit_code == 0
    rows = json.loads((folder / "table.json").read_text())
    assert len(rows) == 2 * len(SCHEDULES)
    assert not any(row["fused_update"] for row in rows)


def test_train_lowers_the_loss_and_saves_the_model(cli: Cli, folder: Path) -> None:
    arguments = ("small.onnxtxt", "--data", "data.npz", "--machine", "4x3.toml", "--batch", "8", "--epochs", "6")
    result = cli("train", *arguments, "--save", "trained.onnx", "--json", "history.json")
    assert result.exit_code == 0
    assert result.stdout.count("epoch ") == 6
    epochs = json.loads((folder / "history.json").read_text())["epochs"]
    assert epochs[-1]["loss"] < 0.2 * epochs[0]["loss"]
    assert epochs[-1]["test"] == 1.0
    model = onnx.load("trained.onnx")
    onnx.checker.check_model(model, full_check=True)
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    with np.load(folder / "data.npz") as data:
        hidden = np.maximum(data["x_test"] @ weights["fc1.weight"].T + weights["fc1.bias"], 0)
        assert np.mean((hidden @ weights["fc2.weight"].T).argmax(axis=1) == data["y_test"]) == epochs[-1]["test"]


def test_training_that_diverges_stops(cli: Cli, folder: Path) -> None:
    result = cli("train", "small.onnxtxt", "--data", "data.npz", "--epochs", "9", "--optimizer", "sgd:lr=1e9", "--save", "trained.onnx")
    assert result.exit_code == 1
    assert "diverges" in result.stderr
    assert not (folder / "trained.onnx").exists()


MISTAKES = {
    "no such model": ("compile missing.onnx", "missing.onnx"),
    "not a model": ("compile data.npz", "data.npz"),
    "broken model": ("compile broken.onnxtxt --batch 2", "broken.onnxtxt"),
    "no batch": ("compile small.onnxtxt", "--batch"),
    "no such loss": ("compile small.onnxtxt --batch 2 --loss hinge", "hinge"),
    "no such optimizer": ("compile small.onnxtxt --batch 2 --optimizer adam", "adam"),
    "bad optimizer": ("compile small.onnxtxt --batch 2 --optimizer sgd:lr=fast", "fast"),
    "no such input": ("compile small.onnxtxt --batch 2 --input-grads z", "z"),
    "no such machine": ("compile small.onnxtxt --batch 2 --machine missing.toml", "missing.toml"),
    "broken machine": ("compile small.onnxtxt --batch 2 --machine broken.toml", "broken.toml"),
    "tiny machine": ("compile small.onnxtxt --batch 2 --machine tiny.toml", "scratchpad"),
    "huge batch": ("compile small.onnxtxt --batch 100000000", "scratchpad"),
    "no such folder": ("compile small.onnxtxt --batch 2 -o missing/x.gwb", "missing/x.gwb"),
    "folder is a file": ("compile small.onnxtxt --batch 2 --dump-ir 4x3.toml", "4x3.toml"),
    "broken binary": ("run broken.gwb", "broken.gwb"),
    "no binary": ("check small.onnxtxt", "small.onnxtxt"),
    "broken assembly": ("asm broken.s -o x.gwb", "broken.s"),
    "damaged binary": ("run damaged.gwb --outputs out.npz --json report.json", "the checksum does not match; the file is damaged"),
    "binary that cannot run": ("run deadlock.gwb --outputs out.npz", "deadlock.gwb: the program cannot run: 1 finding"),
    "binary that cannot be right": ("check deadlock.gwb", "array 0: `wait never`: deadlock"),
    "assembly that cannot run": ("asm deadlock.s -o x.gwb", "deadlock.s: the program cannot run: 1 finding"),
    "binary for another machine": ("run small.gwb --machine 4x3.toml", "made for the machine '32x32', which differs from '4x3'"),
    "check for another machine": ("check small.gwb --machine 4x3.toml", "made for the machine '32x32', which differs from '4x3'"),
    "compiled already": ("run small.gwb --schedule ws --batch 3", "--schedule, --batch"),
    "wrong inputs": ("run small.onnxtxt --batch 6 --inputs data.npz --outputs out.npz", "data.npz"),
    "no such inputs": ("run small.onnxtxt --batch 6 --inputs missing.npz", "missing.npz"),
    "no such data": ("train small.onnxtxt --data missing.npz --epochs 1", "missing.npz"),
    "not the data": ("train small.onnxtxt --data in.npz --epochs 1 --save trained.onnx", "in.npz"),
    "too few samples": ("train small.onnxtxt --data data.npz --epochs 1 --batch 39", "38 samples"),
    "no update to fuse": ("compile small.onnxtxt --batch 2 --fused-update", "--optimizer"),
    "no model to save as": ("train small.onnxtxt --data data.npz --epochs 1 --save trained.h5", "trained.h5"),
}


DEADLOCK = """\
.program "stuck"
.machine name = "32x32"
.dram 64
.semaphore never
.queue array
  wait never
"""


@pytest.fixture
def mistakes(cli: Cli, folder: Path) -> Path:
    """A folder full of things that are wrong."""
    cli("compile", "small.onnxtxt", "--batch", "2")
    for name in ("broken.onnxtxt", "broken.toml", "broken.gwb", "broken.s"):
        (folder / name).write_text("((((")
    damaged = bytearray((folder / "small.gwb").read_bytes())
    damaged[1000] ^= 4
    (folder / "damaged.gwb").write_bytes(damaged)
    (folder / "deadlock.s").write_text(DEADLOCK)
    (folder / "deadlock.gwb").write_bytes(write_program(assemble(DEADLOCK, "deadlock.s")))
    (folder / "tiny.toml").write_text("[scratchpad]\nbytes = 128\n")
    np.savez(folder / "in.npz", x=np.zeros((6, 5)))
    return folder


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes(case: str, cli: Cli, mistakes: Path) -> None:
    command, message = MISTAKES[case]
    before = sorted(mistakes.rglob("*"))
    result = cli(*command.split())
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert sorted(mistakes.rglob("*")) == before


def test_programs_are_checked_before_they_run(cli: Cli, mistakes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In Python too, and whoever made them: the compiler's own are no exception."""
    stuck = assemble(DEADLOCK, "deadlock.s")
    with pytest.raises(UserError, match="the program cannot run"):
        gradweave.run(stuck)
    monkeypatch.setattr("gradweave.compiling.lower", lambda *_, **__: stuck)
    before = sorted(mistakes.rglob("*"))
    for command in ("compile", "run", "compare"):
        result = cli(command, *SMALL, *(("-o", "out.gwb") if command == "compile" else ("--json", "out.json")))
        assert result.exit_code == 1
        assert "error: small: the program cannot run: 1 finding" in result.stderr
    assert sorted(mistakes.rglob("*")) == before


IMPOSSIBLE = (
    "compile small.onnxtxt --batch 0", "compile small.onnxtxt --batch -3", "compile small.onnxtxt --batch 1.5",
    "compile small.onnxtxt --batch 2 --schedule fastest", "compile small.onnxtxt --emit elf", "compile", "run",
    "run small.gwb --engine slow",
    "run small.gwb --seed -1", "train small.onnxtxt --epochs 3", "train small.onnxtxt --data data.npz --epochs 0", "frobnicate",
)  # fmt: skip


@pytest.mark.parametrize("command", IMPOSSIBLE)
def test_impossible_options(command: str, cli: Cli, mistakes: Path) -> None:
    before = sorted(mistakes.rglob("*"))
    result = cli(*command.split())
    assert result.exit_code == 2
    assert "Usage: " in result.stderr
    assert sorted(mistakes.rglob("*")) == before


def test_timing_alone_counts_the_same(cli: Cli, folder: Path) -> None:
    reports = []
    for engine in ("fast", "timing"):
        assert cli("run", *SMALL, "--engine", engine, "--json", f"{engine}.json").exit_code == 0
        reports.append((folder / f"{engine}.json").read_text())
    assert reports[0] == reports[1]
    result = cli("run", *SMALL, "--engine", "timing", "--outputs", "out.npz")
    assert result.exit_code == 1
    assert result.stderr == "error: --engine timing: computes no values, so that it takes no --inputs and gives no --outputs\n"
    assert not (folder / "out.npz").exists()
