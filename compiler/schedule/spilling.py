"""Which tensors leave the scratchpad between two of their uses, where it has no room for all that rest there."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count, pairwise

import numpy as np

from compiler.schedule.allocate import SHARES, Lifetime, align, is_room

SMALL = 1024
"""A buffer of less than this part of the scratchpad makes little room for the time that two transfers take."""


@dataclass(slots=True)
class Tenant:
    """A buffer of ``size`` bytes and the operations that use it, in order; ``moves`` if it may be elsewhere in between."""

    size: int
    uses: Sequence[int]
    moves: bool
    gaps: list[tuple[int, int]] = field(default_factory=list)
    """(before, after): uses between which it is elsewhere."""

    def lifetimes(self) -> list[Lifetime]:
        """When it is in the scratchpad; each time it may be at another address."""
        starts = [self.uses[0], *(after for _, after in self.gaps)]
        ends = [*(before for before, _ in self.gaps), self.uses[-1]]
        return [Lifetime(self.size, start, end) for start, end in zip(starts, ends, strict=True)]


def spill(tenants: Sequence[Tenant], capacity: int) -> bool:
    """Settle the gaps so that an allocation exists; False, and no gaps, if there is no way.

    Where too much is live, what is needed again last makes room (Belady's rule, by operations); what is small only if nothing else does.
    """
    for share in (*SHARES, 1 / 2):
        for tenant in tenants:
            tenant.gaps.clear()
        fits = _fits(tenants, int(capacity * share), capacity)
        if fits and is_room([part for tenant in tenants for part in tenant.lifetimes()], capacity):
            for tenant in tenants:
                tenant.gaps.sort()
            return True
    for tenant in tenants:
        tenant.gaps.clear()
    return False


def _fits(tenants: Sequence[Tenant], room: int, capacity: int) -> bool:
    """Open gaps until what is live fits the room at every operation, or at least the capacity where nothing else can go."""
    end = 1 + max((tenant.uses[-1] for tenant in tenants), default=0)
    live = np.zeros(end, np.int64)
    for tenant in tenants:
        live[tenant.uses[0] : tenant.uses[-1] + 1] += align(tenant.size)
    begins: list[list[tuple[int, int, Tenant]]] = [[] for _ in range(end)]
    for tenant in tenants:
        if tenant.moves:
            for before, after in pairwise(tenant.uses):
                if after - before > 1:
                    begins[before + 1].append((before, after, tenant))
    resting: list[tuple[bool, int, int, int, Tenant]] = []
    number = count()
    for now in range(end):
        for before, after, tenant in begins[now]:
            heappush(resting, (tenant.size < capacity // SMALL, -after, -next(number), before, tenant))
        while live[now] > room and resting:
            _, after, _, before, tenant = heappop(resting)
            if -after > now:
                tenant.gaps.append((before, -after))
                live[before + 1 : -after] -= align(tenant.size)
        if live[now] > capacity:
            return False
    return True
