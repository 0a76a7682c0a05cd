"""The last step: a ``systolic`` module, with the weights' values, as a program."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation

from compiler.dialects import systolic
from compiler.dialects.machine import to_machine
from compiler.transforms.systolic_streams import dtype_of
from isa.instructions import QUEUES, Instruction, make
from isa.program import Program, Provenance, Semaphore, Symbol
from isa.stream import Space

Weights = Mapping[str, np.ndarray[Any, np.dtype[Any]]]


def emit_program(module: ModuleOp, weights: Weights) -> Program:
    """The program of a module's one ``systolic.program``; ``weights`` are the initial values of its params by name."""
    source = next(op for op in module.body.block.ops if isinstance(op, systolic.ProgramOp))
    machine = to_machine(source.machine)
    program = Program(source.sym_name.data, machine, {queue: [] for queue in machine.queues}, schedule=source.schedule.data)
    for op in source.body.block.ops:
        match op:
            case systolic.SymbolOp():
                _symbol(program, op, weights)
            case systolic.SemaphoreOp():
                program.semaphores.append(Semaphore(op.symbol.data, op.initial.value.data))
            case systolic.ProvenanceOp():
                entry = Provenance(
                    op.layer.data, op.product.data, op.group.value.data, "", op.macs.value.data, op.traffic.value.data
                )  # fmt: skip
                program.provenance.append(entry)
            case systolic.QueueOp():
                program.queues[QUEUES[op.queue.data]] = [i for inner in op.body.block.ops for i in _instructions(inner)]
    return program


def _instructions(op: Operation) -> list[Instruction]:
    assert isinstance(op, systolic.InstructionOp)
    if not op.regions:
        return [op.instruction()]
    body = [i for inner in op.regions[0].block.ops for i in _instructions(inner)]
    return [op.instruction(), *body, make("end")]


def _symbol(program: Program, op: systolic.SymbolOp, weights: Weights) -> None:
    classes, ignored = (number.value.data if number else None for number in (op.classes, op.ignored))
    symbol = Symbol(
        op.symbol.data, Space[op.space.data], op.address.value.data, op.type_.get_shape(), dtype_of(op.type_.get_element_type()),
        op.kind.data, classes, ignored,
    )  # fmt: skip
    program.symbols.append(symbol)
    if symbol.space is Space.dram:
        program.dram_bytes = max(program.dram_bytes, symbol.address + symbol.nbytes)
    if symbol.kind == "param":
        program.set_data(symbol.address, weights[symbol.name].astype(symbol.dtype.numpy))
    elif op.value is not None:
        values = np.array(list(op.value.iter_values()))
        program.set_data(symbol.address, np.broadcast_to(values, (symbol.nbytes // symbol.dtype.size,)).astype(symbol.dtype.numpy))
