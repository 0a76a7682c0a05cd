"""The checker's quick way, all events at once, against the slow one that executes them one after the other."""

import pytest
from beat_programs import beat_programs
from faulty_programs import faulty
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from layer_programs import KINDS, Plan, Product, build
from repeating import repeated
from token_programs import token_program

from isa.check.bounds import check_bounds
from isa.check.findings import Findings
from isa.check.order import Execution, Memories
from isa.check.quick import surely_right
from isa.dtypes import DType
from isa.instructions import ALWAYS, HELD, NEVER, Instruction, Queue, When, make
from isa.machine import Machine
from isa.program import Program, Semaphore
from isa.stream import Dim, Ring, Space, Stream

TURNS = 3


@st.composite
def streams(draw: st.DrawFn, space: Space, counts: tuple[int, ...]) -> Stream:
    dims = tuple(Dim(count, 4 * draw(st.integers(1, 3))) for count in counts)
    ring = Ring(2, 4 * draw(st.integers(1, 4)), draw(st.integers(0, 1)), (1,)) if draw(st.booleans()) else None
    return Stream(space, DType.f32, 4 * draw(st.integers(0, 6)), dims, (4 * draw(st.integers(0, 3)),), ring)


@st.composite
def copies(draw: st.DrawFn) -> Program:
    """Two queues that copy small blocks to and fro in loops, with some tokens between them."""
    tokens = draw(st.integers(0, 2)), draw(st.integers(0, 2))
    code: dict[Queue, list[Instruction]] = {}
    for queue, op, sems in ((Queue.dma_in, "ld", (0, 1)), (Queue.dma_out, "st", (1, 0))):
        spaces = (Space.spad, Space.dram) if op == "ld" else (Space.dram, Space.spad)
        body = []
        for _ in range(draw(st.integers(1, 2))):
            counts = tuple(draw(st.lists(st.integers(1, 2), min_size=1, max_size=2)))
            body.append(make(op, dst=draw(streams(spaces[0], counts)), src=draw(streams(spaces[1], counts))))
        if draw(st.booleans()) or sum(tokens) == 0:
            body = [make("signal", sem=sems[1]), *body]
        else:
            body = [make("wait", sem=sems[0]), *body, make("signal", sem=sems[1])]
        code[queue] = [make("loop", name="n", count=TURNS), *body, make("end")]
    return Program("copies", Machine(), code, [Semaphore("a", tokens[0]), Semaphore("b", tokens[1])], dram_bytes=512)


SIZES = st.integers(1, 13)
PRODUCTS = st.builds(
    Product, kind=st.sampled_from(KINDS), batch=SIZES, k=SIZES, n=SIZES, order=st.sampled_from([("n", "k"), ("k", "n")]),
    ring=st.sampled_from([0, 2, 3, 4]), hold=st.booleans(), keep_loops=st.booleans(), relu=st.booleans(),
)  # fmt: skip
LAYERS = st.builds(
    Plan, st.integers(1, 6), st.integers(1, 6), st.just("f32"), st.lists(PRODUCTS, min_size=1, max_size=2).map(tuple)
).map(build)  # fmt: skip
TOKENS = st.integers(0, 1 << 32).map(token_program)


def agree(program: Program) -> bool:
    """The quick way has a doubt just where the slow one finds something; returns whether it has none."""
    findings = Findings(program)
    memories = Memories.of(findings)
    sure = surely_right(findings, memories)
    Execution(findings, memories).run()
    assert sure != bool(findings.lines), findings.lines
    return sure


def in_bounds(program: Program) -> bool:
    findings = Findings(program)
    check_bounds(findings)
    return not findings.lines


@settings(max_examples=400, deadline=None)
@given(faulty(copies()).filter(in_bounds))
def test_copies(program: Program) -> None:
    agree(program)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(faulty(LAYERS).filter(in_bounds))
def test_layers(program: Program) -> None:
    agree(program)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(faulty(beat_programs()).filter(in_bounds))
def test_beats(program: Program) -> None:
    agree(program)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(faulty(repeated(4)).filter(in_bounds))
def test_repeated_beats(program: Program) -> None:
    agree(program)


@settings(max_examples=1000, deadline=None, suppress_health_check=list(HealthCheck))
@given((TOKENS | faulty(TOKENS)).filter(in_bounds))
def test_tokens(program: Program) -> None:
    agree(program)


A, W, G, V = Queue.array, Queue.wchain, Queue.gchain, Queue.vector
WAIT, SIGNAL = make("wait", sem=0), make("signal", sem=0)
TILE = Stream(Space.dram, DType.f32, 0, (Dim(1, 4), Dim(1, 4)))
LOAD = make("wload", src=TILE)


def word(number: int, *strides: int) -> Stream:
    return Stream(Space.spad, DType.f32, 4 * number, (Dim(1, 4),), strides)


def beat(number: int, *strides: int, zero: When = ALWAYS, swap: When = NEVER) -> Instruction:
    """One whose sums are this word."""
    return make("dx", v=HELD, acc=word(number, *strides), zero=zero, swap=swap)


def hold(swap: When = NEVER, take: When = NEVER, h: str | Stream = HELD) -> Instruction:
    """A beat that changes nothing in memory."""
    return make("dw", h=h, v=HELD, swap=swap, take=take)


def drain(number: int) -> Instruction:
    return make("drain", dst=word(number))


def fill(number: int) -> Instruction:
    return make("vec", fn="copy", dst=word(number), imm=1.0)


CHAINS: dict[str, tuple[dict[Queue, list[Instruction]], bool]] = {
    "the drain before has only started": ({A: [hold(take=ALWAYS), hold(take=ALWAYS), beat(0)], G: [drain(0), drain(1)]}, False),
    "the drain before is waited for": (
        {A: [hold(take=ALWAYS), hold(take=ALWAYS), WAIT, beat(0)], G: [drain(0), SIGNAL, drain(1)]}, True),
    "what a beat reads before the take is read": (
        {V: [fill(0), SIGNAL], A: [WAIT, hold(take=ALWAYS, h=word(0))], G: [drain(0)]}, True),
    "what a beat reads after the take is not": (
        {V: [fill(0), SIGNAL], A: [WAIT, hold(take=ALWAYS), hold(h=word(0))], G: [drain(0)]}, False),
    "a swap says nothing of beats before it": (
        {A: [beat(0), hold(swap=ALWAYS), hold(swap=ALWAYS)], W: [LOAD, LOAD, SIGNAL], V: [WAIT, fill(0)]}, False),
    "nor does it have to": (
        {A: [beat(0), hold(swap=ALWAYS), hold(swap=ALWAYS), SIGNAL], W: [LOAD, LOAD], V: [WAIT, fill(0)]}, True),
    "a load has ended before its swap": (
        {V: [fill(0), SIGNAL], W: [WAIT, make("wload", src=word(0))], A: [beat(0, swap=ALWAYS)]}, True),
    "the next one has not": (
        {V: [fill(0), SIGNAL], W: [LOAD, WAIT, make("wload", src=word(0))], A: [beat(0, swap=ALWAYS), hold(swap=ALWAYS)]}, False),
    "a token is given before it is taken": ({V: [SIGNAL, WAIT, fill(0)]}, True),
    "a token is taken before it is given": ({V: [WAIT, SIGNAL, fill(0)]}, False),
    "sums are read but in the first turn": (
        {A: [make("loop", name="i", count=2), beat(0, 4, zero=When("first", (0,))), make("end")]}, False),
    "sums are written a turn before they are read": (
        {
            W: [LOAD, LOAD],
            A: [beat(1), make("loop", name="o", count=2), make("loop", name="i", count=2),
                beat(1, 0, -4, zero=When("first", (0,))), beat(0), hold(swap=When("first", (0,))), make("end"), make("end")],
        }, True),
}  # fmt: skip


@pytest.mark.parametrize("case", CHAINS)
def test_chains(case: str) -> None:
    queues, right = CHAINS[case]
    assert agree(Program("chains", Machine(), queues, [Semaphore("s")], dram_bytes=4)) == right
