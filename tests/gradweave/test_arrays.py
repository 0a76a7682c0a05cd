"""Arrays from files: every mistake is named, damage never surfaces as anything but a UserError."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gradweave.arrays import dataset, program_inputs, read_npz, write_npz
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


def test_inputs_are_converted_to_the_program_s_types() -> None:
    values = program_inputs(PROGRAM, GOOD, "in.npz")
    assert values["x"].dtype == np.float32
    assert values["labels"].dtype == np.int32
    np.testing.assert_array_equal(values["labels"], [0, 9, 3, 3])


WRONG = {
    '"y" is no input of the program': {"y": np.zeros(3)},
    '"x" is missing: f32[4, 3]': {"x": None},
    '"x" is float64[3, 4], expected f32[4, 3]': {"x": np.zeros((3, 4))},
    '"x" is float64[], expected f32[4, 3]': {"x": np.float64(1)},
    '"x" is complex128[4, 3], expected f32[4, 3]': {"x": np.zeros((4, 3), complex)},
    '"x" is <U1[4, 3], expected f32[4, 3]': {"x": np.full((4, 3), "a")},
    '"labels" is float64[4], expected integers[4]': {"labels": np.zeros(4)},
    '"labels" holds class numbers 0 to 10, expected 0 to 9': {"labels": np.array([0, 10, 1, 2])},
    '"labels" holds class numbers -1 to 2, expected 0 to 9': {"labels": np.array([0, -1, 1, 2])},
}


@pytest.mark.parametrize("message", WRONG)
def test_wrong_inputs(message: str) -> None:
    arrays = {name: value for name, value in (GOOD | WRONG[message]).items() if value is not None}
    with pytest.raises(UserError) as error:
        program_inputs(PROGRAM, arrays, "in.npz")
    assert error.value.place == "in.npz"
    assert error.value.details == [message]


def test_all_wrong_inputs_are_told_at_once() -> None:
    with pytest.raises(UserError) as error:
        program_inputs(PROGRAM, {"y": np.zeros(1), "labels": np.zeros(4)}, "in.npz")
    assert len(error.value.details) == 3


def training(**changes: Any) -> dict[str, Any]:
    generator = np.random.default_rng(0)
    parts: dict[str, Any] = {
        "x_train": generator.random((20, 3)), "y_train": np.arange(20) % 10,
        "x_test": generator.random((7, 3)), "y_test": np.arange(7),
    }  # fmt: skip
    return {name: value for name, value in (parts | changes).items() if value is not None}


def test_a_data_set_may_lack_its_test_part() -> None:
    data = dataset(training(x_test=None, y_test=None), X, LABELS, "d.npz")
    assert (data.x_train.shape, data.x_test.shape, data.y_test.shape) == ((20, 3), (0, 3), (0,))
    assert data.x_train.dtype == np.float32


WRONG_DATA = {
    '"x_train" is missing': {"x_train": None},
    '"y_test" is missing': {"y_test": None},
    '"images" is not known': {"images": np.zeros(1)},
    '"x_train" is float64[20, 4], expected f32[20, 3]': {"x_train": np.zeros((20, 4))},
    '"y_train" is int64[19], expected integers[20]': {"y_train": np.zeros(19, int)},
    '"y_train" holds class numbers 0 to 12, expected 0 to 9': {"y_train": np.full(20, 12) * (np.arange(20) > 0)},
    '"x_test" has no samples': {"x_test": np.zeros((0, 3)), "y_test": np.zeros(0, int)},
}


@pytest.mark.parametrize("message", WRONG_DATA)
def test_wrong_data_sets(message: str) -> None:
    with pytest.raises(UserError) as error:
        dataset(training(**WRONG_DATA[message]), X, LABELS, "d.npz")
    assert error.value.details == [message]


def test_archives_that_are_none(tmp_path: Path) -> None:
    single, objects, text = tmp_path / "single.npy", tmp_path / "objects.npz", tmp_path / "text.npz"
    np.save(single, np.zeros(3))
    np.savez(objects, x=np.array([{}], dtype=object))
    text.write_text("x_train,y_train\n")
    for path, message in ((single, "single array"), (objects, "Object arrays"), (text, "npz archive"), (tmp_path, "cannot read")):
        with pytest.raises(UserError, match=message):
            read_npz(path)


def test_damaged_archives(tmp_path: Path) -> None:
    """400 archives cut short or with flipped bits: read as before, or told in one line; never another exception."""
    plain, packed = io.BytesIO(), io.BytesIO()
    np.savez(plain, **GOOD)
    np.savez_compressed(packed, **GOOD)
    generator, path, told = np.random.default_rng(7), tmp_path / "damaged.npz", 0
    for case in range(400):
        data = bytearray((plain if case % 2 else packed).getvalue())
        if case % 4 < 2:
            data = data[: generator.integers(len(data))]
        else:
            for position in generator.integers(len(data), size=generator.integers(1, 8)):
                data[position] ^= 1 << generator.integers(8)
        path.write_bytes(data)
        try:
            program_inputs(PROGRAM, read_npz(path), str(path))
        except UserError as error:
            told += 1
            assert error.place == str(path)
            assert "\n" not in error.message
    assert told > 350
