"""What the functions of the vector unit compute: NumPy in fp32, IEEE all the way (NaN and infinities flow, nothing warns)."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from emulator.costs import reduced_axes
from emulator.memory import Array, Memory, convert
from isa.dtypes import DType
from isa.instructions import IMM, Instruction
from isa.stream import Stream
from isa.vector import FUNCTIONS

F32 = npt.NDArray[np.float32]
Function = Callable[..., Any]
"""From fp32 arrays to an fp32 array."""


def _sigmoid(a: F32) -> Array:
    small = np.exp(-np.abs(a))  # never above 1, so nothing overflows on either side
    return np.asarray(np.where(a >= 0, np.float32(1), small) / (1 + small))


def _relu_grad(a: F32, b: F32) -> Array:
    """``np.where(b > 0, a, 0)``, but without a branch for each word, which random signs make slow."""
    kept = -(b > 0).astype(np.int32)
    return np.asarray(np.bitwise_and(a.view(np.int32), kept)).view(np.float32)


_ONE_OPERAND: dict[str, Function] = {
    "copy": lambda a: a,
    "neg": np.negative,
    "abs": np.abs,
    "sign": np.sign,
    "exp": np.exp,
    "log": np.log,
    "sqrt": np.sqrt,
    "reciprocal": lambda a: 1 / a,
    "tanh": np.tanh,
    "sigmoid": _sigmoid,
    "erf": np.vectorize(math.erf, otypes=[np.float32]),  # NumPy has none
    "relu": lambda a: np.maximum(a, 0),
}
_TWO_OPERANDS: dict[str, Function] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "max": np.maximum,
    "min": np.minimum,
    "pow": np.power,
    "eq": lambda a, b: (a == b).astype(np.float32),
    "lt": lambda a, b: (a < b).astype(np.float32),
    "le": lambda a, b: (a <= b).astype(np.float32),
    "leaky_relu": lambda a, b: np.where(a >= 0, a, b * a),
    "relu_grad": _relu_grad,
    "tanh_grad": lambda a, b: a * (1 - b * b),
    "sigmoid_grad": lambda a, b: a * b * (1 - b),
    "erf_grad": lambda a, b: a * (np.float32(2 / math.sqrt(math.pi)) * np.exp(-b * b)),
}
_THREE_OPERANDS: dict[str, Function] = {
    "leaky_relu_grad": lambda a, b, c: np.where(b >= 0, a, c * a),
    "select": lambda a, b, c: np.where(a != 0, b, c),
    "fma": lambda a, b, c: a * b + c,
}
ELEMENTWISE: dict[str, Function] = {**_ONE_OPERAND, **_TWO_OPERANDS, **_THREE_OPERANDS}


def elementwise(fn: str, operands: Sequence[F32 | np.float32]) -> Array:
    """``fn`` of its operands (as many as it takes; further ones are ignored), all fp32 and broadcast against each other."""
    with np.errstate(all="ignore"):
        return np.asarray(ELEMENTWISE[fn](*operands[: FUNCTIONS[fn].arity]))


def reduction(fn: str, a: F32, axes: tuple[int, ...]) -> Array:
    """``a`` reduced over ``axes``, which stay with length 1."""
    with np.errstate(all="ignore"):
        return np.asarray(a.sum(axis=axes, keepdims=True) if fn == "sum" else a.max(axis=axes, keepdims=True))


def compute(instruction: Instruction, spad: Memory, counters: Sequence[int]) -> tuple[Array, Array]:
    """Where the results of a `vec` or `red` go, and the results, read and computed now."""
    dst = instruction["dst"]
    view = spad.view(dst, counters)
    if instruction.op == "red":
        axes = reduced_axes(dst)
        view = view[tuple(slice(1) if axis in axes else slice(None) for axis in range(view.ndim))]
        return view, convert(reduction(instruction["fn"], convert(spad.view(instruction["a"], counters), DType.f32), axes), dst.dtype)
    return view, convert(elementwise(instruction["fn"], _operands(instruction, spad, counters)), dst.dtype).copy()


def prepared(instruction: Instruction, spad: Memory, counters: Sequence[int]) -> Callable[[], object]:
    """What reads, computes and writes at once, any number of times; warnings are the caller's."""
    dst, used = instruction["dst"], _operands(instruction, spad, counters)
    streams = [value for value in instruction.args.values() if isinstance(value, Stream)]
    if instruction.op == "red" or {stream.dtype for stream in streams} != {DType.f32} or not all(dim.stride for dim in dst.dims):
        return partial(_execute, instruction, spad, tuple(counters))
    name = instruction["fn"]
    return bound(name, used[: FUNCTIONS[name].arity], spad.view(dst, counters))


def bound(fn: str, operands: Sequence[F32 | np.float32], out: F32) -> Callable[[], object]:
    """What writes ``fn`` of its operands to ``out``, any number of times."""
    function = ELEMENTWISE[fn]
    if isinstance(function, np.ufunc):  # which reads what it overlaps first
        return partial(function, *operands, out=out)
    if fn == "relu":
        return partial(np.maximum, *operands, 0, out=out)
    if fn == "fma" and not np.may_share_memory(out, operands[2]):
        return partial(_fma, out, operands)
    return partial(_assign, out, function, operands)


def _fma(out: F32, operands: Sequence[F32 | np.float32]) -> None:
    a, b, c = operands
    np.multiply(a, b, out=out)
    np.add(out, c, out=out)


def _assign(out: F32, fn: Function, operands: Sequence[F32 | np.float32]) -> None:
    out[...] = fn(*operands)


def _execute(instruction: Instruction, spad: Memory, counters: Sequence[int]) -> None:
    view, results = compute(instruction, spad, counters)
    view[...] = results


def _operands(instruction: Instruction, spad: Memory, counters: Sequence[int]) -> list[F32 | np.float32]:
    return [
        np.float32(instruction["imm"]) if instruction[name] == IMM else convert(spad.view(instruction[name], counters), DType.f32)
        for name in ("a", "b", "c")
        if name in instruction.args
    ]
