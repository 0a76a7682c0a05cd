"""``pack-taps``: use more of the array's rows where a convolution has few input channels.

The rows hold input channels, so a first layer of 3 channels would use 3 of them.  With the channels of a pixel side by side, the taps of
one filter row are one run of words, and the run lies on the rows instead: 7 taps of 3 channels use 21.  The input and the weight are
rearranged on the vector unit.  Only where no gradient of the input is needed: taps of neighbouring pixels overlap in it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import SSAValue
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import (
    GreedyRewritePatternApplier,
    PatternRewriter,
    PatternRewriteWalker,
    RewritePattern,
    op_type_rewrite_pattern,
)

from compiler.dialects.train import LeafOp, PlaceOp, ProductOp, ReshapeOp, TransposeOp, shape_of
from compiler.schedule.axes import format_axes, parse_axes

FEW = 8
"""Channels below which taps are packed."""


@dataclass(frozen=True)
class PackTaps(ModulePass):
    """Runs before ``differentiate``, whose gradients then follow the packed product."""

    name = "pack-taps"
    input_grads: tuple[str, ...] = field(default=())
    """Inputs whose gradients are wanted."""

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        PatternRewriteWalker(GreedyRewritePatternApplier([_Pack(self.input_grads)])).rewrite_module(op)


@dataclass(frozen=True)
class _Pack(RewritePattern):
    input_grads: Sequence[str]

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: ProductOp, rewriter: PatternRewriter) -> None:
        x = parse_axes(op.stored[0])
        if op.role.data != "fwd" or len(x) != 4 or op.stored[1:] != ("nkrs", "bnyx") or not self.is_data(op.lhs):
            return
        rows, cols = dict(x[2]), dict(x[3])
        batch, channels, height, width = shape_of(op.lhs)
        taps = shape_of(op.rhs)[3]
        if x[:2] != ((("b", 1),), (("k", 1),)) or channels >= FEW or taps == 1 or set(rows) != {"y", "r"} or cols.get("s") != 1:
            return
        layer, role = op.layer.data, op.role.data
        image = TransposeOp(op.lhs, (0, 2, 3, 1), layer, role)
        line = ReshapeOp(image.result, (batch, height, width * channels), layer, role)
        filters = TransposeOp(op.rhs, (0, 2, 3, 1), layer, role)
        outputs, _, filter_rows, _ = shape_of(op.rhs)
        run = ReshapeOp(filters.result, (outputs, filter_rows, taps * channels), layer, role)
        of_x = format_axes((x[0], x[2], (("x", cols["x"] * channels), ("k", 1))))
        product = ProductOp(f"{of_x},nrk->bnyx", line.result, run.result, layer, role, shape_of(op.result))
        rewriter.replace(op, [image, line, filters, run, product])

    def is_data(self, value: SSAValue) -> bool:
        """Whether the value is an input, perhaps padded, that needs no gradient."""
        while isinstance(value.owner, PlaceOp):
            value = value.owner.input
        leaf = value.owner
        return isinstance(leaf, LeafOp) and leaf.kind.data == "input" and leaf.leaf.data not in self.input_grads
