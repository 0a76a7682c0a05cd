"""SCALE-Sim's own tables, where they lie beside the checkout, and what each asks for by its own definition."""

from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[3] / "shared/data/scalesim_topologies"
TABLES = sorted(FOLDER.glob("**/*.csv"))
needs_tables = pytest.mark.skipif(not FOLDER.is_dir(), reason="SCALE-Sim's tables are not beside this checkout")


def rows(path: Path) -> list[str]:
    """The lines of the layers: all that are not blank but the header."""
    return [line for line in path.read_text("utf-8-sig").splitlines()[1:] if line.strip(", ")]


def table_macs(path: Path) -> int:
    """MACs of one product of each layer at batch 1: M·N·K, or outputs times the filter's size."""
    return sum(_row_macs(path.parent.name, row) for row in rows(path))


def _row_macs(kind: str, row: str) -> int:
    numbers = [int(cell) for cell in row.split(",")[1:8] if cell.strip()]
    if kind == "gemm":
        return numbers[0] * numbers[1] * numbers[2]
    height, width, filter_height, filter_width, channels, filters, stride = numbers
    outputs = -(-(height - filter_height + stride) // stride) * -(-(width - filter_width + stride) // stride)
    return outputs * filter_height * filter_width * channels * filters
