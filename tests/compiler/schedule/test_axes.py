"""Axis expressions: text, extents and classes, and steps along axes against NumPy's strided indexing."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler.schedule.axes import Expression, axes_in, blocked, classes_of, format_axes, parse_axes, shared, sizes_of, strides_of

CONV = "b(8g+k)(2y+r)(x+3s)"


@st.composite
def expressions(draw: st.DrawFn) -> list[Expression]:
    """Dimensions of one to three axes, all of them different."""
    names = draw(st.permutations("abcdefgh"))
    dimensions = []
    for count in draw(st.lists(st.integers(1, 3), min_size=1, max_size=4)):
        terms = [(names.pop(), draw(st.sampled_from((1, 1, 2, 3, 5)))) for _ in range(count) if names]
        if terms:
            dimensions.append(tuple(terms))
    return dimensions


@st.composite
def tensors(draw: st.DrawFn) -> tuple[str, dict[str, int], np.ndarray]:
    """Axes, their extents, and an array that has them."""
    dimensions = draw(expressions())
    sizes = {axis: draw(st.integers(1, 3)) for terms in dimensions for axis, _ in terms}
    shape = [1 + sum(factor * (sizes[axis] - 1) for axis, factor in terms) for terms in dimensions]
    return format_axes(dimensions), sizes, np.zeros(shape, np.int32, order=draw(st.sampled_from("CF")))


def test_a_convolution_in_groups() -> None:
    assert parse_axes(CONV) == ((("b", 1),), (("g", 8), ("k", 1)), (("y", 2), ("r", 1)), (("x", 1), ("s", 3)))
    assert axes_in(CONV) == set("bgkyrxs")
    assert strides_of(CONV, (1000, 100, 10, 1)) == {"b": 1000, "g": 800, "k": 100, "y": 20, "r": 10, "x": 1, "s": 3}


@given(expressions())
def test_text_round_trips(dimensions: list[Expression]) -> None:
    assert list(parse_axes(format_axes(dimensions))) == dimensions


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("b1", "expected a letter or an expression like (2y+r) at position 1"),
        ("b(y+r", "expected a letter or an expression like (2y+r) at position 1"),
        ("b()", "() is no sum of axes with coefficients"),
        ("(2y-r)", "(2y-r) is no sum of axes with coefficients"),
        ("(yr)", "(yr) is no sum of axes with coefficients"),
        ("(y2)", "(y2) is no sum of axes with coefficients"),
    ],
)
def test_what_is_no_axes(text: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  the whole message is compared
        parse_axes(text)
    assert str(caught.value) == f"axes {text!r}: {message}"


@given(tensors())
def test_steps_along_axes_are_those_of_indexing(tensor: tuple[str, dict[str, int], np.ndarray]) -> None:
    """The entry at a position of the axes, found by NumPy's indices and by the sum of the steps."""
    text, sizes, array = tensor
    steps = strides_of(text, array.strides)
    origin = array.__array_interface__["data"][0]
    for position in product(*map(range, sizes.values())):
        at = dict(zip(sizes, position, strict=True))
        index = [sum(factor * at[axis] for axis, factor in terms) for terms in parse_axes(text)]
        entry = array[tuple(slice(i, i + 1) for i in index)]
        assert entry.size == 1
        assert entry.__array_interface__["data"][0] - origin == sum(at[axis] * steps[axis] for axis in sizes)


@given(tensors(), st.data())
def test_blocks_are_the_axis_again(tensor: tuple[str, dict[str, int], np.ndarray], data: st.DataObject) -> None:
    """Entry y of block Y is entry size·Y + y, in every dimension."""
    text, sizes, array = tensor
    size = {axis: data.draw(st.integers(1, 3)) for axis in sizes if data.draw(st.booleans())}
    steps, split = strides_of(text, array.strides), strides_of(blocked(text, size), array.strides)
    assert split == steps | {axis.upper(): steps[axis] * n for axis, n in size.items()}
    assert len(parse_axes(blocked(text, size))) == len(parse_axes(text))


def test_blocks_in_text() -> None:
    assert blocked("bk(2y+r)x", {"y": 4, "b": 1}) == "(B+b)k(8Y+2y+r)x"
    assert blocked(CONV, {}) == CONV


@pytest.mark.parametrize(
    ("text", "axis", "together"),
    [("bk(2y+r)x", "y", True), ("bk(2y+r)x", "r", True), ("bk(2y+r)x", "k", False), ("b(8g+k)", "k", False), ("b(8g+k)", "g", False),
     ("(8Y+y)x", "y", True), ("(8g+2y+r)", "y", True)],
)  # fmt: skip
def test_axes_that_share_a_dimension(text: str, axis: str, together: bool) -> None:
    """Groups apart: their entries lie side by side and never meet."""
    assert shared(text, axis) == together


@pytest.mark.parametrize(
    ("stored", "sizes"),
    [
        ([("bk", (5, 4)), ("kn", (4, 3)), ("bn", (5, 3))], {"b": 5, "k": 4, "n": 3}),
        # 3 × 3 taps with stride 2 reach 7 of 8 rows.
        ([("bk(2y+r)(x+s)", (2, 3, 8, 6)), ("nkrs", (4, 3, 3, 2)), ("bnyx", (2, 4, 3, 5))],
         {"b": 2, "k": 3, "n": 4, "y": 3, "x": 5, "r": 3, "s": 2}),
        ([("b(2g+k)p", (2, 6, 5)), ("(4g+n)k", (12, 2)), ("b(4g+n)p", (2, 12, 5))], {"b": 2, "g": 3, "k": 2, "n": 4, "p": 5}),
    ],
)  # fmt: skip
def test_extents(stored: list[tuple[str, tuple[int, ...]]], sizes: dict[str, int]) -> None:
    assert sizes_of(stored) == sizes


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        ([("bk", (5, 4)), ("kn", (3, 3))], "axis k has sizes 4 and 3"),
        ([("bk", (5, 4, 1))], "axes 'bk' do not fit a tensor of shape (5, 4, 1)"),
        ([("b(y+r)", (5, 4)), ("r", (2,))], "axes 'b(y+r)': nothing tells the extent of y"),
        ([("b(y+r)", (5, 4)), ("r", (2,)), ("y", (4,))], "axes 'b(y+r)': a dimension of 4 is too small, 5 are needed"),
    ],
)
def test_shapes_that_do_not_fit(stored: list[tuple[str, tuple[int, ...]]], message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  the whole message is compared
        sizes_of(stored)
    assert str(caught.value) == message


def test_classes() -> None:
    """Of a convolution in groups taps are inputs, of a transposed one outputs; a gradient has the classes of its layer."""
    conv = {"X": "b(2g+k)(y+r)", "W": "(4g+n)kr", "Y": "b(4g+n)y"}
    wanted = {"b": "b", "y": "b", "k": "k", "r": "k", "n": "n", "g": "g"}
    assert classes_of(conv) == wanted
    assert classes_of({"dY": conv["Y"], "W": conv["W"], "dX": conv["X"]}) == wanted
    assert classes_of({"X": "bky", "W": "knr", "Y": "bn(y+r)"}) == {"b": "b", "y": "b", "k": "k", "n": "n", "r": "n"}
    with pytest.raises(ValueError, match="axis c is only in X; every axis is in two tensors or in all three"):
        classes_of({"X": "bkc", "W": "kn", "Y": "bn"})
