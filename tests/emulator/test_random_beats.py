"""Random code for the array: whatever it is, both engines do the same in the same cycles."""

import numpy as np
from beat_programs import beat_programs, inputs_of
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator import Emulator
from isa.program import Program


def agree(program: Program, seed: int) -> None:
    inputs = inputs_of(program, seed)
    fast, stepped = (Emulator(program, engine).run(inputs) for engine in ("fast", "stepped"))
    assert fast.report.to_dict() == stepped.report.to_dict()
    assert all(queue["idle"] >= 0 for queue in fast.report.to_dict()["queues"].values())
    for name, result in stepped.outputs.items():
        np.testing.assert_array_equal(fast.outputs[name], result)


@settings(max_examples=400, deadline=None)
@given(program=beat_programs(), seed=st.integers(0, 1000))
def test_engines_agree_exactly(program: Program, seed: int) -> None:
    agree(program, seed)


@settings(max_examples=150, deadline=None)
@given(program=st.integers(2, 3).flatmap(beat_programs), seed=st.integers(0, 1000))
def test_so_they_do_of_several_arrays(program: Program, seed: int) -> None:
    agree(program, seed)
