"""The ``train`` dialect: the training step over a small set of primitives.

ONNX operators are decomposed into these on the way in, so the gradient table and the lowering to tiles know only primitives: elementwise
maps and reductions (the vector unit's own functions), shape operations, products and convolutions over named axes, pooling, and optimiser
updates.
A graph is one block; values are ranked tensors of static shape; weights are named, their values stay outside the IR.

Every operation says where it comes from: ``layer`` (ONNX node name) and ``role`` (fwd, grad, dx, dw, loss, update).
"""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from xdsl.dialects.builtin import (
    I64,
    ArrayAttr,
    DenseIntOrFPElementsAttr,
    Float64Type,
    FloatAttr,
    IntegerAttr,
    StringAttr,
    SymbolNameConstraint,
    TensorType,
    f64,
)
from xdsl.ir import Attribute, Block, Dialect, Region, SSAValue
from xdsl.irdl import (
    AnyAttr,
    BaseAttr,
    IRDLOperation,
    ParamAttrConstraint,
    VarConstraint,
    irdl_op_definition,
    operand_def,
    opt_prop_def,
    prop_def,
    region_def,
    result_def,
    traits_def,
    var_operand_def,
    var_result_def,
)
from xdsl.traits import NoTerminator, Pure
from xdsl.utils.exceptions import VerifyException

from compiler.dialects.integers import integer
from compiler.dialects.train_base import LEAF_KINDS, OUTPUT_KINDS, Tensor, TrainOp, element_of, ints, shape_of, to_ints
from compiler.dialects.train_products import PoolGradOp, PoolOp, ProductOp
from compiler.dialects.train_shapes import BroadcastOp, ConcatOp, PlaceOp, ReshapeOp, SliceOp, TransposeOp
from isa.vector import FUNCTIONS, REDUCTIONS

__all__ = [
    "BroadcastOp", "ConcatOp", "ConstantOp", "GraphOp", "LeafOp", "MapOp", "OutputOp", "PlaceOp", "PoolGradOp", "PoolOp",
    "ProductOp", "ReduceOp", "ReshapeOp", "SliceOp", "Tensor", "Train", "TrainOp", "TransposeOp", "UpdateOp",
    "element_of", "ints", "shape_of", "to_ints",
]  # fmt: skip

@irdl_op_definition
class GraphOp(IRDLOperation):
    """The whole training step: one block of operations, no arguments."""

    name = "train.graph"
    sym_name = prop_def(SymbolNameConstraint())
    body = region_def("single_block")
    traits = traits_def(NoTerminator())
    assembly_format = "$sym_name $body attr-dict"

    def __init__(self, name: str, block: Block | None = None) -> None:
        super().__init__(properties={"sym_name": StringAttr(name)}, regions=[Region(block or Block())])


@irdl_op_definition
class LeafOp(IRDLOperation):
    """A tensor from outside: a graph input, a named weight, or labels (class numbers 0 … classes−1)."""

    name = "train.leaf"
    kind = prop_def(StringAttr)
    leaf = prop_def(StringAttr)
    """Name as users know it: the ONNX input or initializer, ``grad/<output>``, ``momentum/<param>``."""
    classes = opt_prop_def(IntegerAttr[I64])
    ignored = opt_prop_def(IntegerAttr[I64])
    """A label that counts for nothing, and may be none of the classes."""
    result = result_def(Tensor)
    assembly_format = "$kind $leaf (`classes` $classes^)? (`ignored` $ignored^)? attr-dict `:` type($result)"

    def __init__(self, kind: str, leaf: str, type: Tensor, classes: int | None = None, ignored: int | None = None) -> None:
        super().__init__(
            properties={
                "kind": StringAttr(kind),
                "leaf": StringAttr(leaf),
                "classes": None if classes is None else integer(classes),
                "ignored": None if ignored is None else integer(ignored),
            },
            result_types=[type],
        )

    def verify_(self) -> None:
        if self.kind.data not in LEAF_KINDS:
            raise VerifyException(f"leaf kind {self.kind.data!r} is none of {', '.join(LEAF_KINDS)}")


@irdl_op_definition
class ConstantOp(IRDLOperation):
    """A small constant (a scalar becomes the immediate of the vector instruction that uses it)."""

    name = "train.constant"
    T: ClassVar = VarConstraint("T", BaseAttr(TensorType))
    value = prop_def(ParamAttrConstraint(DenseIntOrFPElementsAttr, (T, AnyAttr())))
    result = result_def(T)
    traits = traits_def(Pure())
    assembly_format = "$value attr-dict"

    def __init__(self, value: DenseIntOrFPElementsAttr) -> None:
        super().__init__(properties={"value": value}, result_types=[value.type])


@irdl_op_definition
class MapOp(TrainOp):
    """An elementwise function of the vector unit (``isa.vector.FUNCTIONS``); operands broadcast as in NumPy.

    ``copy`` to another element type is a cast.
    """

    name = "train.map"
    fn = prop_def(StringAttr)
    inputs = var_operand_def(Tensor)
    result = result_def(Tensor)
    traits = traits_def(Pure())
    assembly_format = "$fn `(` $inputs `)` `layer` $layer `role` $role attr-dict `:` functional-type($inputs, $result)"

    def __init__(self, fn: str, inputs: Sequence[SSAValue], layer: str, role: str, element: Attribute | None = None) -> None:
        shape = np.broadcast_shapes(*(shape_of(v) for v in inputs))
        super().__init__(
            operands=[list(inputs)],
            properties={"fn": StringAttr(fn), "layer": StringAttr(layer), "role": StringAttr(role)},
            result_types=[TensorType(element or element_of(inputs[0]), shape)],
        )

    def verify_(self) -> None:
        TrainOp.verify_(self)
        function = FUNCTIONS.get(self.fn.data)
        if function is None:
            raise VerifyException(f"the vector unit has no function {self.fn.data!r}")
        if len(self.inputs) != function.arity:
            raise VerifyException(f"{function.name} takes {function.arity} operands, not {len(self.inputs)}")
        try:
            shape = np.broadcast_shapes(*(shape_of(v) for v in self.inputs))
        except ValueError as error:
            raise VerifyException(f"operands do not broadcast: {error}") from error
        if shape != shape_of(self.result):
            raise VerifyException(f"the result has shape {shape}, not {shape_of(self.result)}")


@irdl_op_definition
class ReduceOp(TrainOp):
    """Sum or maximum over ``axes``, which stay as dimensions of size 1."""

    name = "train.reduce"
    fn = prop_def(StringAttr)
    axes = prop_def(ArrayAttr[IntegerAttr])
    input = operand_def(Tensor)
    result = result_def(Tensor)
    traits = traits_def(Pure())
    assembly_format = "$fn $input `axes` $axes `layer` $layer `role` $role attr-dict `:` functional-type($input, $result)"

    def __init__(self, fn: str, input: SSAValue, axes: Sequence[int], layer: str, role: str) -> None:
        shape = [1 if i in axes else n for i, n in enumerate(shape_of(input))]
        super().__init__(
            operands=[input],
            properties={"fn": StringAttr(fn), "axes": ints(axes), "layer": StringAttr(layer), "role": StringAttr(role)},
            result_types=[TensorType(element_of(input), shape)],
        )

    def verify_(self) -> None:
        TrainOp.verify_(self)
        if self.fn.data not in REDUCTIONS:
            raise VerifyException(f"{self.fn.data!r} is none of {', '.join(REDUCTIONS)}")
        axes, shape = to_ints(self.axes), shape_of(self.input)
        if any(not 0 <= axis < len(shape) for axis in axes):
            raise VerifyException(f"axes {axes} are not dimensions of {shape}")
        if tuple(1 if i in axes else n for i, n in enumerate(shape)) != shape_of(self.result):
            raise VerifyException("reduced axes stay as dimensions of size 1")


@irdl_op_definition
class UpdateOp(TrainOp):
    """One step of SGD: v ← μ·v + (g + λ·w); w ← w − η·v.  Without momentum there is no v.

    Operands: the weight, its gradient, and with momentum the velocity; results: the new weight, and the new velocity.
    """

    name = "train.update"
    lr = prop_def(FloatAttr[Float64Type])
    momentum = prop_def(FloatAttr[Float64Type])
    decay = prop_def(FloatAttr[Float64Type])
    inputs = var_operand_def(Tensor)
    outs = var_result_def(Tensor)
    traits = traits_def(Pure())
    assembly_format = (
        "`(` $inputs `)` `lr` $lr `momentum` $momentum `decay` $decay `layer` $layer `role` $role attr-dict `:` "
        "functional-type($inputs, $outs)"
    )

    def __init__(self, inputs: Sequence[SSAValue], layer: str, lr: float, momentum: float = 0.0, decay: float = 0.0) -> None:
        kept = [inputs[0], *inputs[2:]]
        super().__init__(
            operands=[list(inputs)],
            properties={
                "lr": FloatAttr(lr, f64),
                "momentum": FloatAttr(momentum, f64),
                "decay": FloatAttr(decay, f64),
                "layer": StringAttr(layer),
                "role": StringAttr("update"),
            },
            result_types=[[v.type for v in kept]],
        )

    def verify_(self) -> None:
        TrainOp.verify_(self)
        count = 3 if self.momentum.value.data else 2
        if len(self.inputs) != count or len(self.outs) != count - 1:
            raise VerifyException(f"with momentum {self.momentum.value.data} an update has {count} operands, {count - 1} results")
        if len({v.type for v in (*self.inputs, *self.outs)}) != 1:
            raise VerifyException("weight, gradient and velocity have one type")


@irdl_op_definition
class OutputOp(IRDLOperation):
    """Hands a value to the user under a name: a graph output, ``grad/<name>``, ``param/<name>``.

    ``kind`` is output, grad or param; a param output replaces the weight of that name for the next step.
    """

    name = "train.output"
    kind = prop_def(StringAttr)
    target = prop_def(StringAttr)
    input = operand_def(Tensor)
    assembly_format = "$kind $target $input attr-dict `:` type($input)"

    def __init__(self, kind: str, target: str, input: SSAValue) -> None:
        super().__init__(operands=[input], properties={"kind": StringAttr(kind), "target": StringAttr(target)})

    def verify_(self) -> None:
        if self.kind.data not in OUTPUT_KINDS:
            raise VerifyException(f"output kind {self.kind.data!r} is none of {', '.join(OUTPUT_KINDS)}")


Train = Dialect(
    "train",
    [
        GraphOp, LeafOp, ConstantOp, MapOp, ReduceOp, ReshapeOp, TransposeOp, BroadcastOp, SliceOp, PlaceOp, ConcatOp,
        ProductOp, PoolOp, PoolGradOp, UpdateOp, OutputOp,
    ],
)  # fmt: skip
