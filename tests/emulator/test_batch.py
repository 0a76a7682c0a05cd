"""Turns that are executed at once leave what they leave one by one, down to the last byte where numbers are integers."""

import layer_programs
import numpy as np
import pytest
from beat_programs import inputs_of
from hypothesis import given, settings
from hypothesis import strategies as st
from layer_programs import KINDS, Plan, Product
from repeating import long_plans, repeated

from emulator import Emulator, draw_inputs
from emulator.fast import FastEngine
from emulator.memory import Array, Memory
from isa.dtypes import DType
from isa.errors import UserError
from isa.instructions import Queue, make
from isa.machine import Machine
from isa.program import Program, Provenance, Semaphore, Symbol
from isa.stream import Dim, Space, Stream


def run(program: Program, inputs: dict[str, Array], skip: bool) -> tuple[Array, int]:
    """All of DRAM after a run, and how many instructions and nests were executed one by one."""
    dram = Memory(Space.dram, program.dram_bytes)
    for name, value in inputs.items():
        data = np.ascontiguousarray(value, program.symbol(name, "input").dtype.numpy).view(np.uint8).reshape(-1)
        dram.bytes[program.symbol(name, "input").address :][: data.size] = data
    engine = FastEngine(program, skip=skip)
    engine.run(dram)
    return dram.bytes, engine.steps


@settings(max_examples=200, deadline=None)
@given(program=st.sampled_from([1, 1, 2, 3]).flatmap(lambda arrays: repeated(40, arrays)), seed=st.integers(0, 1000))
def test_random_code_again_and_again(program: Program, seed: int) -> None:
    data = inputs_of(program, seed)
    try:
        expected = run(program, data, skip=False)[0]
    except UserError as error:  # a semaphore that starts with tokens may end with others
        with pytest.raises(UserError, match=str(error).split(":")[0]):
            run(program, data, skip=True)
        return
    np.testing.assert_array_equal(run(program, data, skip=True)[0], expected)


def whole_numbers(program: Program, seed: int) -> dict[str, Array]:
    """Inputs whose sums of products are exact in any order."""
    return {name: np.rint(9 * value) if value.dtype.kind == "f" else value for name, value in draw_inputs(program, seed).items()}


@settings(max_examples=60, deadline=None)
@given(plan=long_plans("i8") | long_plans("f32"), seed=st.integers(0, 1000))
def test_random_layers_of_whole_numbers(plan: Plan, seed: int) -> None:
    program = layer_programs.build(plan)
    inputs = whole_numbers(program, seed)
    np.testing.assert_array_equal(run(program, inputs, skip=True)[0], run(program, inputs, skip=False)[0])


@settings(max_examples=60, deadline=None)
@given(plan=long_plans(), seed=st.integers(0, 1000))
def test_random_layers_are_what_numpy_computes(plan: Plan, seed: int) -> None:
    program = layer_programs.build(plan)
    inputs = draw_inputs(program, seed)
    outputs = Emulator(program).run(inputs).outputs
    for name, (value, bound) in layer_programs.expected(plan, inputs).items():
        assert np.all(np.abs(outputs[name] - value) <= bound), name


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "upd"])
@pytest.mark.parametrize("order", [("n", "k"), ("k", "n")])
def test_most_of_a_product_is_executed_at_once(kind: str, order: tuple[str, str]) -> None:
    product = Product(kind, batch=9, k=160, n=163, order=order, ring=2)
    program = layer_programs.build(Plan(4, 4, "f32", (product,), bytes_per_cycle=64.0))
    inputs = draw_inputs(program, 0)
    (values, few), (expected, steps) = (run(program, inputs, skip) for skip in (True, False))
    assert few < 0.4 * steps
    np.testing.assert_allclose(values.view(np.float32), expected.view(np.float32), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("kind", "order"), [("fwd", ("k", "n")), ("dx", ("n", "k")), ("dx", ("k", "n")), ("dw", ("n", "k")), ("dx+dw", ("n", "k"))]
)
def test_loops_around_loops_are_executed_at_once(kind: str, order: tuple[str, str]) -> None:
    """Not the innermost ones alone; with ``dx`` and k outermost, 41 tiles are then added to the same sums in each turn."""
    product = Product(kind, batch=9, k=160, n=163, order=order, ring=2)
    program = layer_programs.build(Plan(4, 4, "i8", (product,), storage=DType.i8, bytes_per_cycle=64.0))
    inputs = draw_inputs(program, 0)
    (values, few), (expected, steps) = (run(program, inputs, skip) for skip in (True, False))
    assert few < 0.05 * steps
    np.testing.assert_array_equal(values, expected)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "upd"])
def test_as_many_turns_at_once_as_there_is_room_for(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    product = Product(kind, batch=9, k=160, n=163, ring=2)
    program = layer_programs.build(Plan(4, 4, "i8", (product,), storage=DType.i8, bytes_per_cycle=64.0))
    inputs = draw_inputs(program, 0)
    expected, steps = run(program, inputs, skip=False)
    monkeypatch.setattr("emulator.values._ROOM", 1000)
    values, few = run(program, inputs, skip=True)
    np.testing.assert_array_equal(values, expected)
    assert few < 0.6 * steps


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("length", [1 << 20, 9])
def test_further_runs_compute_with_the_words_that_are_there_then(kind: str, length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether all that the first run did is kept, or everything is done anew."""
    monkeypatch.setattr("emulator.values._LENGTH", length)
    product = Product(kind, batch=9, k=60, n=63, ring=2)
    program = layer_programs.build(Plan(4, 4, "f32", (product,), bytes_per_cycle=64.0))
    engine, memories = FastEngine(program), [Memory(Space.dram, program.dram_bytes) for _ in range(2)]
    for seed, dram in enumerate((memories[0], memories[0], memories[0], memories[1])):
        inputs = whole_numbers(program, seed)
        dram.bytes[:] = 0
        for name, words in inputs.items():
            data = np.ascontiguousarray(words).view(np.uint8).reshape(-1)
            dram.bytes[program.symbol(name, "input").address :][: data.size] = data
        engine.run(dram)
        np.testing.assert_array_equal(dram.bytes, run(program, inputs, skip=False)[0])
        assert (engine.events > 0) == (length == 9 or seed in (0, 3))


@pytest.mark.parametrize("slots", [2, 3, 4, 6])
@pytest.mark.parametrize("tiles", range(2, 16))
def test_a_tile_is_in_its_register_before_the_next_one_takes_its_slot(slots: int, tiles: int) -> None:
    """Where there are fewer turns than slots, tiles come from memory that the same turns write, and need no conversion on their way."""
    product = Product("dx+dw", batch=40, k=4, n=4 * tiles, ring=slots)
    program = layer_programs.build(Plan(4, 4, "f32", (product,), bytes_per_cycle=1024.0, latency=0))
    inputs = whole_numbers(program, 0)
    np.testing.assert_array_equal(run(program, inputs, skip=True)[0], run(program, inputs, skip=False)[0])


def test_words_are_read_before_others_take_their_place() -> None:
    """Two tensors change places row by row: each row is loaded in the turn in which it is overwritten, that of the first tensor last."""
    turns, row = 40, 8
    tensors = [Stream(Space.dram, DType.i32, 4 * row * turns * which, (Dim(row, 4),), (4 * row,)) for which in range(2)]
    buffers = [Stream(Space.spad, DType.i32, 4 * row * which, (Dim(row, 4),)) for which in range(2)]
    loads = [make("ld", dst=buffer, src=tensor) for buffer, tensor in zip(buffers, tensors, strict=True)]
    stores = [make("st", dst=tensor, src=buffer) for buffer, tensor in zip(buffers, reversed(tensors), strict=True)]
    loop, end = make("loop", name="row", count=turns), make("end")
    queues = {
        Queue.dma_in: [loop, make("wait", sem=0), *loads, make("signal", sem=1), end],
        Queue.dma_out: [loop, make("wait", sem=1), *stores, make("signal", sem=0), end],
    }
    symbols = [Symbol("both", Space.dram, 0, (2, turns, row), DType.i32, "input")]
    semaphores = [Semaphore("empty", 1), Semaphore("full")]
    program = Program("swap", Machine(), queues, semaphores, symbols, [Provenance("swap", "copy", 0)], dram_bytes=8 * row * turns)
    both = np.arange(2 * turns * row, dtype=np.int32).reshape(2, turns, row)
    left, steps = run(program, {"both": both}, skip=True)
    np.testing.assert_array_equal(left.view(np.int32).reshape(both.shape), both[::-1])
    assert steps < 0.5 * 4 * turns
