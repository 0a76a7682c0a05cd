"""Normalisation: statistics given, or taken over some axes with gradients through them."""

from collections.abc import Sequence
from math import prod

from xdsl.ir import SSAValue

from compiler.decompose.table import Lowering, decomposes
from compiler.dialects.train import shape_of


@decomposes("BatchNormalization")
def batch_normalization(b: Lowering) -> SSAValue | tuple[SSAValue, ...]:
    """By the running statistics: one multiplication and addition per entry.

    In training mode by those of the batch, which also move the running ones; these moves pass no gradient.
    """
    scale, bias = (b.by_channel(b.input(index), len(b.shape)) for index in (1, 2))
    if not b.node.get("training_mode"):
        mean, variance = (b.by_channel(b.input(index), len(b.shape)) for index in (3, 4))
        factor = b.map("mul", scale, _inverse_deviation(b, variance))
        return b.map("fma", b.x, factor, b.map("sub", bias, b.map("mul", mean, factor)))
    centred, mean, variance = _statistics(b, [axis for axis in range(len(b.shape)) if axis != 1])
    y = b.map("fma", centred, b.map("mul", scale, _inverse_deviation(b, variance)), bias)
    moved = [_moved(b, b.input(index), value) for index, value in ((3, mean), (4, variance))[: len(b.node.outs) - 1]]
    return (y, *moved)


def _moved(b: Lowering, running: SSAValue, current: SSAValue) -> SSAValue:
    """``momentum`` parts of the running statistic, the rest of the batch's."""
    momentum = b.node.get("momentum")
    new = b.map("mul", b.reshape(current, shape_of(running)), b.scalar(1 - momentum))
    return b.without_gradient(b.map("fma", running, b.scalar(momentum), new))


@decomposes("InstanceNormalization")
def instance_normalization(b: Lowering) -> SSAValue:
    centred, _, variance = _statistics(b, range(2, len(b.shape)))
    scale, bias = (b.by_channel(b.input(index), len(b.shape)) for index in (1, 2))
    return b.map("fma", centred, b.map("mul", scale, _inverse_deviation(b, variance)), bias)


@decomposes("LayerNormalization")
def layer_normalization(b: Lowering) -> tuple[SSAValue, ...]:
    """Over all axes from ``axis`` on; also hands out the mean and the inverse deviation."""
    centred, mean, variance = _statistics(b, range(b.node.get("axis") % len(b.shape), len(b.shape)))
    inverse, bias = _inverse_deviation(b, variance), b.optional(2)
    y = b.map("mul", b.map("mul", centred, inverse), b.input(1))
    return (y if bias is None else b.map("add", y, bias), mean, inverse)[: len(b.node.outs)]


def _statistics(b: Lowering, axes: Sequence[int]) -> tuple[SSAValue, SSAValue, SSAValue]:
    """x − mean, the mean, and the variance over ``axes``."""
    count = b.scalar(prod(shape_of(b.x)[axis] for axis in axes))
    mean = b.map("div", b.reduce("sum", b.x, axes), count)
    centred = b.map("sub", b.x, mean)
    return centred, mean, b.map("div", b.reduce("sum", b.map("mul", centred, centred), axes), count)


def _inverse_deviation(b: Lowering, variance: SSAValue) -> SSAValue:
    return b.map("reciprocal", b.map("sqrt", b.map("add", variance, b.scalar(b.node.get("epsilon")))))
