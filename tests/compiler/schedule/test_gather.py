"""Gathered dX of a convolution, in one dimension: the phases' sums are what the taps scatter."""

from itertools import product

import numpy as np
import pytest

from compiler.schedule.gather import Sliding, gathered_axes, padding, sliding

CASES = [
    (positions, taps, stride, dilation, rest, cut)
    for positions, taps, stride, dilation, rest in product((1, 2, 5), (1, 2, 3, 4), (1, 2, 3, 4), (1, 2, 3), (0, 2))
    for cut in ((0, 0), (1, 2), (3, 0))
    if stride * (positions - 1) + dilation * (taps - 1) + 1 + rest > sum(cut)
]


@pytest.mark.parametrize("stride", [1, 2, 3, 4])
def test_phases_gather_what_taps_scatter(stride: int) -> None:
    """All of dX, and parts of it; ``rest``: words behind the last that a tap reaches."""
    rng = np.random.default_rng(stride)
    for positions, taps, by, dilation, rest, (before, behind) in CASES:
        if by != stride:
            continue
        size = stride * (positions - 1) + dilation * (taps - 1) + 1 + rest
        dy, w, scattered = rng.integers(-9, 9, positions), rng.integers(-9, 9, taps), np.zeros(size, int)
        for y, r in product(range(positions), range(taps)):
            scattered[stride * y + dilation * r] += dy[y] * w[r]
        phases = Sliding(0, "y", "r", stride, dilation).phases(before, size - before - behind, taps)
        front, padded_size = padding(phases, positions)
        padded = np.zeros(padded_size, int)
        padded[front : front + positions] = dy
        gathered = np.full(size - before - behind, 99)
        for phase in phases:
            start = front - phase.lead
            assert phase.taps == 0 or 0 <= start <= start + phase.reach <= padded_size
            for u in range(phase.size):
                terms = [padded[start + u + phase.spacing * t] * w[phase.last_tap - phase.tap_step * t] for t in range(phase.taps)]
                gathered[phase.first + stride * u] = sum(terms)
        assert gathered.tolist() == scattered[before : size - behind].tolist(), (positions, taps, stride, dilation, rest, before, behind)


def test_no_tap_is_in_two_phases() -> None:
    phases = Sliding(0, "y", "r", 3, 2).phases(0, 20, 5)
    taps = [phase.last_tap - phase.tap_step * t for phase in phases for t in range(phase.taps)]
    assert sorted(taps) == [0, 1, 2, 3, 4]


def test_a_convolution_of_stride_1_without_padding_is_one_phase() -> None:
    (phase,) = Sliding(0, "y", "r", 1, 1).phases(0, 7, 3)
    assert (phase.first, phase.size, phase.taps, phase.last_tap, phase.lead) == (0, 7, 3, 2, 2)
    assert padding([phase], 5) == (2, 9)


def test_axes_of_a_phase() -> None:
    """A pixel meets its taps in dY instead of in dX."""
    stored = ("b(6g+n)yx", "(6g+n)krs", "b(8g+k)(2y+r)(x+3s)")
    slides = sliding(*stored)
    assert slides == [Sliding(2, "y", "r", 2, 1), Sliding(3, "x", "s", 1, 3)]
    phases = [slides[0].phases(0, 9, 3)[0], slides[1].phases(0, 9, 3)[0]]
    assert gathered_axes(*stored, slides, phases) == "b(6g+n)(y+r)(x+3s),(6g+n)krs->b(8g+k)yx"


@pytest.mark.parametrize(
    "stored",
    [
        ("bnyx", "nrk", "b(2y+r)(6x+k)"),  # channels and taps are one run of words: none is left for the columns
        ("bny", "nkrs", "bk(2y+r+s)"),
        ("bn(2y)", "nkr", "bk(y+r)"),
        ("bny", "nkrs", "bk(y+r)(y+s)"),
        ("b(2g+n)y", "(2g+n)kr", "bk(9g+y+r)"),
    ],
)
def test_what_cannot_be_gathered(stored: tuple[str, str, str]) -> None:
    assert sliding(*stored) is None
