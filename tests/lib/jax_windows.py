"""ONNX operators in JAX: what slides over feature maps, normalises or resizes them, and what rearranges channels.

Same form as in ``jax_operators``; an operator with several results returns a tuple.
"""

from collections.abc import Callable, Sequence
from math import ceil, floor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax_trace import Trace, f32


def _ints(at: dict[str, Any], name: str, default: Sequence[int]) -> list[int]:
    return list(at.get(name, default))


def _auto_pad(at: dict[str, Any]) -> str:
    return str(at.get("auto_pad", b"NOTSET").decode())


def _reach(kernel: Sequence[int], dilations: Sequence[int]) -> list[int]:
    return [d * (k - 1) + 1 for k, d in zip(kernel, dilations, strict=True)]


def _pads(at: dict[str, Any], sizes: Sequence[int], reach: Sequence[int], strides: Sequence[int]) -> list[tuple[int, int]]:
    """Padding before and after each spatial dimension."""
    rank, mode = len(sizes), _auto_pad(at)
    if not mode.startswith("SAME"):
        pads = _ints(at, "pads", [0] * 2 * rank) if mode == "NOTSET" else [0] * 2 * rank
        return list(zip(pads[:rank], pads[rank:], strict=True))
    totals = [max((ceil(n / s) - 1) * s + r - n, 0) for n, r, s in zip(sizes, reach, strides, strict=True)]
    return [(t // 2, t - t // 2) if mode == "SAME_UPPER" else (t - t // 2, t // 2) for t in totals]


def _channels(values: Any, rank: int) -> Any:
    """A vector over channels, to be broadcast with a tensor of ``rank``."""
    return jnp.reshape(values, (-1, *[1] * (rank - 2)))


def _conv(t: Trace, at: dict[str, Any], x: Any, w: Any, bias: Any = None) -> Any:
    spatial = x.ndim - 2
    strides, dilations = (_ints(at, name, [1] * spatial) for name in ("strides", "dilations"))
    pads = _pads(at, x.shape[2:], _reach(w.shape[2:], dilations), strides)
    y = jax.lax.conv_general_dilated(x, w, strides, pads, rhs_dilation=dilations, feature_group_count=at.get("group", 1))
    return y if bias is None else y + _channels(bias, x.ndim)


def _conv_transpose(t: Trace, at: dict[str, Any], x: Any, w: Any, bias: Any = None) -> Any:
    """The gradient of a convolution as a convolution: X spread out by the strides, W turned around."""
    spatial = x.ndim - 2
    strides, dilations = (_ints(at, name, [1] * spatial) for name in ("strides", "dilations"))
    extra = _ints(at, "output_padding", [0] * spatial)
    reach, groups = _reach(w.shape[2:], dilations), at.get("group", 1)
    whole = [s * (n - 1) + e + r for n, s, e, r in zip(x.shape[2:], strides, extra, reach, strict=True)]
    mode = _auto_pad(at)
    target = at.get("output_shape") or ([n * s for n, s in zip(x.shape[2:], strides, strict=True)] if mode.startswith("SAME") else None)
    if target is None:
        pads = _pads(at, x.shape[2:], reach, strides)
    else:
        totals = [n - out for n, out in zip(whole, target[-spatial:], strict=True)]
        pads = [(p // 2, p - p // 2) if mode == "SAME_UPPER" else (p - p // 2, p // 2) for p in totals]
    w = jnp.swapaxes(jnp.reshape(w, (groups, w.shape[0] // groups, *w.shape[1:])), 1, 2)
    w = jnp.flip(jnp.reshape(w, (-1, *w.shape[2:])), range(2, x.ndim))
    around = [(r - 1 - before, r - 1 - after + e) for r, (before, after), e in zip(reach, pads, extra, strict=True)]
    ones = [1] * spatial
    y = jax.lax.conv_general_dilated(x, w, ones, around, lhs_dilation=strides, rhs_dilation=dilations, feature_group_count=groups)
    return y if bias is None else y + _channels(bias, x.ndim)


def _windows(at: dict[str, Any], x: Any) -> tuple[Any, Any]:
    """The entries of every pooling window, first dimension, and which of them are padding: 0 none, 1 padding, 2 beyond it."""
    kernel = at["kernel_shape"]
    spatial, sizes = len(kernel), x.shape[2:]
    strides, dilations = (_ints(at, name, [1] * spatial) for name in ("strides", "dilations"))
    reach = _reach(kernel, dilations)
    pads = _pads(at, sizes, reach, strides)
    outs, beyond = [], []
    for n, (before, after), r, s in zip(sizes, pads, reach, strides, strict=True):
        out = (ceil if at.get("ceil_mode", 0) else floor)((n + before + after - r) / s) + 1
        if (out - 1) * s >= n + before:  # a window that would start in the padding behind is left out
            out -= 1
        outs.append(out)
        beyond.append(max((out - 1) * s + r - n - before - after, 0))
    around = [(0, 0), (0, 0), *((before, after) for before, after in pads)]
    further = [(0, 0), (0, 0), *((0, more) for more in beyond)]
    kind = np.pad(np.pad(np.zeros(x.shape, int), around, constant_values=1), further, constant_values=2)
    x = jnp.pad(jnp.pad(x, around), further)
    taps = []
    for tap in np.ndindex(*kernel):
        starts = [i * d for i, d in zip(tap, dilations, strict=True)]
        steps = zip(starts, outs, strides, strict=True)
        taps.append((slice(None), slice(None), *(slice(start, start + (out - 1) * s + 1, s) for start, out, s in steps)))
    return jnp.stack([x[tap] for tap in taps]), np.stack([kind[tap] for tap in taps])


def _max_pool(t: Trace, at: dict[str, Any], x: Any) -> Any:
    """Of equal entries the first gets the gradient."""
    entries, kind = _windows(at, x)
    entries = jnp.where(kind == 0, entries, -jnp.inf)
    largest = jnp.expand_dims(jnp.argmax(entries, axis=0), 0)
    y = jnp.take_along_axis(entries, largest, axis=0)
    others = jnp.where((jnp.arange(len(entries)).reshape(-1, *[1] * x.ndim) == largest) | (kind != 0), 0.0, entries - y)
    t.kink(others, 0.0, of=x)
    return y[0]


def _average_pool(t: Trace, at: dict[str, Any], x: Any) -> Any:
    entries, kind = _windows(at, x)
    counted = kind <= 1 if at.get("count_include_pad", 0) else kind == 0
    return jnp.sum(entries, axis=0) / np.sum(counted, axis=0)


def _global_max(t: Trace, at: dict[str, Any], x: Any) -> Any:
    return _max_pool(t, {"kernel_shape": x.shape[2:]}, x)


def _batch_normalization(t: Trace, at: dict[str, Any], x: Any, scale: Any, bias: Any, mean: Any, var: Any) -> Any:
    epsilon, momentum = at.get("epsilon", f32(1e-5)), at.get("momentum", f32(0.9))
    running: tuple[Any, ...] = ()
    if at.get("training_mode", 0):
        over = [i for i in range(x.ndim) if i != 1]
        old, (mean, var) = (mean, var), (jnp.mean(x, over), jnp.var(x, over))
        running = tuple(before * momentum + now * (1 - momentum) for before, now in zip(old, (mean, var), strict=True))
    scale, bias, mean, var = (_channels(v, x.ndim) for v in (scale, bias, mean, var))
    return (scale * (x - mean) / jnp.sqrt(var + epsilon) + bias, *running)


def _lrn(t: Trace, at: dict[str, Any], x: Any) -> Any:
    size, channels = at["size"], x.shape[1]
    before = (size - 1) // 2
    squares = jnp.pad(x * x, [(0, 0), (before, size - 1 - before), *[(0, 0)] * (x.ndim - 2)])
    total = sum(squares[:, i : i + channels] for i in range(size))
    return x / (at.get("bias", 1.0) + at.get("alpha", f32(1e-4)) / size * total) ** at.get("beta", 0.75)


def _split(t: Trace, at: dict[str, Any], x: Any, split: Any = None) -> Any:
    axis = at.get("axis", 0)
    sizes = at.get("split") if split is None else [int(n) for n in split]
    if sizes is None:
        count = at["num_outputs"] if "num_outputs" in at else at["outputs"]
        each = -(-x.shape[axis] // count)
        sizes = [each] * (count - 1) + [x.shape[axis] - each * (count - 1)]
    return tuple(jnp.split(x, [int(n) for n in np.cumsum(sizes)[:-1]], axis=axis))


def _slice(t: Trace, at: dict[str, Any], x: Any, starts: Any = None, ends: Any = None, axes: Any = None, steps: Any = None) -> Any:
    starts, ends = (at[name] if value is None else value for name, value in (("starts", starts), ("ends", ends)))
    axes = at.get("axes", range(len(starts))) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    index = [slice(None)] * x.ndim
    for start, end, axis, step in zip(*([int(v) for v in values] for values in (starts, ends, axes, steps)), strict=True):
        n = x.shape[axis]
        index[axis] = slice(start, None if step < 0 and end < -n else end, step)
    return x[tuple(index)]


def _pad(t: Trace, at: dict[str, Any], x: Any, pads: Any = None, value: Any = None, axes: Any = None) -> Any:
    assert at.get("mode", b"constant") == b"constant"
    pads = [int(n) for n in (at["pads"] if pads is None else pads)]
    over = range(x.ndim) if axes is None else [int(a) % x.ndim for a in axes]
    around = [(0, 0, 0)] * x.ndim
    for i, axis in enumerate(over):
        around[axis] = (pads[i], pads[i + len(over)], 0)
    filled = at.get("value", 0.0) if value is None else jnp.reshape(value, ())
    return jax.lax.pad(x, jnp.asarray(filled, x.dtype), around)


def _resize(t: Trace, at: dict[str, Any], x: Any, roi: Any = None, scales: Any = None, sizes: Any = None) -> Any:
    """Nearest neighbour, one dimension after the other."""
    assert at.get("mode", b"nearest") == b"nearest"
    given = scales is not None and np.size(scales)
    axes = [int(a) % x.ndim for a in at.get("axes", range(x.ndim))]
    wanted = [floor(x.shape[a] * s) for a, s in zip(axes, scales, strict=True)] if given else [int(n) for n in sizes]
    for axis, out, scale in zip(axes, wanted, scales if given else [None] * len(axes), strict=True):
        n = x.shape[axis]
        x = jnp.take(x, _nearest(at, n, out, float(scale) if scale is not None else out / n), axis=axis)
    return x


def _nearest(at: dict[str, Any], n: int, out: int, scale: float) -> Any:
    """For each entry of the result which of the ``n`` entries it is."""
    i = np.arange(out)
    match at.get("coordinate_transformation_mode", b"half_pixel"):
        case b"asymmetric":
            x = i / scale
        case b"align_corners":
            x = i * (n - 1) / (out - 1) if out > 1 else 0.0 * i
        case b"pytorch_half_pixel" if out == 1:
            x = 0.0 * i
        case _:
            x = (i + 0.5) / scale - 0.5
    match at.get("nearest_mode", b"round_prefer_floor"):
        case b"floor":
            found = np.floor(x)
        case b"ceil":
            found = np.ceil(x)
        case b"round_prefer_ceil":
            found = np.floor(x + 0.5)
        case _:
            found = np.ceil(x - 0.5)
    return np.clip(found.astype(int), 0, n - 1)


def _upsample(t: Trace, at: dict[str, Any], x: Any, scales: Any = None) -> Any:
    asymmetric = {"coordinate_transformation_mode": b"asymmetric", "nearest_mode": b"floor"}
    return _resize(t, at | asymmetric, x, None, at["scales"] if scales is None else scales)


def _gather(t: Trace, at: dict[str, Any], x: Any, indices: Any) -> Any:
    axis = at.get("axis", 0)
    places = np.asarray(indices)
    return jnp.take(x, np.where(places < 0, places + x.shape[axis], places), axis=axis)


def _shape(t: Trace, at: dict[str, Any], x: Any) -> Any:
    return np.array(x.shape[at.get("start", 0) : at.get("end")], np.int64)


def _mean(t: Trace, at: dict[str, Any], *xs: Any) -> Any:
    return sum(xs) / len(xs)


def _extreme(sign: float) -> Callable[..., Any]:
    """Max (1) or Min (−1); at a tie the first operand gets the gradient."""

    def run(t: Trace, at: dict[str, Any], y: Any, *others: Any) -> Any:
        for x in others:
            t.kink(y - x, 0.0, of=x)
            y = jnp.where(sign * x > sign * y, x, y)
        return y

    return run


def _hard_sigmoid(t: Trace, at: dict[str, Any], x: Any) -> Any:
    alpha, beta = at.get("alpha", f32(0.2)), at.get("beta", 0.5)
    t.kink(x, -beta / alpha, (1 - beta) / alpha)
    return jnp.clip(alpha * x + beta, 0, 1)


def _hard_swish(t: Trace, at: dict[str, Any], x: Any) -> Any:
    t.kink(x, -3.0, 3.0)
    return x * jnp.clip(f32(1 / 6) * x + 0.5, 0, 1)


def _prelu(t: Trace, at: dict[str, Any], x: Any, slope: Any) -> Any:
    t.kink(x, 0.0)
    return jnp.where(x >= 0, x, slope * x)


def _elu(t: Trace, at: dict[str, Any], x: Any) -> Any:
    alpha = at.get("alpha", 1.0)
    if alpha != 1:
        t.kink(x, 0.0)
    return jnp.where(x > 0, x, alpha * (jnp.exp(jnp.minimum(x, 0)) - 1))


OPERATORS: dict[str, Callable[..., Any]] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "MaxPool": _max_pool,
    "AveragePool": _average_pool,
    "GlobalMaxPool": _global_max,
    "GlobalAveragePool": lambda t, at, x: jnp.mean(x, range(2, x.ndim), keepdims=True),
    "BatchNormalization": _batch_normalization,
    "LRN": _lrn,
    "Concat": lambda t, at, *xs: jnp.concatenate(xs, at["axis"]),
    "Split": _split,
    "Slice": _slice,
    "Pad": _pad,
    "Resize": _resize,
    "Upsample": _upsample,
    "Gather": _gather,
    "Shape": _shape,
    "Sum": lambda t, at, *xs: sum(xs),
    "Mean": _mean,
    "Max": _extreme(1),
    "Min": _extreme(-1),
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _hard_swish,
    "PRelu": _prelu,
    "Elu": _elu,
}

EXACT = {"MaxPool", "GlobalMaxPool", "Concat", "Split", "Slice", "Pad", "Resize", "Upsample", "Gather", "Shape", "Max", "Min"}
"""Operators that round nothing."""
