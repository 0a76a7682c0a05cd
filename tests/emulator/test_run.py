"""Inputs, outputs, what stays in DRAM, and programs that cannot proceed."""

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from emulator import Emulator, draw_inputs
from emulator.fast import FastEngine
from emulator.memory import Memory
from emulator.report import report
from isa.dtypes import DType
from isa.errors import UserError
from isa.instructions import Instruction, Queue, When, make
from isa.machine import Machine
from isa.program import Program, Semaphore, Symbol
from isa.stream import Dim, Space, Stream

ENGINES = pytest.mark.parametrize("engine", ["fast", "stepped"])


def flat(space: Space, address: int, words: int, dtype: DType = DType.f32) -> Stream:
    return Stream(space, dtype, address, (Dim(words, dtype.size),))


def counting() -> Program:
    """Adds 1 to the weights in DRAM; takes an input and labels that it does not look at."""
    near = flat(Space.spad, 0, 4)
    program = Program(
        "counting", Machine(),
        {
            Queue.dma_in: [make("ld", dst=near, src=flat(Space.dram, 0, 4)), make("signal", sem=0)],
            Queue.vector: [make("wait", sem=0), make("vec", fn="add", dst=near, a=near, imm=1.0), make("signal", sem=1)],
            Queue.dma_out: [make("wait", sem=1), make("st", dst=flat(Space.dram, 0, 4), src=near)],
        },
        [Semaphore("loaded"), Semaphore("added")],
        [
            Symbol("w", Space.dram, 0, (2, 2), DType.f32, "param"),
            Symbol("param/w", Space.dram, 0, (2, 2), DType.f32, "output"),
            Symbol("x", Space.dram, 16, (3,), DType.f32, "input"),
            Symbol("labels", Space.dram, 28, (5,), DType.i32, "input", classes=3, ignored=-100),
            Symbol("half", Space.dram, 48, (1,), DType.bf16, "input"),
            Symbol("half'", Space.dram, 48, (1,), DType.bf16, "output"),
        ],
        dram_bytes=52,
    )  # fmt: skip
    program.set_data(0, np.array([[1, 2], [3, 4]], np.float32))
    return program


GOOD: dict[str, Any] = {"x": np.zeros(3), "labels": np.array([0, 1, 2, -100, 1]), "half": np.array([1 + 2**-9])}


@ENGINES
def test_params_stay_from_run_to_run(engine: Any) -> None:
    emulator = Emulator(counting(), engine)
    np.testing.assert_array_equal(emulator.run(GOOD).outputs["param/w"], [[2, 3], [4, 5]])
    np.testing.assert_array_equal(emulator.run(GOOD).outputs["param/w"], [[3, 4], [5, 6]])
    np.testing.assert_array_equal(Emulator(counting(), engine).run(GOOD).outputs["param/w"], [[2, 3], [4, 5]])


def test_further_runs_compute_values_alone() -> None:
    program = counting()
    engine, dram = FastEngine(program), Memory(Space.dram, program.dram_bytes)
    first, words = engine.run(dram), dram.bytes[:16].view(np.float32)
    assert engine.events > 0
    for turn in range(2, 5):
        traced = engine.run(dram, trace=turn == 3)
        assert report(program, traced).to_dict() == report(program, first).to_dict()
        assert (engine.events > 0) == (traced.slices is not None) == (turn == 3)
        np.testing.assert_array_equal(words, 4 * [turn])


def test_outputs_do_not_change_behind_the_callers_back() -> None:
    emulator = Emulator(counting())
    first = emulator.run(GOOD).outputs["param/w"]
    emulator.run(GOOD)
    np.testing.assert_array_equal(first, [[2, 3], [4, 5]])


def test_bf16_inputs_round_and_come_back_as_fp32() -> None:
    half = Emulator(counting()).run(GOOD).outputs["half'"]
    assert half.dtype == np.float32
    assert half[0] == 1.0
    assert Emulator(counting()).run({**GOOD, "half": np.array([3], ml_dtypes.bfloat16)}).outputs["half'"][0] == 3


def test_all_that_is_wrong_with_the_inputs_is_listed() -> None:
    with pytest.raises(UserError) as caught:
        Emulator(counting()).run({"x": np.zeros((3, 1)), "labels": np.array([0, 1, 3, 0, 0]), "y": np.zeros(1)})
    assert str(caught.value).splitlines() == [
        "counting: the inputs do not fit",
        '  input "half" is missing, shape [1]',
        '  "y" is not an input; inputs are: x, labels, half',
        '  input "x" has shape [3, 1], expected [3]',
        '  input "labels" has values from 0 to 3, expected 0 to 2, or -100 for what is not to count',
    ]


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("x", np.zeros(3, np.int64), "is int64, expected floating point"),
        ("x", np.array(["a", "b", "c"]), "expected floating point"),
        ("x", np.zeros(3, complex), "expected floating point"),
        ("x", np.array([0, 1e39, np.inf]), r"has values too large for f32, such as 1e\+39"),
        ("labels", np.zeros(5), "is float64, expected integers"),
        ("labels", np.array([0, 0, 0, 0, -1]), "has values from -1 to 0"),
        ("labels", np.array([0, 0, 0, 0, 2**40]), "expected 0 to 2"),
    ],
)
def test_types_and_ranges_of_inputs(name: str, value: Any, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        Emulator(counting()).run({**GOOD, name: value})


def test_drawn_inputs_fit_and_follow_the_seed() -> None:
    program = counting()
    drawn = draw_inputs(program, 7)
    assert set(drawn) == {"x", "labels", "half"}
    assert drawn["labels"].min() >= 0
    assert drawn["labels"].max() < 3
    Emulator(program).run(drawn)
    np.testing.assert_array_equal(drawn["x"], draw_inputs(program, 7)["x"])
    assert (drawn["x"] != draw_inputs(program, 8)["x"]).any()


@ENGINES
def test_deadlock_names_the_queues_that_are_stuck(engine: Any) -> None:
    queues: dict[Queue, list[Instruction]] = {
        Queue.dma_in: [make("wait", sem=1), make("signal", sem=0)],
        Queue.vector: [make("wait", sem=0), make("signal", sem=1)],
        Queue.array: [make("upd", lr=1.0, swap=When("first"))],
        Queue.dma_out: [make("st", dst=flat(Space.dram, 0, 1), src=flat(Space.spad, 0, 1))],
    }
    program = Program("knot", Machine(), queues, [Semaphore("full"), Semaphore("empty")], dram_bytes=64)
    with pytest.raises(UserError) as caught:
        Emulator(program, engine).run({})
    assert str(caught.value).splitlines() == [
        "knot: the program cannot proceed: its queues wait for each other",
        "  queue dma_in: instruction 0 (wait) waits for semaphore empty",
        "  queue array: instruction 0 (upd) waits for what its chains load or drain",
        "  queue vector: instruction 0 (wait) waits for semaphore full",
    ]


@ENGINES
def test_a_stream_that_leaves_its_memory_is_told(engine: Any) -> None:
    far = flat(Space.dram, 60, 2)
    program = Program("far", Machine(), {Queue.dma_in: [make("ld", dst=flat(Space.spad, 0, 2), src=far)]}, dram_bytes=64)
    with pytest.raises(UserError, match="a stream at address 60 leaves the dram of 64 bytes"):
        Emulator(program, engine).run({})


@ENGINES
@pytest.mark.parametrize(
    ("queue", "op", "args"),
    [
        (Queue.array, "dw", {"h": flat(Space.spad, 1 << 20, 1), "v": flat(Space.spad, 0, 1)}),
        (Queue.array, "dx", {"v": flat(Space.spad, 0, 1), "acc": flat(Space.spad, -4, 1)}),
        (Queue.wchain, "wload", {"src": flat(Space.spad, (1 << 20) - 4, 2)}),
    ],
)
def test_so_is_a_beat_or_a_tile_that_does(engine: Any, queue: Queue, op: str, args: dict[str, Any]) -> None:
    program = Program("far", Machine(), {queue: [make(op, **args)]})
    with pytest.raises(UserError, match="leaves the spad of 1048576 bytes"):
        Emulator(program, engine).run({})
