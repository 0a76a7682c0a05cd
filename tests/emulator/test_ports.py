"""The scratchpad's ports by hand: 4 bytes a cycle from DRAM, 5 cycles of latency, an array of 6×4, a vector unit of 4 lanes."""

from typing import Any

import pytest

from emulator import Emulator
from isa.dtypes import DType
from isa.instructions import HELD, NEVER, Instruction, Queue, When, make
from isa.machine import Array, Dram, Machine, Scratchpad, Vector
from isa.program import Program, Provenance, Semaphore
from isa.stream import Dim, Space, Stream

ENGINES = pytest.mark.parametrize("engine", ["fast", "stepped"])
ALWAYS = When("first")
ROWS, COLS = 6, 4
BYTES = 4096
FAR = BYTES // 2
"""The first byte of the second of two banks."""


def spad(address: int, words: int = 1, strides: tuple[int, ...] = ()) -> Stream:
    return Stream(Space.spad, DType.f32, address, (Dim(words, 4),), strides)


def dram(words: int) -> Stream:
    return Stream(Space.dram, DType.f32, 0, (Dim(words, 4),))


def load(words: int, address: int = 0) -> Instruction:
    return make("ld", dst=spad(address, words), src=dram(words))


def store(words: int, address: int = 0) -> Instruction:
    return make("st", dst=dram(words), src=spad(address, words))


def wait(sem: int) -> Instruction:
    return make("wait", sem=sem)


def signal(sem: int) -> Instruction:
    return make("signal", sem=sem)


def loop(count: int, *body: Instruction) -> list[Instruction]:
    return [make("loop", name="l", count=count), *body, make("end")]


def fwd(sums: int = 1024, h: int = 512, **flags: Any) -> Instruction:
    """A beat of a loop whose turns have rows of sums of their own; zeroed unless said otherwise."""
    return make("fwd", h=spad(h, 2), acc=spad(sums, 2, (32,)), **{"zero": ALWAYS, **flags})


def run(engine: Any, scratchpad: Scratchpad, code: dict[Queue, list[Instruction]], rows: int = ROWS, cols: int = COLS) -> dict[str, Any]:
    """The report of code whose values say nothing; its semaphores are a, b and c."""
    machine = Machine(
        array=Array(rows=rows, cols=cols),
        scratchpad=scratchpad,
        dram=Dram(bytes_per_cycle=4.0, latency=5),
        vector=Vector(lanes=4, latency=3),
    )
    queues = {queue: code.get(queue, []) for queue in Queue}
    program = Program(
        "ports", machine, queues, [Semaphore(name) for name in "abc"], provenance=[Provenance("p", "fwd", 0)], dram_bytes=BYTES
    )
    report = Emulator(program, engine).run({}).report.to_dict()
    for figures in report["queues"].values():
        assert figures["idle"] >= 0
    return report


@ENGINES
@pytest.mark.parametrize(
    ("scratchpad", "to", "sums", "wait"),
    [
        (Scratchpad(BYTES), 0, 1024, False),
        (Scratchpad(BYTES, write_ports=1), 0, 1024, True),
        (Scratchpad(BYTES, write_ports=2), 0, 1024, False),
        (Scratchpad(BYTES, read_ports=2), 0, 1024, False),
        (Scratchpad(BYTES, banks=2, write_ports=1), 0, 1024, True),
        (Scratchpad(BYTES, banks=2, write_ports=1), 0, FAR, False),
        (Scratchpad(BYTES, banks=2, write_ports=1), FAR, 1024, False),
        # Six rows of two words, 32 bytes apart, are 168 bytes.
        (Scratchpad(BYTES, banks=2, write_ports=1), FAR, FAR - 168, False),
        (Scratchpad(BYTES, banks=2, write_ports=1), FAR, FAR - 164, True),
        (Scratchpad(BYTES, banks=2, write_ports=1), 0, FAR - 164, True),
        (Scratchpad(BYTES, banks=2, write_ports=1), FAR - 36, FAR + 200, True),
        (Scratchpad(BYTES, banks=2, write_ports=1), FAR - 40, FAR + 200, False),
    ],
)
def test_a_load_and_a_nest_that_want_one_port(engine: Any, scratchpad: Scratchpad, to: int, sums: int, wait: bool) -> None:
    """ld: 0…10. It goes first where both could start; the nest's 6 beats follow, the last is done R+C−2 cycles after 10…16."""
    found = run(engine, scratchpad, {Queue.dma_in: [load(10, to)], Queue.array: loop(6, fwd(sums))})
    cycles = 16 + ROWS + COLS - 2 if wait else 10 + 5
    stalls = {"scratchpad ports": 10} if wait else {}
    assert found["queues"]["array"] == {"busy": 6, "stalls": stalls, "idle": cycles - 6 - sum(stalls.values())}
    assert found["queues"]["dma_in"] == {"busy": 10, "stalls": {}, "idle": cycles - 10}
    assert found["cycles"] == cycles


@ENGINES
@pytest.mark.parametrize(
    ("operands", "read_ports", "cycles"),
    [
        ((0, 100, 200), 0, 3 + 3),
        ((0, 100, 200), 1, 3 + 9),
        ((0, 100, 200), 2, 3 + 6),
        ((0, 100, 200), 3, 3 + 3),
        ((0, 100, 100), 1, 3 + 6),  # what is read once for two operands
        ((100, 100, 100), 1, 3 + 3),
        ((0, 100, FAR), 1, 3 + 6),  # of each bank the most
        ((0, FAR, FAR + 100), 1, 3 + 6),
    ],
)
def test_a_vector_instruction_reads_as_often_as_it_has_to(engine: Any, operands: tuple[int, ...], read_ports: int, cycles: int) -> None:
    a, b, c = (spad(address, 10) for address in operands)
    code = {Queue.vector: [make("vec", fn="fma", dst=spad(3000, 10), a=a, b=b, c=c)]}
    banks = 2 if FAR in operands else 1
    found = run(engine, Scratchpad(BYTES, banks, read_ports), code)
    assert found["queues"]["vector"]["busy"] == found["cycles"] == cycles


@ENGINES
@pytest.mark.parametrize(("read_ports", "interval"), [(0, 1), (1, 2), (2, 1)])
def test_beats_of_two_operands_on_one_port_take_two_cycles(engine: Any, read_ports: int, interval: int) -> None:
    dw = make("dw", h=spad(0, 2, (8,)), v=spad(512, 2, (8,)))
    found = run(engine, Scratchpad(BYTES, read_ports=read_ports), {Queue.array: loop(5, dw)})
    assert found["queues"]["array"]["busy"] == 5 * interval
    assert found["cycles"] == 4 * interval + ROWS + COLS - 1, "a beat sets out when it issues"


@ENGINES
def test_beats_that_differ_take_what_each_needs(engine: Any) -> None:
    """dx reads dY and its sums, two cycles on one port; dw reads X, one."""
    dx = make("dx", v=spad(0, 2), acc=spad(1024, 2, (32,)), zero=NEVER)
    dw = make("dw", h=spad(512, 2), v=HELD)
    found = run(engine, Scratchpad(BYTES, read_ports=1), {Queue.array: loop(5, dx, dw)})
    assert found["queues"]["array"]["busy"] == 5 * 3
    assert found["cycles"] == 4 * 3 + 2 + ROWS + COLS - 1


@ENGINES
def test_sums_of_beats_of_two_cycles(engine: Any) -> None:
    """On one port to read, beats that add take two cycles.

    Row 2 is written in cycle 0 and back in 6. The nest's beats on rows 0, 1 and 2 issue in 1, 3 and, for that, 6; row 1 is back in 9.
    """
    add = fwd(1024, zero=NEVER)
    found = run(engine, Scratchpad(BYTES, read_ports=1), {Queue.array: [fwd(1024 + 64), *loop(3, add), fwd(1024 + 32, zero=NEVER)]})
    assert found["queues"]["array"]["stalls"] == {"partial sums": 1 + 1}
    assert found["queues"]["array"]["busy"] == 1 + 3 * 2 + 2
    assert found["cycles"] == 9 + ROWS + COLS - 1


@ENGINES
def test_a_nest_keeps_its_ports_while_it_waits_for_sums(engine: Any) -> None:
    """A beat in cycle 0 writes row 1, back in cycle 6; the nest's first beat issues in 1, its second wants row 1: 1…7 is the nest's."""
    one, nest = fwd(1056), loop(2, fwd(1024, zero=NEVER))
    store_later = [wait(0), store(1)]
    tokens = [make("vec", fn="copy", dst=spad(0), imm=1.0), signal(0)]  # 0…4
    found = run(engine, Scratchpad(BYTES, read_ports=2), {Queue.array: [one, *nest], Queue.dma_out: store_later, Queue.vector: tokens})
    assert found["queues"]["array"]["stalls"] == {"partial sums": 4}
    assert found["queues"]["dma_out"]["stalls"] == {"semaphore a": 5, "scratchpad ports": 2}


@ENGINES
def test_a_nest_starts_when_its_sums_are_back(engine: Any) -> None:
    """Until then others may have the port: the first beat's sums are back in cycle 6, a vector instruction reads in 1…5."""
    vec = make("vec", fn="copy", dst=spad(0), a=spad(4))
    code = {Queue.array: [fwd(1024), *loop(2, fwd(1024, zero=NEVER))], Queue.vector: [vec, vec]}
    found = run(engine, Scratchpad(BYTES, read_ports=1), code)
    assert found["queues"]["vector"] == {"busy": 8, "stalls": {"scratchpad ports": 1}, "idle": found["cycles"] - 9}
    assert found["queues"]["array"]["stalls"] == {"partial sums": 5, "scratchpad ports": 3}


@ENGINES
def test_what_takes_the_gradient_waits_without_the_nests_ports(engine: Any) -> None:
    """R = 3, C = 2, one port to write. Else the second tile's nest waited for the first drain, which waits for the port that it has.

    dx dw dx: 0…3, take in 3; again 4…7. The drain could start in 6, and does in 7, until 10; so the second take is in 8.
    Third nest: 10…13. The second drain could start in 11, and does in 13, until 16; the third take is in 14, its drain in 17…20.
    """
    dx = make("dx", v=spad(0, 2), acc=spad(1024, 2, (0, 32)), zero=ALWAYS)
    dw = make("dw", h=spad(512, 2), v=HELD, take=When("last", (1,)))
    tile = Stream(Space.spad, DType.f32, 2048, (Dim(3, 8), Dim(2, 4)))
    code = {Queue.array: loop(3, *loop(2, dx, dw)), Queue.gchain: loop(3, make("drain", dst=tile))}
    found = run(engine, Scratchpad(BYTES, write_ports=1), code, rows=3, cols=2)
    assert found["queues"]["array"] == {"busy": 12, "stalls": {"gradient chain": 2, "scratchpad ports": 1}, "idle": 6}
    assert found["queues"]["gchain"] == {"busy": 9, "stalls": {"gradient chain": 8, "scratchpad ports": 3}, "idle": 1}
    assert found["cycles"] == 20 + 1


@ENGINES
def test_a_load_without_a_port_leaves_the_channel_to_others(engine: Any) -> None:
    """The nest has the port to write in 0…12. The ld could start in 7, but for that; a st has the channel in 9…17."""
    tile = Stream(Space.spad, DType.f32, 2048, (Dim(6, 16), Dim(4, 4)))
    code = {
        Queue.array: loop(12, fwd()),
        Queue.dma_out: [store(2), signal(0), wait(1), store(8)],
        Queue.wchain: [make("wload", src=tile), signal(1)],  # done after R+C−1 = 9 cycles
        Queue.dma_in: [wait(0), load(3)],
    }
    found = run(engine, Scratchpad(BYTES, write_ports=1), code)
    assert found["queues"]["dma_in"]["stalls"] == {"semaphore a": 7, "scratchpad ports": 3, "DRAM channel": 7}
    assert found["queues"]["dma_out"]["stalls"] == {"semaphore b": 7}
    assert found["cycles"] == 17 + 3 + 5


@ENGINES
@pytest.mark.parametrize(("write_ports", "st"), [(0, 21), (1, 9)])
def test_fewer_ports_can_be_quicker(engine: Any, write_ports: int, st: int) -> None:
    """As whenever instructions start as soon as they can: a ld that nobody waits for keeps the channel from the st that counts.

    Both could start in 9, and the ld goes first, unless the first nest has the one port to write in 0…12.
    """
    tile = Stream(Space.spad, DType.f32, 2048, (Dim(6, 16), Dim(4, 4)))
    code = {
        Queue.wchain: [make("wload", src=tile), signal(0), signal(1)],
        Queue.dma_in: [wait(0), load(12)],
        Queue.dma_out: [wait(1), store(2), signal(2)],
        Queue.array: [*loop(12, fwd()), wait(2), *loop(50, make("dw", h=spad(0, 2), v=spad(512, 2)))],
    }
    found = run(engine, Scratchpad(BYTES, write_ports=write_ports), code)
    assert found["cycles"] == st + 2 + 5 + 49 + ROWS + COLS - 1
