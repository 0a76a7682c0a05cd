"""The oracle's operators, against the outputs that are stored with ONNX's own tests of them."""

from typing import Any

import jax
import jax_windows
import numpy as np
import onnx
import pytest
from jax_oracle import COMPILER, difference, opset_of, run_graph
from jax_trace import Trace, wide
from onnx.backend.test.case.node import collect_testcases

SKIPPED = {
    "element types": lambda m: {v.type.tensor_type.elem_type for v in (*m.graph.input, *m.graph.output)} - {1, 7},
    "modes": lambda m: any(_unused_mode(n) for n in m.graph.node),
    "second output of MaxPool": lambda m: any(n.op_type == "MaxPool" and len(n.output) > 1 for n in m.graph.node),
}


def _unused_mode(node: onnx.NodeProto) -> bool:
    """Resize and Pad in ways that no network of the tests uses."""
    at = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    default = b"nearest" if node.op_type == "Resize" else b"constant"
    unlike = {b"tf_crop_and_resize", b"half_pixel_symmetric"} & {at.get("coordinate_transformation_mode")}
    return at.get("mode", default) != default or bool(unlike) or "keep_aspect_ratio_policy" in at


CASES = {
    case.name: case
    for case in collect_testcases()
    if {n.op_type for n in case.model.graph.node} <= jax_windows.OPERATORS.keys() and not any(skip(case.model) for skip in SKIPPED.values())
}


FOUR_DECIMALS = {"test_averagepool_2d_ceil_last_window_starts_on_pad"}
"""Cases whose outputs are stored with no more."""


@pytest.mark.parametrize("name", CASES)
def test_stored_outputs(name: str) -> None:
    case = CASES[name]
    given, expected = ([wide(np.asarray(t)) for t in data] for data in case.data_sets[0])
    leaves = dict(zip((v.name for v in case.model.graph.input), given, strict=True))
    fixed = {name: value for name, value in leaves.items() if value.dtype.kind == "i" or name in ("scales", "roi")}

    def run(free: dict[str, Any]) -> Any:
        found = run_graph(case.model, free | fixed, Trace(0.0, opset_of(case.model)))
        return [found[value.name] for value in case.model.graph.output]

    free = {name: value for name, value in leaves.items() if name not in fixed}
    for got, want in zip(jax.jit(run).lower(free).compile(COMPILER)(free), expected, strict=True):
        assert difference(np.asarray(got), want) < (5e-4 if name in FOUR_DECIMALS else 1e-5)


def test_every_operator_has_cases() -> None:
    assert {n.op_type for case in CASES.values() for n in case.model.graph.node} == jax_windows.OPERATORS.keys() - {"Upsample"}
