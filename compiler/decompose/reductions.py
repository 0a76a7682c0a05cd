"""Sums, means, and the softmax family."""

import math

from xdsl.ir import SSAValue

from compiler.decompose.table import Lowering, decomposes
from compiler.dialects.train import shape_of


@decomposes("ReduceSum", "ReduceMean")
def reduce(b: Lowering) -> SSAValue:
    shape, given = shape_of(b.x), b.node.constant(1)
    if given is None or given.size == 0:
        if b.node.get("noop_with_empty_axes"):
            return b.x
        axes = list(range(len(shape)))
    else:
        axes = sorted(int(axis) % len(shape) for axis in given)
    y = b.reduce("sum", b.x, axes)
    if b.node.operator.name == "ReduceMean":
        count = math.prod(shape[axis] for axis in axes)
        y = b.map("div", y, b.scalar(count))
    return b.reshape(y, b.shape)


@decomposes("Softmax")
def softmax(b: Lowering) -> SSAValue:
    axis = b.node.get("axis") % len(b.shape)
    powers = b.map("exp", shifted(b, b.x, axis))
    return b.map("div", powers, b.reduce("sum", powers, [axis]))


@decomposes("LogSoftmax")
def log_softmax(b: Lowering) -> SSAValue:
    return log_probabilities(b, b.x, b.node.get("axis") % len(b.shape))


def shifted(b: Lowering, x: SSAValue, axis: int) -> SSAValue:
    """The scores less the largest of them: no power overflows.

    The shift cancels in softmax and log-softmax, and so does its gradient: the maximum counts as a constant.
    """
    return b.map("sub", x, b.without_gradient(b.reduce("max", x, [axis])))


def log_probabilities(b: Lowering, scores: SSAValue, axis: int) -> SSAValue:
    """Log-softmax of the scores along an axis."""
    z = shifted(b, scores, axis)
    return b.map("sub", z, b.map("log", b.reduce("sum", b.map("exp", z), [axis])))
