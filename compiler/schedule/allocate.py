"""Scratchpad allocation: buffers whose lifetimes overlap get disjoint addresses."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

ALIGN = 64
SLACKS = (1 << 30, 64, 32, 16, 8, 4)
"""Operations for which all memory rests before it is used again, at best."""
REST = 4
"""Operations for which some of it does, where there is no room for all."""
SHARES = (1.0, 15 / 16, 7 / 8, 3 / 4, 5 / 8)
"""Shares of the scratchpad that memory in use and at rest may take: with gaps between them not all of it can be used."""


@dataclass(frozen=True, slots=True)
class Lifetime:
    """A buffer of ``size`` bytes, in use from operation ``first`` to operation ``last``, both included."""

    size: int
    first: int
    last: int


def align(size: int) -> int:
    """The size rounded up to the alignment."""
    return -(-size // ALIGN) * ALIGN


Order = Callable[[Lifetime], tuple[int, ...]]


def largest_first(buffer: Lifetime) -> tuple[int, ...]:
    """They are the hardest to place; small ones fill the gaps that they leave."""
    return -buffer.size, buffer.first


def longest_first(buffer: Lifetime) -> tuple[int, ...]:
    """What stays for long goes to the bottom, what comes and goes uses the rest."""
    return buffer.first - buffer.last, -buffer.size


def tightest_first(lifetimes: Sequence[Lifetime]) -> Order:
    """What is in use when there is the least room comes first: all else has gaps to fill."""
    live = live_bytes(lifetimes)
    return lambda buffer: (-max(live[buffer.first : buffer.last + 1]), *longest_first(buffer))


def allocate(lifetimes: Sequence[Lifetime], order: Order = largest_first) -> tuple[list[int], int]:
    """Byte address of each buffer, and the bytes needed in all: first fit, in this order."""
    addresses = [0] * len(lifetimes)
    indices = sorted(range(len(lifetimes)), key=lambda i: order(lifetimes[i]))
    if max((b.first for b in lifetimes), default=0) <= min((b.last for b in lifetimes), default=0):  # they all meet: side by side
        *ends, total = accumulate((align(lifetimes[index].size) for index in indices), initial=0)
        for index, address in zip(indices, ends, strict=True):
            addresses[index] = address
        return addresses, total
    placed = np.zeros((4, 0), np.int64)
    total = 0
    for index in indices:
        new = lifetimes[index]
        size = align(new.size)
        lows, highs, firsts, lasts = placed
        meet = (firsts <= new.last) & (new.first <= lasts)
        starts = np.concatenate([[0], np.maximum.accumulate(highs[meet])])
        gaps = lows[meet] - starts[:-1]
        address = int(starts[int(np.argmax(gaps >= size)) if (gaps >= size).any() else -1])
        addresses[index] = address
        row = [address, address + size, new.first, new.last]
        placed = np.insert(placed, np.searchsorted(lows, address), row, axis=1)
        total = max(total, address + size)
    return addresses, total


def live_bytes(lifetimes: Sequence[Lifetime]) -> list[int]:
    """Bytes of the buffers in use at each operation."""
    changes = [0] * (2 + max((b.last for b in lifetimes), default=-1))
    for buffer in lifetimes:
        changes[buffer.first] += align(buffer.size)
        changes[buffer.last + 1] -= align(buffer.size)
    return list(accumulate(changes))


def allocate_roomy(lifetimes: Sequence[Lifetime], capacity: int) -> tuple[list[int], int] | None:
    """As :func:`allocate`, but memory is used again as late as the capacity allows; None if it does not suffice at all.

    Whoever uses memory again has to wait for whoever had it before; with room to spare, loads run ahead instead.
    """
    end = max((b.last for b in lifetimes), default=0)
    for slack in SLACKS:
        longer = [Lifetime(b.size, b.first, min(end, b.last + slack)) for b in lifetimes]
        if max(live_bytes(longer)) <= capacity:
            addresses, total = allocate(longer)
            if total <= capacity:
                return addresses, total
    if max(live_bytes(lifetimes)) > capacity:
        return None
    for share in SHARES:
        addresses, total = allocate(rested(lifetimes, int(capacity * share)))
        if total <= capacity:
            return addresses, total
    for order in (largest_first, longest_first, tightest_first(lifetimes)):
        addresses, total = allocate(lifetimes, order)
        if total <= capacity:
            return addresses, total
    return None


def is_room(lifetimes: Sequence[Lifetime], capacity: int) -> bool:
    """Whether :func:`allocate_roomy` finds a place for all; what takes the least memory is tried first."""
    plain = any(allocate(lifetimes, order)[1] <= capacity for order in (largest_first, longest_first))
    return plain or allocate_roomy(lifetimes, capacity) is not None


def rested(lifetimes: Sequence[Lifetime], room: int) -> list[Lifetime]:
    """Lifetimes made longer by up to ``REST`` operations, where at these no more than ``room`` bytes are in use or at rest."""
    live = live_bytes(lifetimes)
    last = [buffer.last for buffer in lifetimes]
    resting = sorted(range(len(lifetimes)), key=lambda i: last[i])
    for _ in range(REST):
        still = []
        for index in resting:
            after, size = last[index] + 1, align(lifetimes[index].size)
            if after < len(live) - 1 and live[after] + size <= room:
                live[after] += size
                last[index] = after
                still.append(index)
        resting = still
    return [Lifetime(b.size, b.first, end) for b, end in zip(lifetimes, last, strict=True)]
