"""``widen-groups``: several groups of a depthwise convolution side by side in the array.

A group of one channel has one row of the array for its channel and one column for its result, so that groups come one after the other
with nearly all of the array idle.  m groups are one of m channels whose filters are zero but on the diagonal:

    W[g, 1, taps] → W'[g/m, m, m, taps]        m·m as one dimension: entry i of the diagonal is i·(m+1)

The array then multiplies by those zeros too, and it takes m times fewer beats.  The products' ``macs`` remain those of the graph.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import SSAValue
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import PatternRewriter, PatternRewriteWalker, RewritePattern, op_type_rewrite_pattern

from compiler.dialects.train import PlaceOp, ProductOp, ReshapeOp, SliceOp, shape_of
from compiler.schedule.axes import format_axes, parse_axes
from compiler.schedule.blocks import divisor_below
from isa.machine import Machine, load_machine


@dataclass(frozen=True)
class WidenGroups(ModulePass):
    """Runs ahead of ``convert-train-to-tile``, for the same machine."""

    name = "widen-groups"
    machine: str = ""
    """Path of a machine file; empty: the default machine."""

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        widen(op, load_machine(self.machine) if self.machine else Machine())


def widen(module: ModuleOp, machine: Machine) -> None:
    """The pass, for callers that have a machine rather than its file."""
    PatternRewriteWalker(_Widen(min(machine.rows, machine.cols), {})).rewrite_module(module)


@dataclass(frozen=True)
class _Widen(RewritePattern):
    most: int
    """Groups that the array has room for."""
    widened: dict[SSAValue, SSAValue]
    """Weights that are widened already."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: ProductOp, rewriter: PatternRewriter) -> None:
        sizes, classes = op.class_sizes, op.classes
        lanes = [axis for axis in ("k", "n") if classes.get(axis) == axis and op.sizes[axis] == 1]
        weight = next(name for name in op.tensors if name.endswith("W"))
        together = divisor_below(sizes.get("g", 1), self.most)
        if len(lanes) < 2 or together < 2 or op.tensors[weight][:6] != "(g+n)k":
            return
        layer, role = op.layer.data, op.role.data
        texts = [_widened(text, together) for text in op.stored]
        axes = f"{texts[0]},{texts[1]}->{texts[2]}"
        if weight == "dW":
            shape = shape_of(op.result)
            wide = (shape[0], together, *shape[2:])
            product = ProductOp(axes, op.lhs, op.rhs, layer, role, wide, op.macs)
            rewriter.replace(op, [product, *_diagonal(product.result, shape, together, layer, role)])
            return
        if op.rhs not in self.widened:
            made = _spread(op.rhs, together, layer, role)
            rewriter.insert(made)
            self.widened[op.rhs] = made[-1].results[0]
        rewriter.replace(op, ProductOp(axes, op.lhs, self.widened[op.rhs], layer, role, shape_of(op.result), op.macs))


def _widened(text: str, together: int) -> str:
    """Axes of a tensor with as many channels to a group."""
    dimensions = [tuple((axis, together if axis == "g" else factor) for axis, factor in terms) for terms in parse_axes(text)]
    return format_axes(dimensions)


def _spread(weight: SSAValue, together: int, layer: str, role: str) -> list[ReshapeOp | PlaceOp]:
    """W on the diagonals of W'."""
    groups, _, *taps = shape_of(weight)
    blocks = ReshapeOp(weight, (groups // together, together, *taps), layer, role)
    still = [1] * len(taps)
    placed = PlaceOp(
        blocks.result, [0] * (2 + len(taps)), [1, together + 1, *still], (groups // together, together**2, *taps), 0.0, layer, role
    )  # fmt: skip
    return [blocks, placed, ReshapeOp(placed.result, (groups, together, *taps), layer, role)]


def _diagonal(gradient: SSAValue, shape: Sequence[int], together: int, layer: str, role: str) -> list[ReshapeOp | SliceOp]:
    """The gradient of W from that of W'."""
    groups, _, *taps = shape
    square = ReshapeOp(gradient, (groups // together, together**2, *taps), layer, role)
    still = [1] * len(taps)
    cut = SliceOp(square.result, [0] * (2 + len(taps)), (groups // together, together, *taps), [1, together + 1, *still], layer, role)
    return [square, cut, ReshapeOp(cut.result, shape, layer, role)]
