"""How long tiles take: the machine's rules, worked out by hand, against what compiled programs take on the emulated machine.

One layer X[b,k], W[k,n] on an R×C array, with DRAM so fast that every transfer takes one cycle and has no latency, and a vector
unit that takes one cycle for anything.  Results pass through the vector unit, so that they stay in the scratchpad until all is done.
"""

from itertools import product

import pytest
from single_layer import DW, DX, FWD, MOMENTUM, taken

SHAPES = [(4, 4), (8, 6), (3, 4), (5, 1), (1, 1)]
"""Rows R and columns C, C ≤ R + 1."""
WIDE = [(4, 9), (4, 19), (2, 12), (1, 7)]
TILES = [(1, 1), (3, 1), (1, 4), (2, 3)]
"""Tiles along k, along n."""

def fill_and_drain(rows: int, cols: int) -> int:
    """What an interleaved nest takes beyond its beats.

    Fill: dY and X come in (2 cycles), the first tile of W comes in and its token is seen (2), and is shifted into the array (R).
    Drain, after the last beat was issued: the gradient may be taken out (R), the last element has left (R+C−1) and its token is
    seen (1 later if C = 1), the tile goes to DRAM (1), and so does dX behind it (1).  The last beat itself is one of the beats: −1.
    """
    return 4 + rows + rows + max(rows + cols - 1, rows + 1) + 2 - 1


@pytest.mark.parametrize(("rows", "cols"), SHAPES)
@pytest.mark.parametrize(("down", "across"), TILES)
@pytest.mark.parametrize("ragged", [0, 1])
def test_interleaved_tiles_follow_each_other(rows: int, cols: int, down: int, across: int, ragged: int) -> None:
    """Every max(2B, R+1) cycles: 2B beats, or R steps of the weight chain and one for the swap. A partial tile costs as a full one."""
    k, n = max(down * rows - ragged, 1), max(across * cols - ragged, 1)
    down, across = -(-k // rows), -(-n // cols)
    for b in (1, 2, 3, 5, 9):
        interval = max(2 * b, rows + 1)
        expected = (down * across - 1) * interval + 2 * b + fill_and_drain(rows, cols)
        assert taken([DX, DW], "interleaved", (rows, cols), b, k, n, double_buffer=True) == expected, b


@pytest.mark.parametrize(("rows", "cols"), WIDE)
@pytest.mark.parametrize("tiles", [1, 5, 9, 17])
def test_in_wide_arrays_four_slots_a_ring_bind(rows: int, cols: int, tiles: int) -> None:
    """A slot of a ring comes back R+C−1 cycles after its transfer began, plus one for DRAM and one for the token: four tiles take that."""
    for b in (1, 2, cols):
        four = max(4 * max(2 * b, rows + 1), rows + cols + 1)
        expected = tiles // 4 * four + 2 * b + fill_and_drain(rows, cols)
        assert taken([DX, DW], "interleaved", (rows, cols), b, tiles * rows, cols, double_buffer=True) == expected, b


@pytest.mark.parametrize(("rows", "cols"), [shape for shape in (*SHAPES, *WIDE) if shape[0] > 1])
@pytest.mark.parametrize(("down", "across"), TILES)
def test_without_double_buffering_folds_never_overlap(rows: int, cols: int, down: int, across: int) -> None:
    """2R+C+B−2 cycles each: R steps of the weight chain, B beats, R+C−2 until the last element is done; as in SCALE-Sim's model.

    Output-stationary folds take as long: their R steps are those of the gradient chain, behind the beats.  (SCALE-Sim lets that
    drain overlap with the next fold, R+C+B−2.)  Beyond the folds: loads, token, vector unit and store.
    """
    for b, k, n in product((1, 2, 7), (down * rows,), (across * cols,)):
        folds = down * across * (2 * rows + cols + b - 2)
        shape = ((rows, cols), b, k, n)
        assert taken([FWD], "sequential", *shape, double_buffer=False) == folds + 6
        assert taken([DX], "sequential", *shape, double_buffer=False) == folds + 6
        if cols > 1:
            assert taken([DW], "sequential", *shape, double_buffer=False) == folds + 4


@pytest.mark.parametrize(("rows", "cols"), [shape for shape in (*SHAPES, *WIDE) if min(shape) > 1])
@pytest.mark.parametrize(("down", "across"), TILES)
def test_without_double_buffering_a_pair_of_products_is_one_fold(rows: int, cols: int, down: int, across: int) -> None:
    """2R+C+2B−2 cycles a tile where two separate folds take 4R+2C+2B−4. The last gradient leaves in R cycles more."""
    for b in (1, 2, 7):
        folds = down * across * (2 * rows + cols + 2 * b - 2)
        expected = 4 + folds + rows + 2
        assert taken([DX, DW], "interleaved", (rows, cols), b, down * rows, across * cols, double_buffer=False) == expected


@pytest.mark.parametrize(("rows", "cols"), SHAPES)
@pytest.mark.parametrize("product", [DX, DW])
def test_single_products_follow_each_other_twice_as_fast(rows: int, cols: int, product: str) -> None:
    """Every max(B, R+1) cycles; so that only the difference between numbers of tiles counts here."""
    for b in (1, 2, 5, 9):
        few, many = (taken([product], "sequential", (rows, cols), b, n * rows, cols, double_buffer=True) for n in (4, 9))
        assert many - few == 5 * max(b, rows + 1), b


@pytest.mark.parametrize(("rows", "cols"), [shape for shape in SHAPES if shape[0] > 1])
def test_tiles_that_are_updated_with_momentum_follow_each_other(rows: int, cols: int) -> None:
    """Every max(2B+1, 2R+1) cycles: 2B beats and the update, or two tiles of R steps through either chain.

    On 1×1 the four transfers a tile take longer.
    """
    for b in (1, 2, 5, 9):
        few, many = (taken([DX, MOMENTUM], "interleaved", (rows, cols), b, n * rows, cols, double_buffer=True) for n in (4, 13))
        assert many - few == 9 * max(2 * b + 1, 2 * rows + 1), b


@pytest.mark.parametrize(
    ("m", "n", "k", "rows", "cols", "scalesim"),
    [
        (1, 8, 8, 8, 8, 23),
        (1, 8, 8, 32, 32, 95),
        (1, 8, 8, 128, 128, 383),
        (7, 13, 29, 8, 8, 232),
        (7, 13, 29, 32, 32, 101),
        (7, 13, 29, 128, 128, 389),
        (64, 64, 64, 8, 8, 5504),
        (64, 64, 64, 32, 32, 632),
        (64, 64, 64, 128, 128, 446),
        (13, 512, 128, 8, 8, 35840),
        (13, 512, 128, 32, 32, 6848),
        (13, 512, 128, 128, 128, 1580),
        (128, 512, 13, 8, 8, 19200),
        (128, 512, 13, 32, 32, 3552),
        (128, 512, 13, 128, 128, 2040),
        (197, 197, 64, 8, 8, 43800),
        (197, 197, 64, 32, 32, 4074),
        (197, 197, 64, 128, 128, 1158),
        (128, 256, 784, 32, 32, 44400),
        (128, 256, 784, 128, 128, 7140),
    ],
)
def test_weight_stationary_folds_take_what_scalesim_counts(m: int, n: int, k: int, rows: int, cols: int, scalesim: int) -> None:
    """C[m,n] = A[m,k]·B[k,n], weight-stationary: cycles measured with SCALE-Sim 3.0.0, memories large enough never to stall."""
    assert taken([FWD], "sequential", (rows, cols), m, k, n, double_buffer=False) == scalesim + 6
