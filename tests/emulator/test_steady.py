"""What repeats itself is counted instead of run: cycles and counts are those of a run that goes through everything."""

from dataclasses import replace
from typing import Any

import layer_programs
import pytest
from beat_programs import DATA, GRADIENTS, PITCH, REGION, beat_programs
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from layer_programs import KINDS, Plan, Product

from emulator import Emulator
from emulator.fast import FastEngine
from emulator.memory import Memory
from emulator.report import report
from isa.dtypes import DType
from isa.errors import UserError
from isa.instructions import Instruction, Queue, When, make
from isa.machine import Dram, Machine
from isa.program import Program, Provenance
from isa.stream import Dim, Space, Stream


def run(program: Program, skip: bool) -> tuple[dict[str, Any], int]:
    """The report, and how many events were executed one by one."""
    engine = FastEngine(program, values=False, skip=skip)
    counters = engine.run(Memory(Space.dram, 0))
    return report(program, counters).to_dict(), engine.events


def skipped(program: Program) -> int:
    """Events that were not executed; nothing else may tell the two runs apart."""
    fast, few = run(program, skip=True)
    whole, all_of_them = run(program, skip=False)
    assert fast == whole
    return all_of_them - few


def _deeper(value: Any, draw: st.DrawFn, zero: bool) -> Any:
    """An argument inside one more loop around everything."""
    if isinstance(value, When):
        levels = tuple(level + 1 for level in value.levels)
        return When(value.kind, (0, *levels) if zero and draw(st.booleans()) else levels)
    if isinstance(value, Stream):
        sums = value.space is Space.spad and not DATA <= value.base < DATA + REGION and value.base < GRADIENTS
        stride = draw(st.sampled_from([0, 0, PITCH, -PITCH])) if sums else 8 * draw(st.integers(0, 2))
        ring = value.ring and replace(value.ring, steps=(draw(st.integers(0, 2)), *value.ring.steps))
        dims = tuple(replace(dim, level=dim.level + 1) if dim.limit is not None else dim for dim in value.dims)
        return replace(value, strides=(stride, *value.strides), ring=ring, dims=dims)
    return value


@st.composite
def repeated(draw: st.DrawFn, most: int) -> Program:
    """A program that makes no sense, again and again."""
    program = draw(beat_programs())
    turns = draw(st.integers(2, most))

    def deeper(instruction: Instruction) -> Instruction:
        args = {name: _deeper(value, draw, name == "zero") for name, value in instruction.args.items()}
        if instruction.op == "loop" and args["limit"]:
            args["level"] += 1
        return replace(instruction, args=args)

    queues = {
        queue: [make("loop", name="all", count=turns), *map(deeper, code), make("end")] if code else []
        for queue, code in program.queues.items()
    }
    dram = _other_dram(program.machine, draw)
    return replace(program, queues=queues, machine=dram, dram_bytes=program.dram_bytes + 1024)


def _other_dram(machine: Machine, draw: st.DrawFn) -> Machine:
    """The machine with another channel."""
    bursts = {"burst_bytes": draw(st.sampled_from([1, 8, 64])), "row_bytes": draw(st.sampled_from([0, 0, 256]))}
    dram = Dram(machine.dram.bytes_per_cycle, machine.dram.latency, **bursts, row_miss_cycles=draw(st.sampled_from([0, 3])))
    return Machine(array=machine.array, scratchpad=machine.scratchpad, dram=dram, vector=machine.vector)


@settings(max_examples=150, deadline=None)
@given(program=repeated(60))
def test_random_code_again_and_again(program: Program) -> None:
    try:
        skipped(program)
    except UserError as error:  # a semaphore that starts with tokens may end with others
        with pytest.raises(UserError, match=str(error).split("\n")[0][:20]):
            run(program, skip=False)


@settings(max_examples=40, deadline=None)
@given(program=repeated(8))
def test_random_code_is_as_stepped(program: Program) -> None:
    data = {"data": [0] * (GRADIENTS // 4)}
    try:
        stepped = Emulator(program, "stepped").run(data).report.to_dict()
    except UserError:
        assume(False)
    assert run(program, skip=True)[0] == stepped


@st.composite
def long_plans(draw: st.DrawFn) -> Plan:
    """Products of many tiles."""
    sizes = st.integers(1, 120)
    products = [
        Product(
            kind=draw(st.sampled_from(KINDS)), batch=draw(st.integers(1, 20)), k=draw(sizes), n=draw(sizes),
            order=draw(st.sampled_from([("n", "k"), ("k", "n")])), batch_tile=draw(st.none() | st.integers(1, 3)),
            ring=draw(st.booleans()), hold=draw(st.booleans()), keep_loops=draw(st.booleans()),
        )
        for _ in range(draw(st.integers(1, 2)))
    ]  # fmt: skip
    return Plan(
        rows=draw(st.integers(1, 6)), cols=draw(st.integers(1, 6)), operand="f32",
        products=tuple(replace(product, batch_tile=min(product.batch_tile or 1, product.batch)) for product in products),
        bytes_per_cycle=draw(st.sampled_from([0.7, 8.0, 64.0])), latency=draw(st.integers(0, 200)),
        burst_bytes=draw(st.sampled_from([1, 4, 16])), row_bytes=draw(st.sampled_from([0, 0, 256])),
    )  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(plan=long_plans())
def test_random_layers_of_many_tiles(plan: Plan) -> None:
    skipped(layer_programs.build(plan))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bytes_per_cycle", [0.5, 64.0])
@pytest.mark.parametrize("order", [("n", "k"), ("k", "n")])
def test_most_of_a_product_is_skipped(kind: str, bytes_per_cycle: float, order: tuple[str, str]) -> None:
    product = Product(kind, batch=9, k=160, n=163, order=order, ring=True)
    program = layer_programs.build(Plan(4, 4, "f32", (product,), bytes_per_cycle=bytes_per_cycle))
    left = run(program, skip=True)[1]
    assert left < 0.1 * skipped(program)


def _copies(*, turns: int, busy: int, stride: int, burst: int) -> Program:
    """Three queues that do not wait for each other but for the channel; the vector unit begins with an instruction of ``busy`` words."""
    words = Stream(Space.dram, DType.i8, 0, (Dim(30, 1),), (stride,))
    spad = Stream(Space.spad, DType.i8, 0, (Dim(30, 1),))
    wide = Stream(Space.spad, DType.i8, 0, (Dim(busy, 0),))
    loop = make("loop", name="i", count=turns)
    queues = {
        Queue.dma_in: [loop, make("ld", dst=spad, src=words), make("end")],
        Queue.dma_out: [loop, make("st", dst=words, src=spad), make("end")],
        Queue.vector: [make("vec", fn="copy", dst=wide, a=wide), loop, make("vec", fn="copy", dst=spad, a=spad), make("end")],
    }
    machine = Machine(dram=Dram(bytes_per_cycle=8.0, latency=5, burst_bytes=burst))
    return Program("copies", machine, queues, provenance=[Provenance("c", "vector", 0)])


@pytest.mark.parametrize(("stride", "burst"), [(0, 1), (30, 1), (0, 16), (30, 16), (32, 16), (24, 64)])
@pytest.mark.parametrize("busy", [1, 40_000])
def test_queues_that_do_not_wait_for_each_other(stride: int, burst: int, busy: int) -> None:
    program = _copies(turns=500, busy=busy, stride=stride, burst=burst)
    assert (skipped(program) > 700) == (stride % burst == 0)
