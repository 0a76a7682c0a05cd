"""What goes into the kinked operators of a network as the emulated machine has it: outputs of the program besides the usual ones."""

import onnx

from compiler.dialects.train import LeafOp, MapOp, OutputOp, PlaceOp, PoolOp
from compiler.driver import TrainingStep

PREFIX = "visited/"


def watch(step: TrainingStep, model: onnx.ModelProto) -> None:
    """Make the inputs of each Relu and MaxPool outputs of the step, as ``visited/<name in the model>``."""
    nodes = {node.name or f"n{i}": node for i, node in enumerate(model.graph.node)}
    for op in list(step.module.walk()):
        kinked = (isinstance(op, MapOp) and op.fn.data == "relu") or (isinstance(op, PoolOp) and op.fn.data == "max")
        if not kinked or op.role.data != "fwd":
            continue
        value, node = op.operands[0], nodes[op.layer.data]
        assert node.op_type in ("Relu", "MaxPool")
        if isinstance(value.owner, PlaceOp):  # padding
            value = value.owner.input
        if not isinstance(value.owner, LeafOp):
            block = op.parent
            assert block is not None
            block.add_op(OutputOp("output", PREFIX + node.input[0], value))
