"""Pooling as vector instructions, in loops over the window's taps."""

from collections.abc import Callable, Sequence

from xdsl.ir import Operation

from compiler.dialects import tile
from compiler.dialects.systolic import OPS, loop_of
from compiler.dialects.train import to_ints
from compiler.schedule.access import collapse
from compiler.schedule.tokens import Access
from compiler.transforms.systolic_context import Context, Piece
from compiler.transforms.systolic_streams import Memory
from compiler.transforms.systolic_vector import swept
from isa.instructions import IMM, Queue
from isa.stream import MAX_DIMS, Dim, Stream

LOWEST = -3.4028234663852886e38
"""The least fp32 number: what a maximum starts from."""


def lower_pool(context: Context, op: tile.PoolOp) -> Piece:
    """out ← fn(out, window) for each tap."""
    source, out = context.memory(op.input), context.memory(op.out)
    window = _Window(context, op, source, [out], out.shape)
    fn = {"max": "max", "sum": "add"}[op.fn.data]

    def tap(streams: list[Stream]) -> list[Operation]:
        win, acc = streams
        return [window.vec(fn, dst=acc, a=acc, b=win)]

    start = {"max": LOWEST, "sum": 0.0}[op.fn.data]
    return window.piece(tap, {0: start}, written=[1])


def lower_pool_grad(context: Context, op: tile.PoolGradOp) -> Piece:
    """dX's window += dY for each tap; of a maximum only where X is Y and no earlier tap was."""
    memories, out = [context.memory(v) for v in op.ins], context.memory(op.out)
    if op.fn.data == "sum":
        sweep = _Window(context, op, out, memories, memories[0].shape)
        return sweep.piece(lambda s: [sweep.vec("add", dst=s[0], a=s[0], b=s[1])], {}, written=[0])
    x, y, grad, left, chosen = memories
    window = _Window(context, op, out, [y, grad, left, chosen], grad.shape, x)

    def tap(streams: list[Stream]) -> list[Operation]:
        into, y, grad, left, chosen, win = streams
        return [
            window.vec("eq", dst=chosen, a=win, b=y),
            window.vec("mul", dst=chosen, a=chosen, b=left),
            window.vec("sub", dst=left, a=left, b=chosen),
            window.vec("fma", dst=into, a=chosen, b=grad, c=into),
        ]

    return window.piece(tap, {2: 1.0}, written=[0, 3, 4])


class _Window:
    """Streams that slide: ``slid`` (and ``also``) tap by tap, the others as they are, all with the pooled ``shape``."""

    def __init__(
        self, context: Context, op: tile.PoolOp | tile.PoolGradOp, slid: Memory, others: Sequence[Memory], shape: Sequence[int],
        also: Memory | None = None,
    ) -> None:  # fmt: skip
        self.provenance = context.provenance(op.layer.data, op.product.data)
        sliding = [slid] if also is None else [slid, also]
        self.memories = [slid, *others, *sliding[1:]]
        strides, dilations, kernel = (to_ints(a) for a in (op.strides, op.dilations, op.kernel))
        step = [[s * by for s, by in zip(m.strides, strides, strict=True)] for m in sliding]
        patterns = [step[0], *(m.strides for m in others), *step[1:]]
        self.counts, self.patterns = collapse(shape, patterns)
        self.taps = [axis for axis, extent in enumerate(kernel) if extent > 1]
        self.kernel = kernel
        moves = [[m.strides[axis] * dilations[axis] for axis in self.taps] for m in sliding]
        still = [0] * len(self.taps)
        self.moves = [moves[0], *([still] * len(others)), *moves[1:]]

    def vec(self, fn: str, *, imm: float = 0.0, **operands: Stream | str) -> Operation:
        return OPS["vec"].of(self.provenance, fn=fn, imm=imm, **operands)

    def fill(self, memory: Memory, value: float) -> list[Operation]:
        def make(streams: list[Stream]) -> Operation:
            return self.vec("copy", dst=streams[0], a=IMM, imm=value)

        return swept(Queue.vector, [memory], memory.shape, [memory.strides], make, self.provenance).code[Queue.vector]

    def piece(self, tap: Callable[[list[Stream]], list[Operation]], fills: dict[int, float], written: Sequence[int]) -> Piece:
        """Fills of the memories beside the slid one, then the taps; ``written``: which memories these write."""
        outer = max(0, len(self.counts) - MAX_DIMS)
        loops = [*((f"i{d}", self.counts[d]) for d in range(outer)), *((f"t{axis}", self.kernel[axis]) for axis in self.taps)]
        streams = [
            m.stream([Dim(n, s) for n, s in zip(self.counts[outer:], own[outer:], strict=True)], [*own[:outer], *moves])
            for m, own, moves in zip(self.memories, self.patterns, self.moves, strict=True)
        ]
        code = tap(streams)
        for name, count in reversed(loops):
            code = [loop_of(self.provenance, name, count, code)]
        starts = [op for i, value in fills.items() for op in self.fill(self.memories[1 + i], value)]
        accesses = [
            Access(Queue.vector, m.space, *m.span, index in written) for index, m in enumerate(self.memories)
        ]
        return Piece({Queue.vector: [*starts, *code]}, accesses, self.provenance)
