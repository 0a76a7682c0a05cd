"""Operators that cut tensors up and put them together: none of them computes anything."""

from collections.abc import Sequence

import numpy as np
from xdsl.ir import SSAValue

from compiler.decompose.table import Lowering, decomposes
from compiler.dialects.dense import Array
from compiler.dialects.train import shape_of


@decomposes("Concat")
def concat(b: Lowering) -> SSAValue:
    return b.concat([b.input(index) for index in range(len(b.inputs))], b.node.get("axis") % len(b.shape))


@decomposes("Split")
def split(b: Lowering) -> tuple[SSAValue, ...]:
    """The sizes of the parts are known from the outputs."""
    axis, start, parts = b.node.get("axis") % len(b.shape), 0, []
    for out in b.node.outs:
        shape = shape_of(out)
        parts.append(b.slice(b.x, [start if i == axis else 0 for i in range(len(shape))], shape))
        start += shape[axis]
    return tuple(parts)


@decomposes("Slice")
def slice_(b: Lowering) -> SSAValue:
    shape = shape_of(b.x)
    starts, ends, axes, steps = (b.node.constant(index) for index in (1, 2, 3, 4))
    assert starts is not None
    assert ends is not None
    axes = np.arange(starts.size) if axes is None else axes % len(shape)
    steps = np.ones(starts.size, np.int64) if steps is None else steps
    first, by = [0] * len(shape), [1] * len(shape)
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        first[axis], _, by[axis] = slice(int(start), int(end), int(step)).indices(shape[axis])
    return b.slice(b.x, first, b.shape, by)


@decomposes("Pad")
def pad(b: Lowering) -> SSAValue:
    """Negative pads cut off.  The modes that repeat what is there gather it, along one axis after the other."""
    rank, pads, value, axes = len(b.shape), b.node.constant(1), b.node.constant(2), b.node.constant(3)
    assert pads is not None
    before, behind = [0] * rank, [0] * rank
    for i, axis in enumerate(range(rank) if axes is None else axes):
        before[axis], behind[axis] = int(pads[i]), int(pads[pads.size // 2 + i])
    mode = b.node.get("mode")
    if mode != "constant":
        y = b.x
        for axis, size in enumerate(shape_of(b.x)):
            y = take(b, y, axis, _repeated(mode, np.arange(-before[axis], size + behind[axis]), size))
        return y
    cut = [max(0, -n) for n in before]
    kept = [n + min(0, p) + min(0, q) for n, p, q in zip(shape_of(b.x), before, behind, strict=True)]
    return b.place(b.slice(b.x, cut, kept), [max(0, n) for n in before], b.shape, 0.0 if value is None else float(value.flat[0]))


def _repeated(mode: str, at: Array, size: int) -> list[int]:
    """Which entry of ``size`` stands at each position of the padded axis."""
    if mode == "edge":
        return [int(i) for i in np.clip(at, 0, size - 1)]
    if mode == "wrap" or size == 1:
        return [int(i) for i in at % size]
    period = 2 * (size - 1)
    return [int(i) for i in size - 1 - abs(at % period - (size - 1))]


@decomposes("Gather")
def gather(b: Lowering) -> SSAValue:
    indices, axis = b.node.constant(1), b.node.get("axis") % len(shape_of(b.x))
    assert indices is not None
    return b.reshape(take(b, b.x, axis, [int(i) % shape_of(b.x)[axis] for i in indices.flat]), b.shape)


def take(b: Lowering, x: SSAValue, axis: int, indices: Sequence[int]) -> SSAValue:
    """Entries of ``x`` along an axis, by number: a slice for each run of numbers that are equally far apart, ascending."""
    shape, start = list(shape_of(x)), 0
    parts: list[SSAValue] = []
    while start < len(indices) or not parts:
        end, step = start + 1, 1
        if end < len(indices) and indices[end] > indices[start]:
            step = indices[end] - indices[start]
            while end < len(indices) and indices[end] - indices[end - 1] == step:
                end += 1
        size = min(end, len(indices)) - start
        first = indices[start] if size else 0
        parts.append(b.slice(x, _along(axis, first, shape, 0), _along(axis, size, shape), _along(axis, step, shape, 1)))
        start = end
    return b.concat(parts, axis)


def _along(axis: int, value: int, shape: Sequence[int], other: int | None = None) -> list[int]:
    """``value`` for the axis, ``other`` (left out: the size) for all others."""
    return [value if i == axis else n if other is None else other for i, n in enumerate(shape)]
