"""The onnx dialect: text that round-trips, and what its verifier rejects."""

from pathlib import Path

import numpy as np
import pytest
from onnx_node_cases import node_cases
from xdsl.context import Context
from xdsl.dialects.builtin import Builtin, ModuleOp
from xdsl.parser import Parser
from xdsl.utils.exceptions import ParseError, VerifyException

from compiler.decompose import DECOMPOSITIONS
from compiler.dialects.dense import dense, to_array
from compiler.dialects.onnx import NODE_OPS, Onnx
from compiler.dialects.onnx_operators import OPERATORS
from compiler.frontend.importer import import_model, parse_onnx_file
from compiler.frontend.load import prepare_model

PROGRAMS = Path(__file__).parents[3] / "programs"

GRAPH = """builtin.module {
  onnx.graph @m {
    %x = onnx.input "x" : tensor<2x3xf32>
    %w = onnx.param "fc.w" : tensor<3x4xf32>
    %0 = onnx.none
    %1 = onnx.constant dense<[1, -1]> : tensor<2xi64>
    %y = onnx.Gemm "fc"(%x, %w, %0) {alpha = 1.000000e-01 : f32, transA = 0 : i64} : (tensor<2x3xf32>, tensor<3x4xf32>, none) -> tensor<2x4xf32>
    %z = onnx.Reshape "view"(%y, %1) : (tensor<2x4xf32>, tensor<2xi64>) -> tensor<1x8xf32>
    onnx.output "z" %z : tensor<1x8xf32>
  }
}"""  # noqa: E501


def parse(text: str) -> ModuleOp:
    context = Context()
    context.load_dialect(Builtin)
    context.load_dialect(Onnx)
    module = Parser(context, text).parse_module()
    module.verify()
    return module


def test_text_round_trips() -> None:
    assert str(parse(GRAPH)) == GRAPH


@pytest.mark.parametrize("path", sorted(PROGRAMS.glob("*.onnx*")), ids=lambda path: path.name)
def test_programs_round_trip(path: Path) -> None:
    text = str(parse_onnx_file(str(path), 3))
    assert str(parse(text)) == text


def test_every_operator_round_trips() -> None:
    seen = set()
    for case in node_cases()[0]:
        module = import_model(prepare_model(case.model, case.name, case.batch), "m")[0]
        text = str(module)
        assert str(parse(text)) == text
        seen |= {op.operator.name for op in module.walk() if isinstance(op, tuple(NODE_OPS.values()))}
    assert seen == OPERATORS.keys()


def test_each_operator_has_a_decomposition() -> None:
    assert DECOMPOSITIONS.keys() == OPERATORS.keys()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("alpha =", "alhpa =", "Gemm has no attribute alhpa; it has: alpha, beta, transA, transB"),
        ("transA = 0 : i64", "transA = 1.0 : f32", "attribute transA is of type int"),
        ("(%x, %w, %0)", "(%x)", "Gemm takes 2 to 3 inputs, not 1"),
        ("(%x, %w, %0)", "(%0, %w, %0)", "input A is missing"),
        ("(%y, %1)", "(%y, %x)", "input shape must be a constant"),
        ("(%y, %1)", "(%1, %1)", None),
        ("transA = 0", "transA = 1", "A sums over 2 elements, B over 3"),
        ("dense<[1, -1]>", "dense<[3, -1]>", "[2, 4] does not reshape to [3, -1]"),
    ],
)
def test_the_verifier(old: str, new: str, message: str | None) -> None:
    text = GRAPH.replace(old, new)
    if old == "(%x, %w, %0)":
        kinds = {"%x": "tensor<2x3xf32>", "%w": "tensor<3x4xf32>", "%0": "none"}
        types = ", ".join(kinds[name] for name in new.strip("()").split(", "))
        text = text.replace("(tensor<2x3xf32>, tensor<3x4xf32>, none)", f"({types})")
    elif new == "(%y, %x)":
        text = text.replace("(tensor<2x4xf32>, tensor<2xi64>)", "(tensor<2x4xf32>, tensor<2x3xf32>)")
    with pytest.raises((VerifyException, ParseError)) as caught:
        parse(text)
    assert message is None or message in str(caught.value)


def test_unsupported_elements_and_values() -> None:
    text = """onnx.graph @m {{
      %x = onnx.input "x" : tensor<2x{element}>
      %y = onnx.{op} "n"(%x) {attributes} : (tensor<2x{element}>) -> tensor<2xf32>
    }}"""
    with pytest.raises(VerifyException, match="input X holds f16, not f32"):
        parse(text.format(element="f16", op="Relu", attributes=""))
    with pytest.raises(VerifyException, match="to 7 is not supported; supported: 1, 10, 16"):
        parse(text.format(element="f16", op="Cast", attributes="{to = 7 : i64}"))
    parse(text.format(element="f16", op="Cast", attributes="{to = 1 : i64}"))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, np.int64, np.int32, np.int8, np.bool_])
def test_dense_keeps_values(dtype: type) -> None:
    array = np.array([[0, 1, -3.5], [2, 100, 7]]).astype(dtype)
    back = to_array(dense(array))
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)
