"""Which tensors live in DRAM: as few as will do, found in few attempts."""

import pytest
from xdsl.dialects.builtin import ModuleOp

from compiler.driver import _first_that_fits
from compiler.transforms.allocate_memory import ScratchpadError
from isa.errors import UserError

LIMITS = [-1, 64, 32, 16, 8, 4, 2, 0]


@pytest.mark.parametrize("first", range(len(LIMITS)))
def test_the_largest_limit_that_fits_is_found(first: int) -> None:
    tried = []

    def placed(limit: int) -> ModuleOp:
        tried.append(limit)
        if LIMITS.index(limit) < first:
            raise ScratchpadError("machine", "too small")
        return ModuleOp([])

    assert _first_that_fits(placed, LIMITS)[1] == LIMITS[first]
    assert len(tried) <= 5
    assert tried[: min(first, 1) + 1] == LIMITS[: min(first, 1) + 1]
    assert len(set(tried)) == len(tried)


def test_where_parts_in_dram_do_not_fit_a_higher_limit_may() -> None:
    """With 16 and 32 all fits; with more in DRAM some layer has no part that does."""

    def placed(limit: int) -> ModuleOp:
        if limit in (-1, 64):
            raise ScratchpadError("machine", "too small")
        if limit < 16:
            raise UserError("layer", "no part of it fits")
        return ModuleOp([])

    assert _first_that_fits(placed, LIMITS)[1] == 32


@pytest.mark.parametrize("error", [UserError("layer", "no part of it fits"), ScratchpadError("machine", "too small")])
def test_where_nothing_fits_the_last_reason_is_told(error: UserError) -> None:
    def placed(limit: int) -> ModuleOp:
        raise error

    with pytest.raises(UserError) as raised:
        _first_that_fits(placed, LIMITS)
    assert raised.value is error
