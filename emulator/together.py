"""Sums of products that have an operand in common, as one product: it reads that operand once, and is larger.

Operands are as in `products.py`.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence

from emulator.memory import Array
from emulator.products import in_a_row, joined
from emulator.tape import Tape

Terms = Sequence[tuple[Array, Array]]
"""Operands whose products are added up."""
Words = tuple[int, tuple[int, ...], tuple[int, ...], str]


def words_at(words: Array) -> Words:
    """What is the same for arrays of the same words in memory."""
    return words.__array_interface__["data"][0], words.shape, words.strides, words.dtype.str


def together(sums: Sequence[Terms], multiply: Callable[[Array, Array], Array], tape: Tape) -> list[Array]:
    """The sums [turns, rows, columns], or [rows, columns] if ``multiply`` adds up all turns.

    Raises:
        Unclear: the terms of a sum differ in their rows, columns or turns.
    """
    found: dict[int, Array] = {}
    for common in (0, 1):
        alike: dict[object, list[int]] = defaultdict(list)
        for number, terms in enumerate(sums):
            if number not in found:
                alike[tuple([(words_at(term[common]), len(term[1 - common])) for term in terms])].append(number)
        for numbers in alike.values():
            if len(numbers) > 1 or common == 1:
                numbers.sort(key=lambda number: words_at(sums[number][0][1 - common]))
                found.update(zip(numbers, _with_common([sums[number] for number in numbers], common, multiply, tape), strict=True))
    return [found[number] for number in range(len(sums))]


def _with_common(sums: Sequence[Terms], common: int, multiply: Callable[[Array, Array], Array], tape: Tape) -> list[Array]:
    """Sums whose left (0) or right (1) operands are the same."""
    if len(sums) == 1:
        return [multiply(*joined(sums[0], tape))]
    pairs = [joined(terms, tape) for terms in sums]
    if common == 0:
        result = multiply(pairs[0][0], in_a_row([right for _, right in pairs], tape))
    else:
        left = in_a_row([left.transpose(0, 2, 1) for left, _ in pairs], tape).transpose(0, 2, 1)
        result = multiply(left, pairs[0][1]).swapaxes(-1, -2)
    parts: list[Array] = []
    at = 0
    for left, right in pairs:
        size = right.shape[2] if common == 0 else left.shape[1]
        part = result[..., at : at + size]
        parts.append(part if common == 0 else part.swapaxes(-1, -2))
        at += size
    return parts
