"""Arrays from files: every mistake is named, damage never surfaces as anything but a UserError."""

import io
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from damage import CASES, damage

from gradweave.arrays import dataset_from, inputs_from, read_npz, write_npz
from isa.dtypes import DType
from isa.errors import UserError
from isa.machine import Machine
from isa.program import Program, Symbol
from isa.stream import Space

X = Symbol("x", Space.dram, 0, (4, 3), DType.f32, "input")
LABELS = Symbol("labels", Space.dram, 64, (4,), DType.i32, "input", classes=10)
PROGRAM = Program("net", Machine(), {}, symbols=[X, LABELS])
GOOD: dict[str, Any] = {"x": np.ones((4, 3), np.float16), "labels": np.array([0, 9, 3, 3], np.uint8)}


def test_arrays_round_trip(tmp_path: Path) -> None:
    values = {"grad/fc1.weight": np.arange(6.0).reshape(2, 3), "loss": np.float32(1.5), "file": np.arange(3)}
    write_npz(tmp_path / "a.npz", values)
    read = read_npz(tmp_path / "a.npz")
    assert list(read) == list(values)
    for name, value in values.items():
        np.testing.assert_array_equal(read[name], value, strict=True)


def test_inputs_from_a_file(tmp_path: Path) -> None:
    np.savez(tmp_path / "in.npz", **GOOD)
    values = inputs_from(tmp_path / "in.npz", PROGRAM)
    assert (values["x"].dtype, values["labels"].dtype) == (np.float32, np.int32)
    np.testing.assert_array_equal(values["labels"], [0, 9, 3, 3])


WRONG: dict[str, dict[str, Any]] = {
    "y": {"y": np.zeros(3)},
    "x": {"x": None},
    "labels": {"labels": np.array([0, 10, 1, 2])},
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_inputs_name_the_file_and_the_array(name: str, tmp_path: Path) -> None:
    path = tmp_path / "in.npz"
    np.savez(path, **{key: value for key, value in (GOOD | WRONG[name]).items() if value is not None})
    with pytest.raises(UserError) as error:
        inputs_from(path, PROGRAM)
    assert error.value.place == str(path)
    assert [detail for detail in error.value.details if f'"{name}"' in detail] == error.value.details


def training(path: Path, **changes: Any) -> Path:
    generator = np.random.default_rng(0)
    parts: dict[str, Any] = {
        "x_train": generator.random((20, 3)), "y_train": np.arange(20) % 10,
        "x_test": generator.random((7, 3)), "y_test": np.arange(7),
    }  # fmt: skip
    np.savez(path / "d.npz", **{name: value for name, value in (parts | changes).items() if value is not None})
    return path / "d.npz"


def test_a_data_set_may_lack_its_test_part(tmp_path: Path) -> None:
    data = dataset_from(training(tmp_path, x_test=None, y_test=None), X, LABELS)
    assert (data.x_train.shape, data.x_test.shape, data.y_test.shape) == ((20, 3), (0, 3), (0,))
    assert data.x_train.dtype == np.float32


WRONG_DATA: dict[str, tuple[dict[str, Any], list[str]]] = {
    "no samples": ({"x_train": None}, ["x_train"]),
    "test targets missing": ({"y_test": None}, ["y_test"]),
    "unknown": ({"images": np.zeros(1)}, ["images"]),
    "shape": ({"x_train": np.zeros((20, 4))}, ["x_train"]),
    "scalar": ({"x_train": np.float32(1), "y_train": np.float32(1)}, ["x_train", "y_train"]),
    "too few targets": ({"y_train": np.zeros(19, int)}, ["y_train"]),
    "class out of range": ({"y_test": np.full(7, 12)}, ["y_test"]),
    "float targets": ({"y_train": np.zeros(20)}, ["y_train"]),
    "text": ({"x_test": np.full((7, 3), "a")}, ["x_test"]),
    "complex": ({"x_test": np.zeros((7, 3), complex)}, ["x_test"]),
}


@pytest.mark.parametrize("case", WRONG_DATA)
def test_wrong_data_sets(case: str, tmp_path: Path) -> None:
    changes, names = WRONG_DATA[case]
    path = training(tmp_path, **changes)
    with pytest.raises(UserError) as error:
        dataset_from(path, X, LABELS)
    assert error.value.place == str(path)
    assert len(error.value.details) == len(names)
    for name in names:
        assert any(f'"{name}"' in detail for detail in error.value.details)


def test_archives_that_are_none(tmp_path: Path) -> None:
    single, objects, text = tmp_path / "single.npy", tmp_path / "objects.npz", tmp_path / "text.npz"
    np.save(single, np.zeros(3))
    np.savez(objects, x=np.array([{}], dtype=object))
    text.write_text("x_train,y_train\n")
    for path, message in ((single, "single array"), (objects, "Object arrays"), (text, "npz archive"), (tmp_path, "cannot read")):
        with pytest.raises(UserError, match=message):
            read_npz(path)


def test_an_archive_that_numpy_cannot_even_tokenize(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.zeros((6, 5)))
    data = buffer.getvalue().replace(b"}" + b" " * 9, b"}        (")
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", data)
    with pytest.raises(UserError, match=r"a\.npz: not a readable \.npz archive"):
        read_npz(tmp_path / "a.npz")


def test_damaged_archives(tmp_path: Path, tell: Callable[[str], None]) -> None:
    """Read as before, or told in one line; never another exception."""
    plain, packed = io.BytesIO(), io.BytesIO()
    np.savez(plain, **GOOD)
    np.savez_compressed(packed, **GOOD)
    draw, path, told, cases = random.Random(7), tmp_path / "damaged.npz", 0, CASES["npz archives"]
    for case in range(cases):
        path.write_bytes(damage((plain if case % 2 else packed).getvalue(), draw))
        try:
            inputs_from(path, PROGRAM)
        except UserError as error:
            told += 1
            assert error.place == str(path)
            assert "\n" not in error.message
    assert told > 0.8 * cases
    tell(f"{cases:6,} damaged npz archives: {told} refused")
