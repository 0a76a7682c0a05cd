"""What leaves the scratchpad between two uses: everything fits then, nothing is away while it is used, and nothing leaves in vain."""

from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.schedule.allocate import align, allocate_roomy, live_bytes
from compiler.schedule.spilling import Tenant, spill

TENANTS = st.lists(
    st.builds(
        Tenant,
        size=st.integers(1, 400),
        uses=st.sets(st.integers(0, 15), min_size=1, max_size=5).map(sorted),
        moves=st.booleans(),
    ),
    min_size=1,
    max_size=12,
)


@settings(deadline=None, derandomize=True)
@given(TENANTS, st.integers(100, 3000))
def test_all_fits_and_is_there_when_used(tenants: list[Tenant], capacity: int) -> None:
    fits = spill(tenants, capacity)
    parts = [part for tenant in tenants for part in tenant.lifetimes()]
    assert fits == (allocate_roomy(parts, capacity) is not None)
    for tenant in tenants:
        there = {at for part in tenant.lifetimes() for at in range(part.first, part.last + 1)}
        assert set(tenant.uses) <= there
        assert all(before in tenant.uses and after in tenant.uses for before, after in tenant.gaps)
        assert tenant.moves or not tenant.gaps


@settings(deadline=None, derandomize=True)
@given(TENANTS)
def test_with_room_for_all_nothing_leaves(tenants: list[Tenant]) -> None:
    assert spill(tenants, sum(align(tenant.size) for tenant in tenants))
    assert not any(tenant.gaps for tenant in tenants)


@settings(deadline=None, derandomize=True)
@given(TENANTS)
def test_what_moves_needs_room_only_where_it_is_used(tenants: list[Tenant]) -> None:
    """Twice the most that operations use at a time is enough: half of it may be lost to gaps between buffers."""
    moving = [Tenant(tenant.size, tenant.uses, True) for tenant in tenants]
    used = max(sum(align(t.size) for t in moving if at in t.uses) for at in range(16))
    assert not spill(moving, used - 1)
    assert spill(moving, 2 * used)
    assert max(live_bytes([part for t in moving for part in t.lifetimes()])) <= 2 * used


def test_what_is_needed_last_makes_room() -> None:
    soon, late = Tenant(128, [0, 3], True), Tenant(128, [0, 4], True)
    assert spill([soon, late, Tenant(128, [2], True)], 320)
    assert (soon.gaps, late.gaps) == ([], [(0, 4)])
