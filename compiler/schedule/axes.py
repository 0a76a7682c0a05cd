"""Named axes of products: how the dimensions of a stored tensor step along them.

A tensor's axes are written dimension by dimension, one letter for an axis of its own, or an affine expression in parentheses:

    bk                      X of a fully-connected layer
    b(8g+k)(2y+r)(2x+s)     X of a convolution in groups of 8 channels with stride 2: tap r,s of pixel y,x

An axis that is walked in blocks is two: ``(8Y+y)`` is row y of the Y-th block of 8.

The axes of a layer fall into classes by the tensors they appear in: b (X and Y: batch and pixels), k (X and W: input channels, and the
taps of a convolution), n (W and Y: output channels, and the taps of a transposed convolution), g (all three: groups).
"""

import re
from collections.abc import Mapping, Sequence
from functools import cache

Expression = tuple[tuple[str, int], ...]
"""(axis, coefficient) terms of one dimension."""

_DIMENSION = re.compile(r"([a-zA-Z])|\(([^()]*)\)")
_TERM = re.compile(r"(\d*)([a-zA-Z])")
ROLES = {"fwd": ("X", "W", "Y"), "dx": ("dY", "W", "dX"), "dw": ("X", "dY", "dW")}
"""Operands and result of each product."""


@cache
def parse_axes(text: str) -> tuple[Expression, ...]:
    """The dimensions of a tensor; raises ValueError where the text is none."""
    dimensions: list[Expression] = []
    position = 0
    while position < len(text):
        match = _DIMENSION.match(text, position)
        if match is None:
            raise ValueError(f"axes {text!r}: expected a letter or an expression like (2y+r) at position {position}")
        position = match.end()
        terms = [match[1]] if match[1] else match[2].split("+")
        parsed = [_TERM.fullmatch(term) for term in terms]
        if not all(parsed):
            raise ValueError(f"axes {text!r}: {match[0]} is no sum of axes with coefficients")
        dimensions.append(tuple((term[2], int(term[1] or 1)) for term in parsed if term))
    return tuple(dimensions)


def format_axes(dimensions: Sequence[Expression]) -> str:
    """The text of :func:`parse_axes`."""
    texts = []
    for terms in dimensions:
        text = "+".join(axis if factor == 1 else f"{factor}{axis}" for axis, factor in terms)
        texts.append(text if len(text) == 1 else f"({text})")
    return "".join(texts)


@cache
def axes_in(text: str) -> frozenset[str]:
    """The axes that a tensor has."""
    return frozenset(axis for terms in parse_axes(text) for axis, _ in terms)


def strides_of(text: str, strides: Sequence[int]) -> dict[str, int]:
    """How far one step along each axis goes, given the strides of the dimensions."""
    found: dict[str, int] = {}
    for terms, stride in zip(parse_axes(text), strides, strict=True):
        for axis, factor in terms:
            found[axis] = found.get(axis, 0) + factor * stride
    return found


@cache
def shared(text: str, axis: str) -> bool:
    """Whether the axis shares a dimension with another that is no group: steps along both can then meet."""
    return any(axis in dict(terms) and len(set(dict(terms)) - {"g"}) > 1 for terms in parse_axes(text))


def sizes_of(tensors: Sequence[tuple[str, Sequence[int]]]) -> dict[str, int]:
    """Extent of each axis, from the shapes of the tensors that have it; raises ValueError where they do not fit.

    A dimension of one axis gives that axis' extent; one of a group axis g with coefficient c and another axis gives both: the other has
    extent c.
    """
    sizes: dict[str, int] = {}

    def settle(axis: str, size: int) -> None:
        if sizes.setdefault(axis, size) != size:
            raise ValueError(f"axis {axis} has sizes {sizes[axis]} and {size}")

    for text, shape in tensors:
        dimensions = parse_axes(text)
        if len(dimensions) != len(shape):
            raise ValueError(f"axes {text!r} do not fit a tensor of shape {tuple(shape)}")
        for terms, size in zip(dimensions, shape, strict=True):
            if len(terms) == 1 and terms[0][1] == 1:
                settle(terms[0][0], size)
            elif dict(terms).get("g"):
                settle("g", size // dict(terms)["g"])
                for axis, _ in terms:
                    if axis != "g":
                        settle(axis, dict(terms)["g"])
    for text, shape in tensors:
        for terms, size in zip(parse_axes(text), shape, strict=True):
            unknown = [axis for axis, _ in terms if axis not in sizes]
            if unknown:
                raise ValueError(f"axes {text!r}: nothing tells the extent of {unknown[0]}")
            reach = 1 + sum(factor * (sizes[axis] - 1) for axis, factor in terms)
            if reach > size:
                raise ValueError(f"axes {text!r}: a dimension of {size} is too small, {reach} are needed")
    return sizes


def classes_of(tensors: Mapping[str, str]) -> dict[str, str]:
    """Class (b, k, n or g) of each axis; ``tensors``: axes by name (X or dX, W or dW, Y or dY)."""
    plain = {name[-1]: axes_in(text) for name, text in tensors.items()}
    kinds = {"XY": "b", "XW": "k", "WY": "n", "XWY": "g"}
    found = {}
    for axis in sorted(set().union(*plain.values())):
        where = "".join(name for name in "XWY" if axis in plain[name])
        if where not in kinds:
            raise ValueError(f"axis {axis} is only in {where}; every axis is in two tensors or in all three")
        found[axis] = kinds[where]
    return found


def blocked(text: str, blocks: Mapping[str, int]) -> str:
    """The axes with some of them split into blocks of the given sizes: y becomes (8Y+y)."""
    return _blocked(text, tuple(blocks.items()))


@cache
def _blocked(text: str, blocks: tuple[tuple[str, int], ...]) -> str:
    sizes = dict(blocks)
    dimensions = []
    for terms in parse_axes(text):
        split: list[tuple[str, int]] = []
        for axis, factor in terms:
            if axis in sizes:
                split.append((axis.upper(), factor * sizes[axis]))
            split.append((axis, factor))
        dimensions.append(tuple(split))
    return format_axes(dimensions)
