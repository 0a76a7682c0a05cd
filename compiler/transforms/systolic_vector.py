"""Copies and the vector unit's work as instructions."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod

from xdsl.ir import Operation, SSAValue

from compiler.dialects import tile
from compiler.dialects.systolic import OPS, loop_of
from compiler.dialects.train import to_ints
from compiler.schedule.access import broadcast, collapse
from compiler.schedule.tokens import Access
from compiler.transforms.systolic_context import Context, Piece
from compiler.transforms.systolic_streams import Loop, Memory, ring_of
from isa.instructions import IMM, Queue
from isa.stream import MAX_DIMS, Dim, Space, Stream
from isa.vector import FUNCTIONS


def _access(queue: Queue, memory: Memory, *, writes: bool) -> Access:
    return Access(queue, memory.space, *memory.span, writes)


def _provenance(context: Context, op: tile.TileOp) -> int:
    return context.provenance(op.layer.data, op.product.data)


def lower_copy(context: Context, op: tile.CopyOp) -> Piece:
    """A whole tensor between the memories."""
    src, dst = context.memory(op.src), context.memory(op.dst)
    inward = src.space is Space.dram
    queue = Queue.dma_in if inward else Queue.dma_out
    if inward:
        context.reads(op.src)
    else:
        context.writes(op.dst)
    provenance = _provenance(context, op)

    def make(streams: list[Stream]) -> Operation:
        return OPS["ld" if inward else "st"].of(provenance, dst=streams[0], src=streams[1])

    return swept(queue, [dst, src], dst.shape, [dst.strides, src.strides], make, provenance)


def lower_map(context: Context, op: tile.MapOp) -> Piece:
    """An elementwise function; operands broadcast by strides of 0."""
    out, ins = context.memory(op.out), [context.memory(v) for v in op.ins]
    patterns = [out.strides, *(broadcast(m.shape, m.strides, out.shape) for m in ins)]
    immediates = to_ints(op.imm_at) if op.imm_at else ()
    imm = op.imm.value.data if op.imm else 0.0

    provenance = _provenance(context, op)

    def make(streams: list[Stream]) -> Operation:
        operands: list[Stream | str] = list(streams[1:])
        for index in immediates:
            operands.insert(index, IMM)
        named = dict(zip("abc", operands, strict=False))
        return OPS["vec"].of(provenance, fn=op.fn.data, dst=streams[0], imm=imm, **named)

    assert len(ins) + len(immediates) == FUNCTIONS[op.fn.data].arity
    return swept(Queue.vector, [out, *ins], out.shape, patterns, make, provenance)


def lower_transpose(context: Context, op: tile.TransposeOp) -> Piece:
    """A permuted copy."""
    source, out = context.memory(op.input), context.memory(op.out)
    permuted = [source.strides[axis] for axis in to_ints(op.perm)]

    provenance = _provenance(context, op)

    def make(streams: list[Stream]) -> Operation:
        return OPS["vec"].of(provenance, fn="copy", dst=streams[0], a=streams[1])

    return swept(Queue.vector, [out, source], out.shape, [out.strides, permuted], make, provenance)


def lower_reduce(context: Context, op: tile.ReduceOp) -> Piece:
    """A reduction; kept dimensions come first, so that loops, if any are needed, never split a sum."""
    source, out = context.memory(op.input), context.memory(op.out)
    into = broadcast(out.shape, out.strides, source.shape)
    kept = sorted(range(len(source.shape)), key=lambda axis: into[axis] == 0)
    shape = [source.shape[axis] for axis in kept]
    patterns = [[into[axis] for axis in kept], [source.strides[axis] for axis in kept]]

    provenance = _provenance(context, op)

    def make(streams: list[Stream]) -> Operation:
        return OPS["red"].of(provenance, fn=op.fn.data, dst=streams[0], a=streams[1])

    return swept(Queue.vector, [out, source], shape, patterns, make, provenance)


def swept(
    queue: Queue, memories: Sequence[Memory], shape: Sequence[int], patterns: Sequence[Sequence[int]],
    make: Callable[[list[Stream]], Operation], provenance: int,
) -> Piece:  # fmt: skip
    """One instruction, its first memory written, in loops over the dimensions that a stream has no room for."""
    counts, strides = collapse(shape, patterns)
    outer = max(0, len(counts) - MAX_DIMS)
    streams = [
        memory.stream([Dim(n, s) for n, s in zip(counts[outer:], own[outer:], strict=True)], own[:outer])
        for memory, own in zip(memories, strides, strict=True)
    ]
    code = make(streams)
    for depth in reversed(range(outer)):
        code = loop_of(provenance, f"i{depth}", counts[depth], [code])
    accesses = [_access(queue, m, writes=i == 0) for i, m in enumerate(memories)]
    return Piece({queue: [code]}, accesses, provenance)


def lower_sgd(context: Context, op: tile.SgdOp) -> Piece:
    """The update in chunks: loaded, computed and stored behind one another."""
    return _Sgd(context, op).piece()


class _Sgd:
    def __init__(self, context: Context, op: tile.SgdOp) -> None:
        self.context, self.op = context, op
        self.provenance = context.provenance(op.layer.data, op.product.data)
        grad_in_dram = tile.in_dram(op.grad)
        self.moved: list[SSAValue] = [*([op.grad] if grad_in_dram else []), *op.weights]
        self.outside = [context.memory(v) for v in self.moved]
        self.inside = [context.memory(v) for v in op.buffers]
        size, self.words = prod(self.outside[-1].shape), self.inside[0].shape[0]
        self.loop = Loop("i", size, self.words)
        self.stack = [self.loop] if self.loop.count > 1 else []
        ragged = bool(self.stack) and size % self.words != 0
        self.dim = Dim(self.words, 4, size if ragged else None)
        self.written = range(len(op.weights))
        self.skip = 1 if grad_in_dram else 0

    def piece(self) -> Piece:
        transfers_in = [
            OPS["ld"].of(self.provenance, dst=self.chunk(i), src=self.whole(i)) for i in range(len(self.moved))
        ]
        transfers_out = [
            OPS["st"].of(self.provenance, dst=self.whole(self.skip + i), src=self.chunk(self.skip + i)) for i in self.written
        ]
        for value in self.moved:
            self.context.reads(value)
        for value in self.op.weights:
            self.context.writes(value)
        code = {
            Queue.dma_in: self.repeat("update.empty", transfers_in, "update.full"),
            Queue.vector: self.repeat("update.full", self.compute(), "update.done"),
            Queue.dma_out: self.repeat("update.done", transfers_out, "update.empty"),
        }
        accesses = [_access(Queue.dma_in, m, writes=False) for m in self.outside]
        accesses += [_access(Queue.dma_in, m, writes=True) for m in self.inside]
        accesses += [_access(Queue.vector, m, writes=True) for m in self.inside]
        accesses += [_access(Queue.dma_out, m, writes=False) for m in self.inside[self.skip :]]
        accesses += [_access(Queue.dma_out, m, writes=True) for m in self.outside[self.skip :]]
        if not self.skip:
            accesses.append(_access(Queue.vector, self.context.memory(self.op.grad), writes=False))
        return Piece(code, accesses, self.provenance)

    def whole(self, index: int) -> Stream:
        return self.swept(self.outside[index])

    def chunk(self, index: int) -> Stream:
        memory = self.inside[index]
        return memory.stream([self.dim], (), ring_of(memory, 0, self.stack))

    def grad(self) -> Stream:
        if self.skip:
            return self.chunk(0)
        return self.swept(self.context.memory(self.op.grad))

    def swept(self, memory: Memory) -> Stream:
        """A whole tensor, chunk by chunk."""
        return replace(memory.whole(), dims=(self.dim,), strides=(self.words * 4,) if self.stack else ())

    def repeat(self, before: str, body: Sequence[Operation], after: str) -> list[Operation]:
        """The body between its handshakes, for every chunk."""
        initial = {"update.empty": self.context.slots}
        ops = [
            OPS["wait"].of(self.provenance, sem=self.context.semaphore(before, initial.get(before, 0))),
            *body,
            OPS["signal"].of(self.provenance, sem=self.context.semaphore(after, initial.get(after, 0))),
        ]
        if not self.stack:
            return ops
        return [loop_of(self.provenance, "i", self.loop.count, ops)]

    def compute(self) -> list[Operation]:
        """v ← μ·v + g + λ·w; w ← w − η·v, in place; without momentum v is g, and λ shrinks w beforehand."""
        lr, momentum, decay = (float(f.value.data) for f in (self.op.lr, self.op.momentum, self.op.decay))
        grad, weight = self.grad(), self.chunk(self.skip)
        ops: list[Operation] = []
        if momentum:
            velocity = self.chunk(self.skip + 1)
            ops.append(self.vec("fma", velocity, velocity, IMM, grad, momentum))
            if decay:
                ops.append(self.vec("fma", velocity, weight, IMM, velocity, decay))
            return [*ops, self.vec("fma", weight, velocity, IMM, weight, -lr)]
        if decay:
            ops.append(self.vec("mul", weight, weight, IMM, None, 1.0 - lr * decay))
        return [*ops, self.vec("fma", weight, grad, IMM, weight, -lr)]

    def vec(self, fn: str, dst: Stream, a: Stream, b: str, c: Stream | None, imm: float) -> Operation:
        third = {} if c is None else {"c": c}
        return OPS["vec"].of(self.provenance, fn=fn, dst=dst, a=a, b=b, imm=imm, **third)
