"""Work in blocks, dealt out: one queue loads, the vector unit computes, another queue stores, each in its own loop."""

from collections.abc import Callable, Sequence

from xdsl.ir import Operation

from compiler.dialects import tile
from compiler.dialects.systolic import OPS, loop_of
from compiler.transforms.systolic_context import Context, Piece
from compiler.transforms.systolic_streams import Loop
from isa.instructions import Queue


def lower_blocks(context: Context, op: tile.BlocksOp, lower: Callable[[Context, tile.TileOp], Piece]) -> Piece:
    """The pieces of the operations inside, in one loop for each queue."""
    provenance = context.provenance(op.layer.data, op.product.data)
    count = op.count.value.data
    context.around = [Loop("i", count, 1)] if count > 1 else []
    pieces = [lower(context, inner) for inner in op.body.block.ops if isinstance(inner, tile.TileOp)]
    context.around = []
    code: dict[Queue, list[Operation]] = {}
    for piece in pieces:
        for queue, ops in piece.code.items():
            code.setdefault(queue, []).extend(ops)
    line: list[Queue] = [queue for queue in (Queue.dma_in, Queue.vector, Queue.dma_out) if queue in code]
    for queue, ops in code.items():
        at = line.index(queue)
        before = [_token(context, provenance, op.slots.value.data, "wait", pair) for pair in _around(line, at, waits=True)]
        after = [_token(context, provenance, op.slots.value.data, "signal", pair) for pair in _around(line, at, waits=False)]
        body = [*before, *ops, *after]
        code[queue] = [loop_of(provenance, "i", count, body)] if count > 1 else body
    accesses = list(dict.fromkeys(access for piece in pieces for access in piece.accesses))
    return Piece(code, accesses, provenance)


def _around(line: Sequence[Queue], at: int, *, waits: bool) -> list[tuple[Queue, Queue, str]]:
    """The tokens between a queue and its neighbours on the line: full panels go down, empty ones come back."""
    found = []
    if at > 0:
        found.append((line[at - 1], line[at], "full") if waits else (line[at], line[at - 1], "empty"))
    if at + 1 < len(line):
        found.append((line[at + 1], line[at], "empty") if waits else (line[at], line[at + 1], "full"))
    return found


def _token(context: Context, provenance: int, slots: int, op: str, pair: tuple[Queue, Queue, str]) -> Operation:
    giver, taker, state = pair
    name = f"block{slots}.{giver.name}.{taker.name}.{state}"
    return OPS[op].of(provenance, sem=context.semaphore(name, slots if state == "empty" else 0))

