"""A small model, machine and data set, and the command line."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from gradweave.cli import main

MODEL = """\
<ir_version: 10, opset_import: ["" : 21]>
small (float[N, 5] x) => (float[N, 3] y)
<float[7, 5] "fc1.weight" = {{{}}}, float[7] "fc1.bias" = {{{}}}, float[3, 7] "fc2.weight" = {{{}}}>
{{
  [fc1] h = Gemm<transB = 1>(x, "fc1.weight", "fc1.bias")
  [relu] a = Relu(h)
  [fc2] y = Gemm<transB = 1>(a, "fc2.weight")
}}
"""

MACHINE = 'name = "4x3"\n[array]\nrows = 4\ncols = 3\n[scratchpad]\nbytes = 16384\n[dram]\nbytes_per_cycle = 4\nlatency = 9\n'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with ``small.onnxtxt`` (5-7-3), ``4x3.toml`` and ``data.npz`` (three classes that can be told apart)."""
    generator = np.random.default_rng(5)
    weights = (", ".join(f"{v:.3f}" for v in generator.normal(size=n)) for n in (35, 7, 21))
    (tmp_path / "small.onnxtxt").write_text(MODEL.format(*weights))
    (tmp_path / "4x3.toml").write_text(MACHINE)
    y = generator.integers(0, 3, 50)
    x = (generator.normal(size=(50, 5)) * 0.3 + 2 * np.eye(5)[y]).astype(np.float32)
    np.savez(tmp_path / "data.npz", x_train=x[:38], y_train=y[:38], x_test=x[38:], y_test=y[38:])
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def cli(folder: Path) -> Callable[..., Result]:
    """Runs ``gradweave`` with the given arguments; whatever is no exit code is a failure."""

    def run(*args: str) -> Result:
        result = CliRunner().invoke(main, args)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run
