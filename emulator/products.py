"""Products of many turns as few matrix products.

Operands are ``a`` [turns, rows, inner] and ``b`` [turns, inner, columns], with one turn where all have the same.
"""

from collections.abc import Sequence

import numpy as np

from emulator.accesses import Unclear
from emulator.backend import Matmul
from emulator.memory import Array


def as_rows(words: Array, lead: int = 0) -> Array:
    """Words [lead…, turns of loops…, lanes] as [lead…, rows, lanes], each row's lanes or each lane's rows staying together as they were."""
    lanes, kept = words.shape[-1], words.shape[:lead]
    if lanes_apart(words):
        return words.transpose(*range(lead), -1, *range(lead, words.ndim - 1)).reshape(*kept, lanes, -1).swapaxes(-1, -2)
    return words.reshape(*kept, -1, lanes)


def lanes_apart(words: Array) -> bool:
    """Whether lanes lie further apart than rows, as where channels are a tensor's outer dimension."""
    return words.ndim > 1 and abs(words.strides[-1]) > abs(words.strides[-2])


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
    sides = [a for a, _ in terms], [b for _, b in terms]
    if len({(len(a), len(b), a.shape[1], b.shape[2]) for a, b in terms}) > 1:
        raise Unclear
    return np.concatenate(sides[0], axis=2), np.concatenate(sides[1], axis=1)


def product(a: Array, b: Array, matmul: Matmul) -> Array:
    """[turns, rows, columns]: the product of each turn."""
    if len(a) == 1 and len(b) > 1:
        wide = b.transpose(1, 0, 2).reshape(b.shape[1], -1)
        return matmul(a[0], wide).reshape(a.shape[1], len(b), b.shape[2]).transpose(1, 0, 2)
    if len(b) == 1 and len(a) > 1:
        return matmul(a.reshape(-1, a.shape[2]), b[0]).reshape(len(a), a.shape[1], b.shape[2])
    return matmul(a, b)


def product_sum(a: Array, b: Array, turns: int, matmul: Matmul) -> Array:
    """[rows, columns]: the products of all turns added up."""
    if len(a) < turns or len(b) < turns:
        raise Unclear
    return matmul(a.transpose(1, 0, 2).reshape(a.shape[1], -1), b.reshape(-1, b.shape[2]))
