"""Which tensors live in DRAM: as few as will do."""

import pytest
from xdsl.dialects.builtin import ModuleOp

from compiler.driver import _first_that_fits
from compiler.transforms.allocate_memory import ScratchpadError
from isa.errors import UserError

LIMITS = [-1, 64, 32, 16, 0]


@pytest.mark.parametrize("first", range(len(LIMITS)))
def test_the_first_limit_that_fits_is_taken(first: int) -> None:
    tried = []

    def placed(limit: int) -> ModuleOp:
        tried.append(limit)
        if LIMITS.index(limit) < first:
            raise ScratchpadError("machine", "too small")
        return ModuleOp([])

    assert _first_that_fits(placed, LIMITS)[1] == LIMITS[first]
    assert tried == LIMITS[: first + 1]


def test_where_nothing_fits_the_last_reason_is_told() -> None:
    def placed(limit: int) -> ModuleOp:
        raise ScratchpadError("machine", f"too small with {limit}")

    with pytest.raises(ScratchpadError, match="too small with 0"):
        _first_that_fits(placed, LIMITS)


def test_other_mistakes_are_told_at_once() -> None:
    tried = []

    def placed(limit: int) -> ModuleOp:
        tried.append(limit)
        raise UserError("--schedule", "unknown")

    with pytest.raises(UserError, match="unknown"):
        _first_that_fits(placed, LIMITS)
    assert tried == [-1]
