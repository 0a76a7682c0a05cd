"""Products over affine axes and pooling in NumPy, one filter tap after another: the sliding half of ``interpret.py``."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product as positions

import numpy as np
from numpy.lib.stride_tricks import as_strided

from compiler.dialects.dense import Array
from compiler.schedule.axes import parse_axes, shared, strides_of


def product(stored: tuple[str, str, str], sizes: Mapping[str, int], lhs: Array, rhs: Array, shape: Sequence[int]) -> Array:
    """The sum of products over all axes that the result lacks; ``stored`` are the axes of both operands and the result.

    Where axes share a dimension, all but the longest are taps: with those fixed, no two positions of a tensor meet, and the rest is
    one einsum into a view of the result.
    """
    result = np.zeros(shape, np.result_type(lhs, rhs))
    tensors = list(zip(stored, (lhs, rhs, result), strict=True))
    taps = sorted({tap for text in stored for tap in _taps(text, sizes)})
    kept = ["".join(axis for axis in strides_of(text, tensor.strides) if axis not in taps) for text, tensor in tensors]
    formula = f"{kept[0]},{kept[1]}->{kept[2]}"
    for tap in positions(*(range(sizes[axis]) for axis in taps)):
        a, b, out = (_view(text, tensor, sizes, dict(zip(taps, tap, strict=True))) for text, tensor in tensors)
        out += np.einsum(formula, a, b, optimize=True)
    return result


def _taps(text: str, sizes: Mapping[str, int]) -> Iterator[str]:
    for terms in parse_axes(text):
        meeting = [axis for axis, _ in terms if axis != "g" and shared(text, axis)]
        yield from sorted(meeting, key=lambda axis: sizes[axis])[:-1]


def _view(text: str, tensor: Array, sizes: Mapping[str, int], fixed: Mapping[str, int]) -> Array:
    """The tensor with one dimension for each axis that is not fixed."""
    starts = [sum(factor * fixed.get(axis, 0) for axis, factor in terms) for terms in parse_axes(text)]
    strides = strides_of(text, tensor.strides)
    free = [axis for axis in strides if axis not in fixed]
    return as_strided(
        tensor[tuple(slice(start, None) for start in starts)], [sizes[axis] for axis in free], [strides[axis] for axis in free]
    )


@dataclass(frozen=True, slots=True)
class Window:
    """What pooling slides over a tensor, per dimension."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]

    def taps(self, shape: Sequence[int]) -> Iterator[tuple[slice, ...]]:
        """For each position within the window, in row-major order, what of the input it meets as the window slides to ``shape``."""
        for position in positions(*map(range, self.kernel)):
            starts = [at * d for at, d in zip(position, self.dilations, strict=True)]
            yield tuple(slice(first, first + s * (n - 1) + 1, s) for first, s, n in zip(starts, self.strides, shape, strict=True))


def pool(fn: str, x: Array, window: Window) -> Array:
    """Maximum or sum over the window."""
    lists = zip(x.shape, window.kernel, window.strides, window.dilations, strict=True)
    shape = [(n - d * (k - 1) - 1) // s + 1 for n, k, s, d in lists]
    combine, start = {"sum": (np.add, 0.0), "max": (np.maximum, -np.inf)}[fn]
    y = np.full(shape, start)
    for tap in window.taps(shape):
        combine(y, x[tap], out=y)
    return y


def pool_grad(fn: str, inputs: Sequence[Array], window: Window, shape: Sequence[int]) -> Array:
    """Gradient of a pool's input of ``shape``: from dY for a sum; from X, Y, dY for a maximum, the first of equal entries gets it."""
    grad = inputs[-1]
    dx = np.zeros(shape)
    open_ = np.ones(grad.shape, bool)
    for tap in window.taps(grad.shape):
        if fn == "max":
            x, y, _ = inputs
            first = open_ & (x[tap] == y)
            open_ &= ~first
            dx[tap] += np.where(first, grad, 0)
        else:
            dx[tap] += grad
    return dx
