"""Arrays from ``.npz`` files, checked against what a program or a training run takes."""

import io
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from isa.files import read_bytes, write
from isa.errors import UserError
from isa.program import Program, Symbol

Array = npt.NDArray[np.generic]

_DAMAGE = (
    ValueError, OSError, EOFError, KeyError, TypeError, OverflowError, RecursionError, SyntaxError, MemoryError,
    NotImplementedError, RuntimeError, struct.error, zlib.error, zipfile.BadZipFile,
)  # fmt: skip
"""What NumPy and zipfile raise on damaged archives."""


def read_npz(path: str | Path) -> dict[str, Array]:
    """All arrays of a ``.npz`` file by name.

    Raises:
        UserError: it cannot be read, is no archive of arrays, or holds Python objects.
    """
    data = read_bytes(path)
    try:
        archive = np.load(io.BytesIO(data), allow_pickle=False)
        if isinstance(archive, np.ndarray):
            raise UserError(str(path), "holds a single array without a name; save it with numpy.savez(path, name=array)")
        with archive:
            return {name: archive[name] for name in archive.files}
    except _DAMAGE as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(str(path), f"not a readable .npz archive of arrays: {reason}") from error


def write_npz(path: str | Path, arrays: Mapping[str, Array]) -> None:
    """Write arrays under their names, as ``numpy.savez`` does; raises UserError."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:  # numpy.savez takes names as keywords, and so not every name
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array(file, np.asanyarray(array), allow_pickle=False)
    write(path, buffer.getvalue())


def describe(array: Array) -> str:
    """Type and shape in the manner of ``float32[32, 64]``."""
    return f"{array.dtype}[{', '.join(map(str, array.shape))}]"


def fit(symbol: Symbol, array: Array, shape: tuple[int, ...] | None = None) -> tuple[Array, str]:
    """The array as the input ``symbol`` takes it, and what is wrong with it ("" if nothing).

    ``shape``: what is asked for where it is not the symbol's own (a data set has more samples than a batch).
    """
    shape = symbol.shape if shape is None else shape
    wanted = f"{'integers' if not symbol.dtype.is_float else symbol.dtype.name}[{', '.join(map(str, shape))}]"
    kinds = "fiub" if symbol.dtype.is_float else "iu"
    if array.shape != shape or array.dtype.kind not in kinds:
        return array, f"is {describe(array)}, expected {wanted}"
    if symbol.classes is not None and array.size and not (0 <= array.min() and array.max() < symbol.classes):
        return array, f"holds class numbers {array.min()} to {array.max()}, expected 0 to {symbol.classes - 1}"
    return array.astype(symbol.dtype.numpy), ""


def program_inputs(program: Program, arrays: Mapping[str, Array], place: str) -> dict[str, Array]:
    """The values of all inputs of the program.

    Raises:
        UserError: with every name that is missing or unknown and every array of a wrong shape or type.
    """
    inputs = {symbol.name: symbol for symbol in program.named("input")}
    wrong = [f'"{name}" is no input of the program' for name in arrays if name not in inputs]
    values: dict[str, Array] = {}
    for name, symbol in inputs.items():
        if name not in arrays:
            wrong.append(f'"{name}" is missing: {symbol.dtype.name}[{", ".join(map(str, symbol.shape))}]')
            continue
        values[name], problem = fit(symbol, arrays[name])
        if problem:
            wrong.append(f'"{name}" {problem}')
    if wrong:
        raise UserError(place, f"does not fit the inputs of {program.name}: {', '.join(inputs)}", wrong)
    return values


@dataclass(frozen=True, slots=True)
class Dataset:
    """Samples and targets; the test part may be empty."""

    x_train: Array
    y_train: Array
    x_test: Array
    y_test: Array


def dataset(arrays: Mapping[str, Array], x: Symbol, y: Symbol, place: str) -> Dataset:
    """Training data for a model whose input is ``x`` and whose loss compares with ``y`` (their first axis is the batch).

    Raises:
        UserError: with every array that is missing, unknown, or of a wrong shape or type.
    """
    wrong = [f'"{name}" is not known' for name in arrays if name not in Dataset.__annotations__]
    parts: dict[str, Array] = {}
    for part, needed in (("train", True), ("test", "x_test" in arrays or "y_test" in arrays)):
        count: int | None = None
        for symbol, name in ((x, f"x_{part}"), (y, f"y_{part}")):
            array = arrays.get(name)
            if array is None:
                parts[name] = np.zeros((0, *symbol.shape[1:]), symbol.dtype.numpy)
                if needed:
                    wrong.append(f'"{name}" is missing')
                continue
            count = (array.shape[0] if array.ndim else 0) if count is None else count
            parts[name], problem = fit(symbol, array, (count, *symbol.shape[1:]))
            if problem:
                wrong.append(f'"{name}" {problem}')
        if count == 0:
            wrong.append(f'"x_{part}" has no samples')
    if wrong:
        raise UserError(place, "not the training data that the model takes: x_train, y_train, and x_test, y_test for the accuracy", wrong)
    return Dataset(**parts)
