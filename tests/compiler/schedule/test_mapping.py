"""Every way to lay a product onto the array computes that product, element by element."""

from itertools import permutations

import numpy as np
import pytest

from compiler.schedule.mapping import INTERLEAVED, Mapping
from compiler.schedule.schedules import CANDIDATES, SCHEDULES, finishes_rows_first
from isa.machine import Machine

SIZES = {"b": 3, "k": 4, "n": 5}
AXES = {"X": "bk", "dX": "bk", "W": "kn", "dW": "kn", "Y": "bn", "dY": "bn"}
LAYOUTS = [Mapping(*axes) for axes in permutations("bkn")]


class Elements:
    """R×C processing elements, one step of plain arithmetic each a beat; time does not matter here."""

    def __init__(self, weights: np.ndarray) -> None:
        self.w, self.g = weights, np.zeros_like(weights)

    def fwd(self, h: np.ndarray, v: np.ndarray) -> np.ndarray:
        """The sums that leave at the south."""
        for r in range(len(self.w)):
            v = v + h[r] * self.w[r]
        return v

    def dx(self, v: np.ndarray, h: np.ndarray) -> np.ndarray:
        """The sums that leave at the east."""
        for c in range(self.w.shape[1]):
            h = h + v[c] * self.w[:, c]
        return h

    def dw(self, h: np.ndarray, v: np.ndarray) -> None:
        self.g = self.g + h[:, None] * v[None, :]


def oriented(array: np.ndarray, stored: str, wanted: str) -> np.ndarray:
    """The tensor with its axes in the wanted order."""
    return array if stored == wanted else array.T


def run(mapping: Mapping, product: str, operands: dict[str, np.ndarray]) -> np.ndarray:
    """The product as the mapping says to compute it, on an array just as large as the axes; in stored axis order."""
    result = {"fwd": "Y", "dx": "dX", "dw": "dW"}[product]
    rows, cols, time = mapping.rows, mapping.cols, mapping.time
    stationary, (first, second) = mapping.stationary(product), mapping.ports(product)
    held = np.zeros((SIZES[rows], SIZES[cols]))
    if stationary is not None:
        held = oriented(operands[stationary], AXES[stationary], rows + cols)
    elements = Elements(held)
    beat = mapping.beat(product)
    # Lanes of the two ports: h has one for each row, v one for each column.
    lanes = (cols, rows) if beat == "dx" else (rows, cols)
    streams = {name: oriented(operands.get(name, np.zeros([SIZES[a] for a in AXES[name]])), AXES[name], time + lane).copy()
               for name, lane in zip((first, second), lanes, strict=True)}  # fmt: skip
    for t in range(SIZES[time]):
        if beat == "dw":
            elements.dw(streams[first][t], streams[second][t])
        else:
            assert second == result, "the second port carries the sums"
            streams[second][t] = getattr(elements, beat)(streams[first][t], streams[second][t])
    if beat == "dw":
        return oriented(elements.g, rows + cols, AXES[result])
    return oriented(streams[second], time + lanes[1], AXES[result])


@pytest.mark.parametrize("product", ["fwd", "dx", "dw"])
@pytest.mark.parametrize("mapping", LAYOUTS, ids=lambda m: f"rows={m.rows},cols={m.cols},time={m.time}")
def test_every_layout_computes_its_product(mapping: Mapping, product: str) -> None:
    rng = np.random.default_rng(0)
    x, w, dy = (rng.integers(-9, 9, [SIZES[a] for a in axes]).astype(float) for axes in ("bk", "kn", "bn"))
    operands = {"fwd": {"X": x, "W": w}, "dx": {"dY": dy, "W": w}, "dw": {"X": x, "dY": dy}}[product]
    expected = {"fwd": x @ w, "dx": dy @ w.T, "dw": x.T @ dy}[product]
    np.testing.assert_array_equal(run(mapping, product, operands), expected)


def test_interleaved_gradients_share_the_tile_and_the_stream() -> None:
    """What gradient interleaving rests on: W's place is dW's place, and both beats take dY from the same port."""
    assert (INTERLEAVED.beat("fwd"), INTERLEAVED.beat("dx"), INTERLEAVED.beat("dw")) == ("fwd", "dx", "dw")
    assert INTERLEAVED.stationary("dx") == "W"
    assert INTERLEAVED.stationary("dw") is None
    assert INTERLEAVED.ports("dx")[0] == INTERLEAVED.ports("dw")[1] == "dY"


@pytest.mark.parametrize(
    ("name", "dx", "dw", "interleaves"),
    [
        ("sequential", "W", None, ""),
        ("ws", "W", "dY", ""),
        ("os", None, None, ""),
        ("is", "dY", "X", ""),
        ("interleaved", "W", None, "beat"),
        ("tile-interleaved", "W", None, "tile"),
    ],
)
def test_schedules_hold_what_their_names_say(name: str, dx: str | None, dw: str | None, interleaves: str) -> None:
    schedule = SCHEDULES[name]
    choice = schedule.choose("fc", SIZES, Machine(), True)
    assert choice.dx.stationary("dx") == dx
    assert choice.dw.stationary("dw") == dw
    assert choice.by == interleaves
    assert schedule.name == name


@pytest.mark.parametrize(
    ("b", "k", "n", "rows_first"),
    [
        (100, 300, 200, False), (100, 401, 200, False), (400, 100, 100, True), (100, 100, 400, True), (100, 400, 400, True),
        (99, 25, 30, False),
    ],
)
def test_order_rule_of_tile_interleaving(b: int, k: int, n: int, rows_first: bool) -> None:
    """By hand: no order of its own within a factor of 4, dW-major where K is the largest, else dX-major."""
    assert finishes_rows_first({"b": b, "k": k, "n": n}) == rows_first


@pytest.mark.parametrize("product", ["dx", "dw"])
def test_candidates_are_the_fixed_schedules_dataflows(product: str) -> None:
    fixed = {SCHEDULES[name].choose("fc", SIZES, Machine(), True).mapping(product) for name in ("sequential", "turned", "ws", "os", "is")}
    assert set(CANDIDATES[product]) == fixed
    assert SCHEDULES["best-sequential"].choose("fc", SIZES, Machine(), False).mapping(product) in fixed


def test_the_estimate_prefers_the_dataflow_with_fewer_folds() -> None:
    """128 x 784 x 256 on 32 x 32 without overlap, as SCALE-Sim counts it: dX is quickest input-stationary, dW weight-stationary."""
    sizes = {"b": 128, "k": 784, "n": 256}
    best = SCHEDULES["best-sequential"]
    assert best.choose("fc", sizes, Machine(), False).mapping("dx").stationary("dx") == "dY"
    assert best.choose("fc", sizes, Machine(), False).mapping("dw").stationary("dw") is not None
