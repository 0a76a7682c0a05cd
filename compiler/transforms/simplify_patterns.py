"""Rewrites of the train level that leave less to do: what ``simplify`` repeats until nothing changes."""

from collections.abc import Callable, Sequence
from math import prod

import numpy as np
from xdsl.ir import SSAValue
from xdsl.pattern_rewriter import PatternRewriter, RewritePattern, op_type_rewrite_pattern

from compiler.autodiff.rules import scalar
from compiler.dialects.dense import dense, numpy_type
from compiler.dialects.train import (
    BroadcastOp,
    ConstantOp,
    MapOp,
    ProductOp,
    ReduceOp,
    ReshapeOp,
    TransposeOp,
    element_of,
    shape_of,
    to_ints,
)
from compiler.schedule.axes import format_axes, parse_axes

NEUTRAL: dict[str, tuple[tuple[int, float], ...]] = {
    "add": ((0, 0.0), (1, 0.0)),
    "sub": ((1, 0.0),),
    "mul": ((0, 1.0), (1, 1.0)),
    "div": ((1, 1.0),),
    "pow": ((1, 1.0),),
}
"""Functions with a neutral element: the operand it may stand at, and the number."""

FOLDED: dict[str, Callable[..., float]] = {
    "neg": lambda a: -a,
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b if b else np.nan,
}
"""Functions computed here when all their operands are known numbers."""


def constant_like(value: SSAValue, number: float, shape: Sequence[int] = ()) -> ConstantOp:
    """A constant of the element type of ``value``, a scalar by default."""
    return ConstantOp(dense(np.full(shape, number, numpy_type(element_of(value)))))


class DropNeutralOperand(RewritePattern):
    """x + 0, x − 0, x · 1, x / 1, x¹ and a copy to the same type are x."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: MapOp, rewriter: PatternRewriter) -> None:
        kept = op.inputs[0] if op.fn.data == "copy" and not op.attributes else None
        for place, number in NEUTRAL.get(op.fn.data, ()):
            if scalar(op.inputs[place]) == number:
                kept = op.inputs[1 - place]
        if kept is not None and kept.type == op.result.type:
            rewriter.replace(op, [], [kept])


class FoldConstants(RewritePattern):
    """A function of scalar constants is a constant."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: MapOp, rewriter: PatternRewriter) -> None:
        if op.fn.data in FOLDED and not shape_of(op.result):
            numbers = [scalar(v) for v in op.inputs]
            if all(n is not None for n in numbers):
                rewriter.replace(op, constant_like(op.result, FOLDED[op.fn.data](*numbers)))


class SinkBroadcast(RewritePattern):
    """f(broadcast x) is computed on x: an elementwise function broadcasts by itself, and what is equal need be computed once.

    Constants with one value throughout become scalars, which are immediates of the vector unit.
    """

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: MapOp, rewriter: PatternRewriter) -> None:
        operands: list[SSAValue] = []
        constants: list[ConstantOp] = []
        for value in op.inputs:
            number = scalar(value)
            if number is not None and shape_of(value):
                constants.append(constant_like(value, number))
                operands.append(constants[-1].result)
            else:
                operands.append(value.owner.input if isinstance(value.owner, BroadcastOp) else value)
        if all(new is old for new, old in zip(operands, op.inputs, strict=True)):
            return
        smaller = MapOp(op.fn.data, operands, op.layer.data, op.role.data, element_of(op.result))
        smaller.attributes |= op.attributes
        if smaller.result.type == op.result.type:
            rewriter.replace(op, [*constants, smaller])
        else:
            whole = BroadcastOp(smaller.result, shape_of(op.result), op.layer.data, op.role.data)
            rewriter.replace(op, [*constants, smaller, whole])


class MergeBroadcasts(RewritePattern):
    """A broadcast to the same shape is nothing; one of a broadcast is one from its start."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: BroadcastOp, rewriter: PatternRewriter) -> None:
        if op.input.type == op.result.type:
            rewriter.replace(op, [], [op.input])
        elif isinstance(op.input.owner, BroadcastOp):
            rewriter.replace(op, BroadcastOp(op.input.owner.input, shape_of(op.result), op.layer.data, op.role.data))


class MergeReshapes(RewritePattern):
    """A reshape to the same shape is nothing; one of a reshape is one from its start; one of a number repeated is that."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: ReshapeOp, rewriter: PatternRewriter) -> None:
        number = scalar(op.input)
        if op.input.type == op.result.type:
            rewriter.replace(op, [], [op.input])
        elif isinstance(op.input.owner, ReshapeOp):
            rewriter.replace(op, ReshapeOp(op.input.owner.input, shape_of(op.result), op.layer.data, op.role.data))
        elif number is not None:
            rewriter.replace(op, constant_like(op.result, number, shape_of(op.result)))
        elif isinstance(op.input.owner, BroadcastOp) and prod(shape_of(op.input.owner.input)) == 1:
            one = ReshapeOp(op.input.owner.input, [1] * len(shape_of(op.result)), op.layer.data, op.role.data)
            rewriter.replace(op, [one, BroadcastOp(one.result, shape_of(op.result), op.layer.data, op.role.data)])


class MergeTransposes(RewritePattern):
    """A transpose that moves only dimensions of size 1 is a reshape; one of a transpose is one from its start."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: TransposeOp, rewriter: PatternRewriter) -> None:
        perm, shape = to_ints(op.perm), shape_of(op.input)
        moved = [p for p in perm if shape[p] != 1]
        if moved == sorted(moved):
            rewriter.replace(op, ReshapeOp(op.input, shape_of(op.result), op.layer.data, op.role.data))
        elif isinstance(op.input.owner, TransposeOp):
            inner = to_ints(op.input.owner.perm)
            rewriter.replace(op, TransposeOp(op.input.owner.input, [inner[p] for p in perm], op.layer.data, op.role.data))


class DropEmptyReduction(RewritePattern):
    """A dimension of size 1 is reduced already."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: ReduceOp, rewriter: PatternRewriter) -> None:
        axes, shape = to_ints(op.axes), shape_of(op.input)
        kept = [axis for axis in axes if shape[axis] != 1]
        if not kept:
            rewriter.replace(op, [], [op.input])
        elif len(kept) < len(axes):
            rewriter.replace(op, ReduceOp(op.fn.data, op.input, kept, op.layer.data, op.role.data))


class TransposeIntoProduct(RewritePattern):
    """A product names its axes as they are stored, so a transposed operand or result is only another order of dimensions.

    The batch axis of a batched product stays in front.
    """

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: ProductOp, rewriter: PatternRewriter) -> None:
        stored = [parse_axes(text) for text in op.stored]
        operands = [op.lhs, op.rhs]
        for i, value in enumerate(operands):
            if isinstance(value.owner, TransposeOp):
                # Dimension i of the transposed tensor is perm[i] of the stored one.
                perm = to_ints(value.owner.perm)
                stored[i] = tuple(stored[i][perm.index(d)] for d in range(len(perm)))
                operands[i] = value.owner.input
        uses = list(op.result.uses)
        after = uses[0].operation if len(uses) == 1 else None
        if isinstance(after, TransposeOp):
            stored[2] = tuple(stored[2][p] for p in to_ints(after.perm))
        lhs, rhs, out = map(format_axes, stored)
        if (lhs, rhs, out) == op.stored or any((("g", 1),) in dimensions[1:] for dimensions in stored):
            return
        whole = after.result if isinstance(after, TransposeOp) else op.result
        product = ProductOp(f"{lhs},{rhs}->{out}", operands[0], operands[1], op.layer.data, op.role.data, shape_of(whole))
        if isinstance(after, TransposeOp):
            rewriter.replace(after, [], [op.result])
        rewriter.replace(op, product)


PATTERNS: tuple[RewritePattern, ...] = (
    DropNeutralOperand(),
    FoldConstants(),
    SinkBroadcast(),
    MergeBroadcasts(),
    MergeReshapes(),
    MergeTransposes(),
    DropEmptyReduction(),
    TransposeIntoProduct(),
)
