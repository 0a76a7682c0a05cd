"""Gradients of many blocks, which the vector unit adds up in the scratchpad, are added up as products."""

import numpy as np
import pytest
from ir_text import parse
from lowered import Setting, features, program, tiles

from emulator import Emulator
from emulator.fast import FastEngine
from emulator.memory import Memory
from isa.stream import Space

LAYER = """builtin.module {{ train.graph @layer {{
  %x = train.leaf "input" "x" : tensor<{b}x{k}xf32>
  %dy = train.leaf "input" "dy" : tensor<{b}x{n}xf32>
  %dw = train.product "bk,bn->kn"(%x, %dy) layer "fc" role "dw" : (tensor<{b}x{k}xf32>, tensor<{b}x{n}xf32>) -> tensor<{k}x{n}xf32>
  train.output "grad" "grad/w" %dw : tensor<{k}x{n}xf32>
}} }}"""


@pytest.mark.parametrize(("k", "n"), [(8, 6), (7, 5)], ids=["whole tiles", "ragged tiles"])
def test_blocks_of_a_gradient_are_one_product(k: int, n: int) -> None:
    b = 600
    module = tiles(parse(LAYER.format(b=b, k=k, n=n)), Setting(scratchpad=1200, schedule="os"))
    assert "gradients kept" in features(module)
    made = program(module, {})
    rng = np.random.default_rng(0)
    inputs = {name: rng.integers(-4, 5, (b, size)).astype(np.float32) for name, size in (("x", k), ("dy", n))}
    for engine in ("fast", "stepped"):
        np.testing.assert_array_equal(Emulator(made, engine).run(inputs).outputs["grad/w"], inputs["x"].T @ inputs["dy"])
    steps = []
    for skip in (True, False):
        one = FastEngine(made, skip=skip)
        one.run(Memory(Space.dram, made.dram_bytes))
        steps.append(one.steps)
    assert steps[0] < 0.3 * steps[1]
