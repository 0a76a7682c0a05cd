"""``spill``: where the scratchpad has no room for all tensors at once, some wait in DRAM between two of their uses.

Mostly they are what backward needs again: stored once after forward has used it, loaded before backward does.  A tensor that DRAM holds
already is not stored again.  Counted like any other transfer, under the product ``spill`` of the layer that it is moved for.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, Operation, SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import Rewriter

from compiler.dialects import tile
from compiler.dialects.machine import to_machine
from compiler.schedule.spilling import Tenant, spill
from compiler.transforms.allocate_memory import scratchpad_bytes, storage, uses_of, written

PRODUCT = "spill"


@dataclass(frozen=True)
class Spill(ModulePass):
    """Runs before ``allocate-memory``, which says so if there is no room even so."""

    name = "spill"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for program in op.body.block.ops:
            if isinstance(program, tile.ProgramOp):
                _spill(program)


def _spill(program: tile.ProgramOp) -> None:
    uses = uses_of(program)
    tenants = {buffer: Tenant(scratchpad_bytes(buffer), at, buffer.ring is None) for buffer, at in uses.buffers.items()}
    if spill(list(tenants.values()), to_machine(program.machine).scratchpad.bytes):
        gaps: dict[SSAValue, list[tuple[int, int]]] = {buffer.result: tenant.gaps for buffer, tenant in tenants.items() if tenant.gaps}
        _Mover(program.body.block, gaps).walk(uses.work)


class _Mover:
    """Walks the operations in order, writes the transfers, and makes later operations use the tensor where it is by then."""

    def __init__(self, block: Block, gaps: Mapping[SSAValue, Sequence[tuple[int, int]]]) -> None:
        self.block = block
        self.leaving: dict[int, list[SSAValue]] = defaultdict(list)
        self.coming: dict[int, list[SSAValue]] = defaultdict(list)
        for buffer, own in gaps.items():
            for before, after in own:
                self.leaving[before].append(buffer)
                self.coming[after].append(buffer)
        self.now = {buffer: buffer for buffer in gaps}
        """Where the words of a buffer are at present, and those of views of it that were made anew."""
        self.views: dict[SSAValue, list[SSAValue]] = defaultdict(list)
        """Those views, by buffer."""
        self.buffers = dict(self.now)
        """The buffer that one made later stands for."""
        self.copies: dict[SSAValue, SSAValue] = {}
        """Memory in DRAM that holds the same words as a buffer for as long as it has to."""
        self.last_load = {buffer: own[-1][1] for buffer, own in gaps.items()}
        self.writes: dict[SSAValue, list[int]] = defaultdict(list)
        """The operations that write to each memory."""

    def walk(self, work: Sequence[tile.TileOp]) -> None:
        for index, op in enumerate(work):
            for memory in written(op):
                self.writes[memory].append(index)
        for index, op in enumerate(work):
            for buffer in self.coming.get(index, ()):
                self.load(buffer, op)
            for inner in op.walk():
                for number, operand in enumerate(inner.operands):
                    inner.operands[number] = self.at_present(operand, op)
            self.note(op, index)
            for buffer in self.leaving.get(index, ()):
                self.store(buffer, op)
        for view in reversed([op for op in self.block.ops if isinstance(op, tile.ViewOp | tile.SliceOp)]):
            if view.result.first_use is None:
                Rewriter.erase_op(view)

    def at_present(self, value: SSAValue, user: Operation) -> SSAValue:
        """The memory that a value stands for by now: views of what has moved are made anew."""
        view = value.owner
        if value not in self.now and isinstance(view, tile.ViewOp | tile.SliceOp):
            source = self.at_present(view.input, user)
            if source is not view.input:
                again = view.clone({view.input: source})
                self.block.insert_op_before(again, user)
                self.now[value] = again.result
                self.views[storage(value)].append(value)
        return self.now.get(value, value)

    def load(self, buffer: SSAValue, user: tile.TileOp) -> None:
        again = tile.BufferOp(_name(buffer), tile.memref_of(buffer))
        copy = tile.CopyOp(self.copies[buffer], again.result, user.layer.data, PRODUCT)
        self.block.insert_ops_before([again, copy], user)
        for view in self.views.pop(buffer, ()):
            del self.now[view]
        self.now[buffer] = again.result
        self.buffers[again.result] = buffer

    def store(self, buffer: SSAValue, user: tile.TileOp) -> None:
        if buffer in self.copies:
            return
        type = tile.memref_of(buffer)
        home = tile.TensorOp("scratch", _name(buffer), tile.memref(type.get_shape(), type.element_type, tile.DRAM))
        copy = tile.CopyOp(self.now[buffer], home.result, user.layer.data, PRODUCT)
        self.block.insert_ops_after([home, copy], user)
        self.copies[buffer] = home.result

    def note(self, op: tile.TileOp, index: int) -> None:
        """A buffer that is written to has no copy any more; a transfer of all of it makes one, if nothing writes to that too early."""
        for memory in written(op):
            self.copies.pop(self.buffers.get(memory, memory), None)
        if isinstance(op, tile.CopyOp):
            outside, inside = (op.src, op.dst) if tile.in_dram(op.src) else (op.dst, op.src)
            buffer = self.buffers.get(inside)
            if buffer is not None and not any(index < at < self.last_load[buffer] for at in self.writes[storage(outside)]):
                self.copies[buffer] = outside


def _name(buffer: SSAValue) -> str:
    """A name for another home of the buffer."""
    assert isinstance(buffer.owner, tile.BufferOp)
    return f"{buffer.owner.symbol.data}.spilled"
