"""Gradients of strided slices, written where they belong: part of ``convert-train-to-tile``.

A convolution of one tap reads every s-th pixel, so that its X is a slice.  The gradient of that is dX with zeros between its pixels:

    dX' = dY·Wᵀ;  dX = dX' placed by s        →        dX = dY·Wᵀ at (2y)(2x), the rest zeros

Written at once, it needs no pass of its own.  That takes a dataflow whose pixels stream: another has them on the array's lanes, whose
accumulators leave side by side.
"""

from xdsl.ir import SSAValue

from compiler.dialects.train import GraphOp, PlaceOp, ProductOp, shape_of, to_ints
from compiler.schedule.axes import Expression, format_axes, parse_axes
from compiler.transforms.tile_graph import GraphView


def spread_results(graph: GraphOp, view: GraphView) -> None:
    """Rewrite all that can be; ``view`` knows the schedule, and need not have analysed the graph."""
    for op in list(graph.body.block.ops):
        if not isinstance(op, PlaceOp) or op.value.value.data != 0 or any(to_ints(op.starts)):
            continue
        product = _only_used_here(op.input)
        if product is None or view.scheduled(product).time != "b":
            continue
        lhs, rhs, result = product.stored
        axes = _spread(result, op)
        if axes is None:
            continue
        layer, role = product.layer.data, product.role.data
        made = ProductOp(f"{lhs},{rhs}->{axes}", product.lhs, product.rhs, layer, role, shape_of(op.result), product.macs)
        graph.body.block.insert_op_before(made, product)
        op.result.replace_all_uses_with(made.result)
        graph.body.block.erase_op(op)
        graph.body.block.erase_op(product)


def _only_used_here(value: SSAValue) -> ProductOp | None:
    """The dX that is needed for nothing else."""
    uses = list(value.uses)
    return value.owner if isinstance(value.owner, ProductOp) and value.owner.role.data == "dx" and len(uses) == 1 else None


def _spread(axes: str, place: PlaceOp) -> str | None:
    """The axes in the larger tensor; None where a dimension only grows at its end, or has more than one axis."""
    dimensions: list[Expression] = []
    sizes = zip(shape_of(place.input), shape_of(place.result), to_ints(place.steps), strict=True)
    for terms, (part, whole, step) in zip(parse_axes(axes), sizes, strict=True):
        if part != whole and (step == 1 or len(terms) > 1):
            return None
        dimensions.append(tuple((axis, factor * step) for axis, factor in terms) if part != whole else terms)
    return format_axes(dimensions)
