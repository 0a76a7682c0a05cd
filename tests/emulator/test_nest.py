"""Which loops the fast engine executes as one: the beats of a tile are, and what must keep its order is not."""

from dataclasses import replace
from typing import Any

import pytest

from emulator.nest import nest_at
from isa.dtypes import DType
from isa.instructions import HELD, NEVER, Instruction, When, make
from isa.sequencer import Sequencer
from isa.stream import Dim, Ring, Space, Stream

X = Stream(Space.spad, DType.f32, 0, (Dim(4, 4),), (0, 16))
DY = Stream(Space.spad, DType.f32, 10_000, (Dim(4, 4),), (0, 16))
DX = Stream(Space.spad, DType.f32, 20_000, (Dim(4, 4),), (64, 16))
ALIASED = replace(DX, strides=(64, 0))
OVERLAPPING = replace(DX, strides=(64, 8))
BY_COLUMN = replace(DX, dims=(Dim(4, 1024),), strides=(4096, 4))
"""Rows of a transposed tensor: their lanes lie between each other's, but never meet."""
FIRST, LAST = When("first", (1,)), When("last", (1,))


def pair(**changes: Any) -> list[Instruction]:
    args: dict[str, Any] = {"acc": DX, "zero": When("first", (0,)), "swap": FIRST, "take": LAST, "h": X, "v": HELD, **changes}
    return [
        make("dx", v=DY, acc=args["acc"], zero=args["zero"], swap=args["swap"]),
        make("dw", h=args["h"], v=args["v"], take=args["take"]),
    ]


def code(body: list[Instruction], **loop: int) -> list[Instruction]:
    return [make("loop", name="t", count=3), make("loop", name="b", count=8, **loop), *body, make("end"), make("end")]


@pytest.mark.parametrize(
    "body",
    [
        pair(),
        pair(v=DY),
        pair(swap=NEVER, take=NEVER),
        pair(swap=When("first", (0, 1)), take=When("last", (0, 1))),
        pair(acc=BY_COLUMN),
        pair(acc=replace(DX, ring=Ring(2, 4096, 0, (1,)))),
        pair(acc=replace(DX, dims=(Dim(4, 4, 10, 0),))),
        [make("fwd", h=X, acc=DX, swap=FIRST)],
        [make("fwd", h=X, acc=DX), make("fwd", h=X, acc=replace(DX, base=30_000, strides=(0, 16)))],
    ],
)
def test_beats_of_a_tile_are_one(body: list[Instruction]) -> None:
    sequencer = Sequencer(code(body))
    assert nest_at(sequencer, 0, 0) is None, "each tile exchanges weights or sums up in the same rows"
    nest = nest_at(sequencer, 1, 0)
    assert nest is not None
    assert (nest.depth, len(nest.loops), len(nest.beats)) == (1, 1, len(body))


@pytest.mark.parametrize(("base", "one"), [(320, True), (316, False)])
def test_clipped_lanes_end_where_their_tensor_does(base: int, one: bool) -> None:
    """Eight rows of 10 words by tiles of 4: sums may begin right behind them, at byte 320."""
    ragged = replace(X, dims=(Dim(4, 4, 10, 0),), strides=(16, 40))
    body = [make("fwd", h=ragged, acc=replace(DX, base=base), swap=FIRST)]
    assert (nest_at(Sequencer(code(body)), 1, 0) is not None) == one


def test_loops_clipped_by_those_around_are_one_and_nested_loops_too() -> None:
    assert nest_at(Sequencer(code(pair(), limit=20, level=0)), 1, 0) is not None
    nest = nest_at(Sequencer(code(pair(acc=replace(DX, strides=(128, 16)), zero=NEVER, swap=NEVER, take=NEVER))), 0, 0)
    assert nest is not None
    assert len(nest.loops) == 2


@pytest.mark.parametrize(
    "body",
    [
        pair(acc=ALIASED),
        pair(acc=OVERLAPPING),
        pair(zero=When("first", (1,))),
        pair(swap=When("first")),
        pair(swap=LAST),
        pair(take=FIRST),
        pair(h=HELD),
        pair(h=replace(DX, base=DX.base + 64)),
        pair(acc=replace(DX, ring=Ring(2, 4096, 0, (0, 1)))),
        pair(acc=replace(DX, dims=(Dim(4, 4, 30, 1),))),
        list(reversed(pair())),
        [*pair(swap=NEVER, take=NEVER), make("upd", lr=1.0)],
        [*pair(), make("signal", sem=0)],
        [make("fwd", h=X, acc=DX), make("fwd", h=X, acc=replace(DX, base=DX.base + 32))],
    ],
)
def test_what_must_keep_its_order_is_not(body: list[Instruction]) -> None:
    assert nest_at(Sequencer(code(body)), 1, 0) is None
