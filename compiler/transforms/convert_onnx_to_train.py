"""``convert-onnx-to-train``: every ONNX operator into ``train`` primitives, by the table of ``compiler/decompose``."""

from dataclasses import dataclass

import numpy as np
from xdsl.context import Context
from xdsl.dialects.builtin import IntegerType, ModuleOp, TensorType, UnitAttr, i32
from xdsl.ir import Block, Operation, SSAValue, Use
from xdsl.passes import ModulePass
from xdsl.rewriter import Rewriter

from compiler.decompose import DECOMPOSITIONS, Lowering
from compiler.dialects import onnx, train
from compiler.dialects.dense import dense, to_array
from compiler.dialects.onnx_row import INTEGERS, Input
from compiler.dialects.train import element_of, shape_of


@dataclass(frozen=True)
class ConvertOnnxToTrain(ModulePass):
    """Replace each ``onnx.graph`` by a ``train.graph`` of the same name.

    Inputs and weights that nothing uses get no leaf; the leaf of a running statistic is ``frozen``: it is not trained.
    Integer inputs are class labels: the losses they reach tell how many classes there are, and which label counts for nothing.
    """

    name = "convert-onnx-to-train"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for graph in [g for g in op.body.block.ops if isinstance(g, onnx.GraphOp)]:
            block = Block()
            values: dict[SSAValue, SSAValue] = {}
            for source in graph.body.block.ops:
                _convert(source, block, values)
            Rewriter.replace_op(graph, train.GraphOp(graph.sym_name.data, block), [])


def _convert(op: Operation, block: Block, values: dict[SSAValue, SSAValue]) -> None:
    """Add to ``block`` what replaces ``op``; ``values`` maps what has been replaced so far."""
    match op:
        case onnx.InputOp() if op.result.first_use is not None:
            results: tuple[SSAValue, ...] = (_add(block, _input(op)),)
        case onnx.ParamOp() if op.result.first_use is not None:
            leaf = train.LeafOp("param", op.tensor.data, op.result.type)
            if all(isinstance(use.operation, onnx.NodeOp) and _slot(use).state for use in op.result.uses):
                leaf.attributes["frozen"] = UnitAttr()
            results = (_add(block, leaf),)
        case onnx.ConstantOp() if _is_computed_with(op):
            array = to_array(op.value)
            results = (_add(block, train.ConstantOp(dense(array.astype(np.int32) if array.dtype == np.int64 else array))),)
        case onnx.OutputOp():
            block.add_op(train.OutputOp("output", op.tensor.data, values[op.input]))
            return
        case onnx.NodeOp():
            decomposition, role = DECOMPOSITIONS[op.operator.name]
            inputs = [values.get(value) for value in op.inputs]
            made = decomposition(Lowering(op, inputs, block, role))
            results = made if isinstance(made, tuple) else (made,)
        case _:
            return
    for old, new in zip(op.results, results, strict=False):
        values[old] = new
        new.name_hint = new.name_hint or old.name_hint


def _add(block: Block, op: Operation) -> SSAValue:
    block.add_op(op)
    return op.results[0]


def _input(op: onnx.InputOp) -> train.LeafOp:
    if not isinstance(element_of(op.result), IntegerType):
        return train.LeafOp("input", op.tensor.data, op.result.type)
    losses = _losses(op.result)
    classes = min(shape_of(loss.inputs[0])[1] for loss in losses)
    ignored = {loss.get("ignore_index") for loss in losses}
    return train.LeafOp(
        "labels", op.tensor.data, TensorType(i32, shape_of(op.result)), classes, ignored.pop() if len(ignored) == 1 else None
    )  # fmt: skip


def _losses(labels: SSAValue) -> list[onnx.NodeOp]:
    """The losses that the labels reach, directly or reshaped."""
    found: list[onnx.NodeOp] = []
    for use in labels.uses:
        assert isinstance(use.operation, onnx.NodeOp)  # integers are no graph outputs
        found += [use.operation] if _slot(use).elements == INTEGERS else _losses(use.operation.outs[0])
    return found


def _is_computed_with(op: onnx.ConstantOp) -> bool:
    """Whether the constant is a value for some operator; others are shapes, axes, exponents, which the decompositions read themselves."""
    return any(not isinstance(use.operation, onnx.NodeOp) or not _slot(use).constant for use in op.result.uses)


def _slot(use: Use) -> Input:
    """What the operator's row says of the input."""
    node = use.operation
    assert isinstance(node, onnx.NodeOp)
    return node.operator.slots(len(node.inputs))[use.index]
