"""``convert-tile-to-systolic``: deal the tile level's one sequence out to the machine's queues.

Every operation becomes a piece of code for each queue that takes part in it.  Within a nest the queues meet at rings of tiles and
panels; between operations, wherever one touches memory that an earlier one touched, a token orders them.
"""

from dataclasses import dataclass

from xdsl.context import Context as XdslContext
from xdsl.dialects.builtin import ModuleOp, StringAttr, TensorType
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.passes import ModulePass

from compiler.dialects import systolic, tile
from compiler.dialects.integers import integer
from compiler.dialects.systolic import OPS
from compiler.discard import discard
from compiler.schedule import tokens
from compiler.transforms.allocate_memory import storage
from compiler.transforms.systolic_blocks import lower_blocks
from compiler.transforms.systolic_context import Context, Piece
from compiler.transforms.systolic_nests import lower_nest
from compiler.transforms.systolic_pool import lower_pool, lower_pool_grad
from compiler.transforms.systolic_vector import lower_copy, lower_map, lower_reduce, lower_sgd, lower_transpose
from isa.errors import UserError
from isa.instructions import Queue


@dataclass(frozen=True)
class ConvertTileToSystolic(ModulePass):
    """See the module's docstring."""

    name = "convert-tile-to-systolic"

    def apply(self, ctx: XdslContext, op: ModuleOp) -> None:
        for program in list(op.body.block.ops):
            if isinstance(program, tile.ProgramOp):
                op.body.block.insert_op_before(_lower(program), program)
                discard(program)


def _lower(program: tile.ProgramOp) -> systolic.ProgramOp:
    context = Context(program)
    symbols = [s for op in program.body.block.ops if (s := _symbol(op)) is not None]
    work = [op for op in program.body.block.ops if isinstance(op, tile.TileOp) and not _moves_nothing(op)]
    pieces = []
    for op in work:
        context.next_operation()
        pieces.append(_piece(context, op))
    if program.kept is not None:
        context.keeps(program.kept.value.data)
    queues: dict[Queue, list[Operation]] = {queue: [] for queue in context.machine.queues}
    for piece, order in zip(pieces, tokens.order([p.accesses for p in pieces]), strict=True):
        for queue in queues:
            waits = [_token(context, "wait", pair, piece) for pair in order.waits if pair[1] is queue]
            signals = [_token(context, "signal", pair, piece) for pair in order.signals if pair[0] is queue]
            queues[queue] += [*waits, *piece.code.get(queue, []), *signals]
    tables: list[Operation] = [*symbols]
    for name, initial in context.semaphores.items():
        tables.append(systolic.SemaphoreOp(properties={"symbol": StringAttr(name), "initial": integer(initial)}))
    for entry in context.table():
        numbers = {"group": entry.group, "macs": entry.macs, "traffic": entry.dram_bytes}
        words = {"layer": StringAttr(entry.layer), "product": StringAttr(entry.product)}
        tables.append(systolic.ProvenanceOp(properties={**words, **{k: integer(v) for k, v in numbers.items()}}))
    code = [systolic.QueueOp(queue, ops) for queue, ops in queues.items()]
    return systolic.ProgramOp(program.sym_name.data, program.machine, program.schedule.data, [*tables, *code])


def _moves_nothing(op: tile.TileOp) -> bool:
    """Whether the result is a tensor without elements, as slices and splits may leave."""
    match op:
        case tile.CopyOp():
            return 0 in tile.memref_of(op.dst).get_shape()
        case tile.MapOp() | tile.TransposeOp() | tile.ReduceOp():
            return 0 in tile.memref_of(op.out).get_shape()
        case _:
            return False


def _token(context: Context, op: str, pair: tokens.Pair, piece: Piece) -> Operation:
    return OPS[op].of(piece.provenance, sem=context.semaphore(f"{pair[0].name}.{pair[1].name}"))


def _piece(context: Context, op: tile.TileOp) -> Piece:
    match op:
        case tile.NestOp():
            return lower_nest(context, op, _piece)
        case tile.CopyOp():
            return lower_copy(context, op)
        case tile.MapOp():
            return lower_map(context, op)
        case tile.ReduceOp():
            return lower_reduce(context, op)
        case tile.TransposeOp():
            return lower_transpose(context, op)
        case tile.BlocksOp():
            return lower_blocks(context, op, _piece)
        case tile.PoolOp():
            return lower_pool(context, op)
        case tile.PoolGradOp():
            return lower_pool_grad(context, op)
        case tile.SgdOp():
            return lower_sgd(context, op)
        case _:
            raise UserError(op.name, "convert-tile-to-systolic does not know this operation")


def _symbol(op: Operation) -> systolic.SymbolOp | None:
    """The symbol of a tensor, a buffer or a published name; None for anything else."""
    value: SSAValue
    more: dict[str, Attribute | None] = {}
    match op:
        case tile.TensorOp():
            value, name, kind = op.result, op.symbol, op.kind.data
            more = {"classes": op.classes, "ignored": op.ignored, "value": op.value}
        case tile.BufferOp():
            value, name, kind = op.result, op.symbol, "scratch"
        case tile.PublishOp():
            value, name, kind = op.input, op.target, "output"
        case _:
            return None
    home = storage(value).owner
    assert isinstance(home, tile.TensorOp | tile.BufferOp)
    type = tile.memref_of(value)
    if home.address is None:
        raise UserError(home.symbol.data, "has no address yet; run allocate-memory before convert-tile-to-systolic")
    return systolic.SymbolOp(
        properties={
            "space": StringAttr("dram" if tile.in_dram(value) else "spad"),
            "symbol": name,
            "address": home.address,
            "kind": StringAttr(kind),
            "type": TensorType(type.element_type, type.get_shape()),
            **more,
        }
    )
