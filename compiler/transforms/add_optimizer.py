"""``add-optimizer``: one step of gradient descent for every weight that has a gradient."""

from dataclasses import dataclass

import numpy as np
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, TensorType
from xdsl.ir import SSAValue
from xdsl.passes import ModulePass

from compiler.autodiff.optimizer import Sgd
from compiler.dialects.train import GraphOp, LeafOp, OutputOp, UpdateOp, shape_of
from isa.errors import UserError

VELOCITY = "velocity/"


@dataclass(frozen=True)
class AddOptimizer(ModulePass):
    """Runs after ``differentiate``: ``param/<name>`` is the updated weight.

    Momentum adds per weight a parameter ``velocity/<name>`` and its next value ``param/velocity/<name>``.
    """

    name = "add-optimizer"
    lr: float = Sgd.lr
    momentum: float = Sgd.momentum
    weight_decay: float = Sgd.weight_decay

    @classmethod
    def of(cls, sgd: Sgd) -> "AddOptimizer":
        """The pass for a parsed optimizer."""
        return cls(sgd.lr, sgd.momentum, sgd.weight_decay)

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        sgd = Sgd(float(self.lr), float(self.momentum), float(self.weight_decay))
        for graph in op.body.block.ops:
            if isinstance(graph, GraphOp):
                _add_updates(graph, sgd)


def _add_updates(graph: GraphOp, sgd: Sgd) -> None:
    block = graph.body.block
    params = {op.leaf.data: op.result for op in block.ops if isinstance(op, LeafOp) and op.kind.data == "param"}
    found = {op.target.data.removeprefix("grad/"): op.input for op in block.ops if isinstance(op, OutputOp) and op.kind.data == "grad"}
    trained = [name for name in params if name in found]
    if not trained:
        raise UserError("optimizer", "the model has no weight with a gradient, so nothing to train")
    for name in trained:
        inputs: list[SSAValue] = [params[name], found[name]]
        names = [name]
        if sgd.momentum:
            type_ = inputs[0].type
            assert isinstance(type_, TensorType)
            velocity = LeafOp("param", VELOCITY + name, type_)
            block.add_op(velocity)
            inputs.append(velocity.result)
            names.append(VELOCITY + name)
        update = UpdateOp(inputs, "sgd", sgd.lr, sgd.momentum, sgd.weight_decay)
        block.add_op(update)
        for target, value in zip(names, update.outs, strict=True):
            block.add_op(OutputOp("param", f"param/{target}", value))


def initial_velocities(module: ModuleOp) -> dict[str, np.ndarray]:
    """Zeros for every velocity the optimizer added, by leaf name: what stands beside the model's weights before the first step."""
    leaves = [op for op in module.walk() if isinstance(op, LeafOp) and op.leaf.data.startswith(VELOCITY)]
    return {op.leaf.data: np.zeros(shape_of(op.result), np.float32) for op in leaves}
