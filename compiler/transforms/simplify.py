"""``simplify``: common subexpressions, dead code and the small rewrites of the train level."""

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import GreedyRewritePatternApplier, PatternRewriteWalker
from xdsl.traits import Pure
from xdsl.transforms.dead_code_elimination import dce

from compiler.dialects.train import GraphOp
from compiler.transforms.simplify_patterns import PATTERNS
from compiler.transforms.simplify_regions import REGION_PATTERNS


@dataclass(frozen=True)
class Simplify(ModulePass):
    """Useful before ``differentiate``, since what is merged then is differentiated once, and after it."""

    name = "simplify"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        PatternRewriteWalker(GreedyRewritePatternApplier([*PATTERNS, *REGION_PATTERNS])).rewrite_module(op)
        for graph in op.body.block.ops:
            if isinstance(graph, GraphOp):
                merge_common(graph)
        dce(op)


def merge_common(graph: GraphOp) -> None:
    """Operations that compute the same from the same become the first of them, and belong to its layer.

    xDSL's own pass compares all properties, and so would keep what differs only in where it comes from.
    """
    block = graph.body.block
    first: dict[object, Operation] = {}
    for op in list(block.ops):
        if not op.has_trait(Pure):
            continue
        what = frozenset((name, value) for name, value in op.properties.items() if name not in ("layer", "role"))
        known = first.setdefault((op.name, tuple(op.operands), what, frozenset(op.attributes.items()), tuple(op.result_types)), op)
        if known is not op:
            for old, new in zip(op.results, known.results, strict=True):
                old.replace_all_uses_with(new)
            block.erase_op(op)
