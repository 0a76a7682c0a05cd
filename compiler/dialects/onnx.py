"""The ``onnx`` dialect: the model as it came, under ONNX's own operator and attribute names.

The operations of nodes come from the table in ``onnx_operators.py``.  Values are ranked tensors of static shape.
Weights are named, their values stay outside the IR; a missing optional input is ``onnx.none``.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from xdsl.dialects.builtin import (
    ArrayAttr,
    DenseIntOrFPElementsAttr,
    FloatAttr,
    IntegerAttr,
    NoneType,
    StringAttr,
    SymbolNameConstraint,
    TensorType,
    f32,
    i64,
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
    prop_def,
    region_def,
    result_def,
    traits_def,
    var_operand_def,
    var_result_def,
)
from xdsl.traits import NoTerminator, Pure
from xdsl.utils.exceptions import VerifyException

from compiler.dialects.dense import Array, to_array
from compiler.dialects.onnx_operators import OPERATORS
from compiler.dialects.onnx_row import Facts, Input, Operator, Value
from compiler.dialects.train import shape_of

Tensor = TensorType[Attribute]


def attribute(value: Value) -> Attribute:
    """An ONNX attribute's value in the IR."""
    match value:
        case int():
            return IntegerAttr(value, i64)
        case float():
            return FloatAttr(value, f32)
        case str():
            return StringAttr(value)
        case _:
            return ArrayAttr([IntegerAttr(v, i64) for v in value])


def _plain(attr: Attribute) -> Value:
    match attr:
        case IntegerAttr() | FloatAttr():
            return attr.value.data
        case StringAttr():
            return attr.data
        case ArrayAttr():
            return tuple(a.value.data for a in attr)
    raise VerifyException(f"{attr} is no ONNX attribute")


class NodeOp(IRDLOperation):
    """One node of the model; each row of :data:`OPERATORS` makes a subclass."""

    node = prop_def(StringAttr)
    """The node's name in the model."""
    inputs = var_operand_def()
    outs = var_result_def(Tensor)
    traits = traits_def(Pure())
    assembly_format = "$node `(` $inputs `)` attr-dict `:` functional-type($inputs, $outs)"

    def __init__(self, node: str, inputs: Sequence[SSAValue], attributes: Mapping[str, Value], results: Sequence[Tensor]) -> None:
        super().__init__(
            operands=[list(inputs)],
            properties={"node": StringAttr(node)},
            attributes={name: attribute(value) for name, value in attributes.items()},
            result_types=[list(results)],
        )

    @property
    def operator(self) -> Operator:
        """Its row in the table."""
        return OPERATORS[self.name.removeprefix("onnx.")]

    def get(self, name: str) -> Any:
        """An attribute's value, or its default."""
        attr = self.attributes.get(name)
        return self.operator.default(name) if attr is None else _plain(attr)

    def input(self, index: int) -> SSAValue | None:
        """An input, None where it is missing."""
        if index >= len(self.inputs) or isinstance(self.inputs[index].type, NoneType):
            return None
        return self.inputs[index]

    def constant(self, index: int) -> Array | None:
        """The value of an input that must be a constant, None where it is missing."""
        value = self.input(index)
        if value is None:
            return None
        assert isinstance(value.owner, ConstantOp)
        return to_array(value.owner.value)

    def verify_(self) -> None:
        row = self.operator
        if problem := row.takes(len(self.inputs)):
            raise VerifyException(problem)
        if not 1 <= len(self.outs) <= row.outputs:
            raise VerifyException(f"{row.name} has 1 to {row.outputs} outputs, not {len(self.outs)}")
        for index, slot in enumerate(row.slots(len(self.inputs))):
            self._verify_input(slot, self.input(index))
        for name, attr in self.attributes.items():
            if name not in row.attributes:
                raise VerifyException(f"{row.name} has no attribute {name}; it has: {', '.join(row.attributes) or 'none'}")
            value, kind, choices = _plain(attr), row.kind(name), row.choices(name)
            if not isinstance(value, kind):
                raise VerifyException(f"attribute {name} is of type {kind.__name__}")
            if choices and value not in choices:
                raise VerifyException(f"{name} {value!r} is not supported; supported: {', '.join(map(str, choices))}")

        if row.check and (problem := row.check(self._facts())):
            raise VerifyException(problem)

    def _facts(self) -> Facts:
        given = {
            slot.name: value
            for slot, value in zip(self.operator.slots(len(self.inputs)), map(self.input, range(len(self.inputs))), strict=True)
            if value
        }
        constants = {name: to_array(value.owner.value) for name, value in given.items() if isinstance(value.owner, ConstantOp)}
        attributes = {name: self.get(name) for name in self.operator.attributes}
        return Facts({name: shape_of(value) for name, value in given.items()}, constants, attributes)

    @staticmethod
    def _verify_input(slot: Input, value: SSAValue | None) -> None:
        if value is None:
            if not slot.optional:
                raise VerifyException(f"input {slot.name} is missing")
        elif not isinstance(value.type, TensorType):
            raise VerifyException(f"input {slot.name} is no tensor")
        elif slot.constant:
            if not isinstance(value.owner, ConstantOp):
                raise VerifyException(f"input {slot.name} must be a constant")
        elif str(value.type.element_type) not in slot.elements:
            raise VerifyException(f"input {slot.name} holds {value.type.element_type}, not {' or '.join(slot.elements)}")


def _node_class(row: Operator) -> type[NodeOp]:
    members = {"name": f"onnx.{row.name}", "__doc__": f"ONNX {row.name}.", "__module__": __name__}
    return irdl_op_definition(type(f"{row.name}Op", (NodeOp,), members))


NODE_OPS: dict[str, type[NodeOp]] = {name: _node_class(row) for name, row in OPERATORS.items()}


@irdl_op_definition
class GraphOp(IRDLOperation):
    """The whole model: one block of operations, no arguments."""

    name = "onnx.graph"
    sym_name = prop_def(SymbolNameConstraint())
    body = region_def("single_block")
    traits = traits_def(NoTerminator())
    assembly_format = "$sym_name $body attr-dict"

    def __init__(self, name: str, block: Block | None = None) -> None:
        super().__init__(properties={"sym_name": StringAttr(name)}, regions=[Region(block or Block())])


class _NamedOp(IRDLOperation):
    """A tensor from outside, under its name in the model."""

    tensor = prop_def(StringAttr)
    result = result_def(Tensor)
    assembly_format = "$tensor attr-dict `:` type($result)"

    def __init__(self, tensor: str, type: Tensor) -> None:
        super().__init__(properties={"tensor": StringAttr(tensor)}, result_types=[type])


@irdl_op_definition
class InputOp(_NamedOp):
    """A graph input."""

    name = "onnx.input"


@irdl_op_definition
class ParamOp(_NamedOp):
    """A weight: a floating-point initializer; its value stays outside the IR."""

    name = "onnx.param"


@irdl_op_definition
class ConstantOp(IRDLOperation):
    """A constant that is no weight: shapes, axes, scalars."""

    name = "onnx.constant"
    T: ClassVar = VarConstraint("T", BaseAttr(TensorType))
    value = prop_def(ParamAttrConstraint(DenseIntOrFPElementsAttr, (T, AnyAttr())))
    result = result_def(T)
    traits = traits_def(Pure())
    assembly_format = "$value attr-dict"

    def __init__(self, value: DenseIntOrFPElementsAttr) -> None:
        super().__init__(properties={"value": value}, result_types=[value.type])


@irdl_op_definition
class NoneOp(IRDLOperation):
    """Stands for an optional input that is missing."""

    name = "onnx.none"
    result = result_def(NoneType)
    traits = traits_def(Pure())
    assembly_format = "attr-dict"

    def __init__(self) -> None:
        super().__init__(result_types=[NoneType()])


@irdl_op_definition
class OutputOp(IRDLOperation):
    """A graph output."""

    name = "onnx.output"
    tensor = prop_def(StringAttr)
    input = operand_def(Tensor)
    assembly_format = "$tensor $input attr-dict `:` type($input)"

    def __init__(self, tensor: str, input: SSAValue) -> None:
        super().__init__(operands=[input], properties={"tensor": StringAttr(tensor)})


Onnx = Dialect("onnx", [GraphOp, InputOp, ParamOp, ConstantOp, NoneOp, OutputOp, *NODE_OPS.values()])
