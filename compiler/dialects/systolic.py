"""The ``systolic`` dialect: instructions, one operation each, in their queues; loops are regions.

The operations are made from the instruction table of the ISA, so a new instruction needs nothing here.
"""

from collections.abc import Sequence
from typing import Any

from xdsl.dialects.builtin import (
    I64,
    DenseIntOrFPElementsAttr,
    DictionaryAttr,
    Float64Type,
    FloatAttr,
    IntegerAttr,
    StringAttr,
    SymbolNameConstraint,
    TensorType,
    UnitAttr,
    f64,
)
from xdsl.ir import Attribute, Block, Data, Dialect, Operation, Region
from xdsl.irdl import (
    IRDLOperation,
    irdl_attr_definition,
    irdl_op_definition,
    opt_prop_def,
    prop_def,
    region_def,
    traits_def,
)
from xdsl.parser import AttrParser
from xdsl.printer import Printer
from xdsl.traits import NoTerminator
from xdsl.utils.exceptions import VerifyException

from compiler.dialects.integers import integer
from isa.instructions import INSTRUCTIONS, QUEUES, Field, FieldKind, Instruction, Queue, Spec, When, make
from isa.stream import Stream
from isa.stream_syntax import format_stream, parse_stream


@irdl_attr_definition
class StreamAttr(Data[Stream]):
    """An access pattern, in the syntax of the assembly; loops are referred to by their depth."""

    name = "systolic.stream"

    @classmethod
    def parse_parameter(cls, parser: AttrParser) -> Stream:
        with parser.in_angle_brackets():
            return parse_stream(parser.parse_str_literal(), [])

    def print_parameter(self, printer: Printer) -> None:
        with printer.in_angle_brackets():
            printer.print_string_literal(format_stream(self.data, []))


@irdl_attr_definition
class WhenAttr(Data[When]):
    """When a flag is raised: ``first`` or ``last``, and the depths of the loops it looks at."""

    name = "systolic.when"

    @classmethod
    def parse_parameter(cls, parser: AttrParser) -> When:
        with parser.in_angle_brackets():
            kind = parser.parse_identifier()
            levels: list[int] = []
            while parser.parse_optional_punctuation(",") is not None:
                levels.append(parser.parse_integer())
        return When(kind, tuple(levels))

    def print_parameter(self, printer: Printer) -> None:
        with printer.in_angle_brackets():
            printer.print_string(", ".join([self.data.kind, *map(str, self.data.levels)]))


def to_attribute(field: Field, value: Any) -> Attribute:
    """A field's value as an attribute."""
    match field.kind:
        case FieldKind.STREAM | FieldKind.OPERAND:
            return StreamAttr(value) if isinstance(value, Stream) else StringAttr(value)
        case FieldKind.WHEN:
            return WhenAttr(value)
        case FieldKind.FLOAT:
            return FloatAttr(value, f64)
        case FieldKind.COUNT | FieldKind.LEVEL | FieldKind.SEMAPHORE:
            return integer(value)
        case FieldKind.FLAG:
            return UnitAttr()
        case _:
            return StringAttr(value)


def from_attribute(attr: Attribute) -> Any:
    """The value of :func:`to_attribute`."""
    match attr:
        case StreamAttr() | WhenAttr() | StringAttr():
            return attr.data
        case FloatAttr() | IntegerAttr():
            return attr.value.data
        case UnitAttr():
            return True
        case _:
            raise VerifyException(f"no instruction field holds {attr}")


class InstructionOp(IRDLOperation):
    """One instruction; its fields are properties, those at their default left out."""

    @classmethod
    def spec(cls) -> Spec:
        """The row of the instruction table."""
        return INSTRUCTIONS[cls.name.removeprefix("systolic.")]

    @classmethod
    def of(cls, provenance: int | None, **args: Any) -> "InstructionOp":
        """The instruction with these fields, from a group of the provenance table."""
        properties: dict[str, Attribute] = {}
        for name, value in args.items():
            field = cls.spec().by_name[name]
            if value != field.default:
                properties[name] = to_attribute(field, value)
        if provenance is not None:
            properties["provenance"] = integer(provenance)
        regions = [Region(Block())] if cls.spec().op == "loop" else []
        return cls(properties=properties, regions=regions)

    def instruction(self) -> Instruction:
        """The instruction as the program has it."""
        properties = dict(self.properties)
        provenance = properties.pop("provenance", None)
        index = provenance.value.data if isinstance(provenance, IntegerAttr) else None
        return make(self.spec().op, provenance=index, **{name: from_attribute(attr) for name, attr in properties.items()})


_CONSTRAINTS: dict[FieldKind, Any] = {
    FieldKind.STREAM: StreamAttr,
    FieldKind.WHEN: WhenAttr,
    FieldKind.FLOAT: FloatAttr[Float64Type],
    FieldKind.COUNT: IntegerAttr[I64],
    FieldKind.LEVEL: IntegerAttr[I64],
    FieldKind.SEMAPHORE: IntegerAttr[I64],
    FieldKind.FLAG: UnitAttr,
}


def _operation(spec: Spec) -> type[InstructionOp]:
    fields: dict[str, Any] = {
        "__doc__": spec.doc,
        "__module__": __name__,
        "name": f"systolic.{spec.op}",
        "provenance": opt_prop_def(IntegerAttr[I64]),
    }
    words = []
    for field in spec.fields:
        required = field.default is None
        define = prop_def if required else opt_prop_def
        fields[f"{field.name}_"] = define(_CONSTRAINTS.get(field.kind, Attribute), prop_name=field.name)
        words.append(f"`{field.name}` ${field.name}" if required else f"(`{field.name}` ${field.name}^)?")
    words.append("(`from` $provenance^)?")
    if spec.op == "loop":
        fields["body"] = region_def("single_block")
        fields["traits"] = traits_def(NoTerminator())
        words.append("$body")
    fields["assembly_format"] = " ".join([*words, "attr-dict"])
    return irdl_op_definition(type(f"{spec.op.capitalize()}Op", (InstructionOp,), fields))


OPS = {op: _operation(spec) for op, spec in INSTRUCTIONS.items() if op != "end"}
"""Operation of each instruction; ``end`` is the end of a loop's region."""


def loop_of(provenance: int | None, name: str, count: int, body: Sequence[Operation], **more: int) -> InstructionOp:
    """A loop around instructions; ``more``: its other fields."""
    loop = OPS["loop"].of(provenance, name=name, count=count, **more)
    loop.regions[0].block.add_ops(body)
    return loop


@irdl_op_definition
class SymbolOp(IRDLOperation):
    """A named region of a memory, as in ``isa.program.Symbol``."""

    name = "systolic.symbol"
    space = prop_def(StringAttr)
    symbol = prop_def(StringAttr)
    address = prop_def(IntegerAttr[I64])
    kind = prop_def(StringAttr)
    type_ = prop_def(TensorType, prop_name="type")
    classes = opt_prop_def(IntegerAttr[I64])
    ignored = opt_prop_def(IntegerAttr[I64])
    value = opt_prop_def(DenseIntOrFPElementsAttr)
    """Of a constant."""
    assembly_format = (
        "$kind $symbol $space `at` $address `type` $type (`classes` $classes^)? (`ignored` $ignored^)? (`value` $value^)? attr-dict"
    )


@irdl_op_definition
class SemaphoreOp(IRDLOperation):
    """A counting semaphore; instructions refer to it by its place in the list."""

    name = "systolic.semaphore"
    symbol = prop_def(StringAttr)
    initial = prop_def(IntegerAttr[I64])
    assembly_format = "$symbol `initial` $initial attr-dict"


@irdl_op_definition
class ProvenanceOp(IRDLOperation):
    """An entry of the provenance table, as in ``isa.program.Provenance``; instructions refer to it by its place in the list."""

    name = "systolic.provenance"
    layer = prop_def(StringAttr)
    product = prop_def(StringAttr)
    group = prop_def(IntegerAttr[I64])
    macs = prop_def(IntegerAttr[I64])
    traffic = prop_def(IntegerAttr[I64])
    assembly_format = "$layer $product `group` $group `macs` $macs `traffic` $traffic attr-dict"


@irdl_op_definition
class QueueOp(IRDLOperation):
    """The code of one queue."""

    name = "systolic.queue"
    queue = prop_def(StringAttr)
    body = region_def("single_block")
    traits = traits_def(NoTerminator())
    assembly_format = "$queue $body attr-dict"

    def __init__(self, queue: Queue, ops: Sequence[Operation] = ()) -> None:
        super().__init__(properties={"queue": StringAttr(queue.name)}, regions=[Region(Block(list(ops)))])

    def verify_(self) -> None:
        queue = QUEUES.get(self.queue.data)
        if queue is None:
            raise VerifyException(f"no queue {self.queue.data!r}; there are {', '.join(QUEUES)}")
        for op in self.body.walk():
            if not isinstance(op, InstructionOp) or queue.unit not in op.spec().queues:
                raise VerifyException(f"{op.name} is no instruction of queue {self.queue.data}")


@irdl_op_definition
class ProgramOp(IRDLOperation):
    """A program: its symbols, semaphores and provenance, then its queues."""

    name = "systolic.program"
    sym_name = prop_def(SymbolNameConstraint())
    machine = prop_def(DictionaryAttr)
    schedule = prop_def(StringAttr)
    body = region_def("single_block")
    traits = traits_def(NoTerminator())
    assembly_format = "$sym_name `schedule` $schedule `machine` $machine $body attr-dict"

    def __init__(self, name: str, machine: DictionaryAttr, schedule: str, ops: Sequence[Operation]) -> None:
        super().__init__(
            properties={"sym_name": StringAttr(name), "machine": machine, "schedule": StringAttr(schedule)},
            regions=[Region(Block(list(ops)))],
        )


Systolic = Dialect("systolic", [ProgramOp, QueueOp, SymbolOp, SemaphoreOp, ProvenanceOp, *OPS.values()], [StreamAttr, WhenAttr])
