"""How a random convolutional network grows by one operator: one function each, all in ``STEPS``; each returns None where it does not apply.

Feature maps have shape [batch, channels, one or two spatial dimensions].
"""

from collections.abc import Callable, Sequence
from functools import partial
from math import prod
from typing import Any

import numpy as np
from hypothesis import strategies as st
from network_builder import Network, Value
from network_steps import clip, gemm, leaky_relu, transpose, unary
from onnx import numpy_helper

LARGEST = 1500
"""Elements of the largest feature map."""


def feature_map(n: Network) -> Value | None:
    """One of the feature maps, most often the last."""
    maps = [v for v in reversed(n.pool) if len(v.shape) >= 3]
    return None if not maps else n.one_of([maps[0]] * len(maps) + maps)


def _each(n: Network, rank: int, choices: Sequence[int]) -> list[int]:
    return [n.one_of(choices) for _ in range(rank)]


def _reach(kernel: Sequence[int], dilations: Sequence[int]) -> list[int]:
    return [d * (k - 1) + 1 for k, d in zip(kernel, dilations, strict=True)]


def _groups(n: Network, channels: int) -> int:
    return n.one_of([1, 1, 1, channels, *(g for g in range(2, channels) if channels % g == 0)])


def _window(n: Network, sizes: Sequence[int], attributes: dict[str, Any], *, dilated: bool = True) -> list[int] | None:
    """Draws kernel, strides, dilations and padding into ``attributes``; gives the sizes of the result, None where it has none."""
    rank = len(sizes)
    kernel, strides = _each(n, rank, (3, 1, 2)), _each(n, rank, (1, 2, 3))
    dilations = _each(n, rank, (1, 1, 2)) if dilated else [1] * rank
    reach = _reach(kernel, dilations)
    if any(r > size for r, size in zip(reach, sizes, strict=True)):
        return None
    mode = n.one_of(("NOTSET", "NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"))
    if mode.startswith("SAME"):
        out = [-(-size // s) for size, s in zip(sizes, strides, strict=True)]
    else:
        pads = [n.draw(st.integers(0, min(r - 1, 2))) for r in (*reach, *reach)] if mode == "NOTSET" else [0] * 2 * rank
        spans = [size + a + b - r for size, a, b, r in zip(sizes, pads[:rank], pads[rank:], reach, strict=True)]
        out = [span // s + 1 for span, s in zip(spans, strides, strict=True)]
        if mode == "NOTSET" and "ceil_mode" in attributes:
            ceiled = [-(-span // s) + 1 for span, s in zip(spans, strides, strict=True)]
            # Operator sets differ on whether a window that would start in the padding behind is left out.
            starts = zip(ceiled, strides, sizes, pads[:rank], strict=True)
            if all((c - 1) * s < size + before for c, s, size, before in starts):
                out = ceiled
            else:
                del attributes["ceil_mode"]
        if any(pads):
            attributes["pads"] = pads
    if mode != "NOTSET":
        attributes["auto_pad"] = mode
        attributes.pop("ceil_mode", None)
    attributes["kernel_shape"] = kernel
    if max(strides) > 1 or n.chance():
        attributes["strides"] = strides
    if max(dilations) > 1:
        attributes["dilations"] = dilations
    return out


def conv(n: Network) -> Value | None:
    """Any strides, padding, dilations and groups; depthwise; with or without a bias."""
    x = feature_map(n)
    if x is None:
        return None
    batch, channels, *sizes = x.shape
    group, attributes = _groups(n, channels), dict[str, Any]()
    filters = group * n.one_of((1, 2, 3) if group > 1 else (4, 1, 3, 5, 7, 8, 12))
    out = _window(n, sizes, attributes)
    if out is None or prod((batch, filters, *out)) > LARGEST:
        return None
    kernel = attributes["kernel_shape"]
    if n.chance():
        del attributes["kernel_shape"]
    if group > 1:
        attributes["group"] = group
    shape = (filters, channels // group, *kernel)
    operands = [x.name, n.param(shape, prod(shape[1:]) ** -0.5).name]
    if n.chance():
        operands.append(n.param((filters,)).name)
    return n.node("Conv", operands, (batch, filters, *out), 1.2 * x.scale, **attributes)


def first_conv(n: Network) -> Value:
    """Two-dimensional, ungrouped, of more than one tap a row: taps and channels lie on the rows together."""
    x = n.pool[0]
    batch, channels, *sizes = x.shape
    kernel, strides, pads = [n.one_of((3, 1, 2)), n.one_of((3, 2))], _each(n, 2, (1, 2)), _each(n, 4, (0, 1))
    out = [(size + a + b - k) // s + 1 for size, a, b, k, s in zip(sizes, pads[:2], pads[2:], kernel, strides, strict=True)]
    filters = n.one_of((4, 1, 3, 5, 7, 8, 12))
    weight = n.param((filters, channels, *kernel), (channels * prod(kernel)) ** -0.5)
    return n.node("Conv", [x.name, weight.name], (batch, filters, *out), 1.2 * x.scale, strides=strides, pads=pads)


def conv_transpose(n: Network) -> Value | None:
    """Upsampling by a convolution's gradient, some of the result cut off or added."""
    x = feature_map(n)
    if x is None:
        return None
    batch, channels, *sizes = x.shape
    rank, group = len(sizes), _groups(n, channels)
    each = n.one_of((1, 2, 3))
    kernel, strides, dilations = _each(n, rank, (2, 1, 3)), _each(n, rank, (2, 1, 3)), _each(n, rank, (1, 1, 2))
    reach = _reach(kernel, dilations)
    pads = [n.draw(st.integers(0, min(r - 1, 1))) for r in (*reach, *reach)]
    extra = [n.draw(st.integers(0, s - 1)) for s in strides] if n.chance() else [0] * rank
    lists = zip(sizes, strides, reach, extra, pads[:rank], pads[rank:], strict=True)
    out = [s * (size - 1) + r + e - before - after for size, s, r, e, before, after in lists]
    shape = (batch, group * each, *out)
    if min(out) < 1 or prod(shape) > LARGEST:
        return None
    written: dict[str, Any] = {"group": group, "kernel_shape": kernel, "strides": strides, "dilations": dilations}
    written |= {"pads": pads} | ({"output_padding": extra} if any(extra) else {})
    operands = [x.name, n.param((channels, each, *kernel), (channels / group) ** -0.5).name]
    if n.chance():
        operands.append(n.param(shape[1:2]).name)
    return n.node("ConvTranspose", operands, shape, x.scale, **written)


def pool(op: str, n: Network) -> Value | None:
    x = feature_map(n)
    if x is None:
        return None
    attributes: dict[str, Any] = {"ceil_mode": 1} if n.chance() else {}
    out = _window(n, x.shape[2:], attributes, dilated=op == "MaxPool" or n.opset >= 19)
    if out is None:
        return None
    if op == "AveragePool" and n.chance():
        attributes["count_include_pad"] = 1
    return n.node(op, [x.name], (*x.shape[:2], *out), x.scale, **attributes)


def global_pool(op: str, n: Network) -> Value | None:
    x = feature_map(n)
    return None if x is None else n.node(op, [x.name], (*x.shape[:2], *[1] * (len(x.shape) - 2)), x.scale)


def batch_normalization(n: Network) -> Value | None:
    """With running statistics, or with those of the batch."""
    x = feature_map(n)
    if x is None:
        return None
    channels = x.shape[1]
    scale, bias = n.param((channels,), 0.5, 1.0), n.param((channels,))
    statistics = []
    for array in (n.rng.uniform(-1, 1, channels) * x.scale, n.rng.uniform(0.5, 2, channels) * x.scale**2):
        statistics.append(n.fresh("s"))
        n.initializers.append(numpy_helper.from_array(array.astype(np.float32), statistics[-1]))
    operands = [x.name, scale.name, bias.name, *statistics]
    attributes: dict[str, Any] = {"epsilon": n.one_of((1e-5, 1e-3))} if n.chance() else {}
    if n.opset < 14 or prod(x.shape) // channels < 6 or n.chance():
        return n.node("BatchNormalization", operands, x.shape, 1.5, **attributes)
    y = n.node("BatchNormalization", operands, x.shape, 1.5, training_mode=1, **attributes)
    n.nodes[-1].output.extend([f"{y.name}_mean", f"{y.name}_var"])
    return y


def lrn(n: Network) -> Value | None:
    x = feature_map(n)
    if x is None:
        return None
    attributes = {"alpha": n.one_of((0.5, 1e-4)), "beta": 0.6, "bias": n.one_of((1.0, 2.0))} if n.chance() else {}
    return n.node("LRN", [n.tamed(x).name], x.shape, 1.0, size=n.one_of((3, 5, 2, 1)), **attributes)


def _alike(n: Network, x: Value, differ: int | None = None) -> list[Value]:
    """Others of the same shape, but perhaps in one dimension."""

    def kept(v: Value) -> tuple[int, ...]:
        return tuple(size for i, size in enumerate(v.shape) if i != differ)

    found = [v for v in n.pool if v is not x and len(v.shape) == len(x.shape) and kept(v) == kept(x)]
    return [n.one_of(found) for _ in range(n.one_of((1, 2)))] if found else []


def combine(op: str, n: Network) -> Value | None:
    """Residuals: a tensor with others of its shape."""
    x = feature_map(n)
    others = [] if x is None else _alike(n, x)
    if x is None or not others:
        return None
    many = op in ("Sum", "Max", "Min", "Mean")
    operands = [x, *(others if many else others[:1])]
    scales = [v.scale for v in operands]
    return n.node(op, [v.name for v in operands], x.shape, prod(scales) if op == "Mul" else sum(scales))


def concat(n: Network) -> Value | None:
    x = feature_map(n)
    if x is None:
        return None
    axis = n.one_of((1, 1, *range(len(x.shape))))
    parts = [x, *_alike(n, x, axis)]
    shape = list(x.shape)
    shape[axis] = sum(v.shape[axis] for v in parts)
    if prod(shape) > LARGEST:
        return None
    return n.node("Concat", [v.name for v in parts], shape, max(v.scale for v in parts), axis=axis - len(shape) if n.chance() else axis)


def split(n: Network) -> Value | None:
    """Into two or three parts, all of which may be used."""
    x = feature_map(n)
    if x is None:
        return None
    axis = n.one_of((1, 1, *range(len(x.shape))))
    size = x.shape[axis]
    if size < 2:
        return None
    cut = n.draw(st.integers(1, size - 1))
    sizes, attributes, operands = [cut, size - cut], {"axis": axis}, [x.name]
    if n.opset >= 18 and n.chance():
        sizes = [-(-size // 2), size // 2]
        attributes["num_outputs"] = 2
    else:
        operands.append(n.ints(sizes))
    shapes = [[part if i == axis else s for i, s in enumerate(x.shape)] for part in sizes]
    first = n.node("Split", operands, shapes[0], x.scale, **attributes)
    second = Value(f"{first.name}_rest", tuple(shapes[1]), x.scale)
    n.nodes[-1].output.append(second.name)
    n.pool.append(second)
    return first


def slice_(n: Network) -> Value | None:
    """Some entries of one or two dimensions, counted from either end."""
    x = feature_map(n)
    if x is None:
        return None
    axes = sorted(n.draw(st.sets(st.integers(0, len(x.shape) - 1), min_size=1, max_size=2)))
    starts, ends, steps, shape = [], [], [], list(x.shape)
    for axis in axes:
        size = x.shape[axis]
        start = n.draw(st.integers(0, size - 1))
        end = n.draw(st.integers(start + 1, size))
        step = n.one_of((1, 2, 3))
        shape[axis] = -(-(end - start) // step)
        starts.append(start - size if n.chance() else start)
        ends.append(2**31 if end == size and n.chance() else end)
        steps.append(step)
    operands = [x.name, n.ints(starts), n.ints(ends), n.ints(axes)]
    if max(steps) > 1 or n.chance():
        operands.append(n.ints(steps))
    return n.node("Slice", operands, shape, x.scale)


def pad(n: Network) -> Value | None:
    x = feature_map(n)
    if x is None:
        return None
    pads = [0, n.one_of((0, 0, 1)), *(n.draw(st.integers(0, 2)) for _ in x.shape[2:])]
    behind = [0, n.one_of((0, 0, 2)), *(n.draw(st.integers(0, 2)) for _ in x.shape[2:])]
    shape = [size + a + b for size, a, b in zip(x.shape, pads, behind, strict=True)]
    if prod(shape) > LARGEST:
        return None
    operands = [x.name, n.ints([*pads, *behind])]
    if n.chance():
        operands.append(n.number(n.one_of((0.0, 0.75))))
    return n.node("Pad", operands, shape, x.scale)


def channel_shuffle(n: Network) -> Value | None:
    """Reshape to groups, transpose, and back."""
    x = feature_map(n)
    if x is None:
        return None
    batch, channels, *sizes = x.shape
    divisors = [d for d in range(2, channels) if channels % d == 0]
    if not divisors:
        return None
    group = n.one_of(divisors)
    apart = (batch, group, channels // group, *sizes)
    y = n.node("Reshape", [x.name, n.ints(apart)], apart, x.scale)
    perm = [0, 2, 1, *range(3, len(apart))]
    z = n.node("Transpose", [y.name], [apart[p] for p in perm], x.scale, perm=perm)
    return n.node("Reshape", [z.name, n.ints([0, -1, *sizes])], x.shape, x.scale)


def resize(n: Network) -> Value | None:
    """Nearest neighbour, by whole factors."""
    x = feature_map(n)
    if x is None:
        return None
    factors = [1, 1, *_each(n, len(x.shape) - 2, (2, 1, 3))]
    shape = [size * f for size, f in zip(x.shape, factors, strict=True)]
    if prod(shape) > LARGEST:
        return None
    attributes = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"} if n.chance() else {}
    target = ["", n.ints(shape)] if n.chance() else [n.constant(np.array(factors, np.float32))]
    return n.node("Resize", [x.name, "", *target], shape, x.scale, mode="nearest", **attributes)


def gather(n: Network) -> Value | None:
    """Channels in another order, some left out, some twice."""
    x = feature_map(n)
    if x is None:
        return None
    channels = x.shape[1]
    chosen = n.draw(st.lists(st.integers(-channels, channels - 1), min_size=1, max_size=channels))
    return n.node("Gather", [x.name, n.ints(chosen)], (x.shape[0], len(chosen), *x.shape[2:]), x.scale, axis=1)


def hard_swish(n: Network) -> Value | None:
    return unary("HardSwish", lambda s: s, n) if n.opset >= 14 else None


def prelu(n: Network) -> Value | None:
    x = feature_map(n)
    if x is None:
        return None
    slope = n.param(n.one_of(((x.shape[1], *[1] * (len(x.shape) - 2)), (1,) * (len(x.shape) - 1))), 0.3)
    return n.node("PRelu", [x.name, slope.name], x.shape, x.scale)


def view(n: Network) -> Value | None:
    """Flattened the way exporters write it: batch size and channels are taken from the shape."""
    x = feature_map(n)
    if x is None:
        return None
    kept = n.one_of((1, 2))
    shape = n.node("Shape", [x.name], (len(x.shape),), 1.0)
    parts = []
    for i in range(kept):
        size = n.node("Gather", [shape.name, n.constant(np.array(i, np.int64))], (), 1.0)
        parts.append(n.node("Unsqueeze", [size.name, n.ints([0])], (1,), 1.0).name)
    whole = n.node("Concat", [*parts, n.ints([-1])], (kept + 1,), 1.0, axis=0)
    return n.node("Reshape", [x.name, whole.name], (*x.shape[:kept], prod(x.shape[kept:])), x.scale)


def classifier(n: Network) -> Value | None:
    """The usual end: flattened, perhaps pooled before, and a fully-connected layer."""
    x = feature_map(n)
    if x is None:
        return None
    if prod(x.shape[1:]) > 64 or n.chance():
        x = n.node("GlobalAveragePool", [x.name], (*x.shape[:2], *[1] * (len(x.shape) - 2)), x.scale)
    size, classes = prod(x.shape[1:]), n.one_of((3, 1, 5, 10))
    flat = n.node("Flatten", [x.name], (x.shape[0], size), x.scale)
    operands = [flat.name, n.param((classes, size), size**-0.5).name, n.param((classes,)).name]
    return n.node("Gemm", operands, (x.shape[0], classes), 1.5 * x.scale, transB=1)


STEPS: tuple[Callable[[Network], Value | None], ...] = (
    conv,
    conv,
    conv,
    partial(unary, "Relu", lambda s: s),
    partial(unary, "Relu", lambda s: s),
    *(partial(pool, op) for op in ("MaxPool", "AveragePool", "MaxPool")),
    batch_normalization,
    batch_normalization,
    conv_transpose,
    conv_transpose,
    *(partial(combine, op) for op in ("Add", "Sum", "Mul", "Max", "Min", "Mean")),
    concat,
    split,
    slice_,
    pad,
    channel_shuffle,
    resize,
    gather,
    *(partial(global_pool, op) for op in ("GlobalAveragePool", "GlobalMaxPool")),
    lrn,
    prelu,
    hard_swish,
    clip,
    leaky_relu,
    *(partial(unary, op, lambda s: s) for op in ("HardSigmoid", "Elu", "Sigmoid", "Dropout")),
    transpose,
    view,
    gemm,
)
