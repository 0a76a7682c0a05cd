"""One program for each rule of the checker that breaks just that rule, and one that breaks none."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from isa.check import check
from isa.dtypes import DType
from isa.errors import UserError
from isa.instructions import ALWAYS, HELD, IMM, NEVER, Instruction, Queue, When, make
from isa.machine import Array, Machine
from isa.program import Program, Semaphore, Symbol
from isa.stream import Dim, Ring, Space, Stream

Change = Callable[[Program], None]
ROW = (Dim(2, 4),)
BLOCK = (Dim(4, 8), Dim(2, 4))


def spad(base: int, *dims: Dim, strides: tuple[int, ...] = (), ring: Ring | None = None) -> Stream:
    return Stream(Space.spad, DType.f32, base, dims, strides, ring)


def change(queue: Queue, index: int, **args: object) -> Change:
    """Give an instruction of the tile other arguments."""

    def apply(program: Program) -> None:
        old = program.queues[queue][index]
        program.queues[queue][index] = Instruction(old.op, old.args | args, old.provenance)

    return apply


def restream(queue: Queue, index: int, name: str, **parts: object) -> Change:
    """Give a stream of the tile other parts."""

    def apply(program: Program) -> None:
        stream = program.queues[queue][index][name]
        change(queue, index, **{name: replace(stream, **parts)})(program)

    return apply


def insert(queue: Queue, index: int, *code: Instruction) -> Change:
    def apply(program: Program) -> None:
        program.queues[queue][index:index] = code

    return apply


def delete(queue: Queue, index: int) -> Change:
    def apply(program: Program) -> None:
        del program.queues[queue][index]

    return apply


def vector(*code: Instruction) -> Change:
    """Code for the vector unit, which has none in the tile."""
    return insert(Queue.vector, 0, *code)


def both(*changes: Change) -> Change:
    def apply(program: Program) -> None:
        for one in changes:
            one(program)

    return apply


def symbols(*more: Symbol) -> Change:
    return lambda program: program.symbols.extend(more)


A, DI, DO, W, G = Queue.array, Queue.dma_in, Queue.dma_out, Queue.wchain, Queue.gchain
FILL = make("vec", fn="copy", dst=spad(240, Dim(4, 4)), imm=0.0)
ONE = spad(240, Dim(1, 4))

RULES: dict[str, tuple[Change, str]] = {
    "queue": (vector(make("ld", dst=spad(0, *ROW), src=replace(spad(0, *ROW), space=Space.dram))), "belongs into the queue dma_in"),
    "space": (restream(DI, 0, "src", space=Space.spad), "src lies in spad, it has to be in dram"),
    "dims of a port": (restream(A, 2, "v", dims=(Dim(2, 4), Dim(1, 4))), "v has 2 dimensions, it takes 1 dim"),
    "dims of a tile": (restream(W, 1, "src", dims=ROW), "src has 1 dimensions, it takes 2 to 4 dims"),
    "rows": (restream(A, 3, "h", dims=(Dim(5, 4),)), "h has 5 lanes, the array has 4 rows"),
    "rows in two": (restream(A, 3, "h", dims=(Dim(2, 16), Dim(3, 4))), "h has 6 lanes, the array has 4 rows"),
    "columns": (restream(A, 2, "v", dims=(Dim(3, 4),)), "v has 3 lanes, the array has 2 columns"),
    "sums": (restream(A, 2, "acc", dims=(Dim(5, 4),)), "acc has 5 lanes, the array has 4 rows"),
    "tile in": (restream(W, 1, "src", dims=(Dim(5, 8), Dim(2, 4))), "a tile of 5×2, the array has 4×2"),
    "tile in two": (restream(W, 1, "src", dims=(Dim(3, 16), Dim(2, 8), Dim(2, 4))), "a tile of 6×2, the array has 4×2"),
    "tile out": (restream(G, 0, "dst", dims=(Dim(4, 8), Dim(3, 4))), "a tile of 4×3, the array has 4×2"),
    "loop without end": (delete(A, 4), "array 1: loop: loop without an end"),
    "end without loop": (delete(A, 1), "array 3: end: end without a loop"),
    "too deep": (
        vector(*[make("loop", name="", count=1)] * 13, *[make("end")] * 13), "vector 12: loop: more than 12 loops inside each other"),
    "no turns": (change(A, 1, count=0), "a loop takes at least 1 turn"),
    "loop clip level": (change(A, 1, limit=2, level=0), "its clip refers to loop 0, but 0 loops are around it"),
    "loop clip": (
        vector(make("loop", name="a", count=3), make("loop", name="b", count=2, limit=4, level=0), FILL, make("end"), make("end")),
        "its clip leaves no turn"),
    "stride level": (restream(A, 2, "v", strides=(8, 4)), "v refers to loop 1, but 1 loops are around it"),
    "ring level": (restream(A, 2, "v", ring=Ring(1, 4, 0, (0, 1))), "v refers to loop 1, but 1 loops are around it"),
    "clip level": (restream(A, 2, "v", dims=(Dim(2, 4, 5, 1),)), "v refers to loop 1, but 1 loops are around it"),
    "flag level": (change(A, 2, swap=When("first", (0, 1))), "swap refers to loop 1, but 1 loops are around it"),
    "clip": (restream(A, 2, "v", dims=(Dim(2, 4, 4, 0),)), "v has a dimension without words in some turn"),
    "no words": (restream(A, 2, "v", dims=(Dim(0, 4),)), "v has a dimension without words in some turn"),
    "scratchpad": (restream(G, 0, "dst", base=232), "dst touches bytes 232 to 263 of spad, which has 256"),
    "below": (restream(DI, 2, "dst", base=-4), "dst touches bytes -4 to 43 of spad"),
    "strides": (restream(A, 3, "h", strides=(128,)), "h touches bytes 0 to 271 of spad, which has 256"),
    "dram": (restream(DO, 3, "dst", base=264), "dst touches bytes 264 to 295 of dram, which has 288"),
    "ring": (restream(A, 2, "v", ring=Ring(2, 200, 1, ())), "v touches bytes 296 to 319 of spad"),
    "aligned": (restream(G, 0, "dst", base=194), "dst does not lie on multiples of 4 bytes"),
    "semaphore": (change(A, 0, sem=9), "semaphore 9 of 4"),
    "two waiters": (vector(make("wait", sem=1)), "more than one queue waits for the semaphore x.full: array, vector"),
    "two signallers": (vector(make("signal", sem=1)), "more than one queue signals the semaphore x.full: dma_in, vector"),
    "too many loads": (insert(W, 2, make("wload", src=spad(64, *BLOCK))), "1 × swap, but 2 × wload"),
    "too few loads": (
        change(A, 2, swap=ALWAYS), "array 2: `dx v=dY@spad.f32[dY + 8*b] x2 acc=dX@spad.f32[dX + 16*b] x4 zero swap` (fc1): "
        "deadlock: waits for the load of the weights to swap in, which never comes"),
    "no drain": (both(delete(G, 0), change(A, 3, take=NEVER), insert(G, 0, make("drain", dst=spad(192, *BLOCK)))),
                 "gchain 0: `drain dst=@spad.f32[192] x4 x2`: deadlock: waits for the take of the gradients to drain"),
    "take without drain": (change(A, 3, take=ALWAYS), "deadlock: waits for the drain of the gradients taken before"),
    "lost signal": (delete(DI, 4), "array 0: `wait x.full` (fc1): deadlock: waits for the semaphore x.full"),
    "unwritten": (vector(make("vec", fn="neg", dst=ONE, a=ONE)), "reads words of the scratchpad that nothing has written"),
    "unwritten sums": (change(A, 2, zero=NEVER), "reads words of the scratchpad that nothing has written"),
    "held first": (change(A, 2, v=HELD), "v=held, but no beat comes before"),
    "held psum": (change(A, 3, h=HELD), "h=held, but `dx` at 2 brings no operand there"),
    "held in another queue": (vector(make("vec", fn="neg", dst=ONE, a=HELD)), "a cannot be `held`"),
    "immediate on a port": (change(A, 2, v=IMM), "v cannot be `imm`"),
    "operand in the sums": (restream(A, 3, "h", base=128), "an operand overlaps the partial sums that the same loop writes"),
    "shape of a copy": (restream(DI, 0, "src", dims=(Dim(2, 16), Dim(4, 4))), "src and dst differ in shape"),
    "type of a copy": (restream(DI, 0, "src", dtype=DType.i32), "src is i32, dst is f32"),
    "shape of a function": (
        vector(make("vec", fn="add", dst=ONE, a=spad(240, Dim(2, 4)), imm=1.0)), "a and dst differ in shape"),
    "shape of a reduction": (vector(FILL, make("red", fn="sum", dst=ONE, a=spad(240, Dim(4, 4)))), "a and dst differ in shape"),
    "symbol": (symbols(Symbol("big", Space.spad, 128, (64,), DType.f32)), "symbol 'big': 256 bytes at 128 end beyond the 256 of spad"),
    "data": (lambda program: program.set_data(284, np.zeros(2, np.float32)), "data: 8 bytes at 284 end beyond"),
    "race write": (vector(make("vec", fn="copy", dst=spad(64, Dim(2, 4)), imm=1.0)), "and nothing orders the two"),
    "race read": (delete(A, 0), "reads what dma_in 3: `ld dst=dY@spad.f32[dY] x3 x2 src=dY@dram.f32[grad/y] x3 x2` (fc1) writes"),
    "race dram": (
        insert(DO, 0, make("st", dst=Stream(Space.dram, DType.f32, 0, BLOCK), src=spad(64, *BLOCK))),
        "writes what dma_in 2: `ld dst=X@spad.f32[X] x3 x4 src=X@dram.f32[x] x3 x4` (fc1) reads, and nothing orders the two"),
}  # fmt: skip


def test_the_tile_is_accepted(tile: Program) -> None:
    check(tile, "tile.gwb")
    check(tile, "tile.gwb", machine=tile.machine)


@pytest.mark.parametrize("rule", RULES)
def test_rule(tile: Program, rule: str) -> None:
    apply, finding = RULES[rule]
    apply(tile)
    with pytest.raises(UserError) as caught:
        check(tile, "tile.gwb")
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("tile.gwb: ")
    assert finding in str(caught.value)


def test_all_findings_are_listed_with_place_and_layer(tile: Program) -> None:
    restream(A, 3, "h", dims=(Dim(5, 4),))(tile)
    restream(DI, 0, "src", space=Space.spad)(tile)
    with pytest.raises(UserError) as caught:
        check(tile, "tile.gwb")
    assert str(caught.value).splitlines() == [
        "tile.gwb: the program cannot run: 2 findings",
        "  dma_in 0: `ld dst=W@spad.f32[W] x4 x2 src=W@spad.f32[w@64] x4 x2` (fc1): src lies in spad, it has to be in dram",
        "  array 3: `dw h=X@spad.f32[X + 16*b] x5 v=held take.last(b)` (fc1): h has 5 lanes, the array has 4 rows",
    ]


def test_another_machine(tile: Program) -> None:
    with pytest.raises(UserError, match="made for the machine '4x2', which differs from '8x8'"):
        check(tile, "tile.gwb", machine=Machine(name="8x8", array=Array(rows=8, cols=8)))


def clipped_blocks(limit: int) -> Program:
    """Three turns of two words each, clipped to ``limit`` of them, filled and then read as a whole."""
    fill = make("vec", fn="copy", dst=Stream(Space.spad, DType.f32, 0, (Dim(2, 4, limit, 0),), (8,)), imm=1.0)
    read = make("vec", fn="copy", dst=spad(64, Dim(5, 4)), a=spad(0, Dim(5, 4)))
    return Program("clip", Machine(), {Queue.vector: [make("loop", name="n", count=3), fill, make("end"), read]})


def test_clipped_edges_are_exact() -> None:
    check(clipped_blocks(5), "clip")
    with pytest.raises(UserError, match="without words in some turn"):
        check(clipped_blocks(4), "clip")
    program = clipped_blocks(5)
    change(Queue.vector, 3, a=spad(0, Dim(6, 4)), dst=spad(64, Dim(6, 4)))(program)
    with pytest.raises(UserError, match="nothing has written"):
        check(program, "clip")


def test_clipped_bounds_are_exact() -> None:
    """The last turn sees one word less, which is what keeps it inside the memory."""
    program = clipped_blocks(5)
    size = Machine().scratchpad.bytes
    change(Queue.vector, 1, dst=Stream(Space.spad, DType.f32, size - 20, (Dim(2, 4, 5, 0),), (8,)))(program)
    change(Queue.vector, 3, a=spad(size - 20, Dim(5, 4)))(program)
    check(program, "clip")
    change(Queue.vector, 1, dst=Stream(Space.spad, DType.f32, size - 20, (Dim(2, 4, 6, 0),), (8,)))(program)
    with pytest.raises(UserError, match=f"touches bytes {size - 20} to {size + 3} of spad"):
        check(program, "clip")


def ring_of_two(tokens: int) -> Program:
    """A producer that fills a ring of two buffers, and a consumer that gives ``tokens`` buffers away at the start."""
    ring = Ring(2, 16, 0, (1,))
    load = make("ld", dst=spad(0, *ROW, ring=ring), src=Stream(Space.dram, DType.f32, 0, ROW))
    store = make("st", dst=Stream(Space.dram, DType.f32, 64, ROW, (8,)), src=spad(0, *ROW, ring=ring))
    loop = make("loop", name="n", count=5)
    return Program(
        "ring",
        Machine(),
        {
            Queue.dma_in: [loop, make("wait", sem=0), load, make("signal", sem=1), make("end")],
            Queue.dma_out: [loop, make("wait", sem=1), store, make("signal", sem=0), make("end")],
        },
        [Semaphore("empty", tokens), Semaphore("full")],
        dram_bytes=128,
    )


def test_a_ring_needs_as_many_tokens_as_buffers() -> None:
    check(ring_of_two(1), "ring")
    check(ring_of_two(2), "ring")
    with pytest.raises(UserError, match="and nothing orders the two"):
        check(ring_of_two(3), "ring")
    with pytest.raises(UserError, match="deadlock: waits for the semaphore empty"):
        check(ring_of_two(0), "ring")


def test_a_thousand_turns_with_semaphores_are_quick() -> None:
    program = ring_of_two(2)
    for code in program.queues.values():
        code[0] = make("loop", name="n", count=1000)
    program.dram_bytes = 64 + 8 * 1000
    check(program, "ring")
