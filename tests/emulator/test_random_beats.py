"""Random code for the array: whatever it is, both engines do the same in the same cycles."""

import numpy as np
from beat_programs import GRADIENTS, beat_programs
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator import Emulator
from isa.program import Program


@settings(max_examples=400, deadline=None)
@given(program=beat_programs(), seed=st.integers(0, 1000))
def test_engines_agree_exactly(program: Program, seed: int) -> None:
    data = np.random.default_rng(seed).integers(-(2**31), 2**31, GRADIENTS // 4).astype(np.int32)
    fast, stepped = (Emulator(program, engine).run({"data": data}) for engine in ("fast", "stepped"))
    assert fast.report.to_dict() == stepped.report.to_dict()
    assert all(queue["idle"] >= 0 for queue in fast.report.to_dict()["queues"].values())
    np.testing.assert_array_equal(fast.outputs["result"], stepped.outputs["result"])
