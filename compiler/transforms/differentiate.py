"""``differentiate``: adds to a train graph what computes its gradients."""

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, TensorType
from xdsl.ir import SSAValue
from xdsl.passes import ModulePass

from compiler.autodiff.builder import Builder
from compiler.autodiff.reverse import backward, is_float
from compiler.dialects.train import GraphOp, LeafOp, MapOp, OutputOp, element_of, shape_of
from compiler.transforms.add_loss import is_loss
from isa.errors import UserError


@dataclass(frozen=True)
class Differentiate(ModulePass):
    """Gradients of every floating-point weight of rank 1 or more that is not frozen, and of the inputs named in ``input-grads``.

    The gradient of each floating-point output ``y`` comes from outside as the input ``grad/y``; if a loss was added, it alone is
    differentiated.  Each result is an output ``grad/<name>``; zero where the output does not depend on the leaf.
    """

    name = "differentiate"
    input_grads: tuple[str, ...] = ()

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for graph in op.body.block.ops:
            if isinstance(graph, GraphOp):
                _differentiate(graph, self.input_grads)


def _differentiate(graph: GraphOp, input_grads: tuple[str, ...]) -> None:
    block = graph.body.block
    leaves = [op for op in block.ops if isinstance(op, LeafOp)]
    wanted = _inputs(leaves, input_grads)
    seeds = _seeds(graph)
    targets = {}
    for leaf in leaves:
        trained = leaf.kind.data == "param" and is_float(leaf.result) and shape_of(leaf.result)
        if (trained and "frozen" not in leaf.attributes) or leaf.leaf.data in wanted:
            targets[leaf.leaf.data] = leaf.result
    found = backward(graph, seeds, list(targets.values()))
    for name, value in targets.items():
        block.add_op(OutputOp("grad", f"grad/{name}", found[value]))
    _drop_stop_gradients(graph)


def _inputs(leaves: list[LeafOp], names: tuple[str, ...]) -> set[str]:
    """The inputs asked for; all that are no floating-point inputs are told at once."""
    inputs = [leaf.leaf.data for leaf in leaves if leaf.kind.data == "input" and is_float(leaf.result)]
    unknown = [f"{name!r}" for name in names if name not in inputs]
    if unknown:
        there = ", ".join(inputs) or "none"
        raise UserError("input-grads", f"no floating-point input is named {', '.join(unknown)}; the model's are: {there}")
    return set(names)


def _seeds(graph: GraphOp) -> dict[SSAValue, SSAValue]:
    """The gradient each output starts from: 1 for an added loss, else an input ``grad/<output>`` per output that passes one on."""
    block = graph.body.block
    outputs = [op for op in block.ops if isinstance(op, OutputOp) and op.kind.data == "output" and _passes_gradient(op.input)]
    losses = [output for output in outputs if is_loss(output)]
    seeds: dict[SSAValue, SSAValue] = {}
    for output in losses or outputs:
        value, b = output.input, Builder(block, "loss")
        if losses:
            seed = b.constant(element_of(value), 1.0)
        else:
            leaf = LeafOp("input", f"grad/{output.target.data}", TensorType(element_of(value), shape_of(value)))
            block.add_op(leaf)
            seed = leaf.result
        # One value may leave under two names.
        seeds[value] = b.map("add", seeds[value], seed) if value in seeds else seed
    return seeds


def _passes_gradient(value: SSAValue) -> bool:
    """Whether a gradient of this output could matter; none of a running statistic does."""
    return is_float(value) and not (isinstance(value.owner, MapOp) and "stop_gradient" in value.owner.attributes)


def _drop_stop_gradients(graph: GraphOp) -> None:
    """The marks have done their work; the copies that carried them need not be executed."""
    for op in list(graph.body.block.ops):
        if isinstance(op, MapOp) and "stop_gradient" in op.attributes and op.inputs[0].type == op.result.type:
            op.result.replace_all_uses_with(op.inputs[0])
            graph.body.block.erase_op(op)
