"""Every ``.mlir`` file in these folders: its RUN line gives the passes, its CHECK lines what must come out."""

import shlex
from pathlib import Path

import pytest
from filecheck.matcher import Matcher
from filecheck.options import Options

from compiler.opt import main

HERE = Path(__file__).parent


@pytest.mark.parametrize("name", sorted(str(path.relative_to(HERE)) for path in HERE.rglob("*.mlir")))
def test_filecheck(name: str, tmp_path: Path) -> None:
    source, result = HERE / name, tmp_path / "out.mlir"
    lines = [line.removeprefix("// RUN: ") for line in source.read_text().splitlines() if line.startswith("// RUN: ")]
    assert lines, "no RUN line"
    for line in lines:
        command, check = line.split("|")
        tool, *arguments = shlex.split(command.replace("%s", str(source)))
        assert tool == "gradweave-opt"
        prefixes = [word.removeprefix("--check-prefix=") for word in check.split() if word.startswith("--check-prefix=")]
        main([*arguments, "-o", str(result)])
        options = Options(match_filename=str(source), input_file=str(result), check_prefixes=prefixes or "CHECK")
        assert Matcher.from_opts(options).run() == 0, result.read_text()
