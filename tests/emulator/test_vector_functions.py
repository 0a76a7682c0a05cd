"""The vector unit's functions against plain mathematics."""

import math
import warnings
from collections.abc import Callable

import numpy as np
import pytest

from emulator.memory import Memory
from emulator.vector import ELEMENTWISE, elementwise, prepared, reduction
from isa.dtypes import DType
from isa.instructions import make
from isa.stream import Dim, Space, Stream
from isa.vector import FUNCTIONS

NAN, INF = math.nan, math.inf
UNIT = 2.0**-24

SCALAR: dict[str, Callable[..., float]] = {
    "copy": lambda a: a,
    "neg": lambda a: -a,
    "abs": lambda a: math.fabs(a),
    "sign": lambda a: (a > 0) - (a < 0),
    "exp": lambda a: math.exp(a),
    "log": lambda a: math.log(a) if a > 0 else (-INF if a == 0 else NAN),
    "sqrt": lambda a: math.sqrt(a) if a >= 0 else NAN,
    "reciprocal": lambda a: 1 / a if a else INF,
    "tanh": lambda a: math.tanh(a),
    "sigmoid": lambda a: 1 / (1 + math.exp(-a)),
    "erf": lambda a: 2 / math.sqrt(math.pi) * sum((-1) ** n * a ** (2 * n + 1) / math.factorial(n) / (2 * n + 1) for n in range(80)),
    "relu": lambda a: max(a, 0.0),
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b if b else (NAN if a == 0 else math.copysign(INF, a)),
    "max": lambda a, b: max(a, b),
    "min": lambda a, b: min(a, b),
    "pow": lambda a, b: (a**b if a or b >= 0 else INF) if a >= 0 or b == int(b) else NAN,
    "eq": lambda a, b: float(a == b),
    "lt": lambda a, b: float(a < b),
    "le": lambda a, b: float(a <= b),
    "leaky_relu": lambda a, b: a if a >= 0 else b * a,
    "relu_grad": lambda a, b: a if b > 0 else 0.0,
    "tanh_grad": lambda a, b: a * (1 - b * b),
    "sigmoid_grad": lambda a, b: a * b * (1 - b),
    "erf_grad": lambda a, b: a * 2 / math.sqrt(math.pi) * math.exp(-b * b),
    "leaky_relu_grad": lambda a, b, c: a if b >= 0 else c * a,
    "select": lambda a, b, c: b if a else c,
    "fma": lambda a, b, c: a * b + c,
}
POINTS = [-3.0, -1.5, -1.0, -0.25, 0.0, 0.5, 1.0, 2.0, 3.75]


@pytest.mark.parametrize("fn", FUNCTIONS)
def test_functions_are_what_they_are_called(fn: str) -> None:
    arity = FUNCTIONS[fn].arity
    grid = np.meshgrid(*[POINTS] * arity)
    operands = [axis.reshape(-1).astype(np.float32) for axis in grid]
    result = elementwise(fn, operands)
    wanted = [SCALAR[fn](*map(float, point)) for point in zip(*operands, strict=True)]
    assert result.dtype == np.float32
    # At most four operations, each rounded (the library's exp, log and tanh to 4 ulp), on numbers below 64.
    np.testing.assert_allclose(result, np.array(wanted), rtol=16 * UNIT, atol=64 * 4 * UNIT)


def test_every_function_is_there() -> None:
    assert set(ELEMENTWISE) == set(FUNCTIONS) == set(SCALAR)


@pytest.mark.parametrize(
    ("fn", "operands", "wanted"),
    [
        ("log", [0.0], -INF),
        ("log", [-1.0], NAN),
        ("reciprocal", [0.0], INF),
        ("div", [0.0, 0.0], NAN),
        ("sqrt", [-1.0], NAN),
        ("exp", [1000.0], INF),
        ("sigmoid", [-1000.0], 0.0),
        ("sigmoid", [1000.0], 1.0),
        ("sigmoid", [NAN], NAN),
        ("relu", [NAN], NAN),
        ("relu_grad", [INF, -1.0], 0.0),
        ("relu_grad", [NAN, 0.0], 0.0),
        ("relu_grad", [1.0, NAN], 0.0),
        ("relu_grad", [-INF, 1.0], -INF),
        ("max", [NAN, 1.0], NAN),
        ("sub", [INF, INF], NAN),
        ("fma", [3e38, 3e38, -INF], NAN),
        ("mul", [3e38, 3e38], INF),
    ],
)
def test_edges_flow_and_nothing_warns(fn: str, operands: list[float], wanted: float) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = elementwise(fn, [np.array([value], np.float32) for value in operands])
    np.testing.assert_array_equal(result, np.array([wanted], np.float32))


def test_fma_rounds_each_operation() -> None:
    a = np.float32(1 + 2**-12)  # a² = 1 + 2⁻¹¹ + 2⁻²⁴ does not fit into 24 bits
    assert elementwise("fma", [np.array([a]), np.array([a]), np.array([-1], np.float32)])[0] == 2**-11


def test_reductions() -> None:
    a = np.array([[1, 2, 3], [-4, 5, -6]], np.float32)
    np.testing.assert_array_equal(reduction("sum", a, (1,)), [[6], [-5]])
    np.testing.assert_array_equal(reduction("max", a, (0,)), [[1, 5, 3]])
    np.testing.assert_array_equal(reduction("sum", a, (0, 1)), [[1]])


@pytest.mark.parametrize("fn", ["add", "fma", "neg", "copy"])
@pytest.mark.parametrize("shift", [-17, -5, -1, 0, 1, 2, 7, 40])
@pytest.mark.parametrize("strides", [(40, 4), (4, 32), (-40, 4), (0, 4), (8, -4)])
def test_all_words_are_read_before_any_is_written(fn: str, shift: int, strides: tuple[int, int]) -> None:
    dims = (Dim(6, strides[0]), Dim(7, strides[1]))
    spad = Memory(Space.spad, 1024)
    words = spad.bytes.view(np.float32)
    words[:] = np.arange(256)
    near = Stream(Space.spad, DType.f32, 512, dims)
    far = Stream(Space.spad, DType.f32, 512 + 4 * shift, (Dim(6, 40), Dim(7, 4)))
    before = {name: spad.view(stream, ()).copy() for name, stream in {"near": near, "far": far}.items()}
    prepared(make("vec", fn=fn, dst=far, a=near, b=near, c=far), spad, ())()
    wanted = {"add": 2 * before["near"], "fma": before["near"] ** 2 + before["far"], "neg": -before["near"], "copy": before["near"]}
    np.testing.assert_array_equal(spad.view(far, ()), wanted[fn])


def test_what_is_prepared_can_be_done_again() -> None:
    """With the words that are there then; the sum goes where none of the operands is."""
    spad = Memory(Space.spad, 1024)
    words = spad.bytes.view(np.float32)
    a, b, c, to = (Stream(Space.spad, DType.f32, 64 * part, (Dim(16, 4),)) for part in range(4))
    fma, relu = (prepared(make("vec", fn=fn, dst=to, a=a, b=b, c=c), spad, ()) for fn in ("fma", "relu"))
    for first in (1, -5):
        words[:48] = np.arange(first, first + 48)
        fma()
        np.testing.assert_array_equal(words[48:64], words[:16] * words[16:32] + words[32:48])
        relu()
        np.testing.assert_array_equal(words[48:64], [max(word, 0) for word in words[:16]])
