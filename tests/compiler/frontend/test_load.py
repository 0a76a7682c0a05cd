"""Reading models: formats, opsets, weights wherever they are, the batch size."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx.external_data_helper
import onnx.parser
import onnx.reference
import pytest
from onnx import numpy_helper

from compiler.frontend.load import OPSET, load_model, prepare_model
from isa.errors import UserError

Write = Callable[..., str]

MLP = """mlp (float[N,3] x) => (float[N,2] y) <float[3,2] w = {1,2,3,4,5,6}, float[2] b = {0.5,-0.5}> {
  h = MatMul(x, w)
  s = Add(h, b)
  y = Relu(s)
}"""


def weights(model: onnx.ModelProto) -> dict[str, list[object]]:
    return {tensor.name: numpy_helper.to_array(tensor).tolist() for tensor in model.graph.initializer}


def operators(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


def constants(model: onnx.ModelProto) -> dict[str, list[object]]:
    nodes = [node for node in model.graph.node if node.op_type == "Constant"]
    return {node.output[0]: numpy_helper.to_array(node.attribute[0].t).tolist() for node in nodes}


def shapes(model: onnx.ModelProto) -> dict[str, list[int]]:
    values = (*model.graph.input, *model.graph.value_info, *model.graph.output)
    return {value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in values}


def error(path: str, batch: int | None = None) -> list[str]:
    with pytest.raises(UserError) as caught:
        load_model(path, batch)
    return str(caught.value).removeprefix(path).splitlines()


@pytest.mark.parametrize("name", ["m.onnx", "m.onnxtxt"])
def test_both_formats(write: Write, name: str) -> None:
    model = load_model(write(MLP, name=name), batch=4)
    assert weights(model) == {"w": [[1, 2], [3, 4], [5, 6]], "b": [0.5, -0.5]}
    assert shapes(model) == {"x": [4, 3], "h": [4, 2], "s": [4, 2], "y": [4, 2]}
    assert [node.name for node in model.graph.node] == ["MatMul_0", "Add_1", "Relu_2"]


@pytest.mark.parametrize("opset", [*range(7, onnx.defs.onnx_opset_version() + 1)])
def test_every_opset_becomes_one(write: Write, opset: int) -> None:
    model = load_model(write(MLP, opset=opset), batch=2)
    assert [entry.version for entry in model.opset_import] == [OPSET]
    assert operators(model) == ["MatMul", "Add", "Relu"]


def test_what_older_opsets_mean_is_kept(write: Write) -> None:
    """Opset 7: bounds and axes are attributes, and Softmax normalises over all dimensions from its axis on."""
    body = """g (float[N,2,3] x) => (float[N,2] y) {
      c = Clip<min = -0.5, max = 1.5>(x)
      d = Dropout<ratio = 0.4>(c)
      s = Softmax<axis = 1>(d)
      u = Unsqueeze<axes = [0]>(s)
      q = Squeeze<axes = [0]>(u)
      y = ReduceSum<axes = [2], keepdims = 0>(q)
    }"""
    x = np.linspace(-2, 3, 12).reshape(2, 2, 3).astype(np.float32)
    model = load_model(write(body, opset=7), batch=2)
    powers = np.exp(np.clip(x, -0.5, 1.5).reshape(2, 6))
    expected = (powers / powers.sum(1, keepdims=True)).reshape(2, 2, 3).sum(2)
    np.testing.assert_allclose(onnx.reference.ReferenceEvaluator(model).run(None, {"x": x})[0], expected, rtol=1e-6)


def test_newer_opset_than_the_package_knows(write: Write) -> None:
    newest = onnx.defs.onnx_opset_version()
    message = f": opset {newest + 1} is not known to the installed onnx package (1 to {newest}); export for opset {OPSET}"
    assert error(write(MLP, opset=newest + 1), 2) == [message]


def test_external_data(write: Write, tmp_path: Path) -> None:
    path = write(MLP)
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor), tensor.name))  # only raw bytes move to other files
    onnx.save(model, path, save_as_external_data=True, location="m.data", size_threshold=0, convert_attribute=False)
    assert (tmp_path / "m.data").exists()
    assert weights(load_model(path, 2)) == {"w": [[1, 2], [3, 4], [5, 6]], "b": [0.5, -0.5]}
    (tmp_path / "m.data").unlink()
    (line,) = error(path, 2)
    assert line.startswith(": external data cannot be loaded: ")
    assert "m.data" in line


def test_ir_version_3_lists_weights_as_inputs(write: Write) -> None:
    body = MLP.replace("float[N,3] x)", "float[N,3] x, float[3,2] w, float[2] b)")
    model = load_model(write(body, ir_version=3, opset=8), batch=2)
    assert [value.name for value in model.graph.input] == ["x"]
    assert weights(model) == {"w": [[1, 2], [3, 4], [5, 6]], "b": [0.5, -0.5]}


def test_weights_from_constant_nodes(write: Write) -> None:
    body = """g (float[N,3] x) => (float[N,2] y) {
      w = Constant<value = float[3,2] {1,2,3,4,5,6}>()
      shape = Constant<value_ints = [2]>()
      b = ConstantOfShape<value = float[1] {0.25}>(shape)
      two = Constant<value_float = 2.0>()
      h = Gemm(x, w, b)
      y = Mul(h, two)
    }"""
    model = load_model(write(body), batch=2)
    assert weights(model) == {"w": [[1, 2], [3, 4], [5, 6]], "b": [0.25, 0.25]}
    assert constants(model) == {"two": 2.0}


def test_shape_arithmetic_folds(write: Write) -> None:
    """What torch exports for ``x.view(x.size(0), -1)``."""
    body = """g (float[N,2,3] x) => (float[N,6] y) {
      shape = Shape(x)
      zero = Constant<value = int64 {0}>()
      n = Gather(shape, zero)
      axes = Constant<value = int64[1] {0}>()
      first = Unsqueeze(n, axes)
      rest = Constant<value = int64[1] {-1}>()
      target = Concat<axis = 0>(first, rest)
      y = Reshape(x, target)
    }"""
    model = load_model(write(body), batch=5)
    assert operators(model) == ["Constant", "Reshape"]
    assert constants(model) == {"target": [5, -1]}
    assert shapes(model)["y"] == [5, 6]


def test_what_is_computed_from_weights_stays(write: Write) -> None:
    """A gradient flows to ``w`` through Transpose; none can through the integers that a shape is made of."""
    body = """g (float[2,3] x) => (float[2,4] y) <float[4,3] w = {1,2,3,4,5,6,7,8,9,10,11,12}, float[2] size = {2.0, 4.0}> {
      t = Transpose(w)
      h = MatMul(x, t)
      one = Constant<value = float {1.0}>()
      scaled = Mul(size, one)
      shape = Cast<to = 7>(scaled)
      y = Reshape(h, shape)
    }"""
    model = load_model(write(body))
    assert operators(model) == ["Transpose", "MatMul", "Constant", "Reshape"]
    assert constants(model) == {"shape": [2, 4]}
    assert list(weights(model)) == ["w"]


def test_nothing_enormous_is_folded(write: Write) -> None:
    body = """g (float[2] x) => (float[2] y) {
      n = Constant<value = int64[2] {1000000, 1000000}>()
      huge = ConstantOfShape<value = int64[1] {1}>(n)
      axes = Constant<value = int64[2] {0, 1}>()
      s = ReduceSum(huge, axes)
      f = Cast<to = 1>(s)
      y = Add(x, f)
    }"""
    assert operators(load_model(write(body))) == ["Constant", "ConstantOfShape", "Constant", "ReduceSum", "Cast", "Add"]


def test_unused_parts_are_dropped(write: Write) -> None:
    body = """g (float[N,3] x, float[M] never) => (float[N,3] y) <float[2] unused = {1,2}> {
      lost = LSTM(x, x, x)
      z, mask = Dropout(x)
      y = Relu(z)
    }"""
    model = load_model(write(body), batch=2)
    assert [(node.name, list(node.output)) for node in model.graph.node] == [("Dropout_1", ["z"]), ("Relu_2", ["y"])]
    assert weights(model) == {}


def test_functions_are_inlined(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["": 21, "local": 1]>
    g (float[2,3] x) => (float[2,3] y) { y = local.twice(x) }
    <domain: "local", opset_import: ["": 21]> twice (a) => (b) { b = Add(a, a) }"""
    (tmp_path / "m.onnxtxt").write_text(text)
    assert operators(load_model(str(tmp_path / "m.onnxtxt"))) == ["Add"]


def test_names_are_made_unique(write: Write) -> None:
    body = """g (float[2] x) => (float[2] y) {
      [same] a = Relu(x)
      [same] b = Relu(a)
      c = Relu(b)
      [Relu_2] y = Relu(c)
    }"""
    assert [node.name for node in load_model(write(body)).graph.node] == ["same", "same_2", "Relu_2_2", "Relu_2"]


def test_the_model_passed_in_stays(write: Write) -> None:
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 13]>\n{MLP}')
    before = model.SerializeToString(deterministic=True)
    prepare_model(model, "m", 2)
    assert model.SerializeToString(deterministic=True) == before


@pytest.mark.parametrize("axis", ["N", "0"])
def test_symbolic_batch_needs_a_size(write: Write, axis: str) -> None:
    path = write(f"g (float[{axis},3] x, float[{axis},3] z) => (float[{axis},3] y) {{ y = Add(x, z) }}")
    shown = ' ("N")' if axis == "N" else ""
    assert error(path) == [
        ": 2 dynamic shapes",
        f'  input "x": the batch size{shown} is not fixed; give it with --batch N',
        f'  input "z": the batch size{shown} is not fixed; give it with --batch N',
    ]
    assert shapes(load_model(path, 6)) == {"x": [6, 3], "z": [6, 3], "y": [6, 3]}


def test_negative_batch_is_symbolic(write: Write) -> None:
    path = write("g (float[1,3] x) => (float[1,3] y) { y = Relu(x) }")
    model = onnx.load(path)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = -1
    onnx.save(model, path)
    assert shapes(load_model(path, 6))["y"] == [6, 3]


def test_other_dynamic_axes(write: Write) -> None:
    path = write("g (float[N,T] x, float z) => (float[N,T] y) { y = Add(x, z) }")
    assert error(path, 2) == [
        ": 1 dynamic shape",
        '  input "x": axis 1 ("T") is dynamic; --batch N binds only the first axis: export with a fixed size',
    ]


@pytest.mark.parametrize("batch", [3, 4])
def test_fixed_batch_is_replaced(write: Write, batch: int) -> None:
    """In reshapes of what comes from an input too; a weight's reshape, and one with the batch left open, stay as they are."""
    path = write(
        """g (float[3,2] x) => (float[3,2,1] y, float[N,1] z, float[3,4] v)
        <int64[3] split = {3, 2, 1}, int64[2] open = {-1, 1}, int64[2] kept = {3, 4}, float[12] w = {0,0,0,0,0,0,0,0,0,0,0,0}>
        { h = Relu(x)  y = Reshape(h, split)  z = Reshape(h, open)  v = Reshape(w, kept) }"""
    )
    found = shapes(load_model(path, batch))
    expected = {"x": [batch, 2], "h": [batch, 2], "y": [batch, 2, 1], "z": [2 * batch, 1], "v": [3, 4]}
    assert {name: found[name] for name in expected} == expected


def test_one_constant_of_two_reshapes(write: Write) -> None:
    path = write(
        """g (float[3,2] x) => (float[3,2,1] y, float[3,2,1] z)
        <int64[3] shape = {3, 2, 1}, float[6] w = {0,0,0,0,0,0}> { y = Reshape(x, shape)  v = Reshape(w, shape)  z = Add(y, v) }"""
    )
    assert error(path, 6)[0].startswith(": shapes do not fit: ")


def test_which_axis_is_the_batch_must_be_clear(write: Write) -> None:
    path = write("g (float[3,2] x, float[2] b) => (float[3,2] y) { y = Add(x, b) }")
    assert error(path, 4) == [": --batch 4 has nothing to bind: the model's first axes are fixed (2 and 3)"]
    assert error(path, 0) == [": --batch 0: a batch has at least one row"]


def test_declared_shapes_of_another_batch_do_not_matter(write: Write) -> None:
    path = write("g (float[N,3] x) => (float[1,3] y) { h = Relu(x)  y = Relu(h) }")
    model = onnx.load(path)
    model.graph.value_info.append(onnx.helper.make_tensor_value_info("h", onnx.TensorProto.FLOAT, [1, 3]))
    onnx.save(model, path)
    assert shapes(load_model(path, 4)) == {"x": [4, 3], "h": [4, 3], "y": [4, 3]}


@pytest.mark.parametrize("opset", [9, 17, OPSET])
def test_outputs_that_no_node_makes(write: Write, opset: int) -> None:
    """An input and a weight that are outputs keep their shapes, whether or not the converter has to touch the model."""
    body = "g (float[N,3] x) => (float[N,3] x, float[2] w, float[N,3] y) <float[2] w = {1,2}> { y = Relu(x) }"
    model = load_model(write(body, opset=opset), batch=4)
    assert shapes(model) == {"x": [4, 3], "w": [2], "y": [4, 3]}
    assert [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim] == [4, 3]
    assert weights(model) == {"w": [1, 2]}


def test_shapes_that_do_not_fit(write: Write) -> None:
    (line,) = error(write("g (float[2,3] x, float[2,3] z) => (float[2,3] y) { y = MatMul(x, z) }"))
    assert line.startswith(": shapes do not fit: ")
    assert "MatMul" in line


@pytest.mark.parametrize("name", ["missing.onnx", "", "model.pb"])
def test_no_model(tmp_path: Path, name: str) -> None:
    (line,) = error(str(tmp_path / name))
    assert line.startswith((": cannot be read: ", ": not a model: the name of a model ends in .onnx or .onnxtxt"))
