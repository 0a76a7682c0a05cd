"""``allocate-memory``: give every tensor its DRAM address and every buffer its place in the scratchpad."""

from collections.abc import KeysView
from dataclasses import dataclass

import numpy as np
from xdsl.context import Context
from xdsl.dialects.builtin import FixedBitwidthType, ModuleOp
from xdsl.ir import Operation, SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import Rewriter

from compiler.dialects import tile
from compiler.dialects.integers import integer
from compiler.dialects.machine import to_machine
from compiler.schedule.allocate import Lifetime, align, allocate, allocate_roomy, live_bytes
from isa.errors import UserError

DRAM_REST = 32
"""Operations before DRAM is used again, so that nobody waits for it; on large networks that takes hardly more of it."""


def nbytes(value: SSAValue) -> int:
    """Bytes of a memory value (of one buffer, if it is a ring)."""
    type = tile.memref_of(value)
    element = type.element_type
    assert isinstance(element, FixedBitwidthType)
    return int(np.prod(type.get_shape(), dtype=np.int64)) * element.bitwidth // 8


def storage(value: SSAValue) -> SSAValue:
    """The tensor or buffer behind views and slices."""
    while isinstance(value.owner, tile.ViewOp | tile.SliceOp | tile.WindowOp | tile.PieceOp):
        value = value.owner.input
    return value


def touched(op: Operation) -> KeysView[SSAValue]:
    """Tensors and buffers that an operation, or one inside it, reads or writes, in the order in which it names them."""
    return dict.fromkeys(storage(operand) for inner in op.walk() for operand in inner.operands).keys()


def written(op: Operation) -> KeysView[SSAValue]:
    """Those that it writes."""
    return dict.fromkeys(storage(value) for inner in op.walk() for value in tile.written(inner)).keys()


class ScratchpadError(UserError):
    """What lives in the scratchpad at one time does not fit; with more of it in DRAM it may."""


@dataclass(frozen=True)
class AllocateMemory(ModulePass):
    """See the module's docstring."""

    name = "allocate-memory"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for program in op.body.block.ops:
            if isinstance(program, tile.ProgramOp):
                uses = uses_of(program)
                _dram(program, uses)
                _scratchpad(program, uses)


@dataclass(frozen=True, slots=True)
class Uses:
    """The operations of a program that do work, and for each buffer and tensor that any uses the indices of those that do."""

    work: list[tile.TileOp]
    buffers: dict[tile.BufferOp, list[int]]
    tensors: dict[tile.TensorOp, list[int]]


def uses_of(program: tile.ProgramOp) -> Uses:
    """Who uses what."""
    uses = Uses([op for op in program.body.block.ops if isinstance(op, tile.TileOp)], {}, {})
    for index, op in enumerate(uses.work):
        for memory in touched(op):
            match memory.owner:
                case tile.BufferOp() as buffer:
                    uses.buffers.setdefault(buffer, []).append(index)
                case tile.TensorOp() as tensor:
                    uses.tensors.setdefault(tensor, []).append(index)
    for buffer, own in uses.buffers.items():
        # The rings of tiles serve all nests, and run ahead from one into the next.
        if buffer.symbol.data.endswith(".tiles"):
            own[:] = [0, *own, len(uses.work)]
    return uses


def _dram(program: tile.ProgramOp, uses: Uses) -> None:
    """What the user gives or gets has its own place; what the program keeps for itself shares the rest, each while it is needed."""
    block = program.body.block
    published = {storage(op.input) for op in block.ops if isinstance(op, tile.PublishOp)}
    lifetimes = {
        tensor: Lifetime(nbytes(tensor.result), own[0], own[-1] + DRAM_REST)
        for tensor, own in uses.tensors.items()
        if tensor.kind.data == "scratch" and tensor.result not in published
    }
    address = 0
    for op in block.ops:
        if isinstance(op, tile.TensorOp) and op not in lifetimes:
            op.address = integer(address)
            address += align(nbytes(op.result))
    for tensor, offset in zip(lifetimes, allocate(list(lifetimes.values()))[0], strict=True):
        tensor.address = integer(address + offset)


def scratchpad_bytes(buffer: tile.BufferOp) -> int:
    """Bytes of a buffer, or of all buffers of a ring."""
    return align(nbytes(buffer.result)) * buffer.slots


def _scratchpad(program: tile.ProgramOp, uses: Uses) -> None:
    machine = to_machine(program.machine)
    lifetimes = [Lifetime(scratchpad_bytes(buffer), own[0], own[-1]) for buffer, own in uses.buffers.items()]
    capacity = machine.scratchpad.bytes
    found = allocate_roomy(lifetimes, capacity)
    if found is None:
        live = live_bytes(lifetimes)
        worst = live.index(max(live[: len(uses.work)]))
        total = max(max(live), capacity + 1)
        raise ScratchpadError(
            f"machine {machine.name}",
            f"its scratchpad of {capacity:,} bytes is too small for this network: {total:,} bytes are needed, most of them around layer "
            f'"{uses.work[worst].layer.data}"; give the machine a larger scratchpad or lower --batch',
        )
    for buffer, address in zip(uses.buffers, found[0], strict=True):
        buffer.address = integer(address)
    for op in list(program.body.block.ops):
        if isinstance(op, tile.BufferOp) and op not in uses.buffers:
            Rewriter.erase_op(op)
