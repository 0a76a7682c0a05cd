"""The checker's quick shadow memory against the exact one."""

from hypothesis import given, settings
from hypothesis import strategies as st

from isa.check.findings import Findings
from isa.check.order import Execution
from isa.check.shadow import Shadow
from isa.check.spans import Spans, UnsureError
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
def programs(draw: st.DrawFn) -> Program:
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


def races(program: Program) -> list[str]:
    """What the exact memory finds."""
    findings = Findings(program)
    Execution(findings, Shadow).run()
    return [line for line in findings.lines if "nothing orders the two" in line]


def unsure(program: Program) -> bool:
    try:
        Execution(Findings(program), Spans).run()
    except UnsureError:
        return True
    return False


@settings(max_examples=400, deadline=None)
@given(programs())
def test_the_quick_memory_is_unsure_of_races_only(program: Program) -> None:
    assert unsure(program) == bool(races(program))
