"""Cycles and folds of every run in SCALE-Sim's GEMM table, against what compiled programs take on the emulated machine.

C[M,N] = A[M,K]·B[K,N] with memories that never stall and no double buffering.  Which product of a layer X[b,k], W[k,n], and under which
schedule, is laid onto the array as SCALE-Sim lays it:

    ws   Y  = X·W     b,k,n = M,K,N   K on the rows, N on the columns, M streams        2R+C+M−2 a fold, as in SCALE-Sim
    is   dW = Xᵀ·dY   b,k,n = K,M,N   K on the rows, M on the columns, N streams        2R+C+N−2 a fold, as in SCALE-Sim
    os   dW = Xᵀ·dY   b,k,n = K,M,N   M on the rows, N on the columns, K streams        2R+C+K−2 a fold, R more than in SCALE-Sim

SCALE-Sim's output-stationary fold is R+C+K−2: its results leave while the next fold begins, even without double buffering.  Here a
single-buffered fold waits until they have left, R steps of the gradient chain (docs/schedules.md).
"""

import csv
from pathlib import Path

import pytest
from single_layer import DW, FWD, taken

TABLE = Path(__file__).parents[3] / "shared" / "data" / "scalesim_gemm_dev.csv"
pytestmark = pytest.mark.skipif(not TABLE.exists(), reason="the table is not among the project's own files")
OUTSIDE = {"ws": 6, "is": 4, "os": 4}
"""Cycles beyond the folds: loads, tokens and the store; Y goes through the vector unit too, for it stays in the scratchpad until then."""


def rows() -> list[dict[str, str]]:
    if not TABLE.exists():
        return []
    with TABLE.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("row", rows(), ids=lambda row: f"{row['name']}-{row['array_rows']}x{row['array_cols']}-{row['dataflow']}")
def test_folds_take_what_scalesim_counts(row: dict[str, str]) -> None:
    m, n, k, array_rows, array_cols = (int(row[name]) for name in ("M", "N", "K", "array_rows", "array_cols"))
    flow, array = row["dataflow"], (array_rows, array_cols)
    extra = int(row["folds"]) * array_rows if flow == "os" else 0
    if flow == "ws":
        found = taken([FWD], "sequential", array, m, k, n, double_buffer=False)
    else:
        found = taken([DW], flow, array, k, m, n, double_buffer=False)
    assert found == int(row["cycles"]) + extra + OUTSIDE[flow]


def test_the_table_has_all_three_dataflows() -> None:
    assert {row["dataflow"] for row in rows()} == {"ws", "os", "is"}
    assert len(rows()) >= 90
