"""The inputs of a run: checking what the user gives, and drawing them from a seed."""

from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from isa.errors import UserError
from isa.program import Program, Symbol

Array = npt.NDArray[Any]


def draw_inputs(program: Program, seed: int) -> dict[str, Array]:
    """A value for every input: normal for floats, class numbers for labels, small integers for other integers."""
    random = np.random.default_rng(seed)
    drawn: dict[str, Array] = {}
    for symbol in program.named("input"):
        if symbol.dtype.is_float:
            drawn[symbol.name] = random.standard_normal(symbol.shape, np.float32)
        elif symbol.classes is not None:
            drawn[symbol.name] = random.integers(0, symbol.classes, symbol.shape).astype(np.int32)
        else:
            drawn[symbol.name] = random.integers(-8, 8, symbol.shape).astype(symbol.dtype.numpy)
    return drawn


def check_inputs(program: Program, inputs: Mapping[str, Any]) -> dict[str, Array]:
    """The inputs as arrays of their symbols' types.

    Raises:
        UserError: listing every input that is missing, unknown, or of a wrong shape, type or range.
    """
    symbols = {symbol.name: symbol for symbol in program.named("input")}
    faults = [f'input "{name}" is missing, shape {list(symbol.shape)}' for name, symbol in symbols.items() if name not in inputs]
    known = ", ".join(symbols) or "none"
    faults += [f'"{name}" is not an input; inputs are: {known}' for name in inputs if name not in symbols]
    checked: dict[str, Array] = {}
    for name, symbol in symbols.items():
        if name in inputs:
            value = np.asarray(inputs[name])
            fault = _fault(symbol, value)
            if fault:
                faults.append(f'input "{name}" {fault}')
            else:
                with np.errstate(over="ignore"):
                    checked[name] = value.astype(symbol.dtype.numpy)
    if faults:
        raise UserError(program.name, "the inputs do not fit", faults)
    return checked


def _fault(symbol: Symbol, value: Array) -> str | None:
    """What is wrong with an input, or None."""
    if value.shape != symbol.shape:
        return f"has shape {list(value.shape)}, expected {list(symbol.shape)}"
    floats = value.dtype.kind == "f" or value.dtype == ml_dtypes.bfloat16
    if symbol.dtype.is_float:
        if not floats:
            return f"is {value.dtype}, expected floating point ({symbol.dtype.name})"
        with np.errstate(over="ignore"):
            lost = np.isfinite(value) & ~np.isfinite(value.astype(symbol.dtype.numpy))
        return f"has values too large for {symbol.dtype.name}, such as {value[lost][0]:g}" if lost.any() else None
    if value.dtype.kind not in "iu":
        return f"is {value.dtype}, expected integers"
    if symbol.classes is None:
        low, high = int(np.iinfo(symbol.dtype.numpy).min), int(np.iinfo(symbol.dtype.numpy).max)
    else:
        low, high = 0, symbol.classes - 1
    counted = value if symbol.ignored is None else value[value != symbol.ignored]
    if counted.size and (int(counted.min()) < low or int(counted.max()) > high):
        ignored = "" if symbol.ignored is None else f", or {symbol.ignored} for what is not to count"
        return f"has values from {counted.min()} to {counted.max()}, expected {low} to {high}{ignored}"
    return None
