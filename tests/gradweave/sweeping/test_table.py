"""Tables and plots of sweeps."""

import io
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib import image
from pyarrow import parquet

from gradweave.sweeping.plot import draw, pareto_front
from gradweave.sweeping.table import Row, encode


def row(model: str, batch: int | None, schedule: str, cycles: int | None, energy: float | None, **fields: int | float | str | None) -> Row:
    figures = {"cycles": cycles, "utilization": cycles and 0.5, "macs": cycles, "dram_bytes": cycles, "scratchpad_words": cycles}
    error = None if cycles else "machine m: too small, by far"
    return {"model": model, "batch": batch, "schedule": schedule, **fields, "machine": "m", **figures, "energy_pj": energy, "error": error}


ROWS = [
    row("a/x.onnx", 8, "ws", 10, 2.5, **{"dram.bytes_per_cycle": 8, "array.operand": "f32"}),
    row("a/x.onnx", 8, "os", None, None, **{"dram.bytes_per_cycle": 8.5, "array.operand": "f32"}),
    row("y.csv", None, "ws", 20, 5e6, **{"dram.bytes_per_cycle": None, "array.operand": "bf16"}),
]


def test_csv() -> None:
    assert encode(ROWS, ".csv").decode() == (
        "model,batch,schedule,dram.bytes_per_cycle,array.operand,machine,cycles,utilization,macs,dram_bytes,scratchpad_words,energy_pj,error\n"
        "a/x.onnx,8,ws,8,f32,m,10,0.5,10,10,10,2.5,\n"
        'a/x.onnx,8,os,8.5,f32,m,,,,,,,"machine m: too small, by far"\n'
        "y.csv,,ws,,bf16,m,20,0.5,20,20,20,5000000.0,\n"
    )


def test_parquet() -> None:
    table = parquet.read_table(io.BytesIO(encode(ROWS, ".parquet")))
    assert table.to_pylist() == ROWS
    types = {field.name: str(field.type) for field in table.schema}
    assert types == dict.fromkeys(("model", "schedule", "array.operand", "machine", "error"), "string") | dict.fromkeys(
        ("batch", "cycles", "macs", "dram_bytes", "scratchpad_words"), "int64"
    ) | dict.fromkeys(("dram.bytes_per_cycle", "utilization", "energy_pj"), "double")
    assert encode(ROWS, ".parquet") == encode(ROWS, ".parquet")


def test_the_front_is_what_nothing_beats() -> None:
    generator = np.random.default_rng(3)
    for _ in range(50):
        points = [tuple(map(float, point)) for point in generator.integers(0, 12, (int(generator.integers(0, 30)), 2))]
        best = {p for p in points if not any(q != p and q[0] <= p[0] and q[1] <= p[1] for q in points)}
        front = pareto_front(points)  # type: ignore[arg-type]
        assert front == sorted(best)


def test_svg_has_a_panel_for_each_model_and_batch() -> None:
    content = draw(ROWS, ".svg")
    ElementTree.fromstring(content)
    texts = set(re.findall(r"<text[^>]*>([^<]*)</text>", content.decode()))
    assert {"x, batch 8", "y", "cycles", "energy (µJ)", "ws", "os", "Pareto front"} <= texts
    assert draw(ROWS, ".svg") == content


def test_png_is_a_picture() -> None:
    pixels = image.imread(io.BytesIO(draw(ROWS, ".png")))
    assert pixels.shape[0] > 300 < pixels.shape[1]
    assert len(np.unique(pixels.reshape(-1, pixels.shape[-1]), axis=0)) > 10


def test_points_that_all_failed_are_drawn_as_nothing() -> None:
    assert b"Pareto front" in draw([ROWS[1]], ".svg")


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_rows_of_no_varying_field(suffix: str) -> None:
    assert encode([row("x", 1, "ws", 1, 1.0)], suffix)
