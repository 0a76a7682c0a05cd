"""What the folder ``programs`` holds is what it says it is."""

import hashlib
import random
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import onnx.checker
import onnx.parser
import pytest
from damage import CASES, damage
from scripts import script

from isa.errors import UserError
from isa.machine import Machine, load_machine, parse_machine

PROGRAMS = Path(__file__).parents[2] / "programs"
MACHINES = sorted(PROGRAMS.glob("machines/*.toml"))


@pytest.mark.parametrize("path", MACHINES, ids=lambda path: path.stem)
def test_machine_files(path: Path) -> None:
    machine = load_machine(path)
    assert machine.name == path.stem
    several = f"{machine.arrays}x" if machine.arrays > 1 else ""
    assert path.stem.startswith((f"{several}{machine.rows}x{machine.cols}", "micro2023-"))
    assert "Horowitz" in machine.energy.source


def test_the_default_machine_is_32x32() -> None:
    assert load_machine(PROGRAMS / "machines/32x32.toml") == Machine()


@pytest.mark.parametrize(
    ("size", "rows", "mebibytes", "bytes_per_second", "clock"), [("small", 45, 1, 22e9, 1e9), ("large", 128, 8, 150e9, 1.05e9)]
)
def test_the_machines_of_the_gradient_order(size: str, rows: int, mebibytes: int, bytes_per_second: float, clock: float) -> None:
    machine = load_machine(PROGRAMS / f"machines/micro2023-{size}.toml")
    assert (machine.rows, machine.cols, machine.scratchpad.bytes) == (rows, rows, mebibytes << 20)
    assert machine.dram.bytes_per_cycle == pytest.approx(bytes_per_second / clock, rel=1e-5)


def test_machines_differ_in_their_fingerprints() -> None:
    assert len({load_machine(path).fingerprint for path in MACHINES}) == len(MACHINES) >= 4


IMPOSSIBLE = [
    "[array]\nrows = 0",
    "[array]\ncols = -4",
    "[array]\nrows = 1.5",
    "[array]\nrows = 100000",
    '[array]\noperand = "f64"',
    "[array]\ndiagonals = 3",
    "[scratchpad]\nbytes = 8",
    "[dram]\nbytes_per_cycle = 0",
    "[dram]\nbytes_per_cycle = nan",
    "[dram]\nbytes_per_cycle = inf",
    "[dram]\nlatency = -1",
    "[dram]\nlatency = 100000000000000000000000",
    "[vector]\nlanes = 0",
    "[energy]\nmac = -4.6",
    "[energy]\nmac = inf",
    "name = 5",
    "speed = 3",
    "[array",
    "\0",
]


@pytest.mark.parametrize("text", IMPOSSIBLE)
def test_impossible_machines(text: str) -> None:
    with pytest.raises(UserError) as error:
        parse_machine(text, "m.toml")
    assert str(error.value).startswith("m.toml: ")
    assert "\n" not in str(error.value)


def test_damaged_machine_files(tmp_path: Path, tell: Callable[[str], None]) -> None:
    """A machine, or one line."""
    whole, path = MACHINES[0].read_bytes(), tmp_path / "m.toml"
    draw, told, cases = random.Random(11), 0, CASES["machine files"]
    for _ in range(cases):
        path.write_bytes(damage(whole, draw))
        try:
            load_machine(path)
        except UserError as error:
            told += 1
            assert str(error).startswith(str(path))
            assert "\n" not in str(error)
    assert told > cases // 3
    tell(f"{cases:6,} damaged machine files: {told} refused")


@pytest.mark.parametrize("name", ["digits_mlp.onnxtxt", "digits_cnn.onnxtxt", "deep_mlp.onnxtxt", "torch_mlp.onnx"])
def test_models(name: str) -> None:
    data = (PROGRAMS / name).read_bytes()
    model = onnx.parser.parse_model(data.decode()) if name.endswith("txt") else onnx.load_model_from_string(data)
    onnx.checker.check_model(model, full_check=True)
    assert [(value.name, value.type.tensor_type.shape.dim[1].dim_value) for value in model.graph.input] == [("x", 64)]
    assert all(node.name for node in model.graph.node)


def test_digits() -> None:
    with np.load(PROGRAMS / "digits.npz") as data:
        arrays = {name: data[name] for name in data.files}
    assert {name: array.shape for name, array in arrays.items()} == {
        "x_train": (1437, 64), "y_train": (1437,), "x_test": (360, 64), "y_test": (360,),
    }  # fmt: skip
    pixels = np.concatenate([arrays["x_train"], arrays["x_test"]]).astype(np.float64) * 16
    assert np.array_equal(pixels, pixels.round())
    assert (pixels.min(), pixels.max()) == (0, 16)
    classes = np.concatenate([arrays["y_train"], arrays["y_test"]])
    assert np.bincount(classes).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]  # as scikit-learn documents them


@pytest.fixture(scope="module")
def make() -> ModuleType:
    """The script ``programs/make.py``."""
    return script(PROGRAMS / "make.py")


def test_the_models_can_be_made_again(make: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(make, "HERE", tmp_path)
    make.make_models()
    for path in tmp_path.iterdir():
        assert hashlib.sha256(path.read_bytes()).digest() == hashlib.sha256((PROGRAMS / path.name).read_bytes()).digest()
    assert len(list(tmp_path.iterdir())) == 3
