"""Which loop of a nest the arrays of a machine may share, and which they do (see ``compiler/schedule/partition.py``)."""

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING

from compiler.dialects import tile, train
from compiler.schedule import blocks
from compiler.schedule.axes import shared
from compiler.schedule.mapping import SUMMED
from compiler.schedule.partition import Candidate, choose
from compiler.transforms.allocate_memory import nbytes, scratchpad_bytes, storage

if TYPE_CHECKING:
    from compiler.transforms.tile_nests import Nest


def shared_loop(nest: "Nest") -> Candidate | None:
    """The loop that the arrays share, once it is known where panels change; None: the first array has all."""
    order = nest.order()
    turns = blocks.turns_of(nest.sizes, nest.tile)
    candidates = [candidate for axis in (*order, *nest.time) if (candidate := _shareable(nest, axis, order, turns[axis]))]
    tiles, beats = prod(turns[axis] for axis in order), len(nest.products) * prod(nest.sizes[axis] for axis in nest.time)
    partition = nest.builder.choice(nest.products[0]).partition
    return choose(partition, candidates, tiles, beats, nest.builder.machine, nest.builder.slots)


def _shareable(nest: "Nest", axis: str, order: Sequence[str], turns: int) -> Candidate | None:
    """What dealing out the loop over an axis means; None where it cannot be.

    It cannot where turns write to the same words, or where there is no room for panels of each array. What streams is summed where it
    goes, so only accumulators can be parts of a sum; and only those on their way to DRAM.
    """
    adds, streams = False, axis in nest.time
    if turns == 1 or axis.isupper() or not _has_room(nest, axis, min(turns, nest.builder.machine.arrays)):
        return None
    for op in nest.products:
        summed = nest.classes[axis] == SUMMED[op.role.data]
        adds |= summed
        if shared(op.stored[2], axis) or (summed and not (streams and _passes_vector_unit(nest, op))):
            return None
    common = [stage.outside.data for stage in nest.stages if not streams and axis not in stage.outside.data]
    inside = [outside for outside in common if blocks.enclosing(order, outside)[order.index(axis) :]]
    return Candidate(axis, nest.classes[axis], turns, streams, adds, bool(inside))


def _has_room(nest: "Nest", axis: str, arrays: int) -> bool:
    """Whether each array can have panels of its own, where the loop over the axis chooses them, beside those of what is to ride."""
    panels = {storage(stage.panel).owner: arrays if axis in stage.outside.data else 1 for stage in nest.stages}
    if set(panels.values()) <= {1}:
        return True
    beside = {tensor.name: tensor.beside for tensor in nest.streamed_from_dram}
    taken = sum(beside[stage.tag.data] * nbytes(stage.panel) for stage in nest.stages if stage.way.data in ("out", "zeroed"))
    taken += sum(number * scratchpad_bytes(panel) for panel, number in panels.items() if isinstance(panel, tile.BufferOp))
    return taken <= nest.room


def _passes_vector_unit(nest: "Nest", op: train.ProductOp) -> bool:
    """Whether something can be added to the product's accumulators on their way."""
    stored = nest.wanted_in_dram(op.result) or (nest.in_blocks and SUMMED[op.role.data] == "b")
    return nest.mapping.beat(op.role.data) == "dw" and nest.fused is None and stored
