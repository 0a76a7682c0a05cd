"""The levels that ``--dump-ir`` writes: each is read again, and the passes named at its top make it of the one before."""

import re
from itertools import pairwise
from pathlib import Path

import pytest
from click.testing import CliRunner

from compiler.opt import main as opt
from gradweave.cli import main

PROGRAMS = Path(__file__).parents[2] / "programs"
STEPS = {
    "gradients": "digits_mlp.onnxtxt --batch 3 --machine {}/machines/8x8.toml --input-grads x",
    "fused": "digits_mlp.onnxtxt --batch 2 --loss softmax-cross-entropy --optimizer sgd:lr=0.1 --fused-update",
    "deep": "deep_mlp.onnxtxt --batch 3 --loss mse --optimizer sgd:momentum=0.9,weight_decay=0.1 --schedule os --no-double-buffer",
    "torch": "torch_mlp.onnx --batch 2 --machine {}/machines/32x32-bf16.toml --schedule ws --loss softmax-cross-entropy",
    "convolution": "digits_cnn.onnxtxt --batch 2 --schedule is",
}


@pytest.mark.parametrize("step", STEPS)
def test_levels_lead_to_one_another(step: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = f"compile {PROGRAMS}/{STEPS[step].format(PROGRAMS)} --dump-ir {tmp_path}/ir -o {tmp_path}/x.gwb"
    assert CliRunner().invoke(main, arguments.split()).exit_code == 0

    def passed(source: Path, passes: str) -> str:
        opt([str(source), "-p", passes])
        return capsys.readouterr().out.rstrip() + "\n"

    levels = sorted((tmp_path / "ir").glob("*.mlir"))
    assert [level.name for level in levels] == ["00-onnx.mlir", "01-train.mlir", "02-tile.mlir", "03-systolic.mlir"]
    body = {level: re.sub(r"\A(//.*\n)+", "", level.read_text()) for level in levels}
    for level in levels:
        assert passed(level, "") == body[level]
    for before, after in pairwise(levels):
        made_by = re.search(r"^// made by -p '(.*)'$", after.read_text(), re.MULTILINE)
        assert made_by is not None
        assert passed(before, made_by[1]) == body[after]
    rest = ",".join(re.findall(r"^// made by -p '(.*)'$", "".join(level.read_text() for level in levels[2:]), re.MULTILINE))
    assert passed(levels[1], rest) == body[levels[-1]]


def test_measured_dataflows_are_noted(tmp_path: Path) -> None:
    """The passes alone estimate which dataflow is best; compiling measures."""
    arguments = f"compile {PROGRAMS}/digits_mlp.onnxtxt --batch 2 --schedule best-sequential --dump-ir {tmp_path} -o {tmp_path}/x.gwb"
    assert CliRunner().invoke(main, arguments.split()).exit_code == 0
    assert "; dataflows are measured, where the pass alone estimates\n" in (tmp_path / "02-tile.mlir").read_text()
