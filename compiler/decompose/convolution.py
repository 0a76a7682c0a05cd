"""Convolutions as products over affine axes (see ``compiler/schedule/axes.py``).

The axes' names: b batch, k input channels, n output channels, g groups, yx pixels, rs taps.
"""

from collections.abc import Sequence
from math import prod

from xdsl.ir import SSAValue

from compiler.decompose.table import Lowering, decomposes
from compiler.decompose.windows import sliding, steps
from compiler.dialects.train import shape_of


@decomposes("Conv")
def conv(b: Lowering) -> SSAValue:
    """Y[b,n,y,x] = Σ X[b,k,s·y+d·r,…] · W[n,k,r,…] on a padded X; a 1×1 filter is a matrix product over the pixels that it meets."""
    w, groups = b.input(1), b.node.get("group")
    window = sliding(b, shape_of(w)[2:])
    x = window.pad(b, b.x, 0.0)
    k, n = _channels("k", shape_of(x)[1], groups), _channels("n", shape_of(w)[0], groups)
    pixels_of_x, pixels, taps = _spatial(window.strides, window.dilations)
    if all(size == 1 for size in window.kernel):
        met = b.slice(x, [0] * len(shape_of(x)), (*shape_of(x)[:2], *window.positions), [1, 1, *window.strides])
        if met is not x:  # its words do not lie side by side
            return _biased(b, b.product(f"b{k}{pixels},{n}k->b{n}{pixels}", met, b.reshape(w, shape_of(w)[:2]), b.shape))
        count = prod(window.positions)
        flat = b.reshape(x, (*shape_of(x)[:2], count))
        y = b.product(f"b{k}p,{n}k->b{n}p", flat, b.reshape(w, shape_of(w)[:2]), (*b.shape[:2], count))
        return _biased(b, b.reshape(y, b.shape))
    return _biased(b, b.product(f"b{k}{pixels_of_x},{n}k{taps}->b{n}{pixels}", x, w, b.shape))


@decomposes("ConvTranspose")
def conv_transpose(b: Lowering) -> SSAValue:
    """The adjoint of a convolution: each pixel of X is spread by all taps of the filter, s pixels apart; then the padding is cut off."""
    w, groups = b.input(1), b.node.get("group")
    batch, channels, *sizes = shape_of(b.x)
    kernel, (_, outputs, *wanted) = shape_of(w)[2:], b.shape
    strides, dilations = steps(b, "strides", len(kernel)), steps(b, "dilations", len(kernel))
    reach = [s * (n - 1) + d * (t - 1) + 1 for n, s, d, t in zip(sizes, strides, dilations, kernel, strict=True)]
    before = _cut(b, reach, wanted)
    k, n = _channels("k", channels, groups), _channels("n", outputs, groups)
    pixels_of_y, pixels, taps = _spatial(strides, dilations)
    full = [max(r, p + size) for r, p, size in zip(reach, before, wanted, strict=True)]
    y = b.product(f"b{k}{pixels},{k}n{taps}->b{n}{pixels_of_y}", b.x, w, (batch, outputs, *full))
    return _biased(b, b.slice(y, [0, 0, *before], b.shape))


def _cut(b: Lowering, reach: Sequence[int], wanted: Sequence[int]) -> list[int]:
    """How much padding is cut off in front, per spatial dimension."""
    if b.node.get("auto_pad") == "NOTSET" and not b.node.get("output_shape"):
        return list(b.node.get("pads") or [0] * len(reach))[: len(reach)]
    padding = b.node.get("output_padding") or [0] * len(reach)
    total = [max(0, r + extra - size) for r, extra, size in zip(reach, padding, wanted, strict=True)]
    return [t // 2 if b.node.get("auto_pad") == "SAME_UPPER" else t - t // 2 for t in total]


def _channels(axis: str, count: int, groups: int) -> str:
    """The dimension of all channels: ``k``, or in groups ``(8g+k)``."""
    return axis if groups == 1 else _sum((count // groups, "g"), (1, axis))


def _spatial(strides: Sequence[int], dilations: Sequence[int]) -> tuple[str, str, str]:
    """Dimensions of the side that the taps slide over, of the other side, and of the filter: ``(2y+r)(2x+s)``, ``yx``, ``rs``."""
    pixels, taps = "yx"[-len(strides) :], "rs"[-len(strides) :]
    return "".join(_sum((s, y), (d, r)) for s, d, y, r in zip(strides, dilations, pixels, taps, strict=True)), pixels, taps


def _sum(*terms: tuple[int, str]) -> str:
    return "(" + "+".join(axis if factor == 1 else f"{factor}{axis}" for factor, axis in terms) + ")"


def _biased(b: Lowering, y: SSAValue) -> SSAValue:
    bias = b.optional(2)
    return y if bias is None else b.map("add", y, b.by_channel(bias, len(b.shape)))
