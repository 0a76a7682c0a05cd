"""Scratchpad allocation: buffers whose lifetimes overlap get disjoint addresses."""

from collections.abc import Sequence
from dataclasses import dataclass

ALIGN = 64


@dataclass(frozen=True, slots=True)
class Lifetime:
    """A buffer of ``size`` bytes, in use from operation ``first`` to operation ``last``, both included."""

    size: int
    first: int
    last: int


def align(size: int) -> int:
    """The size rounded up to the alignment."""
    return -(-size // ALIGN) * ALIGN


def allocate(lifetimes: Sequence[Lifetime]) -> tuple[list[int], int]:
    """Byte address of each buffer, and the bytes needed in all.

    First fit, the largest buffers first: they are the hardest to place, small ones fill the gaps they leave.
    """
    addresses = [0] * len(lifetimes)
    placed: list[tuple[int, int, Lifetime]] = []
    total = 0
    for index in sorted(range(len(lifetimes)), key=lambda i: (-lifetimes[i].size, lifetimes[i].first)):
        new = lifetimes[index]
        address, size = 0, align(new.size)
        for low, high, other in placed:
            together = other.first <= new.last and new.first <= other.last
            if together and low < address + size and high > address:
                address = high
        addresses[index] = address
        placed.append((address, address + size, new))
        placed.sort(key=lambda p: p[0])
        total = max(total, address + size)
    return addresses, total


def allocate_roomy(lifetimes: Sequence[Lifetime], capacity: int) -> tuple[list[int], int]:
    """As :func:`allocate`, but memory is used again as late as the capacity allows.

    Whoever uses memory again has to wait for whoever had it before; with room to spare, loads run ahead instead.
    """
    for slack in (None, 64, 48, 32, 24, 16, 12, 8, 6, 4, 3, 2, 1):
        last = max((b.last for b in lifetimes), default=0)
        longer = [Lifetime(b.size, b.first, last if slack is None else b.last + slack) for b in lifetimes]
        addresses, total = allocate(longer)
        if total <= capacity:
            return addresses, total
    return allocate(lifetimes)


def live_bytes(lifetimes: Sequence[Lifetime], at: int) -> int:
    """Bytes of the buffers in use at an operation."""
    return sum(align(b.size) for b in lifetimes if b.first <= at <= b.last)
