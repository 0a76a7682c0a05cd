"""Products of many turns as few matrix products.

Operands are ``a`` [turns, rows, inner] and ``b`` [turns, inner, columns], with one turn where all have the same.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from emulator.accesses import Unclear
from emulator.backend import Matmul
from emulator.memory import Array

_LARGE = 1 << 12
"""Words of a tile that are not moved to other tiles without need."""
_FLAT = 64
"""Rows; where there are more, it takes longer to put the words in their order again than what is saved."""


def as_rows(words: Array, dims: int, lead: int = 0) -> Array:
    """Words [lead…, turns of loops…, lanes…] as [lead…, rows, lanes], each row's lanes or each lane's rows staying together as they were.

    ``dims``: the dimensions of the lanes.
    """
    loops, kept = words.ndim - dims, words.shape[:lead]
    lanes = math.prod(words.shape[loops:])
    if lanes_apart(words, dims):
        return words.transpose(*range(lead), *range(loops, words.ndim), *range(lead, loops)).reshape(*kept, lanes, -1).swapaxes(-1, -2)
    return words.reshape(*kept, -1, lanes)


def lanes_apart(words: Array, dims: int = 1) -> bool:
    """Whether lanes lie further apart than rows, as where channels are a tensor's outer dimension."""
    return words.ndim > dims and abs(words.strides[-1]) > abs(words.strides[-dims - 1])


def fitted(tiles: Array, rows: int, cols: int) -> Array:
    """Tiles [turns, …, …] cut to this size, or filled up with zeros."""
    tiles = tiles[:, :rows, :cols]
    missing = rows - tiles.shape[1], cols - tiles.shape[2]
    return np.pad(tiles, ((0, 0), (0, missing[0]), (0, missing[1]))) if any(missing) else tiles


def joined(terms: Sequence[tuple[Array, Array]]) -> tuple[Array, Array]:
    """The operands whose product is the sum of the terms' products.

    Raises:
        Unclear: the terms differ in their rows, columns or turns.
    """
    if len(terms) == 1:
        return terms[0]
    if len({(len(a), len(b), a.shape[1], b.shape[2]) for a, b in terms}) > 1:
        raise Unclear
    left = in_a_row([a for a, _ in terms])
    right = in_a_row([b.transpose(0, 2, 1) for _, b in terms])
    return left, right.transpose(0, 2, 1)


def in_a_row(parts: Sequence[Array]) -> Array:
    """Parts [turns, rows, inner] side by side: [turns, rows, all of inner], in place where they lie at equal distances in memory."""
    one, owner = parts[0], parts[0].base
    if not isinstance(owner, np.ndarray) or not owner.flags.c_contiguous:
        return np.concatenate(parts, axis=2)
    alike = all(part.base is owner and part.shape == one.shape and part.strides == one.strides for part in parts)
    starts = [part.__array_interface__["data"][0] for part in parts]
    turns, rows, inner = one.shape
    if not alike or {after - before for before, after in pairwise(starts)} != {inner * one.strides[2]}:
        return np.concatenate(parts, axis=2)
    first = starts[0] - owner.__array_interface__["data"][0]
    return np.ndarray((turns, rows, len(parts) * inner), one.dtype, owner, first, one.strides)


def product(a: Array, b: Array, matmul: Matmul) -> Array:
    """[turns, rows, columns]: the product of each turn."""
    if len(a) == 1 and len(b) > 1 and not _stays_apart(b):
        return _tall(a[0], _side_by_side(b), matmul).reshape(a.shape[1], len(b), b.shape[2]).transpose(1, 0, 2)
    if len(b) == 1 and len(a) > 1 and not _stays_apart(a.transpose(0, 2, 1)):
        return matmul(a.reshape(-1, a.shape[2]), b[0]).reshape(len(a), a.shape[1], b.shape[2])
    if len(a) == len(b) == 1:
        return _tall(a[0], b[0], matmul)[None]
    return matmul(a, b)


def _tall(a: Array, b: Array, matmul: Matmul) -> Array:
    """The product of two matrices; where it is flat, as the transposed product of the transposed: that takes half as long."""
    return matmul(b.T, a.T).T if a.shape[0] <= _FLAT and a.shape[0] < b.shape[1] else matmul(a, b)


def _side_by_side(tiles: Array) -> Array:
    """Tiles [turns, inner, columns] as [inner, turns · columns]; if they have to be moved, what is close together stays so."""
    _, inner, _ = tiles.shape
    if abs(tiles.strides[1]) < abs(tiles.strides[2]):
        return tiles.transpose(0, 2, 1).reshape(-1, inner).T
    return tiles.transpose(1, 0, 2).reshape(inner, -1)


def _stays_apart(tiles: Array) -> bool:
    """Whether a product of each of the tiles [turns, inner, columns] takes less than putting them side by side."""
    _, inner, columns = tiles.shape
    between, *strides = tiles.strides
    return inner * columns >= _LARGE and between != columns * strides[1] and tiles.itemsize in strides


def product_sum(a: Array, b: Array, turns: int, matmul: Matmul) -> Array:
    """[rows, columns]: the products of all turns added up."""
    if len(a) < turns or len(b) < turns:
        raise Unclear
    return _tall(a.transpose(1, 0, 2).reshape(a.shape[1], -1), b.reshape(-1, b.shape[2]), matmul)
