"""Buffers that live at the same time never share a byte, and memory is used again only as far as need be."""

from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.schedule.allocate import ALIGN, Lifetime, allocate, allocate_roomy, largest_first, live_bytes, longest_first


@st.composite
def lifetimes(draw: st.DrawFn) -> list[Lifetime]:
    spans = draw(st.lists(st.tuples(st.integers(1, 500), st.integers(0, 20), st.integers(0, 20)), max_size=14))
    return [Lifetime(size, min(a, b), max(a, b)) for size, a, b in spans]


def check(buffers: list[Lifetime], addresses: list[int], total: int) -> None:
    """Aligned, inside the total, and apart in time or in space."""
    assert len(addresses) == len(buffers)
    for i, (address, buffer) in enumerate(zip(addresses, buffers, strict=True)):
        assert address % ALIGN == 0
        assert address >= 0
        assert address + buffer.size <= total
        for other_address, other in zip(addresses[:i], buffers[:i], strict=True):
            apart_in_time = buffer.last < other.first or other.last < buffer.first
            apart_in_space = address + buffer.size <= other_address or other_address + other.size <= address
            assert apart_in_time or apart_in_space


@settings(deadline=None, derandomize=True)
@given(lifetimes())
def test_live_buffers_never_overlap(buffers: list[Lifetime]) -> None:
    addresses, total = allocate(buffers)
    check(buffers, addresses, total)
    live = [sum(-(-b.size // ALIGN) * ALIGN for b in buffers if b.first <= at <= b.last) for at in range(21)]
    assert live_bytes(buffers)[:21] == live[: len(live_bytes(buffers))]
    assert total >= max(live)


@settings(deadline=None, derandomize=True)
@given(lifetimes(), st.integers(0, 3000))
def test_roomy_packing_fits_wherever_the_tight_one_does(buffers: list[Lifetime], spare: int) -> None:
    tight = allocate(buffers)[1]
    found = allocate_roomy(buffers, tight + spare)
    assert found is not None
    addresses, total = found
    check(buffers, addresses, total)
    assert total <= tight + spare


@settings(deadline=None, derandomize=True)
@given(lifetimes())
def test_with_room_for_all_nothing_is_used_twice(buffers: list[Lifetime]) -> None:
    room = sum(-(-b.size // ALIGN) * ALIGN for b in buffers)
    found = allocate_roomy(buffers, room)
    assert found is not None
    addresses, total = found
    check([Lifetime(b.size, 0, 0) for b in buffers], addresses, total)


@settings(deadline=None, derandomize=True)
@given(lifetimes().filter(bool))
def test_too_little_memory_is_told(buffers: list[Lifetime]) -> None:
    assert allocate_roomy(buffers, max(live_bytes(buffers)) - 1) is None


def test_what_is_in_use_at_the_tightest_moment_is_placed_first() -> None:
    """Largest or longest first leaves gaps in which the others do not fit side by side: they take more than is in use at most."""
    tight = [(3, 4, 5), (2, 2, 2), (3, 5, 5), (2, 5, 5), (4, 3, 4)]
    buffers = [Lifetime(size * ALIGN, first, last) for size, first, last in tight]
    assert max(live_bytes(buffers)) == 8 * ALIGN
    assert all(allocate(buffers, order)[1] > 8 * ALIGN for order in (largest_first, longest_first))
    found = allocate_roomy(buffers, 8 * ALIGN)
    assert found is not None
    assert found[1] == 8 * ALIGN
