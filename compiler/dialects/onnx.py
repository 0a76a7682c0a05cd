"""The ``onnx`` dialect: the model as it came, under ONNX's own operator and attribute names.

One table, :data:`OPERATORS`, says what is supported; the operations, their verifier and the importer's messages come from it.
A new operator is one row here and one decomposition in ``compiler/decompose``.  Values are ranked tensors of static shape.
Weights are named, their values stay outside the IR; a missing optional input is ``onnx.none``.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
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

Tensor = TensorType[Attribute]
Value = int | float | str | tuple[int, ...]
"""What an attribute of a node holds."""

FLOAT = ("f32",)
FLOATS = ("f32", "f16", "bf16")
INTEGERS = ("i64", "i32")
ANY = ("f32", *INTEGERS)


@dataclass(frozen=True, slots=True)
class Input:
    """One input: ``elements`` it may hold (any, where it must be a constant), and whether it may be missing."""

    name: str
    elements: tuple[str, ...]
    optional: bool
    constant: bool


@dataclass(frozen=True, slots=True)
class Operator:
    """One supported ONNX operator.

    ``attributes`` maps each known attribute to its default (a type: there is none), or to the list of supported values, default first.
    ``check`` looks at the constant inputs and says what about them is not supported.
    """

    name: str
    inputs: tuple[Input, ...]
    outputs: int
    attributes: Mapping[str, Any]
    check: Callable[[Mapping[str, Array]], str | None] | None

    @property
    def required(self) -> int:
        """How many inputs must be there."""
        return sum(not slot.optional for slot in self.inputs)

    def choices(self, attribute: str) -> tuple[Value, ...]:
        """The supported values of an attribute; empty: all."""
        spec = self.attributes[attribute]
        return tuple(spec) if isinstance(spec, list) else ()

    def default(self, attribute: str) -> Value | None:
        """What a missing attribute means; None: there is no default."""
        spec = self.attributes[attribute]
        if isinstance(spec, list):
            spec = spec[0]
        return None if isinstance(spec, type) else spec

    def kind(self, attribute: str) -> type:
        """int, float, str, or tuple (of integers)."""
        spec = self.attributes[attribute]
        return spec if isinstance(spec, type) else type(spec[0] if isinstance(spec, list) else spec)


OPERATORS: dict[str, Operator] = {}


def _operator(
    name: str,
    inputs: str,
    elements: tuple[str, ...] = FLOAT,
    outputs: int = 1,
    check: Callable[[Mapping[str, Array]], str | None] | None = None,
    **attributes: Any,
) -> None:
    """Add a row.  In ``inputs``, ``?`` marks the optional, ``!`` those that must be constants, ``#`` class labels."""
    slots = []
    for word in inputs.split():
        slot = word.rstrip("?!#")
        slots.append(Input(slot, INTEGERS if "#" in word else elements, "?" in word, "!" in word))
    OPERATORS[name] = Operator(name, tuple(slots), outputs, attributes, check)


def _dropout_rests(constants: Mapping[str, Array]) -> str | None:
    training, ratio = constants.get("training_mode"), constants.get("ratio")
    if training is not None and training.any() and (ratio is None or ratio.any()):
        return "training_mode true not supported; supported: false (dropout is compiled as in inference)"
    return None


_operator("Gemm", "A B C?", alpha=1.0, beta=1.0, transA=0, transB=0)
_operator("MatMul", "A B")
for _name in ("Add", "Sub", "Mul", "Div"):
    _operator(_name, "A B")
_operator("Pow", "X Y!")
for _name in ("Relu", "Sigmoid", "Tanh", "Exp", "Log", "Sqrt", "Neg"):
    _operator(_name, "X")
_operator("LeakyRelu", "X", alpha=0.01)
_operator("Clip", "input min? max?")
_operator("Softmax", "input", axis=-1)
_operator("LogSoftmax", "input", axis=-1)
for _name in ("ReduceSum", "ReduceMean"):
    _operator(_name, "data axes!?", keepdims=1, noop_with_empty_axes=0)
_operator("Reshape", "data shape!", ANY, allowzero=0)
_operator("Flatten", "input", ANY, axis=1)
_operator("Transpose", "data", ANY, perm=tuple)
_operator("Squeeze", "data axes!?", ANY)
_operator("Unsqueeze", "data axes!", ANY)
_operator("Identity", "input", ANY)
_operator("Cast", "input", FLOATS, to=[1, 10, 16], saturate=1)
_operator("Dropout", "data ratio!? training_mode!?", check=_dropout_rests, seed=int)
for _name, _outputs in (("SoftmaxCrossEntropyLoss", 2), ("NegativeLogLikelihoodLoss", 1)):
    _operator(_name, "scores labels# weights?", outputs=_outputs, reduction=["mean", "sum", "none"], ignore_index=int)


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
        if not row.required <= len(self.inputs) <= len(row.inputs):
            raise VerifyException(f"{row.name} takes {row.required} to {len(row.inputs)} inputs, not {len(self.inputs)}")
        if not 1 <= len(self.outs) <= row.outputs:
            raise VerifyException(f"{row.name} has 1 to {row.outputs} outputs, not {len(self.outs)}")
        for index, slot in enumerate(row.inputs[: len(self.inputs)]):
            self._verify_input(slot, self.input(index))
        for name, attr in self.attributes.items():
            if name not in row.attributes:
                raise VerifyException(f"{row.name} has no attribute {name}; it has: {', '.join(row.attributes) or 'none'}")
            value, kind, choices = _plain(attr), row.kind(name), row.choices(name)
            if not isinstance(value, kind):
                raise VerifyException(f"attribute {name} is of type {kind.__name__}")
            if choices and value not in choices:
                raise VerifyException(f"{name} {value!r} is not supported; supported: {', '.join(map(str, choices))}")

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
