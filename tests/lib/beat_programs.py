"""Programs that make no sense as layers, to try the array and the chains in every order.

The array's code is a random tree of loops, beats, waits and signals, with random streams and flags; the other queues are made
to fit it, so that each swap and preload has a load and each take and mupd a drain.  Everything is integers, so values must agree
exactly whatever the order of sums.  Rows of partial sums either coincide or lie apart, since only the address of lane 0 is interlocked.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

from isa.chains import steps_of
from isa.dtypes import DType
from isa.instructions import HELD, NEVER, Instruction, Queue, When, make, queues_of
from isa.machine import Array, Dram, Machine, Scratchpad, Vector
from isa.program import Program, Provenance, Semaphore, Symbol
from isa.sequencer import walk
from isa.stream import Dim, Operand, Ring, Space, Stream

MAX_STEPS = 300
PITCH = 32
"""Bytes from one row of partial sums to the next: more than any row of 6 lanes has."""
DATA, FWD_SUMS, DX_SUMS, GRADIENTS, OTHER = (i << 12 for i in range(5))
"""Where regions begin: operands (read only), partial sums of either kind, drained gradients, what the DMA and the vector unit write."""
REGION = 1 << 12
SPAD = 6 * REGION
"""Bytes: two banks meet in the midst of the gradients, four also in the midst of either kind of sums."""
ARRAY_WAITS, ARRAY_SIGNALS, LOAD_READY, DRAIN_FULL, DRAIN_EMPTY, LOADED, LOADED_TOO, SUMS_DONE = range(8)
SEMAPHORES = ["array waits", "array signals", "load ready", "drain full", "drain empty", "loaded", "loaded too", "sums done"]


def provenances(draw: st.DrawFn) -> int | None:
    return draw(st.sampled_from([None, 0, 1, 2]))


def _strides(draw: st.DrawFn, depth: int, unit: int) -> tuple[int, ...]:
    return tuple(unit * draw(st.integers(-2, 3)) for _ in range(draw(st.integers(0, depth))))


def _ring(draw: st.DrawFn, depth: int, size: int) -> Ring | None:
    if draw(st.integers(0, 3)):
        return None
    slots = draw(st.integers(1, 3))
    return Ring(slots, size, draw(st.integers(0, slots - 1)), tuple(draw(st.integers(0, 2)) for _ in range(draw(st.integers(0, depth)))))


def _lanes(draw: st.DrawFn, most: int, stride: int, loops: Sequence[int]) -> Dim:
    count = draw(st.integers(1, most))
    if loops and draw(st.booleans()):
        level = draw(st.integers(0, len(loops) - 1))
        return Dim(count, stride, count * loops[level] - draw(st.integers(0, count - 1)), level)
    return Dim(count, stride)


def _operand(draw: st.DrawFn, most: int, loops: Sequence[int], operand: Operand, dims: int = 1) -> Stream:
    dtype = draw(st.sampled_from([DType.i8, DType.i32]))
    lanes: list[Dim] = []
    for _ in range(draw(st.integers(1, dims))):
        lanes.append(_lanes(draw, most, dtype.size * draw(st.sampled_from([1, 7, -3])), loops))
        most //= lanes[-1].count
    strides = _strides(draw, len(loops), 8 * dtype.size)
    return Stream(Space.spad, dtype, DATA + REGION // 2, tuple(lanes), strides, _ring(draw, len(loops), 64), operand)


def _tile_rows(draw: st.DrawFn, rows: int, stride: int) -> list[Dim]:
    """Rows of a tile in up to three dimensions, in any order of memory."""
    counts: list[int] = []
    for _ in range(draw(st.integers(1, 3))):
        counts.append(draw(st.integers(1, rows)))
        rows //= counts[-1]
    strides = dict[int, int]()
    for position in draw(st.permutations(range(len(counts)))):
        strides[position], stride = stride, stride * counts[position]
    return [Dim(count, strides[position]) for position, count in enumerate(counts)]


def _sums(draw: st.DrawFn, region: int, most: int, loops: Sequence[int], operand: Operand) -> Stream:
    base = region + REGION // 2 + PITCH * draw(st.integers(0, 2))
    lanes, strides = _lanes(draw, most, 4, loops), _strides(draw, len(loops), PITCH)
    return Stream(Space.spad, DType.i32, base, (lanes,), strides, _ring(draw, len(loops), PITCH), operand)


def _when(draw: st.DrawFn, depth: int) -> When:
    if draw(st.booleans()):
        return NEVER
    levels = draw(st.sets(st.integers(0, depth - 1))) if depth else set()
    return When(draw(st.sampled_from(["first", "last"])), tuple(sorted(levels)))


def _beat(draw: st.DrawFn, rows: int, cols: int, loops: Sequence[int]) -> Instruction:
    op = draw(st.sampled_from(["fwd", "dx", "dw", "dw", "upd", "mupd"]))
    depth = len(loops)
    common = {"swap": _when(draw, depth), "preload": _when(draw, depth), "provenance": provenances(draw)}

    def port(most: int, operand: Operand, dims: int = 1) -> Any:
        return HELD if draw(st.integers(0, 2)) == 0 else _operand(draw, most, loops, operand, dims)

    if op == "fwd":
        sums = _sums(draw, FWD_SUMS, cols, loops, Operand.Y)
        return make(op, h=_operand(draw, rows, loops, Operand.X, 3), acc=sums, zero=_when(draw, depth), **common)
    if op == "dx":
        sums = _sums(draw, DX_SUMS, rows, loops, Operand.dX)
        return make(op, v=port(cols, Operand.dY), acc=sums, zero=_when(draw, depth), **common)
    if op == "dw":
        return make(op, h=port(rows, Operand.X, 3), v=port(cols, Operand.dY), take=_when(draw, depth), **common)
    return make(op, lr=draw(st.sampled_from([1.0, 0.25])), decay=draw(st.sampled_from([0.0, 0.5])), **common)


def _code(draw: st.DrawFn, rows: int, cols: int, loops: Sequence[int]) -> list[Instruction]:
    code: list[Instruction] = []
    for _ in range(draw(st.integers(1, 3))):
        what = draw(st.sampled_from(["beat", "beat", "loop", "loop", "wait", "signal"]))
        if what == "beat" or (what == "loop" and len(loops) == 3):
            code.append(_beat(draw, rows, cols, loops))
        elif what == "loop":
            count, limit, level = draw(st.integers(1, 4)), 0, 0
            if loops and draw(st.booleans()):
                level = draw(st.integers(0, len(loops) - 1))
                limit = count * loops[level] - draw(st.integers(0, count - 1))
            code.append(make("loop", name="l", count=count, limit=limit, level=level))
            code += [*_code(draw, rows, cols, [*loops, count]), make("end")]
        elif draw(st.booleans()):
            code.append(make("wait", sem=ARRAY_WAITS, provenance=provenances(draw)))
        else:
            code.append(make("signal", sem=ARRAY_SIGNALS))
    return code


def _repeat(count: int, *body: Instruction) -> list[Instruction]:
    return [make("loop", name="r", count=count), *body, make("end")] if count else []


def _runs(steps: Iterable[str], make_one: Callable[[str, int], Sequence[Instruction]]) -> list[Instruction]:
    """A loop for as many equal steps as follow one another, of what ``make_one`` makes of the step and of how many came before it."""
    code: list[Instruction] = []
    before = 0
    for step, equal in groupby(steps):
        count = len(list(equal))
        code += _repeat(count, *make_one(step, before))
        before += count
    return code


def _flat(space: Space, address: int, words: int, strides: tuple[int, ...] = ()) -> Stream:
    return Stream(space, DType.i32, address, (Dim(words, 4),), strides)


@st.composite
def scratchpads(draw: st.DrawFn, nbytes: int) -> Scratchpad:
    """Of so many bytes, with any banks and ports."""
    ports = st.sampled_from([0, 0, 1, 1, 2, 3])
    return Scratchpad(nbytes, draw(st.integers(1, 4)), draw(ports), draw(ports))


DRAM = REGION * 8 + 4 * 40 * 2 * MAX_STEPS
"""Bytes: what is loaded, all that the array wrote, a tile for each take and two for each mupd."""


@st.composite
def beat_programs(draw: st.DrawFn, arrays: int = 1) -> Program:
    """A program with the inputs ``data`` and the outputs ``result``, one for each array: all operands, and all that the array wrote."""
    rows, cols = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    queues: dict[Queue, list[Instruction]] = {queue: [] for queue in queues_of(arrays)}
    semaphores, symbols = [], []
    for number in range(arrays):
        part, empty = _of_one_array(draw, rows, cols)
        for queue, code in part.items():
            moved = [_moved(instruction, number) for instruction in code]
            queues[queue.of(number)] = _riffled(queues[queue.of(number)], moved, number)
        semaphores += [Semaphore(f"{name} {number}", empty if index == DRAIN_EMPTY else 0) for index, name in enumerate(SEMAPHORES)]
        symbols += [
            Symbol(f"data{number}", Space.dram, number * DRAM, (GRADIENTS // 4,), DType.i32, "input"),
            Symbol(f"result{number}", Space.dram, number * DRAM, (DRAM // 4,), DType.i32, "output"),
        ]
    return Program(
        "random beats",
        Machine(
            array=Array(rows=rows, cols=cols, operand="i8"),
            arrays=arrays,
            scratchpad=draw(scratchpads(SPAD * arrays)),
            dram=Dram(bytes_per_cycle=draw(st.sampled_from([60.0, 300.0, 9000.0])), latency=draw(st.integers(0, 9))),
            vector=Vector(lanes=4, latency=1),
        ),
        queues,
        semaphores,
        symbols,
        [Provenance("a", "fwd", 0, macs=7), Provenance("b", "dx", 1), Provenance("b", "dw", 1)],
        dram_bytes=DRAM * arrays,
    )


def inputs_of(program: Program, seed: int) -> dict[str, Any]:
    """Any data, of each array other."""
    return {
        symbol.name: np.random.default_rng([seed, number]).integers(-(2**31), 2**31, GRADIENTS // 4).astype(np.int32)
        for number, symbol in enumerate(program.named("input"))
    }


def _moved(instruction: Instruction, number: int) -> Instruction:
    """The same with semaphores and memory that only the array of this number uses."""

    def moved(name: str, value: Any) -> Any:
        if isinstance(value, Stream):
            return replace(value, base=value.base + number * (SPAD if value.space is Space.spad else DRAM))
        return value + number * len(SEMAPHORES) if name == "sem" else value

    return replace(instruction, args={name: moved(name, value) for name, value in instruction.args.items()})


def _riffled(codes: list[Instruction], code: list[Instruction], number: int) -> list[Instruction]:
    """Behind every ``number`` statements of one code, whole loops counting as one, a statement of the other."""
    one, other = _statements(codes), _statements(code)
    turns = max(len(one), max(1, number) * len(other))
    shares = [other[turn : turn + 1] for turn in range(turns)]
    riffled = [one[turn * number : (turn + 1) * number] + shares[turn] for turn in range(turns)]
    return [instruction for share in riffled for statement in share for instruction in statement]


def _statements(code: list[Instruction]) -> list[list[Instruction]]:
    found: list[list[Instruction]] = []
    depth = 0
    for instruction in code:
        if depth == 0:
            found.append([])
        found[-1].append(instruction)
        depth += (instruction.op == "loop") - (instruction.op == "end")
    return found


def _of_one_array(draw: st.DrawFn, rows: int, cols: int) -> tuple[dict[Queue, list[Instruction]], int]:
    """Code of all queues, and the tokens with which the gradients' slots begin."""
    code = _code(draw, rows, cols, [])
    steps = [(i, list(counters), list(counts)) for i, counters, counts in walk(code)]
    assume(len(steps) <= MAX_STEPS)

    def number(op: str) -> int:
        return sum(1 for i, _, _ in steps if i.op == op)

    done = [[step for step, when in steps_of(i) if when.holds(counters, counts)] for i, counters, counts in steps]
    # What one beat waits for may come in any order, and go in any order.
    order = draw(st.sampled_from([1, -1]))
    loads = [step for own in done for step in own[::order] if step in ("swap", "preload")]
    drains = [step for own in done for step in own[::order] if step in ("take", "mupd")]
    tile = Stream(
        Space.spad, DType.i8, DATA + REGION // 2,
        (*_tile_rows(draw, rows, draw(st.sampled_from([9, -5]))), Dim(draw(st.integers(1, cols)), 1)), (6,), operand=Operand.W,
    )  # fmt: skip
    velocities = replace(tile, dtype=DType.i32, base=DATA + REGION // 4, operand=Operand.velocity, dims=(
        *_tile_rows(draw, rows, draw(st.sampled_from([36, -20]))), Dim(draw(st.integers(1, cols)), 4),
    ), strides=(24,))  # fmt: skip
    drained = Stream(
        Space.spad, DType.i32, GRADIENTS, (*_tile_rows(draw, rows, 24), Dim(draw(st.integers(1, cols)), 4)), (),
        Ring(3, 160, 0, (1,)), Operand.dW,
    )  # fmt: skip
    leaving = Stream(Space.spad, DType.i32, GRADIENTS, (Dim(40, 4),), (), drained.ring)
    everything = _flat(Space.spad, 0, GRADIENTS // 4)
    vec = make(
        "vec", fn="add", imm=1.0, provenance=1,
        dst=_flat(Space.spad, OTHER, draw(st.integers(1, 30))), a=_flat(Space.spad, OTHER + 400, 1),
    )  # fmt: skip
    wload = make("wload", src=tile, provenance=provenances(draw))
    gload = make("gload", src=velocities, scale=draw(st.sampled_from([1.0, 0.5, -3.0])), provenance=provenances(draw))
    owner = provenances(draw)

    def drain(step: str, before: int) -> Sequence[Instruction]:
        assert drained.ring is not None
        dst = replace(drained, ring=replace(drained.ring, start=before % drained.ring.slots))
        op = "drain" if step == "take" else "wdrain"
        return make("wait", sem=DRAIN_EMPTY), make(op, dst=dst, provenance=owner), make("signal", sem=DRAIN_FULL)

    queues = {
        Queue.dma_in: [
            make("ld", dst=everything, src=_flat(Space.dram, 0, GRADIENTS // 4)),
            make("signal", sem=LOADED),
            make("signal", sem=LOADED_TOO),
            *_repeat(
                number("signal"),
                make("wait", sem=ARRAY_SIGNALS),
                make("ld", dst=_flat(Space.spad, OTHER + 800, 40), src=_flat(Space.dram, 0, 40), provenance=2),
            ),
        ],
        Queue.dma_out: [
            *_repeat(
                len(drains),
                make("wait", sem=DRAIN_FULL),
                make("st", dst=_flat(Space.dram, REGION * 8, 40, (160,)), src=leaving),
                make("signal", sem=DRAIN_EMPTY),
            ),
            make("wait", sem=SUMS_DONE),
            make("st", dst=_flat(Space.dram, 0, GRADIENTS // 4), src=everything),
        ],
        Queue.wchain: [
            make("wait", sem=LOADED_TOO),
            *_runs(loads, lambda step, _: [make("wait", sem=LOAD_READY), wload if step == "swap" else gload]),
        ],
        Queue.array: [make("wait", sem=LOADED), *code, make("signal", sem=SUMS_DONE)],
        Queue.gchain: _runs(drains, drain),
        Queue.vector: [
            *_repeat(number("wait"), vec, make("signal", sem=ARRAY_WAITS)),
            *_repeat(len(loads), vec, make("signal", sem=LOAD_READY)),
        ],
    }
    return queues, draw(st.integers(1, 2))
