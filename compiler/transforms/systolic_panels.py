"""Panels of a nest: what its queues do to bring them in, clear them and take them out."""

from collections.abc import Callable, Sequence
from math import prod

from xdsl.ir import Operation

from compiler.dialects import tile
from compiler.dialects.systolic import loop_of
from compiler.schedule.axes import parse_axes, strides_of
from compiler.schedule.partition import numbered
from compiler.transforms.allocate_memory import storage
from compiler.transforms.systolic_nest import Nest, Stack
from compiler.transforms.systolic_streams import Memory, dim_of, ring_of, start_of
from isa.instructions import Queue
from isa.stream import MAX_DIMS, Dim, Operand, Stream

Panelled = tile.StageOp | tile.EpilogueOp
"""What says which panel there is of a tensor."""


def panel_token(nest: Nest, stage: tile.StageOp, state: str, number: int = 0) -> int:
    """Semaphore of a panel: full (from DRAM, or of zeros), done (by an array, whose number it is), empty."""
    way, slots = stage.way.data, panel_slots(nest, stage)
    same = [s for s in nest.stages if s.way == stage.way and panel_slots(nest, s) == slots]
    name = f"panel.{way}" if slots > 1 or way == "inout" else f"single.{way}"
    return nest.context.semaphore(numbered(f"{name}{same.index(stage)}", number) + f".{state}", slots if state == "empty" else 0)


def own_panels(nest: Nest, stage: Panelled) -> bool:
    """Whether each array has panels of its own: the loop that they share chooses them."""
    return nest.arrays > 1 and nest.across in stage.outside.data


def panel_slots(nest: Nest, stage: Panelled) -> int:
    """Slots of a panel's ring, or of an array's part of it."""
    return Memory.of(stage.panel).slots // (nest.arrays if own_panels(nest, stage) else 1)


def panel_stream(
    nest: Nest, stage: Panelled, dims: Sequence[Dim], strides: Sequence[int], around: Stack, number: int, offset: int = 0, ahead: int = 0
) -> Stream:
    """Words of the panel that the loops around choose, or of one so many ahead; ``number``: of which array, where each has its own."""
    panel, own = Memory.of(storage(stage.panel)), own_panels(nest, stage)
    ring = ring_of(panel, ahead, around, nest.arrays if own else 1)
    first = number * panel_slots(nest, stage) * panel.slot_bytes if own else 0
    return panel.stream(dims, strides, ring, Operand[stage.tag.data], first + offset)


def parts(nest: Nest, stage: Panelled, stack: Stack) -> list[tuple[Sequence[int], Stack]]:
    """The arrays that each panel is for that a queue of all serves here, and the loops as these see them: one, or all together."""
    if own_panels(nest, stage):
        return [([number], own) for number, own in nest.views(stack)]
    return [(range(nest.arrays), nest.views(stack)[0][1])]


def _handshakes(
    nest: Nest, stage: tile.StageOp, stack: Stack, before: str, move: Callable[[int, Stack], Operation], after: str
) -> list[Operation]:
    """What a queue that all arrays share does with a panel: with each array's own, or with the one of all, for which each has its token."""
    code: list[Operation] = []
    for numbers, own in parts(nest, stage, stack):
        waits, signals = (
            [panel_token(nest, stage, state, number) for number in numbers[: 1 if _between(stage, state) else None]]
            for state in (before, after)
        )  # fmt: skip
        code += [*map(nest.wait, waits), move(numbers[0], own), *map(nest.signal, signals)]
    return code


def _between(stage: tile.StageOp, state: str) -> bool:
    """Whether the token goes from one such queue to another, whatever the arrays do."""
    return state == "empty" and stage.way.data in ("zeroed", "inout")


def load_panel(nest: Nest, op: tile.StageOp, stack: Stack) -> list[Operation]:
    """A panel from DRAM, before the array works on it."""
    nest.touch(Queue.dma_in, Memory.of(op.tensor), writes=False)
    nest.touch(Queue.dma_in, Memory.of(op.panel), writes=True)
    nest.context.reads(op.tensor)
    return _handshakes(nest, op, stack, "empty", lambda number, own: _moved_panel(nest, op, own, number), "full")


def clear_panel(nest: Nest, op: tile.StageOp, stack: Stack) -> list[Operation]:
    """Zeros for the array to add to."""
    panel = Memory.of(op.panel)
    nest.touch(Queue.vector, panel, writes=True)

    def fill(number: int, own: Stack) -> Operation:
        whole = panel_stream(nest, op, [Dim(prod(panel.shape), panel.dtype.size)], (), own, number)
        return nest.zeros(whole)

    return _handshakes(nest, op, stack, "empty", fill, "full")


def store_panel(nest: Nest, op: tile.StageOp, stack: Stack) -> list[Operation]:
    """A panel of results to DRAM, after the array has worked on it."""
    if op.way.data == "in":
        return []
    nest.touch(Queue.dma_out, Memory.of(op.tensor), writes=True)
    nest.touch(Queue.dma_out, Memory.of(op.panel), writes=False)
    nest.context.writes(op.tensor)
    return _handshakes(nest, op, stack, "done", lambda number, own: _moved_panel(nest, op, own, number, out=True), "empty")


def _moved_panel(nest: Nest, op: tile.StageOp, stack: Stack, number: int, *, out: bool = False) -> Operation:
    """The transfer between a tensor and a panel, in loops over the dimensions that a stream has no room for."""
    tensor, panel, tag = Memory.of(op.tensor), Memory.of(op.panel), Operand[op.tag.data]
    dims = _panel_dims(nest, tensor, panel, op, stack)
    loops = dims[: max(0, len(dims) - MAX_DIMS)]
    outside, inside = ([dim[i] for dim in dims[len(loops) :]] for i in (0, 1))
    start = start_of(strides_of(op.axes.data, tensor.strides), stack)
    far = [*nest.moved(tensor, op.axes.data, stack), *(dim.stride for dim, _ in loops)]
    near = [*(0 for _ in stack), *(dim.stride for _, dim in loops)]
    within = panel.base - Memory.of(storage(op.panel)).base
    streams = tensor.stream(outside, far, None, tag, start), panel_stream(nest, op, inside, near, stack, number, within)
    code = nest.make("st", dst=streams[0], src=streams[1]) if out else nest.make("ld", dst=streams[1], src=streams[0])
    for depth, (dim, _) in reversed(list(enumerate(loops))):
        code = loop_of(nest.provenance(), f"i{depth}", dim.count, [code], limit=dim.limit or 0, level=dim.level)
    return code


def _panel_dims(nest: Nest, tensor: Memory, panel: Memory, op: tile.StageOp, stack: Stack) -> list[tuple[Dim, Dim]]:
    """A panel's dimensions as they lie in the tensor and in the panel; neighbours that lie side by side in both are one."""
    dims: list[tuple[Dim, Dim]] = []
    for terms, extent, *strides in zip(parse_axes(op.axes.data), panel.shape, tensor.strides, panel.strides, strict=True):
        lane = next((axis for axis, _ in terms if axis in nest.tile and axis in op.outside.data), None)
        if lane is not None:
            far, near = (dim_of(lane, nest.sizes[lane], nest.tile[lane], stride, stack) for stride in strides)
        else:
            far, near = (Dim(extent, stride) for stride in strides)
        if far.count == 1 and far.limit is None:
            continue
        whole = far.limit is None and dims and dims[-1][0].limit is None
        if whole and all(outer.stride == inner.stride * inner.count for outer, inner in zip(dims[-1], (far, near), strict=True)):
            count = dims.pop()[0].count * far.count
            far, near = Dim(count, far.stride), Dim(count, near.stride)
        dims.append((far, near))
    return dims or [(Dim(1, tensor.dtype.size), Dim(1, panel.dtype.size))]
