"""``add-loss``: adds a loss, its labels input and its output ``loss``, the mean over the batch."""

from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, TensorType, UnitAttr, f32, i32
from xdsl.ir import Operation, SSAValue
from xdsl.passes import ModulePass

from compiler.autodiff.builder import Builder
from compiler.autodiff.reverse import is_float
from compiler.dialects.train import GraphOp, LeafOp, MapOp, OutputOp, ReduceOp, ReshapeOp, element_of, shape_of, to_ints
from isa.errors import UserError

KINDS = ("softmax-cross-entropy", "mse")
LABELS, LOSS = "labels", "loss"


def is_loss(output: OutputOp) -> bool:
    """Whether this output is the loss that ``add-loss`` added."""
    return "loss" in output.attributes


@dataclass(frozen=True)
class AddLoss(ModulePass):
    """Adds a loss of the model's one floating-point output.

    ``softmax-cross-entropy``: the output, of shape [B, C] or [B, C, 1, …], is taken as logits; ``labels`` [B] are class numbers.
    ``mse``: the mean squared difference of the output and ``labels`` of its shape.

    A model that ends in Softmax is trained on what goes into the Softmax: the loss brings its own.
    """

    name = "add-loss"
    kind: str = KINDS[0]

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        if self.kind not in KINDS:
            raise UserError("loss", f"{self.kind!r} is none of {', '.join(KINDS)}")
        for graph in op.body.block.ops:
            if isinstance(graph, GraphOp):
                _add_loss(graph, self.kind)


def _add_loss(graph: GraphOp, kind: str) -> None:
    block = graph.body.block
    prediction = _prediction(graph)
    b = Builder(block, "loss", "loss")
    loss = _cross_entropy(b, prediction) if kind == KINDS[0] else _squared_error(b, prediction)
    output = OutputOp("output", LOSS, loss)
    output.attributes["loss"] = UnitAttr()
    block.add_op(output)


def _prediction(graph: GraphOp) -> SSAValue:
    """The one output the loss is of."""
    ops = list(graph.body.block.ops)
    outputs = [op for op in ops if isinstance(op, OutputOp) and op.kind.data == "output" and is_float(op.input)]
    names = [op.target.data for op in outputs]
    if len(outputs) != 1:
        raise UserError("loss", f"a loss is added to a model with one floating-point output; this one has {', '.join(names) or 'none'}")
    taken = {op.leaf.data for op in ops if isinstance(op, LeafOp)} & {LABELS} | set(names) & {LOSS}
    if taken:
        raise UserError("loss", f"the model already has {' and '.join(sorted(taken))}; rename it, or train without an added loss")
    return outputs[0].input


def _cross_entropy(b: Builder, prediction: SSAValue) -> SSAValue:
    """Mean over b of ln Σ_c e^x[b,c] − x[b, labels[b]], in f32 with the largest logit taken off first."""
    shape = shape_of(prediction)
    if not _is_row(shape):
        raise UserError("loss", f"softmax-cross-entropy needs an output of shape [batch, classes]; the model's is {list(shape)}")
    batch, classes, *_ = shape
    labels = LeafOp("labels", LABELS, TensorType(i32, [batch]), classes)
    b.block.add_op(labels)
    logits = b.reshape(b.cast(_logits(prediction), f32), [batch, classes])
    largest = b.map("copy", b.reduce("max", logits, [1]))
    assert isinstance(largest.owner, Operation)
    largest.owner.attributes["stop_gradient"] = UnitAttr()
    shifted = b.map("sub", logits, largest)
    norm = b.map("log", b.reduce("sum", b.map("exp", shifted), [1]))
    label = b.reshape(b.cast(labels.result, f32), [batch, 1])
    one_hot = b.map("eq", label, b.constant(f32, [float(c) for c in range(classes)], [1, classes]))
    chosen = b.reduce("sum", b.map("mul", shifted, one_hot), [1])
    return _mean(b, b.map("sub", norm, chosen))


def _is_row(shape: Sequence[int]) -> bool:
    """Whether a tensor holds numbers for each sample's classes, and for nothing else."""
    return len(shape) >= 2 and all(n == 1 for n in shape[2:])


def _logits(prediction: SSAValue) -> SSAValue:
    """What the exponentials of a final Softmax are of (softmax does not see a shift of it), or else the prediction itself."""
    if isinstance(prediction.owner, ReshapeOp):
        flat = prediction.owner.input
        if _is_row(shape_of(flat)) and shape_of(flat)[:2] == shape_of(prediction)[:2]:
            return _logits(flat)
    match prediction.owner:
        case MapOp(fn=fn, inputs=[exp, total]) if fn.data == "div":
            if (
                isinstance(total.owner, ReduceOp)
                and (total.owner.fn.data, to_ints(total.owner.axes), total.owner.input) == ("sum", (1,), exp)
                and isinstance(exp.owner, MapOp)
                and exp.owner.fn.data == "exp"
            ):
                return exp.owner.inputs[0]
    return prediction


def _squared_error(b: Builder, prediction: SSAValue) -> SSAValue:
    labels = LeafOp("input", LABELS, TensorType(element_of(prediction), shape_of(prediction)))
    b.block.add_op(labels)
    difference = b.map("sub", prediction, labels.result)
    return _mean(b, b.map("mul", difference, difference))


def _mean(b: Builder, x: SSAValue) -> SSAValue:
    """The mean of all entries, a scalar."""
    shape = shape_of(x)
    count = 1
    for n in shape:
        count *= n
    return b.map("div", b.reshape(b.reduce("sum", x, range(len(shape))), ()), float(count))
