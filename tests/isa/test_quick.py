"""The checker's quick way, all events at once, against the slow one that executes them one after the other."""

from beat_programs import beat_programs
from faulty_programs import faulty
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from layer_programs import KINDS, Plan, Product, build
from repeating import repeated

from isa.check.bounds import check_bounds
from isa.check.findings import Findings
from isa.check.order import Execution, Memories
from isa.check.quick import surely_right
from isa.dtypes import DType
from isa.instructions import Instruction, Queue, make
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


def agree(program: Program) -> None:
    """The quick way has a doubt just where the slow one finds something."""
    findings = Findings(program)
    check_bounds(findings)
    assume(not findings.lines)
    memories = Memories.of(findings)
    sure = surely_right(findings, memories)
    Execution(findings, memories).run()
    assert sure != bool(findings.lines), findings.lines


@settings(max_examples=400, deadline=None)
@given(faulty(copies()))
def test_copies(program: Program) -> None:
    agree(program)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(faulty(LAYERS))
def test_layers(program: Program) -> None:
    agree(program)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(faulty(beat_programs()))
def test_beats(program: Program) -> None:
    agree(program)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(faulty(repeated(4)))
def test_repeated_beats(program: Program) -> None:
    agree(program)
