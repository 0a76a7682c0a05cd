"""What ``gradweave explain`` tells is what ``--schedule auto`` does."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

import gradweave
from emulator import timing
from gradweave.explaining import explain

Cli = Callable[..., Result]
MODEL = Path(__file__).parents[2] / "programs" / "digits_mlp.onnxtxt"


@pytest.mark.parametrize("fused_update", [False, True])
def test_it_tells_of_the_program_that_auto_makes(fused_update: bool) -> None:
    options = {"batch": 8, "optimizer": "sgd", "fused_update": fused_update}
    found = explain(MODEL, **options)
    report = timing(gradweave.compile(MODEL, schedule="auto", **options))
    assert found.report["cycles"] == report.cycles == min(cycles for _, cycles in found.tried if cycles is not None)
    assert {choice.layer for choice in found.choices} == {"fc1", "fc2", "fc3"}
    by_layer = {layer.name: layer.tally.cycles for layer in report.layers}
    assert all(choice.cycles == by_layer[choice.layer] for choice in found.choices)
    uniform = timing(gradweave.compile(MODEL, schedule=found.uniform, **options))
    saved = {layer.name: layer.tally.cycles - by_layer[layer.name] for layer in uniform.layers}
    assert all(choice.saved == saved[choice.layer] for choice in found.choices)
    assert dict(found.tried)[found.uniform] == uniform.cycles


def test_the_command_prints_it(cli: Cli) -> None:
    result = cli("explain", str(MODEL), "--batch", "8")
    assert result.exit_code == 0
    for layer in ("fc1", "fc2", "fc3"):
        assert re.search(rf"^{layer} +(interleaved|tile-interleaved|dX (ws|os|is), dW (ws|os|is)).* [\d,]+ ", result.stdout, flags=re.M)
    assert re.search(r"^ +[\d,]+  sequential$", result.stdout, flags=re.M)
    assert re.search(r"^\d+\.\d\d× the least possible", result.stdout, flags=re.M)


@pytest.mark.parametrize("command", ["run", "explain"])
def test_units_that_wait_for_ports_are_named(cli: Cli, folder: Path, command: str) -> None:
    (folder / "ports.toml").write_text("[scratchpad]\nread_ports = 1\nwrite_ports = 1\n", encoding="utf-8")
    named = r"^cycles of waiting for scratchpad ports: (\w+ )*\w+ [\d,]+, "
    assert re.search(named, cli(command, str(MODEL), "--batch", "8", "--machine", "ports.toml").stdout, flags=re.M)
    assert "ports" not in cli(command, str(MODEL), "--batch", "8").stdout


def test_nothing_to_choose_is_a_mistake(cli: Cli, folder: Path) -> None:
    (folder / "relu.onnxtxt").write_text(
        '<ir_version: 10, opset_import: ["" : 22]> relu (float[2,3] x) => (float[2,3] y) { y = Relu(x) }', encoding="utf-8"
    )
    result = cli("explain", "relu.onnxtxt")
    assert result.exit_code == 1
    assert result.stderr == "error: relu: has no layer with gradients, so there is nothing to choose\n"
