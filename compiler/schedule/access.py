"""Strides of tensors, and access patterns with as few dimensions as possible."""

from collections.abc import Sequence
from itertools import accumulate, pairwise
from operator import mul


def row_major(shape: Sequence[int], size: int) -> tuple[int, ...]:
    """Byte strides of a tensor whose last dimension is contiguous."""
    return tuple(accumulate(reversed(shape[1:]), lambda a, b: a * b, initial=size))[::-1] if shape else ()


def broadcast(shape: Sequence[int], strides: Sequence[int], target: Sequence[int]) -> tuple[int, ...]:
    """Strides with which a tensor is read as if it had the target shape: 0 where it repeats."""
    missing = len(target) - len(shape)
    own = [0 if n == 1 and m != 1 else s for n, s, m in zip(shape, strides, target[missing:], strict=True)]
    return (*([0] * missing), *own)


def collapse(shape: Sequence[int], patterns: Sequence[Sequence[int]]) -> tuple[list[int], list[list[int]]]:
    """Merge neighbouring dimensions where every pattern steps through both as through one.

    Returns the shape and each pattern's strides; at least one dimension is left.
    """
    counts: list[int] = []
    merged: list[list[int]] = [[] for _ in patterns]
    for axis, count in enumerate(shape):
        if count == 1:
            continue
        if counts and all(own[-1] == pattern[axis] * count for own, pattern in zip(merged, patterns, strict=True)):
            counts[-1] *= count
            for own, pattern in zip(merged, patterns, strict=True):
                own[-1] = pattern[axis]
        else:
            counts.append(count)
            for own, pattern in zip(merged, patterns, strict=True):
                own.append(pattern[axis])
    if not counts:
        return [1], [[0] for _ in patterns]
    return counts, merged


def regrouped(shape: Sequence[int], space: Sequence[int], target: Sequence[int]) -> tuple[int, ...] | None:
    """A tensor that broadcasts to ``space`` as it broadcasts to ``target``, which has the same words in other dimensions.

    None where it repeats along part of a dimension of the target.
    """
    own = (*([1] * (len(space) - len(shape))), *shape)
    ends, target_ends = list(accumulate(space, mul)), list(accumulate(target, mul))
    found = [1] * len(target)
    for begin, end in pairwise(sorted({1} | set(ends) & set(target_ends))):
        part = [i for i, words in enumerate(ends) if begin < words <= end]
        if all(own[i] == space[i] for i in part):
            for i, words in enumerate(target_ends):
                if begin < words <= end:
                    found[i] = target[i]
        elif any(own[i] != 1 for i in part):
            return None
    return tuple(found)
