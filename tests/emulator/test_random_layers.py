"""Random tilings of random products: both engines take the same cycles, count the same, and compute what NumPy computes."""

from typing import Any

import layer_programs
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from layer_programs import KINDS, Plan, Product

from emulator import Emulator, draw_inputs
from emulator.fast import FastEngine
from emulator.memory import Memory
from emulator.report import report
from isa.check import check
from isa.dtypes import DType
from isa.stream import Space

SIZES = st.integers(1, 13)


@st.composite
def products(draw: st.DrawFn, integers: bool) -> Product:
    kind = draw(st.sampled_from([kind for kind in KINDS if kind != "upd" or not integers]))
    batch = draw(SIZES)
    return Product(
        kind=kind,
        batch=batch,
        k=draw(SIZES),
        n=draw(SIZES),
        order=draw(st.sampled_from([("n", "k"), ("k", "n")])),
        batch_tile=draw(st.none() | st.integers(1, batch)),
        ring=draw(st.sampled_from([0, 2, 3, 4, 6])),
        hold=draw(st.booleans()),
        keep_loops=draw(st.booleans()),
        relu=draw(st.booleans()),
    )


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    operand = draw(st.sampled_from(["f32", "bf16", "i8"]))
    stored = [DType.i8, DType.i32] if operand == "i8" else [DType.f32, DType.bf16, DType.f16]
    return Plan(
        rows=draw(st.integers(1, 6)),
        cols=draw(st.integers(1, 6)),
        operand=operand,
        products=tuple(draw(st.lists(products(operand == "i8"), min_size=1, max_size=3))),
        storage=draw(st.sampled_from(stored)),
        bytes_per_cycle=draw(st.sampled_from([0.7, 8.0, 64.0])),
        latency=draw(st.integers(0, 20)),
        burst_bytes=draw(st.sampled_from([1, 16, 64])),
        row_bytes=draw(st.sampled_from([0, 32, 256])),
        banks=draw(st.integers(1, 4)),
        read_ports=draw(st.integers(0, 3)),
        write_ports=draw(st.integers(0, 3)),
    )


def agree(plan: Plan, outputs: dict[str, Any], inputs: dict[str, Any]) -> None:
    for name, (value, bound) in layer_programs.expected(plan, inputs).items():
        error = np.abs(outputs[name] - value)
        assert np.all(error <= bound), f"{name}: off by {error.max()}"


@settings(max_examples=200, deadline=None)
@given(plan=plans(), seed=st.integers(0, 1000))
def test_engines_agree_with_each_other_and_with_numpy(plan: Plan, seed: int) -> None:
    program = layer_programs.build(plan)
    check(program, "random layers")
    inputs = draw_inputs(program, seed)
    fast, stepped = Emulator(program, "fast").run(inputs), Emulator(program, "stepped").run(inputs)
    assert fast.report.to_dict() == stepped.report.to_dict()
    agree(plan, fast.outputs, inputs)
    agree(plan, stepped.outputs, inputs)
    assert fast.report.whole.macs == layer_programs.macs(plan)
    moved, least = tuple(fast.report.whole.dram), layer_programs.dram_bytes(plan)
    assert moved == least if plan.burst_bytes == 1 else all(m >= n and m % plan.burst_bytes == 0 for m, n in zip(moved, least, strict=True))


@settings(max_examples=25, deadline=None)
@given(plan=plans())
def test_without_values_the_time_and_the_counts_are_the_same(plan: Plan) -> None:
    program = layer_programs.build(plan)
    counted = FastEngine(program, values=False).run(Memory(Space.dram, 0))
    assert report(program, counted).to_dict() == Emulator(program).run(draw_inputs(program, 0)).report.to_dict()
