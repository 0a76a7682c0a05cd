"""Sums that statements of a repetition only ever add to: what all turns add, at once.

What is added may be a product that came a long way, as a gradient does: out of the array, into a buffer, from there to the vector unit.
If nothing on the way changes it, the products of all turns are added up as one, and their sum goes that way.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from emulator.accesses import Access, Register, Unclear
from emulator.flow import Read
from emulator.memory import Array
from emulator.products import fitted, product_sum
from emulator.statements import Copy, Place, Product, Statement
from emulator.together import Terms, together

if TYPE_CHECKING:
    from emulator.batch import Batch

Total = tuple[Place, int, int, Array]
"""What is added to a place: from which turn on, to the places of how many turns, and the words."""


@dataclass(frozen=True, slots=True)
class _Added:
    """``terms`` of a product that a statement adds to sums, and the ``way`` of reads from the statement to the product."""

    statement: Statement
    product: Product
    terms: Terms
    way: Sequence[Read]

    @property
    def shapes(self) -> tuple[object, ...]:
        """What is the same where products come in the same shape."""
        found: list[object] = []
        writer: Statement = self.product
        for read in reversed(self.way):
            place, dst = read.place, writer.dst
            if isinstance(place, Access) and isinstance(dst, Access):
                found.append((place.dims, dst.dims, place.address(read.distance) - dst.address(0)))
            writer = read.statement
        return tuple(found)


def totals(batch: "Batch") -> list[Total]:
    """What is added to sums."""
    parts: list[Total] = []
    early: list[tuple[Place, Statement, int]] = []
    late: dict[tuple[bool, int], dict[tuple[object, ...], list[_Added]]] = {}
    for dst, statements in batch.flow.totals.items():
        start, walks = max(map(batch.flow.start, statements)), isinstance(dst, Access) and dst.shift != 0
        early += [(dst, one, turn) for turn in range(start) for one in statements]
        for one in statements if start < batch.turns else ():
            added = _product_of(batch, one, start)
            if added:
                late.setdefault((walks, start), {}).setdefault((dst, *added.shapes), []).append(added)
                continue
            words = _words(batch, one, start, batch.turns)
            parts.append((dst, start, batch.turns - start, words) if walks else (dst, start, 1, _all(batch, words, start)))
    for (walks, start), groups in late.items():
        terms = [[term for one in group for term in one.terms] for group in groups.values()]
        multiply: Callable[[Array, Array], Array] = (
            batch.multiply if walks else partial(product_sum, turns=batch.turns - start, tape=batch.tape)
        )
        for group, result in zip(groups.values(), together(terms, multiply, batch.tape), strict=True):
            words = _on_its_way(batch, group[0], result if walks else result[None])
            parts.append((group[0].statement.dst, start, batch.turns - start if walks else 1, words))
    # Only now is it known which products are added up, and need no values of their own.
    return parts + [(dst, turn, 1, _words(batch, one, turn, turn + 1)) for dst, one, turn in early]


def _words(batch: "Batch", statement: Statement, first: int, last: int) -> Array:
    """What a statement adds in some turns."""
    if isinstance(statement, Product):
        return batch.shaped(statement, batch.multiply(*batch.operands(statement, first, last)))
    return batch.read(statement, statement.added, first, last)


def _all(batch: "Batch", words: Array, start: int) -> Array:
    """Words of all turns from ``start`` on added up: [1, …].

    Raises:
        Unclear: they are the same in all turns.
    """
    if len(words) < batch.turns - start:
        raise Unclear
    return batch.tape.new(_sum, words)


def _sum(words: Array) -> Array:
    return np.asarray(words.sum(axis=0, keepdims=True))


def _product_of(batch: "Batch", statement: Statement, start: int) -> _Added | None:
    """The product that a statement adds from this turn on, if it is one."""
    if isinstance(statement, Product):
        return _Added(statement, statement, [batch.operands(statement, start, batch.turns)], [])
    found = batch.flow.drained(statement, start)
    if not found:
        return None
    way, product = found
    before = sum(read.distance for read in way)
    batch.absorbed.add(product)
    return _Added(statement, product, batch.terms(product, start - before, batch.turns - before), way)


def _on_its_way(batch: "Batch", added: _Added, result: Array) -> Array:
    """What comes of a product where it is added."""
    words = batch.shaped(added.product, result)
    if added.way and isinstance(added.product.dst, Register):
        words = fitted(words, *batch.array.shape, batch.tape)
    writer: Statement = added.product
    for read in reversed(added.way):
        if isinstance(read.place, Access) and isinstance(writer.dst, Access):
            words = batch.part(words, None, writer.dst, read.place, read.distance)
        if isinstance(read.statement, Copy):
            words, writer = batch.copied(read.statement, words), read.statement
    return words
