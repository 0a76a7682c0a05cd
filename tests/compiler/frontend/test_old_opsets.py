"""Forms that operators had in earlier opsets, as exporters of the time wrote them: weights are listed as inputs too."""

import re
from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import helper
from xdsl.context import Context

from compiler.frontend.importer import import_model
from compiler.frontend.load import prepare_model
from compiler.interpret import interpret_train
from compiler.transforms.convert_onnx_to_train import ConvertOnnxToTrain

Array = np.ndarray
WEIGHTS = {
    "scale": np.array([0.5, 1.5, -1.0]),
    "bias": np.array([0.25, 0.5, 0.75]),
    "mean": np.array([0.25, 0.125, -0.5]),
    "var": np.array([1.0, 2.0, 0.5]),
    "w": np.arange(6.0).reshape(3, 2),
    "twice": np.array([1.0, 1, 2, 2]),
    "four": np.array([1.0, 2, 3, 4]),
}


def execute(opset: int, shape: tuple[int, ...], nodes: str) -> tuple[Array, Array]:
    """An input, and output ``y`` of these nodes."""
    listed = "".join(f", float{list(value.shape)} {name}" for name, value in WEIGHTS.items())
    stored = ", ".join(f"float{list(v.shape)} {n} = {{{', '.join(map(str, v.flat))}}}" for n, v in WEIGHTS.items())
    text = f'<ir_version: 3, opset_import: ["": {opset}]> g (float{list(shape)} x{listed}) => (float[] y) <{stored}> {{ {nodes} }}'
    model = onnx.parser.parse_model(text)
    used = {name for node in model.graph.node for name in node.input}
    for entry in (*model.graph.initializer, *list(model.graph.input)[1:]):
        if entry.name not in used:
            (model.graph.initializer if isinstance(entry, onnx.TensorProto) else model.graph.input).remove(entry)
    module, weights = import_model(prepare_model(model, "m"), "m")
    ConvertOnnxToTrain().apply(Context(), module)
    module.verify()
    x = np.random.default_rng(0).standard_normal(shape)
    return x, interpret_train(module, {"x": x, **weights})["y"]


def normalised(x: Array, mean: Array, var: Array) -> Array:
    scale, bias, mean, var = (v.reshape(1, 3, 1, 1) for v in (WEIGHTS["scale"], WEIGHTS["bias"], mean, var))
    return (x - mean) / np.sqrt(var + 0.125) * scale + bias


def by_given(x: Array) -> Array:
    return normalised(x, WEIGHTS["mean"], WEIGHTS["var"])


def by_batch(x: Array) -> Array:
    return normalised(x, x.mean((0, 2, 3)), x.var((0, 2, 3)))


NORM = "BatchNormalization<epsilon = 0.125{}>(x, scale, bias, mean, var)"
PIXELS = (2, 3, 4, 4)
CASES: list[tuple[int, tuple[int, ...], str, Callable[[Array], Array]]] = [
    (6, PIXELS, "y = " + NORM.format(", spatial = 1, is_test = 1"), by_given),
    (7, PIXELS, "y = " + NORM.format(", spatial = 1, momentum = 0.75"), by_given),
    (9, PIXELS, "y = " + NORM.format(", momentum = 0.75"), by_given),
    (9, PIXELS, "y, m, v, saved_m, saved_v = " + NORM.format(""), by_batch),
    (15, PIXELS, "y, m, v = " + NORM.format(", training_mode = 1"), by_batch),
    (6, (4, 2), "y = Gemm<broadcast = 1, transB = 1>(x, w, scale)", lambda x: x @ WEIGHTS["w"].T + WEIGHTS["scale"]),
    (6, (4, 3), "y = Add<broadcast = 1, axis = 0>(x, four)", lambda x: x + WEIGHTS["four"][:, None]),
    (6, (1, 3, 3), "y = PRelu(x, scale)", lambda x: np.where(x < 0, x * WEIGHTS["scale"][:, None], x)),
    (6, (4, 3), "y = Clip<min = -0.5, max = 0.5>(x)", lambda x: np.clip(x, -0.5, 0.5)),
    (6, (2, 3), "y = Dropout<is_test = 1>(x)", lambda x: x),
    (7, (2, 3), "y = Dropout<ratio = 0.25>(x)", lambda x: x),
    (12, (2, 3), "y = Dropout(x)", lambda x: x),
    (1, (2, 3), "y = Reshape<shape = [3, 2]>(x)", lambda x: x.reshape(3, 2)),
    (2, (2, 3), "y = Pad<pads = [0, 1, 1, 0], value = 2.0>(x)", lambda x: np.pad(x, ((0, 1), (1, 0)), constant_values=2.0)),
    (2, (4, 3), 'y = Pad<pads = [2, 1, 1, 0], mode = "reflect">(x)', lambda x: np.pad(x, ((2, 1), (1, 0)), mode="reflect")),
    (11, (4, 3), "n = Constant<value = int64[4] {2, 1, 1, 0}>() y = Pad<mode = \"edge\">(x, n)",
     lambda x: np.pad(x, ((2, 1), (1, 0)), mode="edge")),
    (9, (4, 3), "y = Slice<starts = [1, 0], ends = [9, -1], axes = [0, 1]>(x)", lambda x: x[1:9, :-1]),
    (2, (4, 3), "a, y = Split<axis = 0, split = [1, 3]>(x)", lambda x: x[1:]),
    (11, (4, 3), "y, a = Split<axis = 0>(x)", lambda x: x[:2]),
    (18, (5, 3), "y, a = Split<axis = 0, num_outputs = 2>(x)", lambda x: x[:3]),
    (11, (4, 3), "y = ReduceSum<axes = [1], keepdims = 0>(x)", lambda x: x.sum(1)),
    (1, (4, 3), "y = Concat(x, x)", lambda x: np.concatenate([x, x], 1)),
    (7, PIXELS, 'y = Upsample<mode = "nearest", scales = [1.0, 1.0, 2.0, 3.0]>(x)', lambda x: x.repeat(2, 2).repeat(3, 3)),
    (9, PIXELS, 'y = Upsample<mode = "nearest">(x, twice)', lambda x: x.repeat(2, 2).repeat(2, 3)),
    (10, PIXELS, 'y = Resize<mode = "nearest">(x, twice)', lambda x: x.repeat(2, 2).repeat(2, 3)),
    (13, PIXELS, "n = Constant<value = int64[4] {2, 3, 2, 6}>() "
     'y = Resize<mode = "nearest", coordinate_transformation_mode = "asymmetric", nearest_mode = "floor">(x, , , n)',
     lambda x: x[:, :, ::2][..., [0, 0, 1, 2, 2, 3]]),
    (7, (1, 2, 9), "y = AveragePool<kernel_shape = [3], strides = [3], pads = [3, 0], count_include_pad = 1>(x)",
     lambda x: np.concatenate([0 * x[:, :, :1], x.reshape(1, 2, 3, 3).mean(3)], 2)),
    (9, (2, 4, 3), "s = Shape(x) zero = Constant<value = int64 {0}>() n = Gather<axis = 0>(s, zero) u = Unsqueeze<axes = [0]>(n) "
     "rest = Constant<value = int64[1] {-1}>() to = Concat<axis = 0>(u, rest) y = Reshape(x, to)", lambda x: x.reshape(2, 12)),
]  # fmt: skip


NAMES = [f"{opset}-{re.findall('= ([A-Z][A-Za-z]+)', nodes)[-1]}" for opset, _, nodes, _ in CASES]


@pytest.mark.parametrize(("opset", "shape", "nodes", "expected"), CASES, ids=NAMES)
def test_old_forms(opset: int, shape: tuple[int, ...], nodes: str, expected: Callable[[Array], Array]) -> None:
    x, y = execute(opset, shape, nodes)
    want = expected(x)
    assert y.shape == want.shape
    np.testing.assert_allclose(y, want, rtol=1e-6, atol=1e-6)


def test_running_statistics_are_not_trained() -> None:
    """They are leaves that are marked as frozen, and none of the batch's statistics is an output that nothing asked for."""
    values = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, PIXELS) for name in ("x", "y")]
    tensors = [helper.make_tensor(name, onnx.TensorProto.FLOAT, [3], WEIGHTS[name]) for name in ("scale", "bias", "mean", "var")]
    nodes = [helper.make_node("BatchNormalization", ["x", "scale", "bias", "mean", "var"], ["y"])]
    model = helper.make_model(helper.make_graph(nodes, "g", values[:1], values[1:], tensors), opset_imports=[helper.make_opsetid("", 15)])
    module, weights = import_model(prepare_model(model, "m"), "m")
    assert weights.keys() == {"scale", "bias", "mean", "var"}
    ConvertOnnxToTrain().apply(Context(), module)
    frozen = {line.split('"')[3]: "frozen" in line for line in str(module).splitlines() if 'leaf "param"' in line}
    assert frozen == {"scale": False, "bias": False, "mean": True, "var": True}
