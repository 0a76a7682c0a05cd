"""From a model in normal form to the onnx dialect, and what the errors say."""

import re
from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from compiler.frontend.importer import graph_name, import_model, parse_onnx_file
from compiler.frontend.load import load_model, prepare_model
from isa.errors import UserError

Write = Callable[..., str]


def problems(path: str, batch: int | None = None) -> list[str]:
    """The lines of the error, without the first one's place and without the list of all operators."""
    with pytest.raises(UserError) as caught:
        parse_onnx_file(path, batch)
    lines = str(caught.value).removeprefix(path).splitlines()
    return [line.removeprefix("  ") for line in lines if "supported operators: " not in line]


def test_the_module(write: Write) -> None:
    body = """mlp (float[N,3] x) => (float[N,2] y) <float[2,3] "fc.w" = {1,2,3,4,5,6}, float half = {0.5}> {
      [fc] h = Gemm<transB = 1>(x, "fc.w")
      low = Constant<value = float {0.0}>()
      c = Clip(h, , half)
      y = Pow(c, low)
    }"""
    model = load_model(write(body), 4)
    module, weights = import_model(model, "mlp")
    assert (
        str(module)
        == """builtin.module {
  onnx.graph @mlp {
    %x = onnx.input "x" : tensor<4x3xf32>
    %fc.w = onnx.param "fc.w" : tensor<2x3xf32>
    %half = onnx.constant dense<5.000000e-01> : tensor<f32>
    %low = onnx.constant dense<0.000000e+00> : tensor<f32>
    %h = onnx.Gemm "fc"(%x, %fc.w) {transB = 1 : i64} : (tensor<4x3xf32>, tensor<2x3xf32>) -> tensor<4x2xf32>
    %0 = onnx.none
    %c = onnx.Clip "Clip_2"(%h, %0, %half) : (tensor<4x2xf32>, none, tensor<f32>) -> tensor<4x2xf32>
    %y = onnx.Pow "Pow_3"(%c, %low) : (tensor<4x2xf32>, tensor<f32>) -> tensor<4x2xf32>
    onnx.output "y" %y : tensor<4x2xf32>
  }
}"""
    )
    assert {name: array.tolist() for name, array in weights.items()} == {"fc.w": [[1, 2, 3], [4, 5, 6]]}


def test_a_weight_may_also_be_an_exponent(write: Write) -> None:
    body = """g (float[2] x) => (float[2] y) <float[1] w = {3.0}> {
      h = Mul(x, w)
      y = Pow(h, w)
    }"""
    text = str(parse_onnx_file(write(body)))
    assert '%w = onnx.param "w" : tensor<1xf32>' in text
    assert "= onnx.constant dense<3.000000e+00> : tensor<1xf32>" in text


@pytest.mark.parametrize("dtype", [TensorProto.UINT8, TensorProto.UINT64, TensorProto.INT16])
def test_exponents_of_any_integer_type(dtype: int) -> None:
    exponent = helper.make_tensor("n", dtype, [], [2])
    nodes = [helper.make_node("Pow", ["x", "n"], ["y"])]
    values = [[helper.make_tensor_value_info(name, TensorProto.FLOAT, [2])] for name in ("x", "y")]
    model = helper.make_model(helper.make_graph(nodes, "g", *values, [exponent]), opset_imports=[helper.make_opsetid("", 21)])
    assert "onnx.constant dense<2> : tensor<i64>" in str(import_model(prepare_model(model, "m"), "m")[0])


def test_16_bit_weights() -> None:
    """They are weights like others, and are cast before they are computed with."""
    graph = helper.make_graph(
        [helper.make_node("Cast", ["w"], ["c"], to=TensorProto.FLOAT), helper.make_node("Add", ["x", "c"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])],
        [helper.make_tensor("w", TensorProto.BFLOAT16, [2], [1.5, -2.0])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])
    module, weights = import_model(prepare_model(model, "m"), "m")
    assert 'onnx.param "w" : tensor<2xbf16>' in str(module)
    np.testing.assert_array_equal(weights["w"].astype(np.float32), [1.5, -2.0])


def test_all_problems_at_once(write: Write) -> None:
    body = """g (float[2,3,4] x, double[2] d, float[2] n) => (float[2,3,4] y, int64[2] k, double[2] e) {
      ["enc/lstm"] h, last, cell = LSTM(x, x, x)
      r = Resize<mode = "cubic">(h)
      [bad_cast] i = Cast<to = 7>(n)
      p = Pow(x, h)
      dd = Exp(d)
      e = Exp(dd)
      train = Constant<value = bool {1}>()
      ratio = Constant<value = float {0.5}>()
      [drop] z, mask = Dropout(p, ratio, train)
      w = Where(mask, z, x)
      y = Add(w, last)
      k = Identity(i)
    }"""
    path = write(body)
    model = onnx.load(path)
    del model.graph.node[1]
    onnx.save(model, path)
    with pytest.raises(UserError) as caught:
        import_model(prepare_model(fit_lstm(model), "m"), "m", "some/model.onnx")
    assert str(caught.value).splitlines() == [
        "some/model.onnx: 9 parts of the model are not supported",
        '  input "d": float64 not supported; supported: float32, float16, bfloat16, int64, int32',
        '  output "k": int64 not supported; supported: float32, float16, bfloat16',
        '  output "e": float64 not supported; supported: float32, float16, bfloat16',
        '  node "enc/lstm" (LSTM): operator not supported; recurrent operators can be unrolled by the exporter',
        '  node "bad_cast" (Cast): to int64 not supported; supported: float32, float16, bfloat16',
        '  node "Pow_2" (Pow): input Y ("h") must be a constant',
        '  node "drop" (Dropout): training_mode true not supported; supported: false (dropout is compiled as in inference)',
        '  node "drop" (Dropout): output "mask" not supported; supported: the first output',
        '  node "Where_8" (Where): operator supported only on constants, which are folded (up to 16777216 elements)',
        "  supported operators: Abs, Add, AveragePool, BatchNormalization, Cast, Clip, Concat, Conv, ConvTranspose, Div, Dropout, Elu, "
        "Erf, Exp, Expand, Flatten, Gather, Gelu, Gemm, GlobalAveragePool, GlobalMaxPool, HardSigmoid, HardSwish, Identity, "
        "InstanceNormalization, LRN, LayerNormalization, LeakyRelu, Log, LogSoftmax, MatMul, Max, MaxPool, Mean, Min, Mul, Neg, "
        "NegativeLogLikelihoodLoss, PRelu, Pad, Pow, Reciprocal, ReduceMean, ReduceSum, Relu, Reshape, Resize, Selu, Sigmoid, Slice, "
        "Softmax, SoftmaxCrossEntropyLoss, Softplus, Split, Sqrt, Squeeze, Sub, Sum, Tanh, Tile, Transpose, Unsqueeze",
    ]


def test_operators_that_onnx_does_not_have(write: Write) -> None:
    body = """g (float[2] x) => (float[2] y) {
      a = Foo(x)
      b = ai.onnx.ml.Normalizer(a)
      [mine] c = com.custom.Op(b)
      y = Acos(c)
    }"""
    assert problems(write(body)) == [
        ": 4 parts of the model are not supported",
        'node "Foo_0" (Foo): operator not supported',
        'node "Normalizer_1" (ai.onnx.ml.Normalizer): operator not supported; supported: ONNX\'s own domain',
        'node "mine" (com.custom.Op): operator not supported; supported: ONNX\'s own domain',
        'node "Acos_3" (Acos): operator not supported',
    ]


@pytest.mark.parametrize(
    ("signature", "node", "problem"),
    [
        ("float[2] x, int64[1] s", "Reshape(x, s)", 'input shape ("s") must be a constant'),
        ("float[2] x, float[2] s", "Pow(x, s)", 'input Y ("s") must be a constant'),
        ("float[2,3] x, float[4] s", "Gemm(x, w, s)", "C [4] does not broadcast to [2, 3]"),
        ("float[2,3] x, float[2] s", "Clip(x, s)", "bounds are scalars, not min [2]"),
        ("float[2,3] x, int64[3] s", "SoftmaxCrossEntropyLoss(x, s)", "labels [3] do not fit scores [2, 3]; expected: the scores' "
         "shape without the classes (axis 1)"),
        ("float[2,4] x, int32[2] s", "SoftmaxCrossEntropyLoss(x, s, v)", "weights [3] do not fit 4 classes"),
        ("float[1,3,5,5,5] x, float[2,3,1,1,1] s", "Conv(x, s)", "X of rank 5 not supported; supported: 3 (1-D convolution) and 4 (2-D)"),
        ("float[1,3,5] x, float[2,2,1] s", "Conv(x, s)", "X has 3 channels, W [2, 2, 1] in 1 group expects 2"),
        ("float[1,4,5] x, float[3,2,1] s", "Conv<group = 2>(x, s)", "X has 4 channels, W [3, 2, 1] in 2 groups expects 4"),
        ("float[1,1,3] x, float[1,1,5] s", "Conv(x, s)", "its window does not fit the input: its output would be [1, 1, -1]"),
        ("float[1,2,5] x", "PRelu(x, v)", "slope [3] does not broadcast to X [1, 2, 5]"),
        ("float[3,2] x", "Slice(x, back, front, axes, back)", "steps [-1] not supported; supported: positive steps"),
        ("float[3,2] x", "Gather(x, five)", "index 5 is outside a dimension of 3"),
        ("float[3,2] x, int64[1] s", "Gather(x, s)", 'input indices ("s") must be a constant'),
        ("float[1,1,2,2] x", 'Resize<mode = "linear">(x, , , sizes)', 'mode "linear" not supported; supported: "nearest"'),
        ("float16[2] x", "Relu(x)", 'float16 not supported (input "x"); supported: float32'),
        ("int64[2] x", "Relu(x)", 'int64 not supported (input "x"); supported: float32'),
        ("float[2,3] x", "Reshape(x, five)", "[2, 3] does not reshape to [5]"),
    ],
)  # fmt: skip
def test_one_problem(write: Write, signature: str, node: str, problem: str) -> None:
    weights = "float[3,3] w = {1,2,3,4,5,6,7,8,9}, float[3] v = {1,2,3}, int64[1] five = {5}, "
    weights += "int64[1] back = {-1}, int64[1] front = {-9}, int64[1] axes = {0}, int64[4] sizes = {1,1,4,4}"
    result = signature.split("[")[0]  # the element type of x
    path = write(f"g ({signature}) => ({result}[] y) <{weights}> {{ [it] y = {node} }}")
    found = [line for line in problems(path) if line.startswith("node")]
    assert found == [f'node "it" ({re.split("[<(]", node)[0]}): {problem}']


def test_names_of_graphs() -> None:
    assert graph_name("some/dir/my model-2.onnx") == "my_model_2"


def fit_lstm(model: onnx.ModelProto) -> onnx.ModelProto:
    """Give the LSTM weights of fitting shapes."""
    shapes = {"W": (1, 16, 4), "R": (1, 16, 4)}
    for node in model.graph.node:
        if node.op_type == "LSTM":
            node.attribute.append(helper.make_attribute("hidden_size", 4))
            del node.input[:]
            node.input.extend(["x", *shapes])
    model.graph.initializer.extend(numpy_helper.from_array(np.ones(shape, np.float32), name) for name, shape in shapes.items())
    return model
