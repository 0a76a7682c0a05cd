"""Published results beside what the machine measures: the files in ``docs/`` are what is measured, and what they are said to be."""

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from topology_tables import FOLDER as TABLES
from topology_tables import needs_tables

from compiler.driver import lower
from compiler.schedule.schedules import SCHEDULES
from gradweave.reproduce import cnn, fc, order, pages
from gradweave.reproduce.networks import NETWORKS, available, products_of
from gradweave.reproduce.products import Product, products_step
from gradweave.reproduce.results import Point, Row, complete, read, select
from gradweave.reproduce.studies import STUDIES, Settings
from isa.errors import UserError
from isa.machine import load_machine

ROOT = Path(__file__).parents[2]
DOCS, MACHINES = ROOT / "docs", ROOT / "programs" / "machines"
FC, ORDER = read(DOCS / "reproduce-fc.json"), read(DOCS / "reproduce-order.json")
CNN = cnn.rows(DOCS)
ORDER_POINTS = [{"network": row["network"], "machine": row["machine"]} for row in select(ORDER, schedule="auto")]
SAMPLE = [
    {"machine": "32x32", "tiles": 8, "batch": 8, "double_buffer": True, "fused_update": True},
    {"machine": "32x32", "tiles": 8, "batch": 64, "double_buffer": False, "fused_update": False},
    {"machine": "32x32, DRAM unlimited", "tiles": 1, "batch": 512, "double_buffer": True, "fused_update": False},
    {"machine": "128x128", "tiles": 1, "batch": 128, "double_buffer": False, "fused_update": True},
    {"machine": "128x128, DRAM unlimited", "tiles": 8, "batch": 32, "double_buffer": True, "fused_update": True},
]


def same_as_in(rows: list[Row], point: Point, measure: Callable[[Point], list[Row]]) -> None:
    assert [dict(point) | row for row in measure(point)] == select(rows, **point), "measure again: gradweave reproduce"


@pytest.mark.parametrize("point", SAMPLE, ids=lambda point: " ".join(map(str, point.values())))
def test_sample_of_fully_connected_layers(point: Point) -> None:
    same_as_in(FC, point, fc.measure(MACHINES))


@needs_tables
def test_sample_of_the_order() -> None:
    same_as_in(ORDER, {"network": "DLRM", "machine": "micro2023-large"}, order.measure(MACHINES, TABLES))


@pytest.mark.slow
@needs_tables
@pytest.mark.parametrize("point", ORDER_POINTS, ids=lambda point: " ".join(point.values()))
def test_all_of_the_order(point: Point) -> None:
    same_as_in(ORDER, point, order.measure(MACHINES, TABLES))


def test_auto_is_never_slower() -> None:
    cnn_points = [{name: r[name] for name in ("network", "machine", "batch")} for r in CNN if r["schedule"] == "auto"]
    for rows, points in ((FC, fc.points()), (ORDER, ORDER_POINTS), (CNN, cnn_points)):
        names = {"sequential", "ws", "os", "is"} & {row["schedule"] for row in rows}
        for point in points:
            cycles = {row["schedule"]: row["cycles"] for row in select(rows, **point) if "error" not in row}
            assert cycles["auto"] <= min(cycles.values()), point
            assert cycles["best-sequential"] <= min(cycles[name] for name in names), point


def test_all_schedules_of_all_points_are_in_the_files() -> None:
    assert len(FC) == 4 * 2 * 7 * 4 * len(SCHEDULES)
    assert {row["schedule"] for row in FC} == set(SCHEDULES)
    assert all(row["cycles"] >= row["bound_cycles"] for row in FC + ORDER if "error" not in row)
    assert {row["network"] for row in ORDER} <= set(NETWORKS)
    for machine, batch in order.BATCH.items():
        assert {row["batch"] for row in select(ORDER, machine=machine)} <= {1, batch}


@pytest.mark.parametrize("name", STUDIES)
def test_pages_and_plots_are_made_of_the_files(name: str) -> None:
    settings = Settings(DOCS, MACHINES, TABLES, False, lambda text: None)
    study = STUDIES[name]
    rows = study.rows(settings)
    assert settings.file(name, ".md").read_text(encoding="utf-8").endswith(study.page(rows))
    plot = settings.file(name, ".svg").read_bytes()
    assert plot.startswith(b"<?xml") and study.draw(rows)[:200] == plot[:200]  # noqa: PT018  its ids and fonts depend on the matplotlib


# -- what is measured -------------------------------------------------------------------------------------------------


def test_products_have_the_macs_of_the_layers() -> None:
    """BERT-base's layer by hand: four projections, two products of attention, and a feed-forward part, three products of each."""
    tokens, width, inner = 128, 768, 3072
    macs = 4 * tokens * width**2 + 2 * tokens**2 * width + 2 * tokens * width * inner
    assert {row["macs"] for row in select(ORDER, network="BERT-base layer", machine="micro2023-large")} == {3 * 8 * macs}


@needs_tables
def test_tables_are_cut_to_their_layers() -> None:
    found = available(TABLES)
    assert list(found) == list(NETWORKS)
    assert [(product.x[1:], product.w) for product in products_of(found["NCF"], TABLES)] == [
        ((2048, 256), (256, 256)), ((2048, 256), (256, 128)), ((2048, 128), (128, 64)), ((2048, 128), (128, 1)),
    ]  # fmt: skip
    assert len(products_of(found["ResNet-50"], TABLES)) == 54


def test_without_tables_only_what_is_known_by_its_dimensions(tmp_path: Path) -> None:
    assert list(available(None)) == list(available(tmp_path)) == ["BERT-base layer", "T5-base layer"]


@pytest.mark.parametrize("first_dx", [True, False])
def test_step_of_products(first_dx: bool) -> None:
    products = [
        Product("c", "Conv", (1, 3, 9, 9), (4, 3, 3, 3), stride=2),
        Product("m", "MatMul", (1, 5, 6), (6, 7)),
        Product("a", "MatMul", (1, 2, 5, 6), (1, 2, 6, 5), activation=True),
        Product("g", "Gemm", (1, 6), (6, 7)),
    ]
    program = lower(products_step("p", products, 2, first_dx=first_dx), load_machine(MACHINES / "8x8.toml"), schedule="sequential")
    outputs = {symbol.name: symbol.shape for symbol in program.named("output")}
    expected = {
        "c": (2, 4, 4, 4), "m": (2, 5, 7), "a": (2, 2, 5, 5), "g": (2, 7),
        "grad/c/x": (2, 3, 9, 9), "grad/c/w": (4, 3, 3, 3), "grad/m/x": (2, 5, 6), "grad/m/w": (6, 7),
        "grad/a/x": (2, 2, 5, 6), "grad/a/w": (2, 2, 6, 5), "grad/g/x": (2, 6), "grad/g/w": (6, 7),
    }  # fmt: skip
    assert outputs == {name: shape for name, shape in expected.items() if first_dx or name != "grad/c/x"}


# -- results ----------------------------------------------------------------------------------------------------------


def test_an_interrupted_study_goes_on(tmp_path: Path) -> None:
    asked: list[Point] = []

    def measure(point: Point) -> list[Row]:
        if len(asked) == 2:
            raise KeyboardInterrupt
        asked.append(point)
        return [{"schedule": "a", "cycles": 10 * point["n"]}, {"schedule": "b", "cycles": point["n"]}]

    file, points = tmp_path / "r.json", [{"n": 1}, {"n": 2}, {"n": 3}]
    with pytest.raises(KeyboardInterrupt):
        complete(file, points, measure, lambda text: None)
    assert [row["n"] for row in read(file)] == [1, 1, 2, 2]
    asked.clear()
    told: list[str] = []
    rows = complete(file, points, measure, told.append)
    assert (asked, told) == ([{"n": 3}], ["3"])
    assert rows == read(file) == [{"n": n, "schedule": s, "cycles": c * n} for n in (1, 2, 3) for s, c in (("a", 10), ("b", 1))]


@pytest.mark.parametrize("text", ["", "{}", "[1]", "[", "\0"])
def test_damaged_results(tmp_path: Path, text: str) -> None:
    file = tmp_path / "r.json"
    file.write_text(text)
    with pytest.raises(UserError, match="not a results file"):
        read(file)


def row(batch: int, options: tuple[bool, bool], schedule: str, cycles: int) -> Row:
    fields = {"machine": "4x4", "tiles": 8, "batch": batch, "double_buffer": options[0], "fused_update": options[1]}
    return {**fields, "schedule": schedule, "cycles": cycles}


def test_ratios_name_both_sides() -> None:
    on, off = (True, True), (False, False)
    rows = [row(4, on, "ws", 30), row(4, on, "interleaved", 20), row(4, off, "ws", 60), row(4, off, "interleaved", 50), row(8, on, "ws", 9)]
    found = fc.ratios(rows, "cycles", "ws", "interleaved")
    at = fc.RATIOS.index(Fraction(1))
    known = {str(sides): own[at] for (machine, tiles, sides), own in found.items() if tiles == 8 and own[at] is not None}
    assert known == {
        "matched: double buffer, update fused": 1.5,
        "matched: single buffer, update separate": 1.2,
        "unmatched: single buffer, update separate ÷ double buffer, update fused": 3.0,
    }
    assert all(value is None for own in found.values() for place, value in enumerate(own) if place != at)


@pytest.mark.parametrize(
    ("metric", "ratio", "expected"),
    [("cycles", 1.34, False), ("cycles", 1.36, True), ("backward_cycles", 2.24, True), ("cycles", 2.26, False),
     ("dram_bytes", 1.84, False), ("backward_scratchpad_words", 1.86, True), ("scratchpad_words", 3.0, True), ("energy_pj", 3.0, False)],
)  # fmt: skip
def test_where_the_published_figures_hold(metric: str, ratio: float, expected: bool) -> None:
    assert pages.held(metric, ratio) == expected


def test_percentages() -> None:
    rows: list[dict[str, Any]] = [
        {"network": "n", "machine": "m", "batch": 1, "schedule": name, "cycles": cycles}
        for name, cycles in (("sequential", 200), ("ws", 120), ("interleaved", 150))
    ]
    assert order.falls(rows) == {("m", "n"): {"sequential": 0.0, "ws": 40.0, "interleaved": 25.0}}
    assert cnn.saves(rows, "ws", "cycles") == {("n", "m", 1): -25.0}
    assert cnn.saves(rows, "os", "cycles") == {}


# -- the command ------------------------------------------------------------------------------------------------------


def test_command_writes_what_is_in_the_files(cli: Callable[..., Result], folder: Path) -> None:
    (folder / "out").mkdir()
    (folder / "out" / "reproduce-order.json").write_text(json.dumps(ORDER))
    result = cli("reproduce", "order", "-o", "out", "--machines", str(MACHINES), "--no-measure")
    assert result.exit_code == 0
    assert result.stdout.rstrip("\n") == (folder / "out" / "reproduce-order.md").read_text(encoding="utf-8").rstrip("\n")
    assert "without --tables, not measured: NCF, DLRM, MobileNet" in result.stderr
    assert (folder / "out" / "reproduce-order.svg").exists()


def test_command_without_machine_files(cli: Callable[..., Result]) -> None:
    result = cli("reproduce", "fc", "-o", ".")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].startswith("error: programs/machines/32x32.toml: cannot read the machine file")
