"""The array by hand: how long beats take, and what they compute."""

from typing import Any

import numpy as np
import pytest
from hand_programs import READY, Spad, finish_of_code, loop, wide_machine
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator import Emulator
from isa.dtypes import DType
from isa.instructions import HELD, Queue, When, make
from isa.program import Program, Semaphore, Symbol
from isa.stream import Dim, Space, Stream

ENGINES = pytest.mark.parametrize("engine", ["fast", "stepped"])
FIRST_0, LAST_0, FIRST_1, LAST_1 = When("first", (0,)), When("last", (0,)), When("first", (1,)), When("last", (1,))
ALWAYS = When("first")


def integers(seed: int, *shape: int) -> Any:
    """Small whole numbers, so that sums in fp32 are exact in any order."""
    return np.random.default_rng(seed).integers(-9, 10, shape).astype(np.float32)


def zeros(spad: Spad) -> dict[str, Any]:
    return {name: np.zeros(shape, np.float32) for name, shape in spad.shapes.items()}


@settings(max_examples=60, deadline=None)
@given(rows=st.integers(1, 9), cols=st.integers(1, 9), mix=st.lists(st.sampled_from(["fwd", "dx", "dw"]), min_size=1, max_size=40))
@pytest.mark.parametrize("engine", ["fast", "stepped"])
def test_n_beats_take_n_plus_r_plus_c_minus_2(engine: Any, rows: int, cols: int, mix: list[str]) -> None:
    spad = Spad(X=(len(mix), rows), dY=(len(mix), cols), sums=(len(mix), 9))
    code = []
    for number, op in enumerate(mix):
        h = spad.stream("X", [(rows, 1)], skip=number * rows)
        v = spad.stream("dY", [(cols, 1)], skip=number * cols)
        acc = spad.stream("sums", [(cols if op == "fwd" else rows, 1)], skip=number * 9)
        args = {"fwd": {"h": h, "acc": acc}, "dx": {"v": v, "acc": acc}, "dw": {"h": h, "v": v}}[op]
        code.append(make(op, provenance=0, **args))
    result = Emulator(spad.program(wide_machine(rows, cols), {Queue.array: code}), engine).run(zeros(spad))
    assert finish_of_code(result.report) == READY + len(mix) + rows + cols - 2


def training_step(rows: int, cols: int, batch: int) -> tuple[Spad, Program]:
    """Y = X·W, then dX = dY·Wᵀ and dW = Xᵀ·dY interleaved, one tile."""
    spad = Spad(X=(batch, rows), W=(rows, cols), Y=(batch, cols), dY=(batch, cols), dX=(batch, rows), dW=(rows, cols))
    x, y = spad.stream("X", [(rows, 1)], [rows]), spad.stream("Y", [(cols, 1)], [cols])
    dy, dx = spad.stream("dY", [(cols, 1)], [cols]), spad.stream("dX", [(rows, 1)], [rows])
    code = {
        Queue.wchain: [make("wload", src=spad.stream("W", [(rows, cols), (cols, 1)]))],
        Queue.array: [
            *loop(batch, make("fwd", h=x, acc=y, zero=ALWAYS, swap=FIRST_0, provenance=0)),
            *loop(
                batch,
                make("dx", v=dy, acc=dx, zero=ALWAYS, provenance=0),
                make("dw", h=x, v=HELD, take=LAST_0, provenance=0),
            ),
        ],
        Queue.gchain: [make("drain", dst=spad.stream("dW", [(rows, cols), (cols, 1)]))],
    }
    return spad, spad.program(wide_machine(rows, cols), code)


@ENGINES
@pytest.mark.parametrize(("rows", "cols", "batch"), [(4, 4, 6), (3, 5, 1), (7, 2, 4), (1, 1, 3)])
def test_forward_and_interleaved_backward(engine: Any, rows: int, cols: int, batch: int) -> None:
    spad, program = training_step(rows, cols, batch)
    x, w, dy = integers(1, batch, rows), integers(2, rows, cols), integers(3, batch, cols)
    result = Emulator(program, engine).run({**zeros(spad), "X": x, "W": w, "dY": dy})
    np.testing.assert_array_equal(result.outputs["Y'"], x @ w)
    np.testing.assert_array_equal(result.outputs["dX'"], dy @ w.T)
    np.testing.assert_array_equal(result.outputs["dW'"], x.T @ dy)
    # The weights take R cycles to load; after that nothing is ever waited for.
    assert finish_of_code(result.report) == READY + rows + 3 * batch + rows + cols - 2
    counted = result.report.to_dict()
    assert counted["macs"] == 3 * batch * rows * cols
    assert counted["scratchpad_by_operand"]["dY"]["reads"] == batch * cols, "the held dY is not read again"
    assert counted["scratchpad_by_operand"]["X"]["reads"] == 2 * batch * rows
    assert counted["scratchpad_by_operand"]["dX"] == {
        "reads": 0, "writes": batch * rows, "read_bytes": 0, "write_bytes": 4 * batch * rows
    }  # fmt: skip


@ENGINES
@pytest.mark.parametrize(
    ("rows", "cols", "batch", "tiles"), [(4, 3, 1, 5), (4, 3, 2, 5), (4, 3, 3, 5), (5, 2, 9, 4), (2, 6, 1, 4), (1, 1, 1, 6)]
)
def test_tiles_follow_each_other(engine: Any, rows: int, cols: int, batch: int, tiles: int) -> None:
    """With both chains running behind the beats, a tile takes max(2B, R+1) cycles."""
    spad = Spad(X=(tiles, batch, rows), W=(tiles, rows, cols), dY=(batch, cols), dX=(tiles, batch, rows), dW=(tiles, rows, cols))
    x = spad.stream("X", [(rows, 1)], [batch * rows, rows])
    dy, dx = spad.stream("dY", [(cols, 1)], [0, cols]), spad.stream("dX", [(rows, 1)], [batch * rows, rows])
    code = {
        Queue.wchain: loop(tiles, make("wload", src=spad.stream("W", [(rows, cols), (cols, 1)], [rows * cols]))),
        Queue.array: loop(tiles, loop(
            batch,
            make("dx", v=dy, acc=dx, zero=ALWAYS, swap=FIRST_1, provenance=0),
            make("dw", h=x, v=HELD, take=LAST_1, provenance=0),
        )),
        Queue.gchain: loop(tiles, make("drain", dst=spad.stream("dW", [(rows, cols), (cols, 1)], [rows * cols]))),
    }  # fmt: skip
    xs, ws, dys = integers(1, tiles, batch, rows), integers(2, tiles, rows, cols), integers(3, batch, cols)
    result = Emulator(spad.program(wide_machine(rows, cols), code), engine).run({**zeros(spad), "X": xs, "W": ws, "dY": dys})
    np.testing.assert_array_equal(result.outputs["dX'"], dys @ ws.transpose(0, 2, 1))
    np.testing.assert_array_equal(result.outputs["dW'"], xs.transpose(0, 2, 1) @ dys)
    interval = max(2 * batch, rows + 1)
    assert finish_of_code(result.report) == READY + rows + (tiles - 1) * interval + 2 * batch + rows + cols - 2


@ENGINES
@pytest.mark.parametrize("batch", range(1, 30))
def test_a_tile_stays_in_w_next_until_it_is_swapped_in(engine: Any, batch: int) -> None:
    rows, cols, tiles = 4, 3, 8
    spad = Spad(X=(batch, rows), W=(tiles, rows, cols), Y=(tiles, batch, cols))
    x, y = spad.stream("X", [(rows, 1)], [0, rows]), spad.stream("Y", [(cols, 1)], [batch * cols, cols])
    code = {
        Queue.wchain: loop(tiles, make("wload", src=spad.stream("W", [(rows, cols), (cols, 1)], [rows * cols]))),
        Queue.array: loop(tiles, loop(batch, make("fwd", h=x, acc=y, zero=ALWAYS, swap=FIRST_1, provenance=0))),
    }
    xs, ws = integers(1, batch, rows), integers(2, tiles, rows, cols)
    result = Emulator(spad.program(wide_machine(rows, cols), code), engine).run({**zeros(spad), "X": xs, "W": ws})
    np.testing.assert_array_equal(result.outputs["Y'"], xs @ ws)


@ENGINES
def test_update_in_place_puts_the_new_weight_on_the_chain(engine: Any) -> None:
    rows, cols, batch = 3, 4, 2
    spad = Spad(X=(batch, rows), W=(rows, cols), dY=(batch, cols), dW=(rows, cols), Y=(batch, cols))
    x, dy = spad.stream("X", [(rows, 1)], [rows]), spad.stream("dY", [(cols, 1)], [cols])
    code = {
        Queue.wchain: [make("wload", src=spad.stream("W", [(rows, cols), (cols, 1)]))],
        Queue.array: [
            *loop(batch, make("dw", h=x, v=dy, swap=FIRST_0)),
            make("upd", lr=0.5, decay=0.25),
            *loop(batch, make("fwd", h=x, acc=spad.stream("Y", [(cols, 1)], [cols]), zero=ALWAYS)),
        ],
        Queue.gchain: [make("drain", dst=spad.stream("dW", [(rows, cols), (cols, 1)]))],
    }
    xs, w, dys = integers(1, batch, rows), integers(2, rows, cols), integers(3, batch, cols)
    result = Emulator(spad.program(wide_machine(rows, cols), code), engine).run({**zeros(spad), "X": xs, "W": w, "dY": dys})
    updated = w - 0.5 * (xs.T @ dys + 0.25 * w)
    np.testing.assert_array_equal(result.outputs["dW'"], updated)
    np.testing.assert_array_equal(result.outputs["Y'"], xs @ updated)


@ENGINES
@pytest.mark.parametrize(
    ("beats", "issue"),
    [
        # R = 6, C = 2: what `fwd` wrote is back after 6 cycles, what `dx` wrote after 2, whoever reads it.
        (["fwd a", "fwd a"], 6),
        (["dx a", "dx a"], 2),
        (["fwd a", "dx a"], 6),
        (["dx a", "fwd a"], 2),
        (["fwd a", "fwd b"], 1),
        (["fwd a", "fwd b", "fwd b"], 7),
        (["fwd a", "fwd b", "fwd a"], 6),
        (["fwd a", "zeroed a"], 1),
        (["fwd a", "zeroed a", "fwd a"], 7),
        (["dx a", "fwd b", "dx a", "fwd b"], 7),
    ],
)
def test_partial_sums_are_waited_for(engine: Any, beats: list[str], issue: int) -> None:
    spad = Spad(X=(6,), dY=(2,), sums=(2, 6))
    code = []
    for beat in beats:
        op, row = beat.split()
        acc = spad.stream("sums", [(2, 1)], skip=6 * (row == "b"))
        if op == "dx":
            code.append(make("dx", v=spad.stream("dY", [(2, 1)]), acc=acc, provenance=0))
        else:
            zero = {"zero": ALWAYS} if op == "zeroed" else {}
            code.append(make("fwd", h=spad.stream("X", [(6, 1)]), acc=acc, provenance=0, **zero))
    result = Emulator(spad.program(wide_machine(6, 2), {Queue.array: code}), engine).run(zeros(spad))
    assert finish_of_code(result.report) == READY + issue + 6 + 2 - 1
    stalls = result.report.to_dict()["queues"]["array"]["stalls"]
    assert stalls.get("partial sums", 0) == issue - len(beats) + 1


@ENGINES
def test_int8_products_wrap_into_int32(engine: Any) -> None:
    """The sum 2³¹ − 1 is one product away from the other end."""
    word = {space: Stream(space, DType.i32, 0, (Dim(2, 4),)) for space in Space}
    one = Stream(Space.spad, DType.i32, 4, (Dim(1, 4),))
    program = Program(
        "wrap", wide_machine(1, 1, "i8"),
        {
            Queue.dma_in: [make("ld", dst=word[Space.spad], src=word[Space.dram]), make("signal", sem=0), make("signal", sem=1)],
            Queue.wchain: [make("wait", sem=1), make("wload", src=Stream(Space.spad, DType.i32, 4, (Dim(1, 4), Dim(1, 4))))],
            Queue.array: [
                make("wait", sem=0),
                make("fwd", h=one, acc=Stream(Space.spad, DType.i32, 0, (Dim(1, 4),)), swap=ALWAYS),
                make("signal", sem=2),
            ],
            Queue.dma_out: [make("wait", sem=2), make("st", dst=word[Space.dram], src=word[Space.spad])],
        },
        [Semaphore("array"), Semaphore("weights"), Semaphore("done")],
        [Symbol("in", Space.dram, 0, (2,), DType.i32, "input"), Symbol("out", Space.dram, 0, (2,), DType.i32, "output")],
        dram_bytes=8,
    )  # fmt: skip
    # 0x101 enters the multipliers as 1: their operands are int8.
    result = Emulator(program, engine).run({"in": np.array([2**31 - 1, 0x101], np.int32)})
    assert result.outputs["out"][0] == -(2**31)


@ENGINES
def test_held_ports_keep_what_the_beat_before_brought(engine: Any) -> None:
    """Also from the last turn of a loop before, and also partial sums as they came in."""
    rows, cols, batch = 3, 2, 4
    spad = Spad(X=(batch, rows), dY=(batch, cols), dX=(batch, rows), dW=(rows, cols))
    x, dy = spad.stream("X", [(rows, 1)], [rows]), spad.stream("dY", [(cols, 1)], [cols])
    code = {
        Queue.array: [
            *loop(batch, make("dw", h=x, v=dy)),
            make("dw", h=HELD, v=spad.stream("dY", [(cols, 1)])),
            *loop(
                batch,
                make("dw", h=x, v=dy),
                make("dx", v=HELD, acc=spad.stream("dX", [(rows, 1)], [rows])),
                make("dw", h=HELD, v=HELD, take=LAST_0),
            ),
        ],
        Queue.gchain: [make("drain", dst=spad.stream("dW", [(rows, cols), (cols, 1)]))],
    }
    xs, dys, dxs = integers(1, batch, rows), integers(2, batch, cols), integers(3, batch, rows)
    result = Emulator(spad.program(wide_machine(rows, cols), code), engine).run({**zeros(spad), "X": xs, "dY": dys, "dX": dxs})
    np.testing.assert_array_equal(result.outputs["dW'"], 2 * xs.T @ dys + np.outer(xs[-1], dys[0]) + dxs.T @ dys)
    assert result.report.whole.macs == rows * cols * (batch + 1 + 3 * batch)
