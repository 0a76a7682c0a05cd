"""What forward leaves to backward, and the DRAM traffic that this costs at the least."""

from collections.abc import Callable, Iterable
from math import prod

from xdsl.ir import Operation, SSAValue

from compiler.dialects import train
from compiler.dialects.train import shape_of
from compiler.schedule.blocks import WORD

FORWARD = ("fwd", "loss")


def least_traffic(made: int, read: int, capacity: int) -> int:
    """DRAM bytes that the turn from forward to backward costs beyond each tensor's first read, if nothing is computed twice.

    Args:
        made: bytes that forward makes and backward needs, and nobody else.
        read: bytes that forward has read from DRAM, or writes there anyway, and backward needs again.
        capacity: bytes of the scratchpad: as much can wait there. What is made would go out and come in, so it stays first.
    """
    stays = min(made, capacity)
    return 2 * (made - stays) + max(0, read - (capacity - stays))


def needed_again(
    graph: train.GraphOp, root: Callable[[SSAValue], SSAValue], users: Callable[[SSAValue], Iterable[Operation]]
) -> tuple[int, int]:
    """Bytes of ``made`` and ``read`` in :func:`least_traffic`.

    Parts of tensors, of which not all may be needed, are left out, and what lies in a larger tensor that backward reads too.

    Args:
        graph: forward, loss and backward, in this order.
        root: the value behind reshapes.
        users: operations that read a value, reshapes seen through.
    """
    order = {op: number for number, op in enumerate(graph.body.block.ops)}
    turn = min((order[op] for op in order if _is_backward(op)), default=len(order))
    made = read = 0

    def in_larger(readers: Iterable[Operation]) -> bool:
        larger = [op for op in readers if isinstance(op, train.PlaceOp | train.ConcatOp) and order[op] < turn]
        return any(order[op] >= turn for place in larger for op in users(place.result) if not isinstance(op, train.OutputOp))

    for value in dict.fromkeys(root(result) for op in order for result in op.results):
        readers = list(users(value))
        if any(isinstance(op, train.SliceOp) for op in (value.owner, *readers)) or in_larger(readers):
            continue
        size = WORD * prod(shape_of(value))
        at = [order[op] for op in readers if not isinstance(op, train.OutputOp)]
        assert isinstance(value.owner, Operation)
        if order[value.owner] >= turn or max(at, default=0) < turn:
            continue
        if isinstance(value.owner, train.LeafOp | train.ConstantOp):
            read += size if min(at) < turn else 0
        elif len(at) < len(readers):
            read += size
        else:
            made += size
    return made, read


def _is_backward(op: Operation) -> bool:
    role = getattr(op, "role", None)
    return isinstance(op, train.UpdateOp) or (role is not None and role.data not in FORWARD)
