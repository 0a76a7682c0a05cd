"""What may ride on a product: an estimate from the graph, for the choice of a plan (`fuse_epilogues.py` decides)."""

from math import prod

from xdsl.ir import Operation

from compiler.dialects import train
from compiler.dialects.train import shape_of
from compiler.schedule.blocks import WORD
from compiler.transforms.tile_graph import GraphView


def riders(view: GraphView, op: train.ProductOp) -> tuple[int, int]:
    """Panels of the result's size that the vector unit needs beside it, and DRAM bytes that are moved if it comes later.

    Elementwise work and sums of the same pass, forward or backward: each large tensor that it reads has a panel, and each that others need,
    one of them in the place of the result.
    """
    forward = op.role.data == "fwd"
    made = [view.root(op.result)]
    riding: set[Operation] = set()
    for value in made:  # it grows on the way
        for user in view.users(value):
            if isinstance(user, train.MapOp | train.ReduceOp | train.SliceOp) and (user.role.data == "fwd") == forward:
                if user not in riding and not isinstance(user, train.ReduceOp):
                    made.append(view.root(user.result))
                riding.add(user)
    if all(isinstance(user, train.SliceOp) for user in riding):
        return 0, 0
    words = {prod(shape_of(value)) for value in made}
    read = {view.root(value) for user in riding for value in user.operands if prod(shape_of(value)) in words}
    wanted = [value for value in made if any(user not in riding for user in view.users(value))]
    moves = 1 if made[0] in wanted else 2
    # The first of several that read a value finds its place still taken.
    several = any(value not in wanted and sum(isinstance(user, train.MapOp) for user in view.users(value)) > 1 for value in made)
    return len(read.difference(made)) + max(0, len(wanted) - 1) + several, moves * WORD * prod(shape_of(op.result))
