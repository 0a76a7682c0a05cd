"""convert-onnx-to-train: what each operator becomes, as text."""

import pytest
from xdsl.context import Context
from xdsl.dialects.builtin import Builtin
from xdsl.parser import Parser

from compiler.dialects.onnx import Onnx
from compiler.dialects.train import Train
from compiler.transforms.convert_onnx_to_train import ConvertOnnxToTrain


def convert(body: str) -> list[str]:
    """The operations that the lines of a graph become, without attributes that all of them share and without types."""
    context = Context()
    for dialect in (Builtin, Onnx, Train):
        context.load_dialect(dialect)
    module = Parser(context, f"onnx.graph @m {{\n{body}\n}}").parse_module()
    module.verify()
    ConvertOnnxToTrain().apply(context, module)
    module.verify()
    text = str(module)
    assert str(Parser(context, text).parse_module()) == text
    return [line.strip().removeprefix("train.").replace("= train.", "= ") for line in text.splitlines()[2:-2]]


def brief(lines: list[str]) -> list[str]:
    return [line.split(" : ")[0].split(" layer")[0] if "dense" not in line else line.split(" : ")[0] for line in lines]


def test_a_layer_carries_its_name() -> None:
    assert convert("""
      %x = onnx.input "x" : tensor<2x3xf32>
      %w = onnx.param "fc.w" : tensor<4x3xf32>
      %b = onnx.param "fc.b" : tensor<4xf32>
      %y = onnx.Gemm "fc"(%x, %w, %b) {transB = 1 : i64} : (tensor<2x3xf32>, tensor<4x3xf32>, tensor<4xf32>) -> tensor<2x4xf32>
      onnx.output "y" %y : tensor<2x4xf32>""") == [
        '%x = leaf "input" "x" : tensor<2x3xf32>',
        '%w = leaf "param" "fc.w" : tensor<4x3xf32>',
        '%b = leaf "param" "fc.b" : tensor<4xf32>',
        '%0 = product "bk,nk->bn"(%x, %w) layer "fc" role "fwd" : (tensor<2x3xf32>, tensor<4x3xf32>) -> tensor<2x4xf32>',
        '%y = map "add"(%0, %b) layer "fc" role "fwd" : (tensor<2x4xf32>, tensor<4xf32>) -> tensor<2x4xf32>',
        'output "output" "y" %y : tensor<2x4xf32>',
    ]


@pytest.mark.parametrize(
    ("attributes", "a", "b", "axes"),
    [
        ("", "2x3", "3x4", "bk,kn->bn"),
        ("{transA = 1 : i64}", "3x2", "3x4", "kb,kn->bn"),
        ("{transB = 1 : i64}", "2x3", "4x3", "bk,nk->bn"),
        ("{transA = 1 : i64, transB = 1 : i64}", "3x2", "4x3", "kb,nk->bn"),
    ],
)
def test_transposes_are_axes(attributes: str, a: str, b: str, axes: str) -> None:
    assert brief(
        convert(f"""
      %x = onnx.input "x" : tensor<{a}xf32>
      %w = onnx.param "w" : tensor<{b}xf32>
      %y = onnx.Gemm "fc"(%x, %w) {attributes} : (tensor<{a}xf32>, tensor<{b}xf32>) -> tensor<2x4xf32>""")
    )[2:] == [
        f'%y = product "{axes}"(%x, %w)',
    ]


def test_gemm_scales() -> None:
    lines = brief(
        convert("""
      %x = onnx.input "x" : tensor<2x3xf32>
      %w = onnx.param "w" : tensor<3x4xf32>
      %b = onnx.param "b" : tensor<4xf32>
      %y = onnx.Gemm "fc"(%x, %w, %b) {alpha = 0.5 : f32, beta = 2.0 : f32} : (tensor<2x3xf32>, tensor<3x4xf32>, tensor<4xf32>)
        -> tensor<2x4xf32>""")
    )[3:]
    assert [line.split(" = ")[1] for line in lines] == [
        'product "bk,kn->bn"(%x, %w)',
        "constant dense<5.000000e-01>",
        'map "mul"(%0, %1)',
        "constant dense<2.000000e+00>",
        'map "mul"(%b, %3)',
        'map "add"(%2, %4)',
    ]


@pytest.mark.parametrize(
    ("a", "b", "out", "expected"),
    [
        ("2x3", "3x4", "2x4", ['product "bk,kn->bn"']),
        ("3", "3x4", "4", ["reshape 1x3", 'product "bk,kn->bn"', "reshape 4"]),
        ("2x3", "3", "2", ["reshape 3x1", 'product "bk,kn->bn"', "reshape 2"]),
        ("3", "3", "", ["reshape 1x3", "reshape 3x1", 'product "bk,kn->bn"', "reshape "]),
        ("5x2x3", "3x4", "5x2x4", ["reshape 10x3", 'product "bk,kn->bn"', "reshape 5x2x4"]),
        ("5x2x3", "5x3x4", "5x2x4", ['product "gbk,gkn->gbn"']),
        ("6x1x2x3", "5x3x4", "6x5x2x4", ["broadcast 6x5x2x3", "reshape 30x2x3", "broadcast 6x5x3x4", "reshape 30x3x4",
                                         'product "gbk,gkn->gbn"', "reshape 6x5x2x4"]),
        ("2x3", "5x3x4", "5x2x4", ["broadcast 5x2x3", 'product "gbk,gkn->gbn"']),
    ],
)  # fmt: skip
def test_matmul_ranks(a: str, b: str, out: str, expected: list[str]) -> None:
    def tensor(shape: str) -> str:
        return f"tensor<{shape}{'x' if shape else ''}f32>"

    lines = convert(f"""
      %x = onnx.input "x" : {tensor(a)}
      %w = onnx.param "w" : {tensor(b)}
      %y = onnx.MatMul "mm"(%x, %w) : ({tensor(a)}, {tensor(b)}) -> {tensor(out)}""")[2:]
    found = []
    for line in lines:
        op = line.split(" = ")[1].split("(")[0].split(" %")[0]
        shape = line.split("-> tensor<")[1].removesuffix("f32>").removesuffix("x")
        found.append(op if op.startswith("product") else f"{op} {shape}")
    assert found == expected


@pytest.mark.parametrize(
    ("exponent", "expected"),
    [
        ("0.0", ["constant dense<1.000000e+00>", "broadcast %0"]),
        ("2.0", ['map "mul"(%x, %x)']),
        ("3.0", ['map "mul"(%x, %x)', 'map "mul"(%0, %x)']),
        ("5.000000e-01", ['map "sqrt"(%x)']),
        ("-1.0", ['map "reciprocal"(%x)']),
        ("-5.000000e-01", ['map "sqrt"(%x)', 'map "reciprocal"(%0)']),
        ("1.5", ["constant dense<1.500000e+00>", 'map "pow"(%x, %0)']),
    ],
)
def test_powers(exponent: str, expected: list[str]) -> None:
    lines = brief(
        convert(f"""
      %x = onnx.input "x" : tensor<4xf32>
      %e = onnx.constant dense<{exponent}> : tensor<f32>
      %y = onnx.Pow "p"(%x, %e) : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32>""")
    )[1:]
    assert [line.split(" = ")[1] for line in lines] == expected


def test_power_one_and_dropout_are_nothing() -> None:
    assert brief(
        convert("""
      %x = onnx.input "x" : tensor<4xf32>
      %e = onnx.constant dense<1> : tensor<i64>
      %a = onnx.Pow "p"(%x, %e) : (tensor<4xf32>, tensor<i64>) -> tensor<4xf32>
      %b = onnx.Dropout "d"(%a) : (tensor<4xf32>) -> tensor<4xf32>
      %c = onnx.Identity "i"(%b) : (tensor<4xf32>) -> tensor<4xf32>
      onnx.output "y" %c : tensor<4xf32>""")
    )[1:] == ['output "output" "y" %x']


def test_softmax_shifts_by_a_constant() -> None:
    lines = convert("""
      %x = onnx.input "x" : tensor<4x3xf32>
      %y = onnx.Softmax "s"(%x) {axis = 0 : i64} : (tensor<4x3xf32>) -> tensor<4x3xf32>""")
    assert brief(lines)[1:] == [
        '%0 = reduce "max" %x axes [0',
        '%1 = map "copy"(%0)',
        '%2 = map "sub"(%x, %1)',
        '%3 = map "exp"(%2)',
        '%4 = reduce "sum" %3 axes [0',
        '%y = map "div"(%3, %4)',
    ]
    assert [index for index, line in enumerate(lines) if "{stop_gradient}" in line] == [2]


def test_labels() -> None:
    """Labels are 32-bit leaves that know the classes and what is ignored, also through a reshape; all of a loss has role loss."""
    lines = convert("""
      %x = onnx.input "scores" : tensor<4x3xf32>
      %t = onnx.input "t" : tensor<4x1xi64>
      %a = onnx.constant dense<1> : tensor<1xi64>
      %l = onnx.Squeeze "sq"(%t, %a) : (tensor<4x1xi64>, tensor<1xi64>) -> tensor<4xi64>
      %y = onnx.NegativeLogLikelihoodLoss "nll"(%x, %l) {reduction = "sum", ignore_index = -100 : i64}
        : (tensor<4x3xf32>, tensor<4xi64>) -> tensor<f32>
      onnx.output "y" %y : tensor<f32>""")
    assert lines[1] == '%t = leaf "labels" "t" classes 3 ignored -100 : tensor<4x1xi32>'
    assert lines[2] == '%l = reshape %t layer "sq" role "fwd" : (tensor<4x1xi32>) -> tensor<4xi32>'
    assert brief(lines)[3:] == [
        "%0 = constant dense<[[0, 1, 2]]>",
        "%1 = reshape %l",
        '%2 = map "eq"(%1, %0)',
        '%3 = map "mul"(%2, %x)',
        '%4 = reduce "sum" %3 axes [1',
        '%5 = map "neg"(%4)',
        '%6 = reduce "sum" %5 axes [0',
        "%y = reshape %6",
        'output "output" "y" %y',
    ]
    assert all('layer "nll" role "loss"' in line for line in lines[4:-1])


def test_unused_inputs_get_no_leaf_and_shapes_no_constant() -> None:
    assert brief(
        convert("""
      %x = onnx.input "x" : tensor<2x3xf32>
      %u = onnx.input "u" : tensor<2xi64>
      %n = onnx.none
      %s = onnx.constant dense<6> : tensor<1xi64>
      %h = onnx.constant dense<6.0> : tensor<f32>
      %c = onnx.Clip "c"(%x, %n, %h) : (tensor<2x3xf32>, none, tensor<f32>) -> tensor<2x3xf32>
      %y = onnx.Reshape "r"(%c, %s) : (tensor<2x3xf32>, tensor<1xi64>) -> tensor<6xf32>""")
    ) == [
        '%x = leaf "input" "x"',
        "%h = constant dense<6.000000e+00>",
        '%c = map "min"(%x, %h)',
        "%y = reshape %c",
    ]


def test_casts_and_transposes() -> None:
    assert convert("""
      %x = onnx.input "x" : tensor<2x3xf16>
      %y = onnx.Cast "c"(%x) {to = 1 : i64} : (tensor<2x3xf16>) -> tensor<2x3xf32>
      %z = onnx.Transpose "t"(%y) : (tensor<2x3xf32>) -> tensor<3x2xf32>""")[1:] == [
        '%y = map "copy"(%x) layer "c" role "fwd" : (tensor<2x3xf16>) -> tensor<2x3xf32>',
        '%z = transpose %y perm [1 : i64, 0 : i64] layer "t" role "fwd" : (tensor<2x3xf32>) -> tensor<3x2xf32>',
    ]
