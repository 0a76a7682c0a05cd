"""Losses over class labels.

Labels become one-hot rows by comparison with the class numbers.  A label equal to ``ignore_index`` must count nothing: where that
is a class, the class gets weight 0; where it is none (−1, say), the row is all zero anyway.
"""

import math

import numpy as np
from xdsl.dialects.builtin import f32
from xdsl.ir import SSAValue

from compiler.decompose.reductions import log_probabilities
from compiler.decompose.table import Lowering, decomposes
from compiler.dialects.train import shape_of


@decomposes("SoftmaxCrossEntropyLoss", role="loss")
def softmax_cross_entropy(b: Lowering) -> tuple[SSAValue, SSAValue]:
    """The loss, and the log-probabilities it is made of."""
    log_prob = log_probabilities(b, b.x, 1)
    return _likelihood(b, log_prob), log_prob


@decomposes("NegativeLogLikelihoodLoss", role="loss")
def negative_log_likelihood(b: Lowering) -> SSAValue:
    return _likelihood(b, b.x)


def _likelihood(b: Lowering, log_prob: SSAValue) -> SSAValue:
    """−log p of each labelled class, weighted and reduced; ``log_prob`` is [N, C, d1, …], labels [N, d1, …]."""
    labels, weights = b.input(1), b.optional(2)
    reduction, ignored = b.node.get("reduction"), b.node.get("ignore_index")
    batch, classes, *rest = shape_of(log_prob)
    by_class = (1, classes, *(1 for _ in rest))

    numbers = b.constant(np.arange(classes, dtype=np.int32).reshape(by_class))
    chosen = b.map("eq", b.reshape(labels, (batch, 1, *rest)), numbers, element=f32)
    if ignored is not None and 0 <= ignored < classes:
        counts = (np.arange(classes) != ignored).astype(np.float32).reshape(by_class)
        chosen = b.map("mul", chosen, b.constant(counts))
    if weights is not None:
        chosen = b.map("mul", chosen, b.reshape(weights, by_class))

    losses = b.map("neg", b.reduce("sum", b.map("mul", chosen, log_prob), [1]))
    if reduction == "none":
        return b.reshape(losses, (batch, *rest))
    everything = range(2 + len(rest))
    total = b.reduce("sum", losses, everything)
    if reduction == "mean":
        all_count_one = weights is None and ignored is None
        count = b.scalar(math.prod((batch, *rest))) if all_count_one else b.reduce("sum", chosen, everything)
        total = b.map("div", total, count)
    return b.reshape(total, ())
