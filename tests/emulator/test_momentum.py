"""Momentum in the array by hand: accumulators that begin with what a `gload` brought, velocity and weight that leave beside each other."""

from typing import Any

import numpy as np
import pytest
from hand_programs import READY, Spad, finish_of_code, loop, wide_machine

from emulator import Emulator
from emulator.fast import FastEngine
from emulator.memory import Memory
from emulator.report import report
from isa.instructions import HELD, Instruction, Queue, When, make
from isa.stream import Space

ENGINES = pytest.mark.parametrize("engine", ["fast", "stepped"])
ALWAYS, FIRST_1, LAST_0 = When("first"), When("first", (1,)), When("last", (0,))


def integers(seed: int, *shape: int) -> Any:
    """Small whole numbers, so that sums in fp32 are exact in any order."""
    return np.random.default_rng(seed).integers(-9, 10, shape).astype(np.float32)


def momentum_tiles(spad: Spad, rows: int, cols: int, batch: int, tiles: int) -> dict[Queue, list[Instruction]]:
    """dX, and the update of some tiles of weights and velocities: μ = 1/2, η = 1/4, λ = 2."""
    tile = [(rows, cols), (cols, 1)]
    x = spad.stream("X", [(rows, 1)], [batch * rows, rows])
    dy, dx = spad.stream("dY", [(cols, 1)], [0, cols]), spad.stream("dX", [(rows, 1)], [batch * rows, rows])
    return {
        Queue.wchain: loop(
            tiles,
            make("wload", src=spad.stream("W", tile, [rows * cols]), provenance=0),
            make("gload", src=spad.stream("velocity", tile, [rows * cols]), scale=0.5, provenance=0),
        ),
        Queue.array: loop(
            tiles,
            loop(
                batch,
                make("dx", v=dy, acc=dx, zero=ALWAYS, swap=FIRST_1, preload=FIRST_1, provenance=0),
                make("dw", h=x, v=HELD, provenance=0),
            ),
            [make("mupd", lr=0.25, decay=2.0, provenance=0)],
        ),
        Queue.gchain: loop(
            tiles,
            make("wdrain", dst=spad.stream("W", tile, [rows * cols]), provenance=0),
            make("drain", dst=spad.stream("velocity", tile, [rows * cols]), provenance=0),
        ),
    }


@ENGINES
@pytest.mark.parametrize(
    ("rows", "cols", "batch", "tiles"),
    [(4, 3, 1, 5), (4, 3, 4, 5), (4, 3, 5, 5), (5, 2, 9, 4), (2, 9, 1, 4), (3, 3, 2, 1), (1, 1, 1, 6), (2, 3, 3, 40)],
)
def test_tiles_with_momentum_follow_each_other(engine: Any, rows: int, cols: int, batch: int, tiles: int) -> None:
    """Two tiles come in and two go out, one behind the other: every max(2B+1, 2R+1) cycles."""
    shape = (tiles, rows, cols)
    spad = Spad(X=(tiles, batch, rows), dY=(batch, cols), dX=(tiles, batch, rows), W=shape, velocity=shape)
    program = spad.program(wide_machine(rows, cols), momentum_tiles(spad, rows, cols, batch, tiles))
    x, dy, w, v = integers(1, tiles, batch, rows), integers(2, batch, cols), integers(3, *shape), integers(4, *shape)
    result = Emulator(program, engine).run({"X": x, "dY": dy, "dX": np.zeros_like(x), "W": w, "velocity": v})
    velocity = 0.5 * v + (x.transpose(0, 2, 1) @ dy + 2 * w)
    np.testing.assert_array_equal(result.outputs["velocity'"], velocity)
    np.testing.assert_array_equal(result.outputs["W'"], w - 0.25 * velocity)
    np.testing.assert_array_equal(result.outputs["dX'"], dy @ w.transpose(0, 2, 1))
    interval = max(2 * batch + 1, 2 * rows + 1)
    # Two loads before the first beat; R cycles after the last update two drains, the second one through C−1 cycles after its R.
    last_update = READY + 2 * rows + (tiles - 1) * interval + 2 * batch
    assert finish_of_code(result.report) == last_update + rows + 2 * rows + cols - 1
    counted = result.report.to_dict()
    assert counted["macs"] == 2 * tiles * batch * rows * cols
    assert counted["scratchpad_by_operand"]["velocity"]["reads"] == tiles * rows * cols
    assert counted["scratchpad_by_operand"]["velocity"]["writes"] == tiles * rows * cols


@ENGINES
def test_stalls_name_the_chain_that_is_waited_for(engine: Any) -> None:
    rows, cols, batch, tiles = 5, 2, 1, 3
    shape = (tiles, rows, cols)
    spad = Spad(X=(tiles, batch, rows), dY=(batch, cols), dX=(tiles, batch, rows), W=shape, velocity=shape)
    program = spad.program(wide_machine(rows, cols), momentum_tiles(spad, rows, cols, batch, tiles))
    inputs = {name: np.zeros(shape, np.float32) for name, shape in spad.shapes.items()}
    queues = Emulator(program, engine).run(inputs).report.to_dict()["queues"]
    # The array: two loads of 5 cycles at first, then 11 cycles a tile of which 3 are beats.  The chain out: 10 of each 11 cycles busy.
    assert queues["array"]["stalls"]["weight chain"] == 2 * rows + (tiles - 1) * (2 * rows + 1 - 3)
    assert queues["wchain"]["stalls"]["weight chain"] == tiles - 1
    assert queues["gchain"]["stalls"]["gradient chain"] == 2 * rows + 2 + rows + (tiles - 1) * 1


@ENGINES
def test_each_column_scales_by_its_own_load(engine: Any) -> None:
    """The second load begins in the first columns while the last ones still shift the first in."""
    rows, cols = 2, 9
    spad = Spad(velocity=(2, rows, cols), dW=(2, rows, cols), X=(1,))
    zero = spad.stream("X", [(1, 1)])
    tile = [(rows, cols), (cols, 1)]
    first, second = (spad.stream("velocity", tile, skip=number * rows * cols) for number in range(2))
    code = {
        Queue.wchain: [make("gload", src=first, scale=3.0), make("gload", src=second, scale=-0.5)],
        Queue.array: loop(2, make("dw", h=zero, v=zero, preload=ALWAYS, take=ALWAYS)),
        Queue.gchain: loop(2, make("drain", dst=spad.stream("dW", tile, [rows * cols]))),
    }
    v = integers(1, 2, rows, cols)
    inputs = {"velocity": v, "dW": np.zeros_like(v), "X": np.zeros(1, np.float32)}
    result = Emulator(spad.program(wide_machine(rows, cols), code), engine).run(inputs)
    np.testing.assert_array_equal(result.outputs["dW'"], v * np.array([3.0, -0.5], np.float32)[:, None, None])


@ENGINES
def test_a_preload_replaces_what_the_accumulators_had(engine: Any) -> None:
    """And rows and columns that the load leaves out begin at 0."""
    rows, cols = 3, 2
    spad = Spad(X=(2, rows), dY=(2, cols), velocity=(2, 1), dW=(rows, cols))
    x, dy = spad.stream("X", [(rows, 1)], [rows]), spad.stream("dY", [(cols, 1)], [cols])
    code = {
        Queue.wchain: [make("gload", src=spad.stream("velocity", [(2, 1), (1, 1)]))],
        Queue.array: loop(2, make("dw", h=x, v=dy, preload=LAST_0, take=LAST_0)),
        Queue.gchain: [make("drain", dst=spad.stream("dW", [(rows, cols), (cols, 1)]))],
    }
    xs, dys, v = integers(1, 2, rows), integers(2, 2, cols), integers(3, 2, 1)
    inputs = {"X": xs, "dY": dys, "velocity": v, "dW": np.zeros((rows, cols), np.float32)}
    result = Emulator(spad.program(wide_machine(rows, cols), code), engine).run(inputs)
    np.testing.assert_array_equal(result.outputs["dW'"], np.outer(xs[1], dys[1]) + np.pad(v, ((0, 1), (0, 1))))


@pytest.mark.parametrize("batch", [1, 9])
def test_many_tiles_with_momentum_are_counted_instead_of_run(batch: int) -> None:
    """Whether the chains or the beats decide; values, counts and cycles are those of all tiles one by one."""
    rows, cols, tiles = 4, 3, 200
    shape = (tiles, rows, cols)
    spad = Spad(X=(tiles, batch, rows), dY=(batch, cols), dX=(tiles, batch, rows), W=shape, velocity=shape)
    program = spad.program(wide_machine(rows, cols), momentum_tiles(spad, rows, cols, batch, tiles))
    runs = []
    for skip in (True, False):
        dram = Memory(Space.dram, program.dram_bytes)
        dram.bytes.view(np.float32)[:] = integers(5, spad.size // 4)
        engine = FastEngine(program, skip=skip)
        runs.append((report(program, engine.run(dram)).to_dict(), dram.bytes.tobytes(), engine.events))
    assert runs[0][:2] == runs[1][:2]
    assert runs[0][2] < runs[1][2] / 10
