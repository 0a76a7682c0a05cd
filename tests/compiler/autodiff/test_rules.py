"""Each row of the table of gradient rules against central differences."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, TensorType, UnitAttr, f32
from xdsl.ir import Block, Operation, SSAValue

from compiler.autodiff.builder import Builder
from compiler.autodiff.rules import RULES
from compiler.dialects.train import GraphOp, LeafOp, OutputOp
from compiler.interpret import interpret_train
from compiler.transforms.differentiate import Differentiate
from isa.vector import FUNCTIONS, REDUCTIONS

Build = Callable[..., SSAValue]
Arrays = dict[str, np.ndarray]

# Operands, by the shapes that broadcast and the values the function is smooth at.
ANY, POSITIVE, APART, ABOVE = "any", "positive", "apart from 0", "more than 1 above or below 0"

CASES: dict[str, tuple[Build, Sequence[tuple[tuple[int, ...], str]]]] = {
    "map copy": (lambda b, x: b.map("copy", x), [((3, 4), ANY)]),
    "map neg": (lambda b, x: b.map("neg", x), [((3, 4), ANY)]),
    "map abs": (lambda b, x: b.map("abs", x), [((3, 4), APART)]),
    "map exp": (lambda b, x: b.map("exp", x), [((3, 4), ANY)]),
    "map log": (lambda b, x: b.map("log", x), [((3, 4), POSITIVE)]),
    "map sqrt": (lambda b, x: b.map("sqrt", x), [((3, 4), POSITIVE)]),
    "map reciprocal": (lambda b, x: b.map("reciprocal", x), [((3, 4), APART)]),
    "map tanh": (lambda b, x: b.map("tanh", x), [((3, 4), ANY)]),
    "map sigmoid": (lambda b, x: b.map("sigmoid", x), [((3, 4), ANY)]),
    "map erf": (lambda b, x: b.map("erf", x), [((3, 4), ANY)]),
    "map relu": (lambda b, x: b.map("relu", x), [((3, 4), APART)]),
    "map leaky_relu": (lambda b, x, a: b.map("leaky_relu", x, a), [((3, 4), APART), ((), POSITIVE)]),
    "map add": (lambda b, x, y: b.map("add", x, y), [((2, 3, 4), ANY), ((3, 1), ANY)]),
    "map sub": (lambda b, x, y: b.map("sub", x, y), [((4,), ANY), ((3, 4), ANY)]),
    "map mul": (lambda b, x, y: b.map("mul", x, y), [((3, 1), ANY), ((1, 4), ANY)]),
    "map div": (lambda b, x, y: b.map("div", x, y), [((3, 4), ANY), ((4,), APART)]),
    "map max": (lambda b, x, y: b.map("max", x, y), [((3, 4), ANY), ((3, 1), ABOVE)]),
    "map min": (lambda b, x, y: b.map("min", x, y), [((3, 1), ABOVE), ((3, 4), ANY)]),
    "map pow": (lambda b, x, y: b.map("pow", x, y), [((3, 4), POSITIVE), ((4,), ANY)]),
    "map select": (lambda b, x, y: b.map("select", b.map("lt", x, y), x, b.map("mul", y, 3.0)), [((3, 4), ANY), ((3, 1), ABOVE)]),
    "map fma": (lambda b, x, y, z: b.map("fma", x, y, z), [((3, 4), ANY), ((4,), ANY), ((), ANY)]),
    "map sign": (lambda b, x: b.map("mul", b.map("sign", x), x), [((3, 4), APART)]),
    "map eq": (lambda b, x: b.map("add", b.map("eq", x, 0.0), x), [((3, 4), APART)]),
    "map lt": (lambda b, x: b.map("mul", b.map("lt", x, 0.0), x), [((3, 4), APART)]),
    "map le": (lambda b, x: b.map("mul", b.map("le", x, 0.0), x), [((3, 4), APART)]),
    "reduce sum": (lambda b, x: b.reduce("sum", x, [0, 2]), [((3, 4, 2), ANY)]),
    "reduce max": (lambda b, x: b.reduce("max", x, [1]), [((3, 4, 2), ANY)]),
    "reshape": (lambda b, x: b.reshape(x, [2, 6]), [((3, 4), ANY)]),
    "transpose": (lambda b, x: b.transpose(x, [2, 0, 1]), [((3, 4, 2), ANY)]),
    "broadcast": (lambda b, x: b.broadcast(x, [2, 3, 4]), [((3, 1), ANY)]),
    "product": (lambda b, x, w: b.product("gkb,gnk->gnb", x, w, "fwd"), [((2, 4, 3), ANY), ((2, 5, 4), ANY)]),
    "slice": (lambda b, x: b.slice(x, [0, 1], [3, 2], [1, 3]), [((3, 6), ANY)]),
    "place": (lambda b, x: b.place(x, [1, 0], [1, 3], [4, 6], 0.5), [((3, 2), ANY)]),
    "concat": (lambda b, x, y, z: b.concat([x, y, z], 1), [((2, 3), ANY), ((2, 1), ANY), ((2, 2), ANY)]),
    "pool sum": (lambda b, x: b.pool("sum", x, [1, 2, 3], [1, 1, 2], [1, 2, 1]), [((2, 4, 6), ANY)]),
    "pool max": (lambda b, x: b.pool("max", x, [1, 2, 3], [1, 1, 2], [1, 2, 1]), [((2, 4, 6), ANY)]),
}

CONVOLUTIONS: dict[str, tuple[str, tuple[int, ...], tuple[int, ...], tuple[int, ...]]] = {
    "convolution": ("bk(y+r)(x+s),nkrs->bnyx", (2, 3, 4, 5), (2, 3, 3, 2), (2, 2, 2, 4)),
    "strides and dilations": ("bk(2y+r)(x+3s),nkrs->bnyx", (2, 2, 6, 7), (3, 2, 2, 2), (2, 3, 2, 4)),
    "unused rows of X": ("bk(2y+r)(x+s),nkrs->bnyx", (1, 2, 6, 4), (3, 2, 3, 2), (1, 3, 2, 3)),
    "groups": ("b(2g+k)(x+s),(3g+n)ks->b(3g+n)x", (2, 4, 5), (6, 2, 2), (2, 6, 4)),
    "depthwise": ("b(1g+k)(x+s),(1g+n)ks->b(1g+n)x", (2, 4, 5), (4, 1, 2), (2, 4, 4)),
    "transposed": ("bkyx,knrs->bn(2y+r)(3x+s)", (2, 3, 2, 3), (3, 2, 3, 2), (2, 2, 5, 8)),
}
"""Axes, and shapes of X, W and Y."""


def test_every_row_has_a_case() -> None:
    assert set(CASES) == set(RULES)


def test_every_function_of_a_forward_pass_has_a_row() -> None:
    forward = {f"map {name}" for name in FUNCTIONS if not name.endswith("_grad")} | {f"reduce {name}" for name in REDUCTIONS}
    assert forward <= set(RULES)


def values(kind: str, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    sign = rng.choice([-1.0, 1.0], shape)
    match kind:
        case "any":
            return rng.uniform(-1, 1, shape)
        case "positive":
            return rng.uniform(0.4, 1.6, shape)
        case "apart from 0":
            return sign * rng.uniform(0.4, 1.6, shape)
        case _:
            return sign * rng.uniform(1.2, 1.6, shape)


def graph(build: Build, shapes: Sequence[tuple[int, ...]]) -> ModuleOp:
    block = Block()
    leaves = [LeafOp("input", f"x{i}", TensorType(f32, shape)) for i, shape in enumerate(shapes)]
    block.add_ops(leaves)
    block.add_op(OutputOp("output", "y", build(Builder(block, "layer", "fwd"), *(leaf.result for leaf in leaves))))
    return ModuleOp([GraphOp("g", block)])


def gradients(module: ModuleOp, leaves: Arrays) -> Arrays:
    names = tuple(leaves)
    backward = module.clone()
    Differentiate(names).apply(Context(), backward)
    backward.verify()
    forward = interpret_train(module, leaves)["y"]
    seed = np.random.default_rng(1).normal(size=forward.shape)
    return {"seed": seed, **interpret_train(backward, {**leaves, "grad/y": seed})}


@pytest.mark.parametrize("name", CASES)
def test_rule(name: str) -> None:
    check_slopes(*CASES[name])


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolution(name: str) -> None:
    axes, x, w, y = CONVOLUTIONS[name]
    check_slopes(lambda b, *operands: b.product(axes, *operands, "fwd", y), [(x, ANY), (w, ANY)])


def check_slopes(build: Build, operands: Sequence[tuple[tuple[int, ...], str]]) -> None:
    """Every entry of every gradient is the slope between two points."""
    rng = np.random.default_rng(0)
    module = graph(build, [shape for shape, _ in operands])
    leaves = {f"x{i}": values(kind, shape, rng) for i, (shape, kind) in enumerate(operands)}
    found = gradients(module, leaves)
    step = 1e-5
    for leaf, value in leaves.items():
        for place in np.ndindex(value.shape):
            change = np.zeros_like(value)
            change[place] = step
            up, down = (interpret_train(module, {**leaves, leaf: value + sign * change})["y"] for sign in (1, -1))
            slope = np.sum(found["seed"] * (up - down)) / (2 * step)
            assert found[f"grad/{leaf}"][place] == pytest.approx(slope, abs=1e-7, rel=1e-7)


AT_KINKS: dict[str, tuple[Build, list[list[float]], list[list[float]]]] = {
    "relu": (lambda b, x: b.map("relu", x), [[-1, 0, 1]], [[0, 0, 1]]),
    "leaky_relu": (lambda b, x: b.map("leaky_relu", x, 0.25), [[-1, 0, 1]], [[0.25, 1, 1]]),
    "abs": (lambda b, x: b.map("abs", x), [[-1, 0, 1]], [[-1, 0, 1]]),
    "max": (lambda b, x, y: b.map("max", x, y), [[0, 1, 2], [1, 1, 1]], [[0, 1, 1], [1, 0, 0]]),
    "min": (lambda b, x, y: b.map("min", x, y), [[0, 1, 2], [1, 1, 1]], [[1, 1, 0], [0, 0, 1]]),
    "reduce max": (lambda b, x: b.broadcast(b.reduce("max", x, [0]), [3]), [[2, 1, 2]], [[1.5, 0, 1.5]]),
    "pool max": (lambda b, x: b.pool("max", x, [2], [1], [1]), [[0, 1, 1, 0]], [[0, 2, 1, 0]]),
    "square": (lambda b, x: b.map("pow", x, 2.0), [[-1, 0, 3]], [[-2, 0, 6]]),
    "first power": (lambda b, x: b.map("pow", x, 1.0), [[-1, 0, 3]], [[1, 1, 1]]),
    "power 0": (lambda b, x: b.map("pow", x, 0.0), [[-1, 0, 3]], [[0, 0, 0]]),
    "powers": (lambda b, x, p: b.map("pow", x, p), [[0, 0, 2], [0, 1, 2]], [[0, 1, 4], [0, 0, 4 * np.log(2)]]),
}


@pytest.mark.parametrize("name", AT_KINKS)
def test_convention_where_there_is_no_derivative(name: str) -> None:
    build, operands, expected = AT_KINKS[name]
    leaves = {f"x{i}": np.array(x, float) for i, x in enumerate(operands)}
    module = graph(build, [x.shape for x in leaves.values()])
    Differentiate(tuple(leaves)).apply(Context(), module)
    found = interpret_train(module, {**leaves, "grad/y": np.ones(3)})
    for leaf, want in zip(leaves, expected, strict=True):
        np.testing.assert_allclose(found[f"grad/{leaf}"], want, rtol=1e-12)


def test_stop_gradient_counts_as_a_constant() -> None:
    def build(b: Builder, x: SSAValue) -> SSAValue:
        fixed = b.map("copy", x)
        assert isinstance(fixed.owner, Operation)
        fixed.owner.attributes["stop_gradient"] = UnitAttr()
        return b.map("mul", fixed, x)

    x = np.array([2.0, 3.0])
    found = gradients(graph(build, [(2,)]), {"x0": x})
    np.testing.assert_allclose(found["grad/x0"], found["seed"] * x)
