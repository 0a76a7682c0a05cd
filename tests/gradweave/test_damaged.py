"""Damaged files as users give them to the commands: one line, an exit code, and no file left behind."""

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx.parser
import pytest
from click.testing import Result
from damage import CASES, damage

Cli = Callable[..., Result]
SMALL = ("small.onnxtxt", "--batch", "6", "--machine", "4x3.toml")
COMMANDS = {
    "small.gwb": ("run", "{}", "--outputs", "out.npz", "--json", "out.json"),
    "small.s": ("asm", "{}", "-o", "out.gwb"),
    "4x3.toml": ("run", *SMALL[:3], "--machine", "{}", "--json", "out.json"),
    "in.npz": ("run", *SMALL, "--inputs", "{}", "--outputs", "out.npz", "--trace", "out.json"),
    "data.npz": ("train", *SMALL, "--data", "{}", "--epochs", "1", "--save", "out.onnx"),
    "small.onnx": ("compile", "{}", *SMALL[1:], "-o", "out.gwb"),
    "small.onnxtxt": ("compile", "{}", *SMALL[1:], "--optimizer", "sgd", "--emit", "asm", "-o", "out.s"),
    "weights.onnx": ("run", "{}", *SMALL[1:], "--loss", "mse", "--json", "out.json"),
}
"""What is damaged, and the command that it is given to."""


@pytest.fixture
def whole(cli: Cli, folder: Path) -> Path:
    """A folder with all these files undamaged."""
    cli("compile", *SMALL, "-o", "small.gwb")
    cli("disasm", "small.gwb", "-o", "small.s")
    model = onnx.parser.parse_model((folder / "small.onnxtxt").read_text())
    onnx.save(model, folder / "small.onnx")
    onnx.save(model, folder / "weights.onnx")
    np.savez(folder / "in.npz", **{"x": np.zeros((6, 5)), "grad/y": np.ones((6, 3))})
    return folder


@pytest.mark.parametrize("name", COMMANDS)
def test_damaged_files(name: str, cli: Cli, whole: Path, tell: Callable[[str], None]) -> None:
    data, draw, refused = (whole / name).read_bytes(), random.Random(name), 0
    damaged = whole / f"damaged{Path(name).suffix}"
    cases = CASES["files given to the commands"] // len(COMMANDS)
    for _ in range(cases):
        damaged.write_bytes(damage(data, draw))
        before = set(whole.iterdir())
        result = cli(*(argument.format(damaged.name) for argument in COMMANDS[name]))
        made = set(whole.iterdir()) - before
        if result.exit_code == 0:
            for path in made:
                path.unlink()
            continue
        refused += 1
        assert result.exit_code == 1
        assert result.stderr.startswith("error: ")
        assert not made
    assert refused > cases // 3
    tell(f"{cases:6,} damaged files given to gradweave {COMMANDS[name][0]} as {name}: {refused} refused in one line")
