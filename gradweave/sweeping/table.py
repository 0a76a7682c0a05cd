"""The table of a sweep, as CSV or Parquet: the same points give the same bytes."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from gradweave.extras import need
from gradweave.sweeping.grid import Grid, Value
from gradweave.sweeping.points import Outcome, Point
from isa.errors import UserError

Row = dict[str, Value | None]
FORMATS = (".csv", ".parquet")


def check_format(path: str | Path) -> None:
    """Raises UserError unless the name's end is one of ``FORMATS``, and what it needs is installed."""
    if Path(path).suffix not in FORMATS:
        raise UserError(str(path), f"the name of a table ends in {' or '.join(FORMATS)}")
    if Path(path).suffix == ".parquet":
        need("pyarrow", "parquet", str(path))


def row(point: Point, grid: Grid, outcome: Outcome) -> Row:
    """One line of the table; None is an empty cell."""
    return {
        "model": point.model,
        "batch": point.step.batch,
        "schedule": point.lowering.schedule,
        **grid.values(point.machine),
        "machine": point.machine.name,
        **msgspec.structs.asdict(outcome),
    }


def encode(rows: Sequence[Row], suffix: str) -> bytes:
    """The table as a file; there is at least one row."""
    return _parquet(rows) if suffix == ".parquet" else _csv(rows)


def _csv(rows: Sequence[Row]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _parquet(rows: Sequence[Row]) -> bytes:
    import pyarrow
    from pyarrow import parquet

    whole = {"batch", "cycles", "macs", "dram_bytes", "scratchpad_words"}
    real = {"utilization", "energy_pj"}

    def column(name: str) -> Any:
        values = [row[name] for row in rows]
        if name in whole | real:
            return pyarrow.array(values, pyarrow.int64() if name in whole else pyarrow.float64())
        kinds = {type(value) for value in values} - {type(None)}
        if kinds and kinds <= {int, float}:  # a field of machines, which may mix 8 and 8.5
            return pyarrow.array(values, pyarrow.int64() if kinds == {int} else pyarrow.float64())
        return pyarrow.array(values, pyarrow.string())

    buffer = io.BytesIO()
    parquet.write_table(pyarrow.table({name: column(name) for name in rows[0]}), buffer)
    return buffer.getvalue()
