"""``fuse-blocks``: passes over a tensor in DRAM become one where one follows the other block by block.

Batch normalisation and an activation, say: each comes down as a loop of its own that loads a block, works on it and stores it.  In one
loop the second finds the block where the first has put it; and if nobody else reads the tensor in between, it never goes to DRAM.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation, SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import Rewriter

from compiler.dialects import tile
from compiler.dialects.machine import to_machine
from compiler.schedule.blocks import panel_budget
from compiler.transforms.allocate_memory import scratchpad_bytes, storage, touched, written


@dataclass(frozen=True)
class FuseBlocks(ModulePass):
    """Runs behind ``convert-train-to-tile``."""

    name = "fuse-blocks"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for program in op.body.block.ops:
            if isinstance(program, tile.ProgramOp):
                _fuse(program)


def _fuse(program: tile.ProgramOp) -> None:
    budget = panel_budget(to_machine(program.machine))
    last: tile.BlocksOp | None = None
    between: list[tile.TileOp] = []
    for op in [op for op in program.body.block.ops if isinstance(op, tile.TileOp)]:
        if not isinstance(op, tile.BlocksOp):
            between.append(op)
            continue
        if last is not None and _follows(last, op) and _can_sink(last, between) and _panel_bytes(last, op) <= budget:
            _merge(last, op)
        last, between = op, []


# -- what may be fused ------------------------------------------------------------------------------------------------


def _can_sink(op: tile.BlocksOp, past: Iterable[tile.TileOp]) -> bool:
    """Whether the operation may as well happen after these."""
    mine, changed = touched(op), written(op)
    return all(not written(other) & mine and not touched(other) & changed for other in past)


Part = tuple[SSAValue, int, int]
"""Block of a memory: (memory, axis, size)."""


def _part(value: SSAValue) -> Part:
    """What a value inside a ``tile.blocks`` stands for; all of a memory has no axis."""
    if isinstance(value.owner, tile.WindowOp):
        window = value.owner
        return window.input, window.axis.value.data, tile.memref_of(window.result).get_shape()[window.axis.value.data]
    return value, -1, 0


def _follows(first: tile.BlocksOp, second: tile.BlocksOp) -> bool:
    """Whether both go through the same blocks, and block i of the second needs of the first's results at most block i."""
    if (first.count, first.slots) != (second.count, second.slots) or not _moved(first).keys() & _loads(second).keys():
        return False
    shared = written(first) & touched(second) | touched(first) & written(second)
    parts: dict[SSAValue, set[Part]] = {}
    for op in (*first.body.block.ops, *second.body.block.ops):
        if not isinstance(op, tile.WindowOp):
            for operand in op.operands:
                if storage(operand) in shared:
                    parts.setdefault(storage(operand), set()).add(_part(operand))
    return all(len(found) == 1 and axis >= 0 for found in parts.values() for _, axis, _ in found)


def _loads(op: tile.BlocksOp) -> dict[Part, tile.CopyOp]:
    """The copies from DRAM, by what they bring."""
    return {_part(copy.src): copy for copy in op.body.block.ops if isinstance(copy, tile.CopyOp) and tile.in_dram(copy.src)}


def _stores(op: tile.BlocksOp) -> dict[Part, tile.CopyOp]:
    """The copies to DRAM, by where they go."""
    return {_part(copy.dst): copy for copy in op.body.block.ops if isinstance(copy, tile.CopyOp) and tile.in_dram(copy.dst)}


def _moved(op: tile.BlocksOp) -> dict[Part, SSAValue]:
    """The panels that hold a block of a tensor in DRAM."""
    return {part: copy.dst for part, copy in _loads(op).items()} | {part: copy.src for part, copy in _stores(op).items()}


def _panel_bytes(first: tile.BlocksOp, second: tile.BlocksOp) -> int:
    """Scratchpad bytes of what belongs to both operations alone, once they are one."""
    buffers = {value.owner for op in (first, second) for value in touched(op)}
    again = {copy.dst.owner for part, copy in _loads(second).items() if part in _moved(first)}
    own = [b for b in buffers - again if isinstance(b, tile.BufferOp) and _users(b) <= {first, second}]
    return sum(scratchpad_bytes(buffer) for buffer in own)


def _users(buffer: tile.BufferOp) -> set[Operation | None]:
    """The operations around those that use a buffer."""
    return {use.operation.parent_op() for use in buffer.result.uses}


# -- fusing -------------------------------------------------------------------------------------------------------------


def _merge(first: tile.BlocksOp, second: tile.BlocksOp) -> None:
    """The first one's work goes into the second, ahead of it."""
    panels = _moved(first)
    for part, copy in _loads(second).items():
        if part in panels:
            copy.dst.replace_all_uses_with(panels[part])
            _erase(copy, copy.src)
    body, front = second.body.block, second.body.block.first_op
    for op in list(first.body.block.ops):
        op.detach()
        body.add_op(op) if front is None else body.insert_op_before(op, front)
    Rewriter.erase_op(first)
    for copy in _stores(second).values():
        tensor = storage(copy.dst).owner
        if isinstance(tensor, tile.TensorOp) and all(_only_here(use.operation, second) for use in tensor.result.uses):
            _erase(copy, copy.dst)
            Rewriter.erase_op(tensor)
            _single(copy.src)


def _only_here(user: Operation, blocks: tile.BlocksOp) -> bool:
    """Whether the user is the window of a single copy to DRAM."""
    return isinstance(user, tile.WindowOp) and user.parent_op() is blocks and len(list(user.result.uses)) == 1 and tile.in_dram(user.result)


def _single(panel: SSAValue) -> None:
    """A panel that only the vector unit uses needs no second one."""
    if isinstance(panel.owner, tile.BufferOp) and not any(isinstance(use.operation, tile.CopyOp) for use in panel.uses):
        panel.owner.ring = None


def _erase(copy: tile.CopyOp, window: SSAValue) -> None:
    """A copy, and its window if nothing else uses it."""
    Rewriter.erase_op(copy)
    if isinstance(window.owner, tile.WindowOp) and window.first_use is None:
        Rewriter.erase_op(window.owner)
