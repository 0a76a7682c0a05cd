"""What the README says is so."""

import json
import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner
from scripts import script

from compiler.opt import main as opt
from gradweave.cli import main

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def commands(program: str) -> list[str]:
    """All command lines of the README that start with ``program``, without placeholders."""
    text = "\n".join((README, (ROOT / "programs" / "README.md").read_text(encoding="utf-8"))).replace("-p\n", "-p ")
    found = re.findall(rf"(?:^ *|&& |`)({program} [a-z][^`\n|\\]*/[^`\n]*)", text, flags=re.MULTILINE)
    return sorted(set(found))


def test_ci_finds_the_test_command() -> None:
    """``.ci/run`` runs what stands in the block marked ``tests``."""
    assert re.search(r"<!-- tests -->\n```\n(.*)\n```\n", README)[1] == "pip install '.[test]' && pytest"  # type: ignore[index]


@pytest.mark.parametrize("command", commands("gradweave"))
def test_commands_of_the_readme(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "programs").symlink_to(ROOT / "programs")
    monkeypatch.chdir(tmp_path)
    words = shlex.split(re.sub(r"--epochs \d+", "--epochs 1", command))
    result = CliRunner().invoke(main, words[1:])
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("command", commands("gradweave-opt"))
def test_opt_commands_of_the_readme(command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)
    opt(shlex.split(command)[1:])
    assert "builtin.module" in capsys.readouterr().out


def test_the_levels_shown_are_those_that_are_dumped(tmp_path: Path) -> None:
    command = re.search(r"`(gradweave compile .* --dump-ir) ir`", README)[1]  # type: ignore[index]
    command = command.replace("programs/", f"{ROOT}/programs/")
    result = CliRunner().invoke(main, [*shlex.split(command)[1:], str(tmp_path), "--emit", "asm"])
    dumped = "\n".join([path.read_text() for path in sorted(tmp_path.iterdir())] + [result.stdout])
    lines = {line.strip() for line in dumped.splitlines()}
    section = README.split("## From the model to the array")[1].split("\n## ")[0]
    shown = [line.strip() for block in re.findall(r"```(?:mlir)?\n(.*?)```", section, flags=re.DOTALL) for line in block.splitlines()]
    for line in shown:
        assert any(found.startswith(line.removesuffix("…").rstrip()) for found in lines), line


def test_both_readmes_have_commands() -> None:
    assert len(commands("gradweave")) >= 3
    assert len(commands("gradweave-opt")) == 1


def test_the_figures_are_those_that_are_measured() -> None:
    module = script(ROOT / "benchmarks" / "readme.py")
    for name, content in module.sections().items():
        assert f"<!-- {name} -->\n{content}\n<!-- end -->" in README, "run: python benchmarks/readme.py --write"


def test_the_table_of_networks_is_that_of_the_files() -> None:
    module = script(ROOT / "benchmarks" / "networks.py")
    section = f"<!-- networks -->\n{module.section()}\n<!-- end -->"
    assert section in README, "run: python benchmarks/networks.py --readme"
    assert len(section.splitlines()) == 2 + 2 + 2 * len(module.NETWORKS)
    for file in module.FILES:
        rows = json.loads((ROOT / file).read_text(encoding="utf-8"))
        for network in module.NETWORKS:
            cycles = {row["schedule"]: row["cycles"] for row in rows if row["network"] == network}
            assert set(module.SCHEDULES) == set(cycles), network
            assert cycles["auto"] == min(cycles.values()), network
