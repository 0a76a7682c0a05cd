"""The DRAM channel by hand: 4 bytes a cycle, 5 cycles of latency."""

from typing import Any

import numpy as np
import pytest

from emulator import Emulator, Result
from isa.dtypes import DType
from isa.instructions import Instruction, Queue, make
from isa.machine import Dram, Machine, Vector
from isa.program import Program, Provenance, Semaphore, Symbol
from isa.stream import Dim, Space, Stream

ENGINES = pytest.mark.parametrize("engine", ["fast", "stepped"])


def copy(op: str, words: int, dram: int = 0, spad: int = 0) -> Instruction:
    near = Stream(Space.spad, DType.f32, spad, (Dim(words, 4),))
    far = Stream(Space.dram, DType.f32, dram, (Dim(words, 4),))
    return make(op, dst=near, src=far, provenance=0) if op == "ld" else make(op, dst=far, src=near, provenance=1)


def wait(sem: int) -> Instruction:
    return make("wait", sem=sem, provenance=1)


def signal(sem: int) -> Instruction:
    return make("signal", sem=sem)


def run(engine: Any, code: dict[Queue, list[Instruction]], inputs: Any = None) -> Result:
    program = Program(
        "transfers", Machine(dram=Dram(bytes_per_cycle=4.0, latency=5), vector=Vector(lanes=4, latency=3)),
        {queue: code.get(queue, []) for queue in Queue}, [Semaphore("a"), Semaphore("b")],
        [Symbol("in", Space.dram, 0, (16,), DType.f32, "input"), Symbol("out", Space.dram, 0, (16,), DType.f32, "output")],
        [Provenance("in", "vector", 0), Provenance("out", "vector", 1)], dram_bytes=64,
    )  # fmt: skip
    return Emulator(program, engine).run({"in": np.arange(16, dtype=np.float32) if inputs is None else inputs})


@ENGINES
def test_transfers_hold_the_channel_but_overlap_latency(engine: Any) -> None:
    result = run(engine, {Queue.dma_in: [copy("ld", 10), copy("ld", 3)]})
    assert result.report.cycles == 10 + 3 + 5
    queue = result.report.to_dict()["queues"]["dma_in"]
    assert queue == {"busy": 13, "stalls": {}, "idle": 5}


@ENGINES
def test_both_queues_ready_in_one_cycle_means_dma_in_first(engine: Any) -> None:
    # ld 0…10; in cycle 10 both could go on: the second ld takes 10…12, then the st 12…17, seen at 22.
    result = run(engine, {Queue.dma_in: [copy("ld", 10), copy("ld", 2)], Queue.dma_out: [copy("st", 5)]})
    assert result.report.cycles == 22
    queues = result.report.to_dict()["queues"]
    assert queues["dma_out"] == {"busy": 5, "stalls": {"DRAM channel": 12}, "idle": 5}
    assert queues["dma_in"] == {"busy": 12, "stalls": {}, "idle": 10}


@ENGINES
def test_first_ready_is_first_served(engine: Any) -> None:
    # The st holds the channel 0…8; the vector unit (3 + 1 cycles) lets dma_in go on in cycle 5; it waits for the channel.
    vec = make("vec", fn="copy", dst=Stream(Space.spad, DType.f32, 60, (Dim(1, 4),)), imm=1.0)
    result = run(engine, {
        Queue.dma_in: [wait(0), copy("ld", 2)],
        Queue.dma_out: [copy("st", 8)],
        Queue.vector: [vec, signal(0)],
    })  # fmt: skip
    queues = result.report.to_dict()["queues"]
    assert queues["dma_in"]["stalls"] == {"semaphore a": 5, "DRAM channel": 3}
    assert result.report.cycles == 8 + 2 + 5


@ENGINES
def test_what_a_load_brings_is_there_when_its_token_is(engine: Any) -> None:
    # ld: 0…16, done at 21; its token lets the st start in 21, which ends in 23, with its latency in 28.
    result = run(engine, {
        Queue.dma_in: [copy("ld", 16), signal(0)],
        Queue.dma_out: [wait(0), copy("st", 2, dram=0, spad=56)],
    })  # fmt: skip
    np.testing.assert_array_equal(result.outputs["out"][:3], [14, 15, 2])
    assert result.report.cycles == 28
    assert result.report.to_dict()["queues"]["dma_out"]["stalls"] == {"semaphore a": 21}


@ENGINES
def test_fractions_of_a_cycle_round_up(engine: Any) -> None:
    program = Program(
        "odd", Machine(dram=Dram(bytes_per_cycle=0.3, latency=0)), {Queue.dma_in: [copy("ld", 1)]},
        provenance=[Provenance("a", "vector", 0)], dram_bytes=64,
    )  # fmt: skip
    assert Emulator(program, engine).run({}).report.cycles == 14  # 4 / 0.3 = 13.33


@ENGINES
def test_types_change_on_the_way(engine: Any) -> None:
    bf16 = Stream(Space.spad, DType.bf16, 0, (Dim(16, 2),))
    back = make("st", dst=Stream(Space.dram, DType.f32, 0, (Dim(16, 4),)), src=bf16)
    there = make("ld", dst=bf16, src=Stream(Space.dram, DType.f32, 0, (Dim(16, 4),)))
    value = np.full(16, 1 + 2**-8 + 2**-9, np.float32)  # bf16 has 8 bits: rounds up to 1 + 2⁻⁷
    result = run(engine, {Queue.dma_in: [there, signal(0)], Queue.dma_out: [wait(0), back]}, value)
    np.testing.assert_array_equal(result.outputs["out"], np.full(16, 1 + 2**-7))


def rows_of_words(op: str, address: int, rows: int, words: int, pitch: int) -> Instruction:
    near = Stream(Space.spad, DType.f32, 0, (Dim(rows, 4 * words), Dim(words, 4)))
    far = Stream(Space.dram, DType.f32, address, (Dim(rows, pitch), Dim(words, 4)))
    return make(op, dst=near, src=far, provenance=0) if op == "ld" else make(op, dst=far, src=near, provenance=0)


def transfers(dram: Dram, engine: Any, code: dict[Queue, list[Instruction]]) -> dict[str, Any]:
    queues = {queue: code.get(queue, []) for queue in Queue}
    program = Program("rows", Machine(dram=dram), queues, provenance=[Provenance("a", "vector", 0)], dram_bytes=1024)
    return Emulator(program, engine).run({}).report.to_dict()


@ENGINES
@pytest.mark.parametrize("op", ["ld", "st"])
@pytest.mark.parametrize(
    ("address", "rows", "words", "pitch", "moved"),
    [
        (0, 1, 16, 64, 64),  # two bursts of 32 bytes
        (16, 1, 16, 64, 96),  # the same bytes across three
        (0, 4, 2, 64, 128),  # four runs of 8 bytes, a burst each
        (28, 4, 2, 64, 256),  # each across the end of one
        (0, 4, 2, 8, 32),  # rows side by side are one run
        (0, 1, 1, 4, 32),
    ],
)
def test_whole_bursts_move(engine: Any, op: str, address: int, rows: int, words: int, pitch: int, moved: int) -> None:
    queue = Queue.dma_in if op == "ld" else Queue.dma_out
    found = transfers(
        Dram(bytes_per_cycle=4.0, latency=5, burst_bytes=32), engine, {queue: [rows_of_words(op, address, rows, words, pitch)]}
    )
    assert (found["cycles"], found["dram_bytes"]) == (moved // 4 + 5, moved)
    words_moved = found["scratchpad_writes"] if op == "ld" else found["scratchpad_reads"]
    assert words_moved == rows * words, "the scratchpad sees the words alone"


@ENGINES
def test_rows_are_opened_once_in_a_row(engine: Any) -> None:
    """Rows of 64 bytes, 10 cycles each. Both queues share the one that is open."""
    dram = Dram(bytes_per_cycle=4.0, latency=0, row_bytes=64, row_miss_cycles=10)
    one = rows_of_words("ld", 0, 1, 16, 0)
    assert transfers(dram, engine, {Queue.dma_in: [one]})["cycles"] == 16 + 10
    assert transfers(dram, engine, {Queue.dma_in: [one, one]})["cycles"] == 32 + 10
    assert transfers(dram, engine, {Queue.dma_in: [rows_of_words("ld", 32, 1, 16, 0)]})["cycles"] == 16 + 20
    assert transfers(dram, engine, {Queue.dma_in: [rows_of_words("ld", 0, 4, 1, 128)]})["cycles"] == 4 + 40
    assert transfers(dram, engine, {Queue.dma_in: [rows_of_words("ld", 0, 4, 1, 16)]})["cycles"] == 4 + 10
    # Both could go on in cycle 0: the ld is first (row 0); the st finds row 0 open, the ld behind it too.
    both = {Queue.dma_in: [one, one], Queue.dma_out: [rows_of_words("st", 0, 1, 8, 0)]}
    assert transfers(dram, engine, both)["cycles"] == 32 + 8 + 10
    apart = {Queue.dma_in: [one], Queue.dma_out: [rows_of_words("st", 512, 1, 8, 0)]}
    assert transfers(dram, engine, apart)["cycles"] == 16 + 8 + 20
