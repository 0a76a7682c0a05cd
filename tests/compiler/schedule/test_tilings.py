"""Which axes lie on the array's rows together; expected values by hand."""

import pytest

from compiler.schedule.blocks import Extents
from compiler.schedule.tilings import tilings


@pytest.mark.parametrize(
    ("sizes", "rows", "wanted"),
    [
        # A first layer: 49 taps of 2 channels and then of the third make two tiles, as would 6 rows of the filter and then the seventh.
        ({"k": 3, "r": 7, "s": 7}, 128, {"k": 2, "r": 7, "s": 7}),
        # 64 channels: 14 of them with all 9 taps make 5 tiles, pairs of taps with all channels 6, and channels alone 9.
        ({"k": 64, "r": 3, "s": 3}, 128, {"k": 14, "r": 3, "s": 3}),
        # 128 channels: 14 at a time would make 10 tiles, single taps with all of them 9.
        ({"k": 128, "r": 3, "s": 3}, 128, {"k": 128}),
        # All taps and channels at once.
        ({"k": 8, "r": 3, "s": 3}, 128, {"k": 8, "r": 3, "s": 3}),
        # One tap.
        ({"k": 64, "r": 1, "s": 1}, 128, {"k": 128}),
        ({"k": 300}, 128, {"k": 128}),
    ],
)
def test_the_fewest_tiles_come_first(sizes: dict[str, int], rows: int, wanted: dict[str, int]) -> None:
    plain = Extents(k=rows, n=32)
    first, *others = tilings(plain, list(sizes), [*sizes, "n"], Extents(sizes | {"n": 40, "b": 9}))
    assert dict(first) == wanted | {"n": 32}
    assert list(first)[-1] == "n"
    assert others == ([] if wanted == {"k": rows} else [plain])
