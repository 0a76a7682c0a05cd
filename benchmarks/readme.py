"""Makes the figures of README.md: what ``gradweave compare`` prints, and the ratios at three batch sizes.

python benchmarks/readme.py           # print them
python benchmarks/readme.py --write   # put them into README.md
"""

import io
from contextlib import redirect_stdout
from pathlib import Path

import gradweave
from gradweave.comparison import Comparison, Row
from gradweave.reproduce.sections import print_or_write
from gradweave.tables import comparison_table, show

ROOT = Path(__file__).parents[1]
MODEL = ROOT / "programs" / "digits_mlp.onnxtxt"
BATCHES = (8, 32, 256)
COLUMNS = (
    "whole step: cycles vs sequential",
    "vs best-sequential",
    "DRAM bytes vs sequential",
    "dX, dW: cycles vs sequential",
    "vs best-sequential",
    "scratchpad words vs sequential",
)


def ratios(comparison: Comparison, row: Row) -> list[float]:
    """How many times less than the baselines with the same options, one figure for each of COLUMNS."""
    sequential, best = comparison.baseline(row, "sequential"), comparison.baseline(row, "best-sequential")
    assert sequential is not None
    assert best is not None
    return [
        sequential.cycles / row.cycles,
        best.cycles / row.cycles,
        sequential.report["dram_bytes"] / row.report["dram_bytes"],
        sequential.gradient_cycles / row.gradient_cycles,
        best.gradient_cycles / row.gradient_cycles,
        sequential.gradient_words / row.gradient_words,
    ]


def table(rows: dict[tuple[str, str, str], list[float]]) -> str:
    """The ratios, and under them the least and the greatest of each column."""
    head = ["batch", "double buffer", "update", *COLUMNS]
    lines = [[*options, *(f"{ratio:.2f}×" for ratio in figures)] for options, figures in rows.items()]
    ranges = [f"{min(column):.2f}–{max(column):.2f}×" for column in zip(*rows.values(), strict=True)]
    lines.append(["all", "", "", *ranges])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [head, ["--:", "---", "---", *["--:"] * len(COLUMNS)], *lines])


def sections() -> dict[str, str]:
    """What stands between ``<!-- name -->`` and ``<!-- end -->`` in the README, by name."""
    comparisons = {batch: gradweave.compare(MODEL, batch=batch) for batch in BATCHES}
    rows = {
        (str(batch), "on" if row.double_buffer else "off", "fused" if row.fused_update else "separate"): ratios(comparison, row)
        for batch, comparison in comparisons.items()
        for row in comparison.rows
        if row.schedule == "interleaved"
    }
    printed = io.StringIO()
    with redirect_stdout(printed):
        show(*comparison_table(comparisons[32]))
    shown = "\n".join(line.rstrip() for line in printed.getvalue().splitlines())
    return {"compare": f"```\n{shown}\n```", "ratios": table(rows)}


def main() -> None:
    """Print the sections, or write them into the README."""
    print_or_write(ROOT / "README.md", sections())


if __name__ == "__main__":
    main()
