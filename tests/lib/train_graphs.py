"""Random graphs of the ``train`` level, as a hypothesis strategy: layers, pools and what moves words, on small tensors.

ONNX models reach this level only in the forms that the frontend makes of them. Here dimensions come in any order, and every
operation may follow every other.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st
from xdsl.context import Context
from xdsl.dialects.builtin import DenseIntOrFPElementsAttr, ModuleOp, TensorType, f32
from xdsl.ir import Operation, SSAValue

from compiler.dialects import train
from compiler.dialects.train import shape_of
from compiler.schedule.axes import Expression, format_axes
from compiler.transforms.add_optimizer import AddOptimizer
from compiler.transforms.differentiate import Differentiate

LARGEST = 600
"""Words of the largest tensor."""
WORK = 20_000
"""Multiplications of the largest product."""


@dataclass(frozen=True)
class Graph:
    """A training step at the train level, and the value of each leaf."""

    module: ModuleOp = field(repr=False)
    leaves: dict[str, np.ndarray] = field(repr=False)


@dataclass
class Grown:
    """What has been grown so far."""

    draw: Callable[..., Any]
    ops: list[Operation] = field(default_factory=list)
    pool: list[SSAValue] = field(default_factory=list)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def one_of(self, choices: Sequence[Any]) -> Any:
        return self.draw(st.sampled_from(choices))

    def number(self, low: int, high: int) -> int:
        return int(self.draw(st.integers(low, high)))

    def chance(self) -> bool:
        return bool(self.draw(st.booleans()))

    def shuffled(self, items: Sequence[Any]) -> list[Any]:
        return list(self.draw(st.permutations(items))) if self.chance() else list(items)

    def value(self, low: int = 0) -> SSAValue:
        """A tensor that is there, with at least so many dimensions; the newest by preference."""
        found = [v for v in reversed(self.pool) if len(shape_of(v)) >= low]
        assume(found)
        return self.one_of(found)

    def operand(self, shape: Sequence[int]) -> SSAValue:
        """A second operand: a tensor that is there, a weight or an input."""
        same = [v for v in self.pool if shape_of(v) == tuple(shape)]
        if same and self.chance():
            return self.one_of(same)
        kind = self.one_of(("param", "param", "input"))
        return self.leaf(kind, f"{'w' if kind == 'param' else 'x'}{len(self.shapes)}", shape)

    def leaf(self, kind: str, name: str, shape: Sequence[int]) -> SSAValue:
        self.shapes[name] = tuple(shape)
        return self.add(train.LeafOp(kind, name, TensorType(f32, shape)))

    def add(self, op: Operation) -> SSAValue:
        self.ops.append(op)
        return op.results[0]

    def layer(self, kind: str) -> str:
        return f"{kind}{len(self.ops)}"

    def keep(self, op: Operation) -> None:
        """Add an operation whose result is used further, unless it is too large or empty."""
        if 0 < prod(shape_of(op.results[0])) <= LARGEST:
            self.pool.append(self.add(op))


# -- steps -----------------------------------------------------------------------------------------------------------


def _product(g: Grown) -> None:
    """Matrix products and convolutions: each dimension of X belongs to the batch, is summed over, slides, or is a group axis."""
    x = g.value(2)
    shape = shape_of(x)
    batch, summed, *others = g.shuffled(range(len(shape)))
    sizes = {"b": shape[batch], "k": shape[summed], "n": g.number(1, 9)}
    of_x: dict[int, Expression] = {batch: (("b", 1),), summed: (("k", 1),)}
    of_w: list[Expression] = [(("k", 1),)]
    of_y: list[Expression] = [(("b", 1),)]
    n: Expression = (("n", 1),)
    groups = g.one_of([1, *(d for d in (2, 3) if shape[summed] % d == 0)])
    if groups > 1:
        sizes |= {"g": groups, "k": shape[summed] // groups}
        of_x[summed] = ("g", sizes["k"]), ("k", 1)
        n = ("g", sizes["n"]), ("n", 1)
    for dimension, pixel, tap in zip(others, "yxz", "rst", strict=False):
        extent = shape[dimension]
        kinds = ["slide", "slide", "same", "sum", "spread"] + ([] if "g" in sizes else ["group"])
        kind = g.one_of(kinds)
        if kind == "group":
            sizes["g"] = extent
            of_x[dimension] = (("g", 1),)
            of_w.append((("g", 1),))
            of_y.append((("g", 1),))
        elif kind == "sum":
            sizes[tap] = extent
            of_x[dimension] = (tap, 1),
            of_w.append(((tap, 1),))
        elif kind == "same":
            sizes[pixel] = extent
            of_x[dimension] = (pixel, 1),
            of_y.append(((pixel, 1),))
        else:
            stride, dilation = g.one_of((1, 1, 2)), g.one_of((1, 1, 2))
            slid = (pixel, stride), (tap, dilation)
            of_w.append(((tap, 1),))
            if kind == "slide":
                sizes[tap] = g.number(1, min(3, 1 + (extent - 1) // dilation))
                sizes[pixel] = 1 + (extent - 1 - dilation * (sizes[tap] - 1)) // stride
                of_x[dimension] = slid
                of_y.append(((pixel, 1),))
            else:
                sizes[tap], sizes[pixel] = g.number(1, 3), extent
                of_x[dimension] = (pixel, 1),
                of_y.append(slid)
    axes_x, axes_w, axes_y = [of_x[d] for d in range(len(shape))], g.shuffled([n, *of_w]), g.shuffled([*of_y, n])

    def extent(terms: Expression) -> int:
        return 1 + sum(factor * (sizes[axis] - 1) for axis, factor in terms)

    if prod(sizes.values()) > WORK:
        return
    w = g.operand([extent(terms) for terms in axes_w])
    # A dimension that taps are spread over may be larger than they reach.
    result = [extent(terms) + (g.number(0, 1) if len(terms) > 1 and terms[0][0] != "g" else 0) for terms in axes_y]
    axes = f"{format_axes(axes_x)},{format_axes(axes_w)}->{format_axes(axes_y)}"
    g.keep(train.ProductOp(axes, x, w, g.layer("product"), "fwd", result))


def _map(g: Grown) -> None:
    x = g.value()
    fn = g.one_of(("relu", "tanh", "neg", "add", "mul", "fma", "max"))
    if fn in ("relu", "tanh", "neg"):
        g.keep(train.MapOp(fn, [x], g.layer(fn), "fwd"))
        return
    others: list[SSAValue] = []
    for _ in range(2 if fn == "fma" else 1):
        shape = [n if g.chance() else 1 for n in shape_of(x)][g.number(0, len(shape_of(x))) :]
        others.append(_constant(g, shape) if g.chance() else g.operand(shape))
    g.keep(train.MapOp(fn, g.shuffled([x, *others]), g.layer(fn), "fwd"))


def _constant(g: Grown, shape: Sequence[int]) -> SSAValue:
    values = [0.5, -1.0, 2.0, 0.25] * prod(shape)
    return g.add(train.ConstantOp(DenseIntOrFPElementsAttr.from_list(TensorType(f32, shape), values[: prod(shape)])))


def _reduce(g: Grown) -> None:
    x = g.value(1)
    axes = sorted(g.draw(st.sets(st.integers(0, len(shape_of(x)) - 1), min_size=1)))
    g.keep(train.ReduceOp(g.one_of(("sum", "max")), x, axes, g.layer("reduce"), "fwd"))


def _transpose(g: Grown) -> None:
    x = g.value(2)
    g.keep(train.TransposeOp(x, g.draw(st.permutations(range(len(shape_of(x))))), g.layer("transpose"), "fwd"))


def _broadcast(g: Grown) -> None:
    x = g.value()
    shape = [n if n > 1 else g.number(1, 3) for n in shape_of(x)]
    g.keep(train.BroadcastOp(x, [*([g.number(1, 3)] if len(shape) < 4 else []), *shape], g.layer("broadcast"), "fwd"))


def _reshape(g: Grown) -> None:
    """Two neighbouring dimensions become one, or one becomes two."""
    x = g.value(1)
    shape = list(shape_of(x))
    at = g.number(0, len(shape) - 1)
    if at + 1 < len(shape) and g.chance():
        shape[at : at + 2] = [shape[at] * shape[at + 1]]
    elif len(shape) < 5:
        factor = g.one_of([d for d in (2, 3, 1) if shape[at] % d == 0])
        shape[at : at + 1] = [factor, shape[at] // factor]
    g.keep(train.ReshapeOp(x, shape, g.layer("reshape"), "fwd"))


def _slice(g: Grown) -> None:
    x = g.value(1)
    starts, sizes, steps = [], [], []
    for extent in shape_of(x):
        start, step = (g.number(0, extent - 1), g.one_of((1, 1, 2))) if g.chance() else (0, 1)
        starts.append(start)
        steps.append(step)
        most = 1 + (extent - 1 - start) // step
        sizes.append(g.number(1, most) if g.chance() else most)
    g.keep(train.SliceOp(x, starts, sizes, steps, g.layer("slice"), "fwd"))


def _place(g: Grown) -> None:
    x = g.value(1)
    starts, steps, shape = [], [], []
    for extent in shape_of(x):
        start, step, after = (g.number(0, 2), g.one_of((1, 1, 2)), g.number(0, 2)) if g.chance() else (0, 1, 0)
        starts.append(start)
        steps.append(step)
        shape.append(start + step * (extent - 1) + 1 + after)
    g.keep(train.PlaceOp(x, starts, steps, shape, g.one_of((0.0, 0.5)), g.layer("place"), "fwd"))


def _concat(g: Grown) -> None:
    x = g.value(1)
    axis = g.number(0, len(shape_of(x)) - 1)
    shape = list(shape_of(x))
    shape[axis] = g.number(1, 3)
    g.keep(train.ConcatOp(g.shuffled([x, g.operand(shape)]), axis, g.layer("concat"), "fwd"))


def _pool(g: Grown) -> None:
    x = g.value(1)
    kernel, strides, dilations = [], [], []
    for extent in shape_of(x):
        dilation = g.one_of((1, 1, 2))
        size = g.number(1, min(3, 1 + (extent - 1) // dilation)) if g.chance() else 1
        kernel.append(size)
        dilations.append(dilation)
        strides.append(g.one_of((1, 2, 3)) if size > 1 else 1)
    g.keep(train.PoolOp(g.one_of(("max", "sum")), x, kernel, strides, dilations, g.layer("pool"), "fwd"))


STEPS = (_product, _product, _product, _product, _map, _map, _pool, _reduce, _transpose, _broadcast, _reshape, _slice, _place, _concat)


@st.composite
def train_graphs(draw: Callable[..., Any]) -> Graph:
    """A graph with its gradients, perhaps with updates of its weights."""
    g = Grown(draw)
    shape = draw(st.lists(st.integers(1, 8), min_size=2, max_size=5).filter(lambda s: prod(s) <= LARGEST // 2))
    g.pool.append(g.leaf("input", "x", shape))
    for step in [_product, *draw(st.lists(st.sampled_from(STEPS), max_size=5))]:
        step(g)
    outputs = [g.pool[-1]] if len(g.pool) < 3 or g.chance() else [g.pool[-1], g.one_of(g.pool[1:-1])]
    update = g.one_of((None, AddOptimizer(0.1), AddOptimizer(0.1, 0.9, 0.01)))
    return _trained(g.ops, outputs, update, g.number(0, 2**32 - 1))


def layer_graph(axes: str, x: Sequence[int], w: Sequence[int], y: Sequence[int], momentum: float = 0.0) -> Graph:
    """One layer with both gradients and an update of its weight."""
    leaves = [train.LeafOp(kind, name, TensorType(f32, shape)) for kind, name, shape in (("input", "x", x), ("param", "w", w))]
    product = train.ProductOp(axes, leaves[0].result, leaves[1].result, "layer", "fwd", y)
    return _trained([*leaves, product], [product.result], AddOptimizer(0.1, momentum, 0.01 if momentum else 0.0), 0)


def _trained(ops: Sequence[Operation], outputs: Sequence[SSAValue], update: AddOptimizer | None, seed: int) -> Graph:
    """The step that trains a graph, with values for its leaves."""
    graph = train.GraphOp("random")
    results = [train.OutputOp("output", f"y{i}", value) for i, value in enumerate(outputs)]
    graph.body.block.add_ops([*ops, *results])
    module = ModuleOp([graph])
    Differentiate(("x",)).apply(Context(), module)
    if update is not None and any(isinstance(op, train.LeafOp) and op.kind.data == "param" and shape_of(op.result) for op in ops):
        update.apply(Context(), module)
    module.verify()
    # None is near 0: then float32 could not tell much about sums of few products.
    rng = np.random.default_rng(seed)
    shapes = {op.leaf.data: shape_of(op.result) for op in graph.body.block.ops if isinstance(op, train.LeafOp)}
    values = {name: rng.uniform(0.25, 1, shape) * rng.choice((-1, 1), shape) for name, shape in shapes.items()}
    return Graph(module, {name: value.astype(np.float32) for name, value in values.items()})
