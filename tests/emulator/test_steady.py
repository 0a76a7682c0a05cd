"""What repeats itself is counted instead of run: cycles and counts are those of a run that goes through everything."""

import itertools
import math
import operator
from typing import Any

import layer_programs
import pytest
from beat_programs import inputs_of
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from layer_programs import KINDS, Plan, Product
from repeating import long_plans, repeated

from emulator import Emulator
from emulator.fast import FastEngine
from emulator.memory import Memory
from emulator.report import report
from isa.dtypes import DType
from isa.errors import UserError
from isa.instructions import HELD, Instruction, Queue, When, make
from isa.machine import Array, Dram, Machine, Scratchpad
from isa.program import Program, Provenance, Semaphore
from isa.stream import Dim, Ring, Space, Stream


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


@settings(max_examples=150, deadline=None)
@given(program=repeated(60))
def test_random_code_again_and_again(program: Program) -> None:
    try:
        skipped(program)
    except UserError as error:  # a semaphore that starts with tokens may end with others
        with pytest.raises(UserError, match=str(error).split("\n")[0][:20]):
            run(program, skip=False)


@settings(max_examples=40, deadline=None)
@given(program=st.integers(1, 3).flatmap(lambda arrays: repeated(8, arrays)))
def test_random_code_is_as_stepped(program: Program) -> None:
    data = inputs_of(program, 0)
    try:
        stepped = Emulator(program, "stepped").run(data).report.to_dict()
    except UserError:
        assume(False)
    assert run(program, skip=True)[0] == stepped


@settings(max_examples=60, deadline=None)
@given(program=st.integers(2, 3).flatmap(lambda arrays: repeated(40, arrays)))
def test_random_code_of_several_arrays_again_and_again(program: Program) -> None:
    try:
        skipped(program)
    except UserError:
        with pytest.raises(UserError):
            run(program, skip=False)


@settings(max_examples=60, deadline=None)
@given(plan=long_plans())
def test_random_layers_of_many_tiles(plan: Plan) -> None:
    skipped(layer_programs.build(plan))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bytes_per_cycle", [0.5, 64.0])
@pytest.mark.parametrize("order", [("n", "k"), ("k", "n")])
def test_most_of_a_product_is_skipped(kind: str, bytes_per_cycle: float, order: tuple[str, str]) -> None:
    product = Product(kind, batch=9, k=160, n=163, order=order, ring=2)
    program = layer_programs.build(Plan(4, 4, "f32", (product,), bytes_per_cycle=bytes_per_cycle))
    left = run(program, skip=True)[1]
    assert left < 0.1 * skipped(program)


def _copies(*, turns: int, busy: int, stride: int = 0, burst: int = 1, scratchpad: Scratchpad | None = None) -> Program:
    """Three queues that wait for each other only by what they share; the vector unit begins with an instruction of ``busy`` words."""
    words = Stream(Space.dram, DType.i8, 0, (Dim(30, 1),), (stride,))
    spad = Stream(Space.spad, DType.i8, 0, (Dim(30, 1),))
    wide = Stream(Space.spad, DType.i8, 0, (Dim(busy, 0),))
    loop = make("loop", name="i", count=turns)
    queues = {
        Queue.dma_in: [loop, make("ld", dst=spad, src=words), make("end")],
        Queue.dma_out: [loop, make("st", dst=words, src=spad), make("end")],
        Queue.vector: [make("vec", fn="copy", dst=wide, a=wide), loop, make("vec", fn="copy", dst=spad, a=spad), make("end")],
    }
    machine = Machine(dram=Dram(bytes_per_cycle=8.0, latency=5, burst_bytes=burst), scratchpad=scratchpad or Scratchpad())
    return Program("copies", machine, queues, provenance=[Provenance("c", "vector", 0)])


@pytest.mark.parametrize(("stride", "burst"), [(0, 1), (30, 1), (0, 16), (30, 16), (32, 16), (24, 64)])
@pytest.mark.parametrize("busy", [1, 40_000])
def test_queues_that_do_not_wait_for_each_other(stride: int, burst: int, busy: int) -> None:
    program = _copies(turns=500, busy=busy, stride=stride, burst=burst)
    assert (skipped(program) > 700) == (stride % burst == 0)


@pytest.mark.parametrize("busy", [1, 4_000, 40_000])
@pytest.mark.parametrize("ports", [(1, 0), (0, 1), (1, 1), (2, 1), (2, 2)])
def test_queues_that_wait_for_each_others_ports(ports: tuple[int, int], busy: int) -> None:
    """An instruction that holds ports for long lets what goes on repeat itself, but not beyond its own end."""
    assert skipped(_copies(turns=500, busy=busy, scratchpad=Scratchpad(1 << 10, 1, *ports))) > 700


def test_a_port_is_free_while_others_repeat_themselves() -> None:
    """A vector instruction has the port to write in 0…2504, for which a load waits from 63 on; meanwhile beats go on that need none."""
    beat = make("dw", h=HELD, v=HELD)  # held from before: the loop is no nest
    word = {space: Stream(space, DType.f32, 0, (Dim(1, 4),)) for space in Space}
    queues = {
        Queue.dma_in: [make("wait", sem=0), make("ld", dst=word[Space.spad], src=word[Space.dram]), make("signal", sem=1)],
        Queue.array: [beat, make("signal", sem=0), make("loop", name="i", count=5000), beat, make("end")],
        Queue.vector: [make("vec", fn="copy", dst=Stream(Space.spad, DType.f32, 0, (Dim(80_000, 0),)), imm=1.0), make("wait", sem=1)],
    }
    program = Program("port", Machine(scratchpad=Scratchpad(write_ports=1)), queues, [Semaphore("beat"), Semaphore("load")])
    assert skipped(program) > 4800
    assert run(program, skip=True)[0]["queues"]["dma_in"]["stalls"] == {"semaphore beat": 63, "scratchpad ports": 2504 - 63}


def test_turns_that_need_ports_of_other_banks_are_not_skipped() -> None:
    assert skipped(_copies(turns=500, busy=1, scratchpad=Scratchpad(1 << 10, 2, 1, 1))) == 0


def test_sums_under_way_from_before_the_loop() -> None:
    """Row 5, written in cycle 0, is back in cycle 8; the loop's turn 5 wants it in cycle 6."""

    def row(base: int, stride: int) -> Stream:
        return Stream(Space.spad, DType.f32, base, (Dim(1, 4),), (stride,) if stride else ())

    never = {"zero": When(), "swap": When()}
    code = [
        make("fwd", h=row(0, 0), acc=row(20, 0), zero=When("first"), swap=When()),
        make("loop", name="i", count=50),
        make("fwd", h=row(0, 0), acc=row(0, 4), **never),  # reads what others of its turns write: these are no nest
        make("end"),
    ]
    machine = Machine(array=Array(rows=8, cols=1))
    program = Program("sums", machine, {Queue.array: code}, provenance=[Provenance("c", "fwd", 0)])
    assert skipped(program) > 30
    assert run(program, skip=True)[0]["queues"]["array"]["stalls"] == {"partial sums": 2}


def test_sums_under_way_while_a_loop_without_any_turns() -> None:
    """They come back when they would have: cycle 12, which is when the second `dx` wants them."""

    def row(base: int) -> Stream:
        return Stream(Space.spad, DType.f32, base, (Dim(1, 4),))

    def dx(zero: When) -> Instruction:
        return make("dx", v=row(0), acc=row(20), zero=zero, swap=When())

    code = [
        dx(When("first")),
        make("loop", name="i", count=11),
        make("dw", h=row(0), v=HELD, swap=When(), take=When()),  # held from before: the loop is no nest
        make("end"),
        dx(When()),
    ]
    program = Program("sums", Machine(array=Array(rows=1, cols=12)), {Queue.array: code}, provenance=[Provenance("c", "dx", 0)])
    assert skipped(program) > 3
    assert run(program, skip=True)[0]["queues"]["array"]["stalls"] == {}
    assert Emulator(program, "stepped").run({}).report.to_dict() == run(program, skip=True)[0]


@pytest.mark.parametrize(
    ("counts", "steps", "slots", "left"),
    [
        ((100,), (1,), 4, 12),
        ((100,), (1,), 40, 12),  # the same row only after 40 turns
        ((10, 10), (10, 1), 4, 12),  # the inner loop's rows go on where it begins anew
        ((10, 10), (0, 1), 4, 100),  # they do not
        ((100, 3), (1, 0), 4, 30),
        ((2, 10, 10), (0, 10, 1), 4, 100),  # they do in the first turn of the outermost loop, in the other it has 5 turns
    ],
)
def test_sums_in_a_ring(counts: tuple[int, ...], steps: tuple[int, ...], slots: int, left: int) -> None:
    """Beats that each add to a row, which is back 6 cycles later. ``left`` are about the events that have to be looked at."""
    data = Stream(Space.spad, DType.f32, 0, (Dim(1, 4),))
    row = Stream(Space.spad, DType.f32, 64, (Dim(1, 4),), ring=Ring(slots, 4, 0, steps))
    clipped = {"limit": 15, "level": 0} if len(counts) == 3 else {}
    code = [
        *[make("loop", name="i", count=count, **(clipped if level == 2 else {})) for level, count in enumerate(counts)],
        make("fwd", h=data, acc=row, zero=When(), swap=When()),
        *[make("end")] * len(counts),
    ]
    program = Program("ring", Machine(array=Array(rows=6, cols=1)), {Queue.array: code}, provenance=[Provenance("c", "fwd", 0)])
    assert run(program, skip=False)[1] - skipped(program) <= left
    now, stalls, ready = 0, 0, dict[int, int]()
    for turn in itertools.product(*map(range, counts)):
        if clipped and turn[0] and turn[2] >= 5:
            continue
        slot = sum(map(operator.mul, steps, turn)) % slots
        start = max(now, ready.get(slot, 0))
        ready[slot], stalls, now = start + 6, stalls + start - now, start + 1
    assert run(program, skip=True)[0]["queues"]["array"]["stalls"].get("partial sums", 0) == stalls


@pytest.mark.parametrize("strides", [(800, 16), (1208, 24), (1200, 24), (8, 0)])
def test_bursts_where_an_inner_loop_begins_anew(strides: tuple[int, ...]) -> None:
    """Words that a transfer of 30 bytes shares with others of its bursts of 16 depend on where it begins."""
    spad, dram = (Stream(space, DType.i8, 0, (Dim(30, 1),), strides if space is Space.dram else ()) for space in (Space.spad, Space.dram))
    long = Stream(Space.spad, DType.i8, 0, (Dim(500, 0),))
    loops = [make("loop", name="i", count=40), make("loop", name="j", count=50)]
    machine = Machine(dram=Dram(bytes_per_cycle=8.0, latency=5, burst_bytes=16))
    code = [*loops, make("vec", fn="copy", dst=long, a=long), make("signal", sem=0), make("end"), make("end")]
    loads = [*loops, make("wait", sem=0), make("ld", dst=spad, src=dram), make("end"), make("end")]
    program = Program("bursts", machine, {Queue.dma_in: loads, Queue.vector: code}, [Semaphore("done")])
    assert skipped(program) > 1000
    begins = (strides[0] * i + strides[1] * j for i, j in itertools.product(range(40), range(50)))
    assert run(program, skip=True)[0]["dram_bytes"] == sum(16 * ((begin + 29) // 16 - begin // 16 + 1) for begin in begins)


def test_a_nest_within_a_loop_that_holds_nothing_else() -> None:
    """Its own loops are not looked at."""
    slot = Stream(Space.spad, DType.f32, 0, (Dim(1, 4),), ring=Ring(2, 4, 0, (1,)))
    loops = [make("loop", name="i", count=count) for count in (50, 3)]
    code = [*loops, make("dw", h=slot, v=slot, swap=When(), take=When()), make("end"), make("end")]
    assert skipped(Program("nest", Machine(), {Queue.array: code})) > 40


@pytest.mark.parametrize(
    ("levels", "left"), [((0, 1, 2), 30), ((), 30), ((1, 2), 60), ((0, 1), 140), ((0, 2), 300), ((1,), 300), ((2,), 300)]
)
def test_flags_of_some_of_the_loops(levels: tuple[int, ...], left: int) -> None:
    """Turns of loops inside each other are counted as one's where a flag is of all of these loops, or of none."""
    counts = (4, 5, 6)
    data, row = (Stream(Space.spad, DType.f32, base, (Dim(1, 4),)) for base in (0, 64))
    code = [
        *[make("loop", name="i", count=count) for count in counts],
        make("fwd", h=data, acc=row, zero=When("first", levels), swap=When()),
        make("dw", h=data, v=data, swap=When(), take=When("last", levels)),
        *[make("end")] * 3,
    ]
    takes = math.prod(count for level, count in enumerate(counts) if level not in levels)
    tile = Stream(Space.spad, DType.f32, 128, (Dim(1, 4), Dim(1, 4)))
    drains = [make("loop", name="t", count=takes), make("drain", dst=tile), make("end")]
    program = Program("flags", Machine(array=Array(rows=6, cols=1)), {Queue.array: code, Queue.gchain: drains}, provenance=[])
    assert run(program, skip=False)[1] - skipped(program) <= left
    reads = run(program, skip=True)[0]["scratchpad_reads"]
    assert reads == math.prod(counts) * 3 + math.prod(counts) - takes  # a sum is not read where the flag is raised


@pytest.mark.parametrize("tokens", [1, 2])
@pytest.mark.parametrize("follows", [40, 40_000])
def test_beats_go_on_while_words_come(tokens: int, follows: int) -> None:
    """Neither the channel nor tokens to come matter to a loop that looks at neither; a wait behind it does look."""
    beat = make("dw", h=HELD, v=HELD)  # held from before: the loop is no nest
    loads = []
    for words in (30_000, follows):
        place = {space: Stream(space, DType.i8, 0, (Dim(words, 1),)) for space in Space}
        loads += [make("ld", dst=place[Space.spad], src=place[Space.dram]), make("signal", sem=0)]
    out = {space: Stream(space, DType.i8, 0, (Dim(80, 1),)) for space in Space}
    queues = {
        Queue.dma_in: loads,
        Queue.dma_out: [make("wait", sem=1), make("st", dst=out[Space.dram], src=out[Space.spad])],
        Queue.array: [
            *[make("loop", name="i", count=3500), beat, make("end"), make("signal", sem=1)],
            *[make("wait", sem=0)] * tokens,
            *[make("loop", name="i", count=3500), beat, make("end")],
        ],
    }
    machine = Machine(dram=Dram(bytes_per_cycle=8.0, latency=500))
    program = Program("words", machine, queues, [Semaphore("come"), Semaphore("done")])
    assert skipped(program) > 6900
    last = 3750 + 500 + 1 if tokens == 1 else 3750 + follows // 8 + 500
    assert run(program, skip=True)[0]["queues"]["array"]["stalls"] == {"semaphore come": last - (tokens == 1) - 3500}


def test_tokens_that_nobody_takes_yet() -> None:
    """A loop's signals are taken only later, each of them: a repetition would not give any."""
    word = Stream(Space.spad, DType.f32, 0, (Dim(1, 4),))
    vec = make("vec", fn="copy", dst=word, a=word)
    beat = make("dw", h=HELD, v=HELD)
    queues = {
        Queue.array: [make("loop", name="i", count=50), beat, make("signal", sem=0), make("end"), make("signal", sem=1)],
        Queue.vector: [make("wait", sem=1), make("loop", name="i", count=50), make("wait", sem=0), vec, make("end")],
    }
    program = Program("tokens", Machine(), queues, [Semaphore("each"), Semaphore("all")])
    skipped(program)
    assert run(program, skip=True)[0]["queues"]["vector"]["stalls"] == {"semaphore all": 49 + 32 + 32 - 1}
