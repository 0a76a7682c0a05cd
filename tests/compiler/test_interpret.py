"""The float64 interpreter of the train level: each primitive against values worked out by hand or by another library."""

import math
from collections.abc import Callable

import ml_dtypes
import numpy as np
import pytest
from xdsl.context import Context
from xdsl.dialects.builtin import Builtin, ModuleOp
from xdsl.parser import Parser

from compiler.dialects.train import Train
from compiler.interpret import FUNCTIONS, REDUCTIONS, interpret_train
from isa import vector

MATH = {
    "copy": (lambda a: a, [(1.5,), (-2.0,)]),
    "neg": (lambda a: -a, [(1.5,), (-2.0,)]),
    "abs": (abs, [(1.5,), (-2.0,)]),
    "sign": (lambda a: math.copysign(1, a), [(1.5,), (-2.0,)]),
    "exp": (math.exp, [(0.3,), (-4.0,)]),
    "log": (math.log, [(0.3,), (7.0,)]),
    "sqrt": (math.sqrt, [(2.0,), (9.0,)]),
    "reciprocal": (lambda a: 1 / a, [(4.0,), (-0.5,)]),
    "tanh": (math.tanh, [(0.3,), (-2.0,)]),
    # Digits from tables (Abramowitz and Stegun, 7.1, has the first ten).
    "erf": (lambda a: math.copysign({0.5: 0.5204998778130465, 2.0: 0.9953222650189527}[abs(a)], a), [(0.5,), (-2.0,)]),
    "sigmoid": (lambda a: (1 + math.tanh(a / 2)) / 2, [(0.3,), (-2.0,)]),
    "relu": (lambda a: a if a > 0 else 0, [(1.5,), (-2.0,)]),
    "add": (lambda a, b: a + b, [(1.5, -4.0)]),
    "sub": (lambda a, b: a - b, [(1.5, -4.0)]),
    "mul": (lambda a, b: a * b, [(1.5, -4.0)]),
    "div": (lambda a, b: a / b, [(1.5, -4.0)]),
    "max": (max, [(1.5, -4.0), (-4.0, 1.5)]),
    "min": (min, [(1.5, -4.0), (-4.0, 1.5)]),
    "pow": (math.pow, [(1.5, -4.0), (2.0, 0.7)]),
    "eq": (lambda a, b: float(a == b), [(1.5, 1.5), (1.0, 2.0)]),
    "lt": (lambda a, b: float(a < b), [(1.5, 1.5), (1.0, 2.0)]),
    "le": (lambda a, b: float(a <= b), [(1.5, 1.5), (2.0, 1.0)]),
    "leaky_relu": (lambda a, b: a if a >= 0 else b * a, [(1.5, 0.1), (-2.0, 0.1)]),
    "relu_grad": (lambda a, b: a if b > 0 else 0.0, [(3.0, 1.0), (3.0, 0.0), (3.0, -1.0)]),
    "tanh_grad": (lambda a, b: a - a * b * b, [(3.0, 0.5)]),
    "erf_grad": (lambda a, b: a * 1.1283791670955126 * math.exp(-b * b), [(3.0, 0.25), (3.0, -2.0)]),
    "sigmoid_grad": (lambda a, b: a * (b - b * b), [(3.0, 0.25)]),
    "leaky_relu_grad": (lambda a, b, c: a if b >= 0 else c * a, [(3.0, 1.0, 0.1), (3.0, -1.0, 0.1)]),
    "select": (lambda a, b, c: b if a else c, [(1.0, 5.0, 6.0), (0.0, 5.0, 6.0)]),
    "fma": (lambda a, b, c: a * b + c, [(2.0, 3.0, 4.0)]),
}


def module(body: str) -> ModuleOp:
    context = Context()
    context.load_dialect(Builtin)
    context.load_dialect(Train)
    parsed = Parser(context, f"train.graph @m {{\n{body}\n}}").parse_module()
    parsed.verify()
    return parsed


def test_every_function_has_a_meaning() -> None:
    assert MATH.keys() == FUNCTIONS.keys() == vector.FUNCTIONS.keys()
    assert REDUCTIONS.keys() == vector.REDUCTIONS.keys()


@pytest.mark.parametrize("name", sorted(MATH))
def test_functions(name: str) -> None:
    function, arguments = MATH[name]
    names = [f"%{i}" for i in range(len(arguments[0]))]
    leaves = "\n".join(f'{v} = train.leaf "input" "{v}" : tensor<{len(arguments)}xf32>' for v in names)
    types = ", ".join([f"tensor<{len(arguments)}xf32>"] * len(names))
    graph = module(f"""{leaves}
      %y = train.map "{name}"({", ".join(names)}) layer "l" role "fwd" : ({types}) -> tensor<{len(arguments)}xf32>
      train.output "output" "y" %y : tensor<{len(arguments)}xf32>""")
    result = interpret_train(graph, {v: np.array(column) for v, column in zip(names, zip(*arguments, strict=True), strict=True)})["y"]
    np.testing.assert_allclose(result, [function(*given) for given in arguments], rtol=1e-14)


def test_shapes_and_reductions() -> None:
    graph = module("""
      %x = train.leaf "input" "x" : tensor<2x3xf32>
      %c = train.constant dense<10.0> : tensor<f32>
      %s = train.map "add"(%x, %c) layer "l" role "fwd" : (tensor<2x3xf32>, tensor<f32>) -> tensor<2x3xf32>
      %m = train.reduce "max" %s axes [1 : i64] layer "l" role "fwd" : (tensor<2x3xf32>) -> tensor<2x1xf32>
      %a = train.reduce "sum" %s axes [0 : i64, 1 : i64] layer "l" role "fwd" : (tensor<2x3xf32>) -> tensor<1x1xf32>
      %r = train.reshape %x layer "l" role "fwd" : (tensor<2x3xf32>) -> tensor<3x2xf32>
      %t = train.transpose %x perm [1 : i64, 0 : i64] layer "l" role "fwd" : (tensor<2x3xf32>) -> tensor<3x2xf32>
      %b = train.broadcast %m layer "l" role "fwd" : (tensor<2x1xf32>) -> tensor<2x2xf32>
      train.output "output" "m" %m : tensor<2x1xf32>
      train.output "output" "a" %a : tensor<1x1xf32>
      train.output "output" "r" %r : tensor<3x2xf32>
      train.output "output" "t" %t : tensor<3x2xf32>
      train.output "output" "b" %b : tensor<2x2xf32>""")
    found = interpret_train(graph, {"x": np.array([[1, 2, 3], [6, 5, 4]])})
    assert {name: value.tolist() for name, value in found.items()} == {
        "m": [[13], [16]], "a": [[81]], "r": [[1, 2], [3, 6], [5, 4]], "t": [[1, 6], [2, 5], [3, 4]], "b": [[13, 13], [16, 16]],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("axes", "role", "lhs", "rhs", "out"),
    [
        ("bk,nk->bn", "fwd", (2, 3), (4, 3), (2, 4)),
        ("bn,kn->bk", "dx", (2, 4), (3, 4), (2, 3)),
        ("gbk,gbn->gkn", "dw", (5, 2, 3), (5, 2, 4), (5, 3, 4)),
    ],
)
def test_products(axes: str, role: str, lhs: tuple[int, ...], rhs: tuple[int, ...], out: tuple[int, ...]) -> None:
    kinds = ["tensor<" + "x".join(map(str, shape)) + "xf32>" for shape in (lhs, rhs, out)]
    graph = module(f"""
      %x = train.leaf "input" "x" : {kinds[0]}
      %w = train.leaf "param" "w" : {kinds[1]}
      %y = train.product "{axes}" (%x, %w) layer "l" role "{role}" : ({kinds[0]}, {kinds[1]}) -> {kinds[2]}
      train.output "output" "y" %y : {kinds[2]}""")
    draw = np.random.default_rng(0)
    x, w = draw.standard_normal(lhs), draw.standard_normal(rhs)
    expected = {"fwd": lambda: x @ w.T, "dx": lambda: x @ w.T, "dw": lambda: x.swapaxes(1, 2) @ w}[role]()
    np.testing.assert_allclose(interpret_train(graph, {"x": x, "w": w})["y"], expected, rtol=1e-13)


def conv(x: np.ndarray, w: np.ndarray, stride: int = 1, dilation: int = 1, groups: int = 1) -> np.ndarray:
    """Convolution of x[b,c,y,x] with w[n,c/groups,r,s] by its definition, one output at a time."""
    depth, filters = w.shape[1], w.shape[0] // groups
    sizes = [(size - dilation * (k - 1) - 1) // stride + 1 for size, k in zip(x.shape[2:], w.shape[2:], strict=True)]
    out = np.zeros((x.shape[0], w.shape[0], *sizes))
    for b, n, y, c in np.ndindex(out.shape):
        for k, r, s in np.ndindex(w.shape[1:]):
            out[b, n, y, c] += x[b, n // filters * depth + k, stride * y + dilation * r, stride * c + dilation * s] * w[n, k, r, s]
    return out


@pytest.mark.parametrize(
    ("x_axes", "w_axes", "y_axes", "shapes", "how"),
    [
        ("bk(y+r)(x+s)", "nkrs", "bnyx", ((2, 3, 5, 4), (4, 3, 2, 3)), (1, 1, 1)),
        ("bk(2y+r)(2x+s)", "nkrs", "bnyx", ((1, 2, 8, 6), (3, 2, 3, 2)), (2, 1, 1)),
        ("bk(y+r)(x+s)", "nkrs", "bnyx", ((1, 2, 3, 3), (3, 2, 3, 2)), (1, 1, 1)),
        ("bk(y+3r)(x+3s)", "nkrs", "bnyx", ((2, 1, 8, 9), (2, 1, 3, 2)), (1, 3, 1)),
        ("b(3g+k)(2y+r)(2x+s)", "(2g+n)krs", "b(2g+n)yx", ((2, 6, 5, 4), (4, 3, 2, 2)), (2, 1, 2)),
        ("b(g+k)(y+r)(x+s)", "(g+n)krs", "b(g+n)yx", ((2, 3, 5, 4), (3, 1, 2, 2)), (1, 1, 3)),
    ],
)  # fmt: skip
def test_convolutions(x_axes: str, w_axes: str, y_axes: str, shapes: tuple[tuple[int, ...], ...], how: tuple[int, int, int]) -> None:
    """The three products of a convolution: Y by its definition, dX and dW by the adjoint, <dY, conv(X, W)> varied in each entry."""
    draw = np.random.default_rng(0)
    x, w = (draw.standard_normal(shape) for shape in shapes)
    y = conv(x, w, *how)
    g = draw.standard_normal(y.shape)
    sizes = {"X": x.shape, "W": w.shape, "Y": y.shape}
    values = {"X": x, "W": w, "dY": g}
    axes = {"X": x_axes, "W": w_axes, "Y": y_axes}

    def product(role: str, lhs: str, rhs: str, out: str) -> np.ndarray:
        text = f"{axes[lhs[-1]]},{axes[rhs[-1]]}->{axes[out]}"
        kinds = ["tensor<" + "x".join(map(str, sizes[name[-1]])) + "xf32>" for name in (lhs, rhs, out)]
        graph = module(f"""
          %a = train.leaf "input" "a" : {kinds[0]}
          %b = train.leaf "input" "b" : {kinds[1]}
          %y = train.product "{text}" (%a, %b) layer "l" role "{role}" : ({kinds[0]}, {kinds[1]}) -> {kinds[2]}
          train.output "output" "y" %y : {kinds[2]}""")
        return interpret_train(graph, {"a": values[lhs], "b": values[rhs]})["y"]

    def adjoint(shape: tuple[int, ...], value: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        units = np.eye(math.prod(shape)).reshape(-1, *shape)
        return np.array([np.sum(g * value(unit)) for unit in units]).reshape(shape)

    np.testing.assert_allclose(product("fwd", "X", "W", "Y"), y, rtol=1e-12, atol=1e-12)
    dx = product("dx", "dY", "W", "X")
    np.testing.assert_allclose(dx, adjoint(x.shape, lambda unit: conv(unit, w, *how)), rtol=1e-12, atol=1e-12)
    dw = product("dw", "X", "dY", "W")
    np.testing.assert_allclose(dw, adjoint(w.shape, lambda unit: conv(x, unit, *how)), rtol=1e-12, atol=1e-12)


def test_slice_place_and_concat() -> None:
    graph = module("""
      %x = train.leaf "input" "x" : tensor<2x5xf32>
      %s = train.slice %x from [1 : i64, 1 : i64] by [1 : i64, 3 : i64] layer "l" role "fwd" : (tensor<2x5xf32>) -> tensor<1x2xf32>
      %p = train.place %s at [1 : i64, 0 : i64] by [1 : i64, 2 : i64] in -1.0 layer "l" role "fwd"
        : (tensor<1x2xf32>) -> tensor<2x4xf32>
      %c = train.concat(%x, %p) axis 1 layer "l" role "fwd" : (tensor<2x5xf32>, tensor<2x4xf32>) -> tensor<2x9xf32>
      %r = train.slice %x from [1 : i64, 4 : i64] by [-1 : i64, -2 : i64] layer "l" role "fwd" : (tensor<2x5xf32>) -> tensor<2x3xf32>
      train.output "output" "r" %r : tensor<2x3xf32>
      train.output "output" "s" %s : tensor<1x2xf32>
      train.output "output" "p" %p : tensor<2x4xf32>
      train.output "output" "c" %c : tensor<2x9xf32>""")
    found = interpret_train(graph, {"x": np.arange(10.0).reshape(2, 5)})
    assert {name: value.tolist() for name, value in found.items()} == {
        "r": [[9, 7, 5], [4, 2, 0]],
        "s": [[6, 9]],
        "p": [[-1, -1, -1, -1], [6, -1, 9, -1]],
        "c": [[0, 1, 2, 3, 4, -1, -1, -1, -1], [5, 6, 7, 8, 9, 6, -1, 9, -1]],
    }


def test_pooling() -> None:
    """Windows of 2 entries 2 apart that slide by 1 over a row, each entry of the result's gradient a power of ten."""
    how = 'kernel [1 : i64, 2 : i64] strides [1 : i64, 1 : i64] dilations [1 : i64, 2 : i64] layer "l" role'
    graph = module(f"""
      %x = train.leaf "input" "x" : tensor<1x5xf32>
      %g = train.leaf "input" "g" : tensor<1x3xf32>
      %m = train.pool "max" %x {how} "fwd" : (tensor<1x5xf32>) -> tensor<1x3xf32>
      %s = train.pool "sum" %x {how} "fwd" : (tensor<1x5xf32>) -> tensor<1x3xf32>
      %dm = train.pool_grad "max" (%x, %m, %g) {how} "grad" : (tensor<1x5xf32>, tensor<1x3xf32>, tensor<1x3xf32>) -> tensor<1x5xf32>
      %ds = train.pool_grad "sum" (%g) {how} "grad" : (tensor<1x3xf32>) -> tensor<1x5xf32>
      train.output "output" "m" %m : tensor<1x3xf32>
      train.output "output" "s" %s : tensor<1x3xf32>
      train.output "grad" "dm" %dm : tensor<1x5xf32>
      train.output "grad" "ds" %ds : tensor<1x5xf32>""")
    found = interpret_train(graph, {"x": np.array([[3.0, 2, 3, 1, 3]]), "g": np.array([[1.0, 10, 100]])})
    assert {name: value.tolist() for name, value in found.items()} == {
        "m": [[3, 2, 3]], "s": [[6, 3, 6]],
        "dm": [[1, 10, 100, 0, 0]],  # of two equal entries the first gets it
        "ds": [[1, 10, 101, 10, 100]],
    }  # fmt: skip


def test_update() -> None:
    graph = module("""
      %w = train.leaf "param" "w" : tensor<1xf32>
      %g = train.leaf "input" "g" : tensor<1xf32>
      %v = train.leaf "param" "velocity/w" : tensor<1xf32>
      %n, %m = train.update (%w, %g, %v) lr 0.5 momentum 0.25 decay 0.125 layer "sgd" role "update"
        : (tensor<1xf32>, tensor<1xf32>, tensor<1xf32>) -> (tensor<1xf32>, tensor<1xf32>)
      %p = train.update (%w, %g) lr 0.5 momentum 0.0 decay 0.0 layer "sgd" role "update"
        : (tensor<1xf32>, tensor<1xf32>) -> tensor<1xf32>
      train.output "param" "w" %n : tensor<1xf32>
      train.output "param" "v" %m : tensor<1xf32>
      train.output "param" "p" %p : tensor<1xf32>""")
    found = interpret_train(graph, {"w": np.array([8.0]), "g": np.array([3.0]), "velocity/w": np.array([4.0])})
    # v = 0.25·4 + 3 + 0.125·8 = 5;  w = 8 − 0.5·5;  without momentum and decay: 8 − 0.5·3
    assert {name: value.tolist() for name, value in found.items()} == {"w": [5.5], "v": [5.0], "p": [6.5]}


@pytest.mark.parametrize(("element", "dtype"), [("f16", np.float16), ("bf16", ml_dtypes.bfloat16)])
def test_casts_round(element: str, dtype: type) -> None:
    graph = module(f"""
      %x = train.leaf "input" "x" : tensor<3xf32>
      %h = train.map "copy"(%x) layer "l" role "fwd" : (tensor<3xf32>) -> tensor<3x{element}>
      train.output "output" "h" %h : tensor<3x{element}>""")
    values = np.array([1 / 3, -1000.1, 1e30], np.float32)
    with np.errstate(over="ignore"):
        expected = values.astype(dtype).astype(np.float64)
    np.testing.assert_array_equal(interpret_train(graph, {"x": values})["h"], expected)


def test_labels_are_compared_exactly() -> None:
    graph = module("""
      %t = train.leaf "labels" "t" classes 3 : tensor<2x1xi32>
      %c = train.leaf "labels" "c" classes 3 : tensor<1x3xi32>
      %o = train.map "eq"(%t, %c) layer "l" role "loss" : (tensor<2x1xi32>, tensor<1x3xi32>) -> tensor<2x3xf32>
      train.output "output" "o" %o : tensor<2x3xf32>""")
    found = interpret_train(graph, {"t": np.array([[2], [-1]]), "c": np.array([[0, 1, 2]])})
    assert found["o"].tolist() == [[0, 0, 1], [0, 0, 0]]
