"""Rewrites of slices, placing and concatenation that leave less to move: part of what ``simplify`` repeats until nothing changes."""

from xdsl.ir import Operation
from xdsl.pattern_rewriter import PatternRewriter, RewritePattern, op_type_rewrite_pattern

from compiler.dialects.train import ConcatOp, PlaceOp, SliceOp, shape_of, to_ints


def _nested(starts: tuple[int, ...], steps: tuple[int, ...], inner: SliceOp | PlaceOp) -> tuple[list[int], list[int]]:
    """Starts and steps in the whole of a region that lies in another, which has ``starts`` and ``steps`` in the whole."""
    first, by = to_ints(inner.starts), to_ints(inner.steps)
    return [s + step * f for s, step, f in zip(starts, steps, first, strict=True)], [a * b for a, b in zip(steps, by, strict=True)]


class DropWholeRegion(RewritePattern):
    """A slice of all of a tensor is the tensor, and so is one that is placed over all of the result."""

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        if isinstance(op, SliceOp | PlaceOp) and op.input.type == op.result.type and all(step > 0 for step in to_ints(op.steps)):
            rewriter.replace(op, [], [op.input])


class MergeSlices(RewritePattern):
    """A slice of a slice is one of the whole."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: SliceOp, rewriter: PatternRewriter) -> None:
        outer = op.input.owner
        if isinstance(outer, SliceOp):
            starts, steps = _nested(to_ints(outer.starts), to_ints(outer.steps), op)
            rewriter.replace(op, SliceOp(outer.input, starts, shape_of(op.result), steps, op.layer.data, op.role.data))


class MergePlaces(RewritePattern):
    """What is placed in a tensor that is placed among the same values is placed once."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: PlaceOp, rewriter: PatternRewriter) -> None:
        inner = op.input.owner
        if isinstance(inner, PlaceOp) and inner.value == op.value:
            starts, steps = _nested(to_ints(op.starts), to_ints(op.steps), inner)
            value = op.value.value.data
            rewriter.replace(op, PlaceOp(inner.input, starts, steps, shape_of(op.result), value, op.layer.data, op.role.data))


class SliceOfPlaced(RewritePattern):
    """Slicing out exactly what was placed gives it back."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: SliceOp, rewriter: PatternRewriter) -> None:
        placed = op.input.owner
        if not isinstance(placed, PlaceOp) or placed.input.type != op.result.type:
            return
        lists = zip(to_ints(op.starts), to_ints(placed.starts), to_ints(op.steps), to_ints(placed.steps), shape_of(op.result), strict=True)
        if all(a == b and (s == t or n == 1) for a, b, s, t, n in lists):
            rewriter.replace(op, [], [placed.input])


class SliceOfPart(RewritePattern):
    """A slice of a concatenation that lies within one of its parts is a slice of that part: splitting undoes concatenation."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: SliceOp, rewriter: PatternRewriter) -> None:
        whole = op.input.owner
        if not isinstance(whole, ConcatOp):
            return
        axis, starts, steps, sizes = whole.axis.value.data, list(to_ints(op.starts)), to_ints(op.steps), shape_of(op.result)
        last = starts[axis] + steps[axis] * (sizes[axis] - 1)
        begin = 0
        for part in whole.inputs:
            end = begin + shape_of(part)[axis]
            if begin <= min(starts[axis], last) and max(starts[axis], last) < end:
                starts[axis] -= begin
                rewriter.replace(op, SliceOp(part, starts, sizes, steps, op.layer.data, op.role.data))
                return
            begin = end


class DropConcatOfOne(RewritePattern):
    """One tensor after none is itself; empty ones count as none."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: ConcatOp, rewriter: PatternRewriter) -> None:
        axis = op.axis.value.data
        parts = [part for part in op.inputs if shape_of(part)[axis]]
        if len(parts) == 1:
            rewriter.replace(op, [], parts)
        elif parts and len(parts) < len(op.inputs):
            rewriter.replace(op, ConcatOp(parts, axis, op.layer.data, op.role.data))


REGION_PATTERNS: tuple[RewritePattern, ...] = (
    DropWholeRegion(),
    MergeSlices(),
    MergePlaces(),
    SliceOfPlaced(),
    SliceOfPart(),
    DropConcatOfOne(),
)
