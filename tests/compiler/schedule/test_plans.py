"""Which plans there are, and which one is chosen."""

from dataclasses import replace
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.schedule.blocks import Extents, Nest, Plan, Streamed
from compiler.schedule.estimates import Estimate, Estimator, Loops
from compiler.schedule.plans import cheapest, plans
from isa.machine import Array, Dram, Machine

FC = Nest(
    Extents(b=1024, k=768, n=3072), Extents(k=128, n=128),
    (Streamed("X", "bk"), Streamed("Y", "bn", (1024, 3072), True, frozenset("k"))), loaded=True, stored=False, summed=frozenset(),
)  # fmt: skip
LOOPS = Loops(("b",), ("k", "n"), ("b",), 1, 2)
MACHINE = Machine(array=Array(128, 128), dram=Dram(bytes_per_cycle=142.857))
MIB = 1 << 20


def estimate(nest: Nest, plan: Plan, machine: Machine, room: float = inf) -> list[Estimate]:
    """The costs of one plan alone."""
    return list(Estimator(nest, LOOPS, machine, plan.blocks).of(plan, room=room))


def nest_of(**sizes: int) -> Nest:
    return replace(FC, sizes=Extents(sizes), tensors=(Streamed("Y", "by"),), tiles=Extents())


@pytest.mark.parametrize(
    ("sizes", "wanted"),
    [
        ({"b": 4, "y": 6}, [{}, {"b": 2}, {"b": 1}, {"b": 1, "y": 3}, {"b": 1, "y": 2}, {"b": 1, "y": 1}]),
        ({"b": 1, "y": 3}, [{}, {"y": 1}]),
        ({"b": 5, "y": 1}, [{}, {"b": 1}]),
    ],
)
def test_blocks_go_from_all_to_single_entries(sizes: dict[str, int], wanted: list[dict[str, int]]) -> None:
    found = list(plans(nest_of(**sizes), "by", 2))
    assert found == [Plan(blocks, tuple(axis.upper() for axis in blocks), 2) for blocks in wanted]


def test_lanes_are_whole_in_tiles_or_in_blocks_of_tiles() -> None:
    """k has 6 tiles and n 24; with both split, either is the outer loop, and blocks of b are outside, between or inside."""
    found = {(frozenset(plan.blocks.items()), plan.outer) for plan in plans(FC, "b", 2)}
    splits = {size for blocks, _ in found for axis, size in blocks if axis == "k"}
    assert splits == {384, 256}
    assert all(size % 128 == 0 and 3072 % size == 0 for blocks, _ in found for axis, size in blocks if axis == "n")
    for outer in (("k", "n"), ("n", "k"), ("k",), ("n",), ()):
        assert (frozenset(), outer) in found
    for outer in (("B", "n"), ("n", "B")):
        assert (frozenset({("b", 512)}), outer) in found


def test_channels_of_a_group_and_axes_that_share_a_dimension_are_not_split() -> None:
    """Their tiles do not lie apart in the tensor."""
    sharing = replace(FC, tensors=(Streamed("X", "b(6x+k)"),), sizes=Extents(b=4, x=3, k=256, n=64))
    assert all(set(plan.outer) <= {"B", "k"} and "k" not in plan.blocks for plan in plans(sharing, "b", 1))


def test_one_operand_whole_the_other_by_tiles() -> None:
    """X (3 MiB) is whole, Y comes by tiles of n: every word is moved once. All of both does not fit; tiles of both read X 24 times."""
    inside, best = cheapest(FC, LOOPS, MACHINE, 7 * MIB, 7 * MIB)
    assert inside is not None
    assert inside == best
    assert inside.plan == Plan({}, ("n",), 2)
    assert inside.traffic == 4 * (1024 * 768 + 768 * 3072 + 1024 * 3072)
    assert inside.taken == 4 * (1024 * 768 + 2 * 1024 * 128)


def test_less_room_than_the_machine_has() -> None:
    inside, best = cheapest(FC, LOOPS, MACHINE, 7 * MIB, 1 * MIB)
    assert inside is not None
    assert best is not None
    assert inside.taken <= 1 * MIB < best.taken
    assert inside.traffic > best.traffic
    assert cheapest(FC, LOOPS, MACHINE, 7 * MIB, 64) == (None, best)


def test_single_buffers_where_two_do_not_fit() -> None:
    """Two panels of 8 KiB do not fit 12 KiB, and smaller ones would add up sums in DRAM once each."""
    nest = replace(FC, sizes=Extents(b=16, k=128, n=1280), tensors=(Streamed("Y", "bn", (16, 1280), True, frozenset("k")),))
    inside, _ = cheapest(nest, LOOPS, MACHINE, 12 << 10, 12 << 10)
    assert inside is not None
    assert inside.plan.slots == 1
    assert inside.taken == 8 << 10


@settings(deadline=None, max_examples=100)
@given(
    st.sampled_from([1, 2, 6, 8]),
    st.sampled_from([3, 4]),
    st.sampled_from([4, 5, 8]),
    st.integers(64, 4096),
    st.integers(0, 2),
    st.booleans(),
)
def test_no_plan_that_fits_is_cheaper(b: int, k: int, n: int, room: int, beside: int, sums: bool) -> None:
    """The first of the cheapest, each estimated by itself.

    Single buffers are not looked at where two of them are hardly slower than all of every tensor.
    """
    tensors = Streamed("X", "bk"), Streamed("Y", "bn", (b, n), True, frozenset("k"), beside=beside, again=beside * 4 * b * n)
    summed = frozenset("b" if sums else "")
    nest = Nest(Extents(b=b, k=k, n=n), Extents(k=2, n=2), tensors, loaded=True, stored=sums, summed=summed, held=k * n, sums=sums * k * n)
    machine = Machine(array=Array(2, 2), dram=Dram(bytes_per_cycle=4, latency=1))
    costs = {slots: [cost for plan in plans(nest, "b", slots) for cost in estimate(nest, plan, machine, room)] for slots in (2, 1)}
    fits = {slots: [cost for cost in own if cost.taken <= room] for slots, own in costs.items()}
    wanted = min(fits[2], key=lambda cost: cost.key, default=None)
    if wanted is None or wanted.cycles >= 1.1 * estimate(nest, Plan(slots=2), machine)[0].cycles:
        wanted = min(fits[2] + fits[1], key=lambda cost: cost.key, default=None)
    inside, best = cheapest(nest, LOOPS, machine, 2 * room, room)
    assert inside == wanted
    assert best is None or inside is None or best.key <= inside.key


def test_every_split_is_there_once() -> None:
    found = [(tuple(sorted(plan.blocks.items())), plan.outer) for plan in plans(FC, "b", 2)]
    assert len(found) == len(set(found))
    by_number = {number: sum(len(outer) == number for _, outer in found) for number in range(4)}
    assert by_number[0] == 1
    # Blocks of b × tiles or blocks of k × those of n × orders.
    assert by_number[3] == 10 * (1 + 2) * (1 + 3) * 6
