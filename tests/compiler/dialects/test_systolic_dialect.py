"""The systolic dialect: made from the instruction table, it holds whatever a program holds."""

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from ir_text import parse
from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.utils.exceptions import VerifyException

from compiler.dialects.machine import machine_attr, to_machine
from compiler.dialects.systolic import OPS, InstructionOp, ProgramOp, QueueOp
from compiler.driver import lower_to_systolic, training_step
from compiler.emit import emit_program
from isa.dtypes import DType
from isa.errors import UserError
from isa.instructions import ALWAYS, HELD, IMM, INSTRUCTIONS, FieldKind, Instruction, Queue, When
from isa.machine import Array, Dram, Machine
from isa.stream import Dim, Operand, Ring, Space, Stream

PROGRAMS = Path(__file__).parents[3] / "programs"

STREAM = Stream(
    Space.spad, DType.bf16, 64, (Dim(8, 32, 20, 1), Dim(3, 2)), (0, 256), Ring(2, 1024, 1, (1,)), Operand.dX, "fc1.dX"
)  # fmt: skip
VALUES = {
    FieldKind.STREAM: STREAM,
    FieldKind.OPERAND: HELD,
    FieldKind.WHEN: When("last", (1, 2)),
    FieldKind.COUNT: 7,
    FieldKind.LEVEL: 1,
    FieldKind.NAME: "b",
    FieldKind.SEMAPHORE: 3,
    FieldKind.FLOAT: 0.1,
    FieldKind.FUNCTION: "fma",
    FieldKind.REDUCTION: "max",
    FieldKind.FLAG: True,
}


def reread(op: InstructionOp) -> Instruction:
    """The instruction that an operation's printed text stands for."""
    read = parse(str(ModuleOp([op]))).body.block.first_op
    assert isinstance(read, InstructionOp)
    return read.instruction()


@pytest.mark.parametrize("op", OPS)
def test_every_field_of_every_instruction_round_trips(op: str) -> None:
    args = {field.name: VALUES[field.kind] for field in INSTRUCTIONS[op].fields}
    made = OPS[op].of(5, **args)
    assert made.instruction() == reread(made) == Instruction(op, args, 5)


@pytest.mark.parametrize("op", OPS)
def test_fields_at_their_default_are_left_out(op: str) -> None:
    spec = INSTRUCTIONS[op]
    args = {field.name: VALUES[field.kind] for field in spec.fields if field.default is None}
    made = OPS[op].of(None, **args)
    assert all(f" {field.name} " not in str(made) for field in spec.fields if field.default is not None)
    assert reread(made) == Instruction(op, {f.name: args.get(f.name, f.default) for f in spec.fields}, None)


@pytest.mark.parametrize("value", [HELD, IMM, replace(STREAM, ring=None, symbol=None), replace(STREAM, strides=(), dims=(Dim(1, 0),))])
def test_operands(value: Stream | str) -> None:
    assert reread(OPS["dw"].of(None, h=value, v=HELD))["h"] == value


@pytest.mark.parametrize("when", [ALWAYS, When("first", (0,)), When("last", (0, 2))])
def test_flags(when: When) -> None:
    assert reread(OPS["dw"].of(None, h=HELD, v=HELD, swap=when, take=when)).args["swap"] == when


def lowered(name: str, **options: bool) -> ModuleOp:
    step = training_step(PROGRAMS / name, batch=3, loss="softmax-cross-entropy", optimizer="sgd:momentum=0.9")
    return lower_to_systolic(step, Machine(array=Array(rows=24, cols=40)), schedule="interleaved", **options)


@pytest.mark.parametrize("double_buffer", [True, False])
@pytest.mark.parametrize("name", ["digits_mlp.onnxtxt", "deep_mlp.onnxtxt"])
def test_programs_round_trip(name: str, double_buffer: bool) -> None:
    text = str(lowered(name, double_buffer=double_buffer))
    assert str(parse(text)) == text


def test_a_program_read_from_text_is_the_same_program() -> None:
    module = lowered("digits_mlp.onnxtxt")
    weights = training_step(PROGRAMS / "digits_mlp.onnxtxt", batch=3, optimizer="sgd:momentum=0.9").weights
    assert emit_program(parse(str(module)), weights) == emit_program(module, weights)


def test_the_verifier() -> None:
    with pytest.raises(VerifyException, match="no queue 'dma'; there are dma_in, dma_out, wchain"):
        parse('systolic.queue "dma" { ^bb0: }')
    with pytest.raises(VerifyException, match=r"systolic\.upd is no instruction of queue vector"):
        parse('systolic.queue "vector" { systolic.upd lr 0.1 }')
    with pytest.raises(VerifyException, match=r"systolic\.upd is no instruction of queue wchain"):
        parse('systolic.queue "wchain" { systolic.loop name "i" count 2 { systolic.upd lr 0.1 } }')
    with pytest.raises(VerifyException, match=r"builtin\.module is no instruction"):
        parse('systolic.queue "vector" { builtin.module { } }')
    with pytest.raises(UserError, match="found `nowhere`, expected dram/spad"):
        parse('systolic.queue "wchain" { systolic.wload src <"W@nowhere[0] x3"> }')
    parse('systolic.queue "array" { systolic.loop name "i" count 2 { systolic.upd lr 0.1 } }')


def test_queues_hold_their_code() -> None:
    queue = QueueOp(Queue.array, [OPS["upd"].of(None, lr=0.5)])
    queue.verify()
    assert [op.name for op in queue.body.block.ops] == ["systolic.upd"]


@pytest.mark.parametrize(
    "machine", [Machine(), Machine(name="odd", array=Array(rows=3, cols=1000, operand="bf16"), dram=Dram(bytes_per_cycle=0.25, latency=0))]
)
def test_machines_survive_as_attributes(machine: Machine) -> None:
    attribute = machine_attr(machine)
    assert to_machine(attribute) == machine
    program = parse(str(ModuleOp([ProgramOp("m", attribute, "", [])]))).body.block.first_op
    assert isinstance(program, ProgramOp)
    assert to_machine(program.machine) == machine


def test_an_impossible_machine_is_told() -> None:
    attribute = machine_attr(Machine())
    wrong = type(attribute)({**attribute.data, "name": StringAttr("x"), "array": StringAttr("y")})
    with pytest.raises(msgspec.ValidationError, match=r"Expected `object`, got `str` - at `\$.array`"):
        to_machine(wrong)
