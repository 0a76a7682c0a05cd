"""Pooling: one sliding maximum or sum on a padded input, whatever the window."""

from math import prod

import numpy as np
from xdsl.ir import SSAValue

from compiler.decompose.table import Lowering, decomposes
from compiler.decompose.windows import Sliding, sliding
from compiler.dialects.dense import Array
from compiler.dialects.train import shape_of

LOWEST = float(np.finfo(np.float32).min)
"""Pads what a maximum is taken over.  (IR text has no way to write −∞.)"""


@decomposes("MaxPool")
def max_pool(b: Lowering) -> SSAValue:
    window = sliding(b, b.node.get("kernel_shape"))
    return b.pool("max", window.pad(b, b.x, LOWEST), window.kernel, window.strides, window.dilations)


@decomposes("AveragePool")
def average_pool(b: Lowering) -> SSAValue:
    """The sum, divided by how many entries each window covers: one number, or one for each position where windows reach into padding."""
    window = sliding(b, b.node.get("kernel_shape"))
    y = b.pool("sum", window.pad(b, b.x, 0.0), window.kernel, window.strides, window.dilations)
    counts = covered(window, shape_of(b.x)[2:], _counted_padding(b, window))
    equal = np.all(counts == counts.flat[0])
    return b.map("div", y, b.scalar(float(counts.flat[0])) if equal else b.constant(counts[None, None].astype(np.float32)))


def _counted_padding(b: Lowering, window: Sliding) -> list[tuple[int, int]]:
    """Padding that counts as covered: with ``count_include_pad`` what the attributes ask for, not what ceil_mode adds."""
    if not b.node.get("count_include_pad"):
        return [(0, 0)] * len(window.kernel)
    if b.node.get("auto_pad") == "NOTSET":
        pads = b.node.get("pads") or [0] * 2 * len(window.kernel)
        return list(zip(pads[: len(window.kernel)], pads[len(window.kernel) :], strict=True))
    return list(zip(window.before, window.behind, strict=True))


def covered(window: Sliding, sizes: tuple[int, ...], padding: list[tuple[int, int]]) -> Array:
    """How many entries of the input, or of padding that counts, the window covers at each position: one factor a dimension."""
    counts = np.ones((1,) * len(sizes))
    for axis, (size, (front, rear)) in enumerate(zip(sizes, padding, strict=True)):
        at = np.arange(window.positions[axis])[:, None] * window.strides[axis] - window.before[axis]
        at = at + np.arange(window.kernel[axis]) * window.dilations[axis]
        line = np.sum((at >= -front) & (at < size + rear), axis=1)
        counts = counts * line.reshape([-1 if i == axis else 1 for i in range(len(sizes))])
    return counts


@decomposes("GlobalAveragePool")
def global_average(b: Lowering) -> SSAValue:
    axes = range(2, len(b.shape))
    return b.map("div", b.reduce("sum", b.x, axes), b.scalar(prod(shape_of(b.x)[2:])))


@decomposes("GlobalMaxPool")
def global_max(b: Lowering) -> SSAValue:
    return b.reduce("max", b.x, range(2, len(b.shape)))


@decomposes("LRN")
def local_response(b: Lowering) -> SSAValue:
    """x / (bias + α/size · Σ x²)^β, the sum over ``size`` neighbouring channels."""
    size = b.node.get("size")
    batch, channels, *pixels = b.shape
    squares = b.place(b.map("mul", b.x, b.x), [0, (size - 1) // 2, *[0] * len(pixels)], (batch, channels + size - 1, *pixels))
    ones = [1] * len(pixels)
    sums = b.pool("sum", squares, [size, *ones], [1, *ones], [1, *ones])
    scale = b.map("fma", sums, b.scalar(b.node.get("alpha") / size), b.scalar(b.node.get("bias")))
    return b.map("mul", b.x, b.map("pow", scale, b.scalar(-b.node.get("beta"))))
