"""Reverse-mode differentiation of a train graph: the sweep over the operations; what each one does is in the table of rules."""

from collections.abc import Mapping, Sequence

from xdsl.dialects.builtin import AnyFloat
from xdsl.ir import SSAValue

from compiler.autodiff.builder import Builder
from compiler.autodiff.rules import Gradient, gradients
from compiler.dialects.train import GraphOp, TrainOp, element_of, shape_of


def is_float(value: SSAValue) -> bool:
    """Whether a tensor has floating-point elements, and so may have a gradient."""
    return isinstance(element_of(value), AnyFloat)


def backward(graph: GraphOp, seeds: Mapping[SSAValue, SSAValue], targets: Sequence[SSAValue]) -> dict[SSAValue, SSAValue]:
    """Appends what computes the gradient of every target.

    ``seeds`` gives the gradient of each output, in its shape.  Only values that lie between a target and a seed get gradients;
    a value used more than once gets the sum over its uses.  A target that no gradient reaches has gradient 0.
    """
    block = graph.body.block
    active = set(targets)
    forward: list[tuple[SSAValue, Builder, list[tuple[SSAValue, Gradient]]]] = []
    for op in block.ops:
        if isinstance(op, TrainOp) and active.intersection(op.operands):
            b = Builder(block, op.layer.data)
            flows = [(x, rule) for x, rule in zip(op.operands, gradients(b, op), strict=True) if rule and x in active]
            if flows:
                forward.append((op.results[0], b, flows))
                active.update(op.results)

    found = {value: g for value, g in seeds.items() if value in active}
    for result, b, flows in reversed(forward):
        if result in found:
            for operand, rule in flows:
                term = rule(found[result])
                found[operand] = b.map("add", found[operand], term) if operand in found else term

    for target in targets:
        if target not in found:
            b = Builder(block, "")
            found[target] = b.broadcast(b.constant(element_of(target), 0.0), shape_of(target))
    return found
