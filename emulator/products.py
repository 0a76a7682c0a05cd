"""Products of many turns as few matrix products.

Operands are ``a`` [turns, rows, inner] and ``b`` [turns, inner, columns], with one turn where all have the same.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from emulator.accesses import Unclear
from emulator.memory import Array
from emulator.tape import Tape

Reshape = Callable[[Array, tuple[int, ...]], Array]
"""Words in another shape, copied where that has to be."""

_LARGE = 1 << 12
"""Words of a tile that are not moved to other tiles without need."""
_FLAT = 64
"""Rows; where there are more, it takes longer to put the words in their order again than what is saved."""


def as_rows(words: Array, dims: int, lead: int = 0, reshaped: Reshape = np.reshape) -> Array:
    """Words [lead…, turns of loops…, lanes…] as [lead…, rows, lanes], each row's lanes or each lane's rows staying together as they were.

    ``dims``: the dimensions of the lanes.
    """
    loops, kept = words.ndim - dims, words.shape[:lead]
    lanes = math.prod(words.shape[loops:])
    if lanes_apart(words, dims):
        turned = words.transpose(*range(lead), *range(loops, words.ndim), *range(lead, loops))
        return reshaped(turned, (*kept, lanes, -1)).swapaxes(-1, -2)
    return reshaped(words, (*kept, -1, lanes))


def lanes_apart(words: Array, dims: int = 1) -> bool:
    """Whether lanes lie further apart than rows, as where channels are a tensor's outer dimension."""
    return words.ndim > dims and abs(words.strides[-1]) > abs(words.strides[-dims - 1])


def fitted(tiles: Array, rows: int, cols: int, tape: Tape) -> Array:
    """Tiles [turns, …, …] cut to this size, or filled up with zeros."""
    tiles = tiles[:, :rows, :cols]
    if tiles.shape[1:] == (rows, cols):
        return tiles
    whole = tape.empty((len(tiles), rows, cols), tiles.dtype)
    tape.do(whole.fill, 0)
    tape.do(np.copyto, whole[:, : tiles.shape[1], : tiles.shape[2]], tiles)
    return whole


def joined(terms: Sequence[tuple[Array, Array]], tape: Tape) -> tuple[Array, Array]:
    """The operands whose product is the sum of the terms' products.

    Raises:
        Unclear: the terms differ in their rows, columns or turns.
    """
    if len(terms) == 1:
        return terms[0]
    if len({(len(a), len(b), a.shape[1], b.shape[2]) for a, b in terms}) > 1:
        raise Unclear
    left = in_a_row([a for a, _ in terms], tape)
    right = in_a_row([b.transpose(0, 2, 1) for _, b in terms], tape)
    return left, right.transpose(0, 2, 1)


def in_a_row(parts: Sequence[Array], tape: Tape) -> Array:
    """Parts [turns, rows, inner] side by side: [turns, rows, all of inner], in place where they lie at equal distances in memory."""
    one, owner = parts[0], parts[0].base
    turns, rows, inner = one.shape
    if isinstance(owner, np.ndarray) and owner.flags.c_contiguous:
        alike = all(part.base is owner and part.shape == one.shape and part.strides == one.strides for part in parts)
        starts = [part.__array_interface__["data"][0] for part in parts]
        if alike and {after - before for before, after in pairwise(starts)} == {inner * one.strides[2]}:
            first = starts[0] - owner.__array_interface__["data"][0]
            return np.ndarray((turns, rows, len(parts) * inner), one.dtype, owner, first, one.strides)
    inner = sum(part.shape[2] for part in parts)
    if abs(one.strides[1]) < abs(one.strides[2]):  # what is close together stays so
        whole = tape.empty((turns, inner, rows), one.dtype).transpose(0, 2, 1)
    else:
        whole = tape.empty((turns, rows, inner), one.dtype)
    at = 0
    for part in parts:
        tape.do(np.copyto, whole[:, :, at : at + part.shape[2]], part)
        at += part.shape[2]
    return whole


def product(a: Array, b: Array, tape: Tape) -> Array:
    """[turns, rows, columns]: the product of each turn."""
    if len(a) == 1 and len(b) > 1 and not _stays_apart(b):
        return _tall(a[0], _side_by_side(b, tape), tape).reshape(a.shape[1], len(b), b.shape[2]).transpose(1, 0, 2)
    if len(b) == 1 and len(a) > 1 and not _stays_apart(a.transpose(0, 2, 1)):
        return tape.matmul(tape.reshaped(a, (-1, a.shape[2])), b[0]).reshape(len(a), a.shape[1], b.shape[2])
    if len(a) == len(b) == 1:
        return _tall(a[0], b[0], tape)[None]
    return tape.matmul(a, b)


def _tall(a: Array, b: Array, tape: Tape) -> Array:
    """The product of two matrices; where it is flat, as the transposed product of the transposed: that takes half as long."""
    return tape.matmul(b.T, a.T).T if a.shape[0] <= _FLAT and a.shape[0] < b.shape[1] else tape.matmul(a, b)


def _side_by_side(tiles: Array, tape: Tape) -> Array:
    """Tiles [turns, inner, columns] as [inner, turns · columns]; if they have to be moved, what is close together stays so."""
    _, inner, _ = tiles.shape
    if abs(tiles.strides[1]) < abs(tiles.strides[2]):
        return tape.reshaped(tiles.transpose(0, 2, 1), (-1, inner)).T
    return tape.reshaped(tiles.transpose(1, 0, 2), (inner, -1))


def _stays_apart(tiles: Array) -> bool:
    """Whether a product of each of the tiles [turns, inner, columns] takes less than putting them side by side."""
    _, inner, columns = tiles.shape
    between, *strides = tiles.strides
    return inner * columns >= _LARGE and between != columns * strides[1] and tiles.itemsize in strides


def product_sum(a: Array, b: Array, turns: int, tape: Tape) -> Array:
    """[rows, columns]: the products of all turns added up."""
    if len(a) < turns or len(b) < turns:
        raise Unclear
    left = tape.reshaped(a.transpose(1, 0, 2), (a.shape[1], -1))
    return _tall(left, tape.reshaped(b, (-1, b.shape[2])), tape)
