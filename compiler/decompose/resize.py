"""Resize to the nearest entry: which one, by ONNX's formulas, and the shape operations that repeat it."""

import numpy as np
from xdsl.ir import SSAValue

from compiler.decompose.regions import take
from compiler.decompose.table import Lowering, decomposes
from compiler.dialects.dense import Array
from compiler.dialects.train import shape_of


@decomposes("Resize")
def resize(b: Lowering) -> SSAValue:
    """Along each axis: entries repeated equally often are broadcast, any other choice of entries is gathered."""
    y = b.x
    for axis, scale in enumerate(_scales(b)):
        shape, wanted = shape_of(y), b.shape[axis]
        size = shape[axis]
        nearest = _nearest(b, np.arange(wanted, dtype=np.float64), size, wanted, scale)
        if wanted % size == 0 and np.array_equal(nearest, np.arange(wanted) // (wanted // size)):
            column = b.reshape(y, (*shape[: axis + 1], 1, *shape[axis + 1 :]))
            repeated = b.broadcast(column, (*shape[: axis + 1], wanted // size, *shape[axis + 1 :]))
            y = b.reshape(repeated, (*shape[:axis], wanted, *shape[axis + 1 :]))
        else:
            y = take(b, y, axis, nearest.tolist())
    return y


def _scales(b: Lowering) -> list[float]:
    """Of each axis, from ``scales``, or from ``sizes`` by the policy."""
    shape, scales, sizes, axes = shape_of(b.x), b.node.constant(2), b.node.constant(3), b.node.get("axes")
    axes = [axis % len(shape) for axis in axes] if axes else list(range(len(shape)))
    found = [1.0] * len(shape)
    if sizes is None or not sizes.size:
        assert scales is not None
        given = [float(scale) for scale in scales]
    else:
        given = [int(size) / shape[axis] for axis, size in zip(axes, sizes, strict=True)]
        policy = b.node.get("keep_aspect_ratio_policy")
        if policy != "stretch":
            given = [min(given) if policy == "not_larger" else max(given)] * len(given)
    for axis, scale in zip(axes, given, strict=True):
        found[axis] = scale
    return found


def _nearest(b: Lowering, at: Array, size: int, wanted: int, scale: float) -> Array:
    """The input's entry for each position ``at`` of the output."""
    match b.node.get("coordinate_transformation_mode"):
        case "asymmetric":
            source = at / scale
        case "align_corners":
            source = at * (size - 1) / (wanted - 1) if wanted > 1 else at * 0
        case "pytorch_half_pixel" if wanted == 1:
            source = at * 0 - 0.5
        case "half_pixel_symmetric":
            source = size / 2 * (1 - wanted / (size * scale)) + (at + 0.5) / scale - 0.5
        case _:
            source = (at + 0.5) / scale - 0.5
    match b.node.get("nearest_mode"):
        case "round_prefer_floor":
            entry = np.ceil(source - 0.5)
        case "round_prefer_ceil":
            entry = np.floor(source + 0.5)
        case "floor":
            entry = np.floor(source)
        case _:
            entry = np.ceil(source)
    return np.clip(entry, 0, size - 1).astype(np.int64)
