"""What a study has measured: a JSON file to which every point is added when it is done, so that an interrupted study goes on."""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from isa.errors import UserError
from isa.files import write

Row = dict[str, Any]
Point = Mapping[str, Any]
"""What tells the rows of a point from all others: fields and their values."""


def read(path: Path) -> list[Row]:
    """The rows of a file; none if there is no file.

    Raises:
        UserError: the file is no list of rows.
    """
    if not path.exists():
        return []
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise UserError(str(path), f"not a results file: {error}") from error
    if not (isinstance(rows, list) and all(isinstance(row, dict) for row in rows)):
        raise UserError(str(path), "not a results file: no list of rows")
    return rows


def select(rows: Iterable[Row], **fields: Any) -> list[Row]:
    """The rows with these values."""
    return [row for row in rows if all(row.get(name) == value for name, value in fields.items())]


def complete(path: Path, points: Iterable[Point], measure: Callable[[Point], list[Row]], tell: Callable[[str], None]) -> list[Row]:
    """The rows of all points in the file: those that it has, and the others, measured one point after the other.

    Args:
        path: the file, written after each point; rows of points that are not asked for stay.
        points: what to measure.
        measure: the rows of a point, without the point's own fields.
        tell: told each point before it is measured.
    """
    rows = read(path)
    for point in points:
        if not select(rows, **point):
            tell(", ".join(f"{value}" for value in point.values()))
            rows += [dict(point) | row for row in measure(point)]
            write(path, dump(rows))
    return rows


def dump(rows: list[Row]) -> str:
    """One row a line, for readable differences."""
    return "[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n"
