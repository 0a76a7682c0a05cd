"""Access patterns against NumPy's strided views."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.schedule.access import broadcast, collapse, regrouped, row_major

SHAPES = st.lists(st.sampled_from((1, 2, 3, 4)), max_size=5).map(tuple)


@st.composite
def views(draw: st.DrawFn) -> list[np.ndarray]:
    """Views of one shape: permuted, broadcast, strided."""
    shape = draw(SHAPES)
    found = []
    for _ in range(draw(st.integers(1, 3))):
        base = np.zeros([n if draw(st.booleans()) else 1 for n in shape], np.float32)
        perm = draw(st.permutations(range(len(shape))))
        base = np.ascontiguousarray(base.transpose(perm)).transpose(np.argsort(perm)) if shape else base
        found.append(np.broadcast_to(base, shape))
    return found


def offsets(shape: list[int] | tuple[int, ...], strides: list[int] | tuple[int, ...]) -> list[int]:
    """Byte offsets in the order of the last dimension running fastest."""
    return [sum(i * s for i, s in zip(index, strides, strict=True)) for index in product(*map(range, shape))]


@given(SHAPES)
def test_row_major_strides_are_those_of_numpy(shape: tuple[int, ...]) -> None:
    assert row_major(shape, 4) == np.zeros(shape, np.float32).strides


@given(SHAPES, st.data())
def test_broadcast_strides_are_those_of_numpy(target: tuple[int, ...], data: st.DataObject) -> None:
    skipped = data.draw(st.integers(0, len(target)))
    source = np.zeros([n if data.draw(st.booleans()) else 1 for n in target[skipped:]], np.float32)
    own = broadcast(source.shape, source.strides, target)
    expected = np.broadcast_to(source, target).strides
    # A dimension of one word is never stepped along: its stride says nothing.
    assert [s for s, n in zip(own, target, strict=True) if n > 1] == [s for s, n in zip(expected, target, strict=True) if n > 1]


@settings(deadline=None, derandomize=True, max_examples=300)
@given(views())
def test_collapsed_patterns_visit_the_same_words_in_the_same_order(arrays: list[np.ndarray]) -> None:
    shape, patterns = arrays[0].shape, [a.strides for a in arrays]
    counts, merged = collapse(shape, patterns)
    for pattern, own in zip(patterns, merged, strict=True):
        assert offsets(counts, own) == offsets(shape, pattern)


@settings(deadline=None, derandomize=True, max_examples=300)
@given(views())
def test_no_two_dimensions_are_left_that_could_be_one(arrays: list[np.ndarray]) -> None:
    counts, merged = collapse(arrays[0].shape, [a.strides for a in arrays])
    assert counts
    assert counts == [1] or 1 not in counts
    for axis in range(len(counts) - 1):
        assert any(own[axis] != own[axis + 1] * counts[axis + 1] for own in merged)


def test_contiguous_tensors_collapse_to_one_dimension() -> None:
    assert collapse((2, 3, 4), [(48, 16, 4), (48, 16, 4)]) == ([24], [[4], [4]])
    assert collapse((2, 3, 4), [(48, 16, 4), (0, 16, 4)]) == ([2, 12], [[48, 4], [0, 4]])
    assert collapse((), [()]) == ([1], [[0]])


@pytest.mark.parametrize(
    ("shape", "space", "target", "expected"),
    [
        ((8, 6, 2, 5), (8, 6, 2, 5), (8, 6, 10), (8, 6, 10)),
        ((8, 6, 10), (8, 6, 10), (8, 6, 2, 5), (8, 6, 2, 5)),
        ((1, 6, 1, 1), (8, 6, 2, 5), (8, 6, 10), (1, 6, 1)),
        ((6, 1, 1), (8, 6, 2, 5), (8, 6, 2, 5), (1, 6, 1, 1)),
        ((1, 6), (8, 6), (8, 6, 1), (1, 6, 1)),
        ((1, 1, 480), (1, 1, 480), (8, 60), (8, 60)),
        ((3, 4), (3, 4), (2, 6), (2, 6)),
        ((1,), (8, 6), (48,), (1,)),
        ((5,), (8, 6, 2, 5), (8, 6, 10), None),
        ((1, 4), (3, 4), (2, 6), None),
    ],
)
def test_regrouped(shape: tuple[int, ...], space: tuple[int, ...], target: tuple[int, ...], expected: tuple[int, ...] | None) -> None:
    """None: it repeats along part of a dimension of the target."""
    assert regrouped(shape, space, target) == expected
