"""The gradient of a strided slice, written where it belongs."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from ir_text import parse
from lowered import SETTINGS, Setting, program, run, tiles

from compiler.interpret_tile import interpret_tile
from isa.errors import UserError

GRAPH = """builtin.module {{ train.graph @layer {{
  %dy = train.leaf "input" "dy" : tensor<{b}x{n}x{y}x{x}xf32>
  %w = train.leaf "param" "w" : tensor<{n}x{k}xf32>
  %dx = train.product "bnyx,nk->bkyx"(%dy, %w) layer "conv" role "dx"
    : (tensor<{b}x{n}x{y}x{x}xf32>, tensor<{n}x{k}xf32>) -> tensor<{b}x{k}x{y}x{x}xf32>
  {more}
  %whole = train.place %dx at [0 : i64, 0 : i64, {at} : i64, 0 : i64] by [1 : i64, 1 : i64, {down} : i64, {across} : i64] in {value}
    layer "conv" role "grad" : (tensor<{b}x{k}x{y}x{x}xf32>) -> tensor<{b}x{k}x{height}x{width}xf32>
  train.output "grad" "grad/x" %whole : tensor<{b}x{k}x{height}x{width}xf32>
}} }}"""
SIZES = {"b": 2, "k": 3, "n": 2, "y": 4, "x": 3, "down": 2, "across": 3, "at": 0, "value": "0.0", "more": ""}
WHOLE = {"height": 8, "width": 9}
AGAIN = 'train.output "grad" "part" %dx : tensor<2x3x4x3xf32>'


@pytest.mark.parametrize(
    ("changes", "schedule", "spread"),
    [
        ({}, "interleaved", True),
        ({}, "sequential", True),
        ({"height": 7, "width": 8}, "ws", True),
        ({}, "os", False),
        ({}, "is", False),
        ({"at": 1, "height": 9}, "ws", False),
        ({"value": "1.0"}, "ws", False),
        ({"more": AGAIN}, "ws", False),
    ],
    ids=["interleaved", "sequential", "nothing behind", "drained", "pixels on lanes", "not at the start", "padded by ones", "both wanted"],
)
def test_where_a_result_is_spread(changes: dict[str, str | int], schedule: str, spread: bool) -> None:
    text = GRAPH.format(**SIZES | WHOLE | changes)
    found = str(tiles(parse(text), Setting(schedule=schedule, dram_above=0)))
    assert ("2y)(3x)" in found) == spread


@settings(deadline=None, max_examples=60)
@given(st.data(), SETTINGS)
def test_spread_results_are_right(data: st.DataObject, setting: Setting) -> None:
    """Zeros between the pixels and behind the last ones, wherever the tensor lives and whatever blocks it comes in."""
    sizes = {name: data.draw(st.integers(1, most), name) for name, most in (("b", 3), ("k", 9), ("n", 4), ("y", 4), ("x", 4))}
    sizes |= {name: data.draw(st.integers(1, 3), name) for name in ("down", "across")}
    reach = {"height": (sizes["y"] - 1) * sizes["down"] + 1, "width": (sizes["x"] - 1) * sizes["across"] + 1}
    whole = {name: size + data.draw(st.integers(0, 3), name) for name, size in reach.items()}
    b, k, n, y, x = (sizes[name] for name in "bknyx")
    random = np.random.default_rng(0)
    leaves = {"dy": random.integers(-3, 4, (b, n, y, x)).astype(np.float32), "w": random.integers(-3, 4, (n, k)).astype(np.float32)}
    wanted = np.zeros((b, k, whole["height"], whole["width"]), np.float32)
    wanted[:, :, : reach["height"] : sizes["down"], : reach["width"] : sizes["across"]] = np.einsum("bnyx,nk->bkyx", *leaves.values())
    try:
        module = tiles(parse(GRAPH.format(**SIZES | sizes | whole)), setting)
        np.testing.assert_array_equal(interpret_tile(module, leaves)["grad/x"], wanted)  # where nobody has written, there is no 0
        made = program(module, leaves)
    except UserError:
        assume(False)
    for outputs in run(made, leaves):
        np.testing.assert_array_equal(outputs["grad/x"], wanted)
