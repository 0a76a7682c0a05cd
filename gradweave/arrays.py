"""Arrays from ``.npz`` files, checked against what a program or a training run takes."""

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from emulator.inputs import check_inputs
from isa.errors import UserError
from isa.files import read_bytes, write
from isa.machine import Machine
from isa.program import Program, Symbol

Array = npt.NDArray[Any]


def read_npz(path: str | Path) -> dict[str, Array]:
    """All arrays of a ``.npz`` file by name.

    Raises:
        UserError: it cannot be read, is no archive of arrays, or holds Python objects.
    """
    data = read_bytes(path)
    try:
        archive = np.load(io.BytesIO(data), allow_pickle=False)
        arrays = archive if isinstance(archive, np.ndarray) else {name: archive[name] for name in archive.files}
    except Exception as error:  # NumPy, zipfile, zlib, struct, tokenize and ast each raise their own on damaged archives
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(str(path), f"not a readable .npz archive of arrays: {reason}") from error
    if isinstance(arrays, np.ndarray):
        raise UserError(str(path), "holds a single array without a name; save it with numpy.savez(path, name=array)")
    return arrays


def write_npz(path: str | Path, arrays: Mapping[str, Array]) -> None:
    """Write arrays under their names, as ``numpy.savez`` does; raises UserError."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:  # numpy.savez takes names as keywords, and so not every name
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array(file, np.asanyarray(array), allow_pickle=False)
    write(path, buffer.getvalue())


def inputs_from(path: str | Path, program: Program) -> dict[str, Array]:
    """The values of all inputs of the program, from a ``.npz`` file; raises UserError with everything that does not fit."""
    return check_inputs(replace(program, name=str(path)), read_npz(path))


@dataclass(frozen=True, slots=True)
class Dataset:
    """Samples and targets, the first axis counts them; the test part may be empty."""

    x_train: Array
    y_train: Array
    x_test: Array
    y_test: Array


def dataset_from(path: str | Path, x: Symbol, y: Symbol) -> Dataset:
    """Training data from a ``.npz`` file, for a model whose input is ``x`` and whose loss compares with ``y``.

    Raises:
        UserError: with every array that is missing, unknown, or of a wrong shape, type or range.
    """
    arrays = read_npz(path)
    parts = {"x_train": x, "y_train": y, "x_test": x, "y_test": y}
    if not {"x_test", "y_test"} & set(arrays):
        arrays |= {name: np.zeros((0, *parts[name].shape[1:]), parts[name].dtype.numpy) for name in ("x_test", "y_test")}
    symbols = [replace(symbol, name=name, shape=(_count(arrays, name), *symbol.shape[1:])) for name, symbol in parts.items()]
    checked = check_inputs(Program(str(path), Machine(), {}, symbols=symbols), arrays)
    return Dataset(**checked)


def _count(arrays: Mapping[str, Array], name: str) -> int:
    """How many samples there have to be: as many targets as samples."""
    samples = arrays.get(name.replace("y_", "x_"), arrays.get(name))
    return samples.shape[0] if samples is not None and samples.ndim else 0
