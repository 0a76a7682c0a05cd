"""Array operations that are done and noted, so that further runs do them again, on the words that are there then.

Results lie in a scratch memory, each where it will lie again: views of them are made once.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from emulator.backend import Matmul
from emulator.memory import Array

Action = tuple[Callable[..., object], tuple[Any, ...]]
"""A function and its arguments."""

_BLOCK = 1 << 24
_ALIGN = 64
"""Bytes."""


class Scratch:
    """Room for results, in blocks; all tapes use the same, one after the other."""

    def __init__(self) -> None:
        self._blocks: list[npt.NDArray[np.uint8]] = []
        self._block = self._used = 0

    def clear(self) -> None:
        """Nothing in it is needed any more."""
        self._block = self._used = 0

    def empty(self, shape: Sequence[int], dtype: npt.DTypeLike) -> Array:
        """Room for an array."""
        found = np.dtype(dtype)
        size = int(np.prod(shape, dtype=np.int64)) * found.itemsize
        while self._block < len(self._blocks) and self._used + size > self._blocks[self._block].size:
            self._block, self._used = self._block + 1, 0
        if self._block == len(self._blocks):
            self._blocks.append(np.empty(max(size, _BLOCK), np.uint8))
        array = np.ndarray(shape, found, self._blocks[self._block], self._used)
        self._used += -(-size // _ALIGN) * _ALIGN
        return array


class Tape:
    """What was done, in order."""

    def __init__(self, scratch: Scratch, matmul: Matmul) -> None:
        self.actions: list[Action] = []
        self._scratch, self._matmul = scratch, matmul

    def do(self, function: Callable[..., object], *arguments: Any) -> None:
        """Do something now and again."""
        function(*arguments)
        self.actions.append((function, arguments))

    def empty(self, shape: Sequence[int], dtype: npt.DTypeLike) -> Array:
        """Room for a result."""
        return self._scratch.empty(shape, dtype)

    def new(self, function: Callable[..., Array], *arguments: Any) -> Array:
        """The result of a function, which is copied if it is not one of the arguments itself."""
        result = function(*arguments)
        if any(result is argument for argument in arguments):
            return result
        out = self.empty(result.shape, result.dtype)
        out[...] = result
        self.actions.append((_assign, (out, function, arguments)))
        return out

    def copy(self, words: Array) -> Array:
        """Words that stay as they are now."""
        out = self.empty(words.shape, words.dtype)
        self.do(np.copyto, out, words)
        return out

    def reshaped(self, words: Array, shape: tuple[int, ...]) -> Array:
        """Words in another shape: in place where that can be."""
        found = words.reshape(shape)
        return found if np.may_share_memory(found, words) else self.copy(words).reshape(shape)

    def matmul(self, a: Array, b: Array) -> Array:
        """A product of matrices."""
        if self._matmul is not np.matmul:
            return self.new(self._matmul, a, b)
        out = self.empty((*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1]), a.dtype)
        self.do(np.matmul, a, b, out)
        return out


def _assign(out: Array, function: Callable[..., Array], arguments: Sequence[Any]) -> None:
    out[...] = function(*arguments)
