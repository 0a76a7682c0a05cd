"""Makes the figures of README.md: what ``gradweave compare`` prints, and the ratios at three batch sizes.

python benchmarks/readme.py           # print them
python benchmarks/readme.py --write   # put them into README.md
"""

import io
import re
import sys
from contextlib import redirect_stdout
from pathlib import Path

import gradweave
from gradweave.comparison import Comparison, Row
from gradweave.tables import comparison_table, show

ROOT = Path(__file__).parents[1]
MODEL = ROOT / "programs" / "digits_mlp.onnxtxt"
BATCHES = (8, 32, 256)
HEAD = """\
| batch | double buffer | update | dX, dW: cycles vs sequential | vs best-sequential | dX, dW: scratchpad words vs sequential \
| whole step: cycles vs sequential | vs best other | whole step: DRAM bytes vs sequential |
|--:|---|---|--:|--:|--:|--:|--:|--:|"""


def ratios(comparison: Comparison) -> list[str]:
    """One line of the table for each option of the interleaved schedule."""
    return [line(comparison, row) for row in comparison.rows if row.schedule == "interleaved"]


def line(comparison: Comparison, row: Row) -> str:
    """How many times less than the baselines with the same options."""
    sequential, best = comparison.baseline(row, "sequential"), comparison.baseline(row, "best-sequential")
    assert sequential is not None
    cells = [
        f"{comparison.batch}",
        "on" if row.double_buffer else "off",
        "fused" if row.fused_update else "separate",
        times(sequential.gradient_cycles, row.gradient_cycles),
        times(best.gradient_cycles, row.gradient_cycles) if best else "",
        times(sequential.gradient_words, row.gradient_words),
        times(sequential.cycles, row.cycles),
        f"{comparison.speedup_over_others(row):.2f}×",
        times(sequential.report["dram_bytes"], row.report["dram_bytes"]),
    ]
    return f"| {' | '.join(cells)} |"


def times(baseline: int, ours: int) -> str:
    """The ratio, as people write it."""
    return f"{baseline / ours:.2f}×"


def sections() -> dict[str, str]:
    """What stands between ``<!-- name -->`` and ``<!-- end -->`` in the README, by name."""
    comparisons = {batch: gradweave.compare(MODEL, batch=batch) for batch in BATCHES}
    printed = io.StringIO()
    with redirect_stdout(printed):
        show(*comparison_table(comparisons[32]))
    table = "\n".join(text.rstrip() for text in printed.getvalue().splitlines())
    return {
        "compare": f"```\n{table}\n```",
        "ratios": "\n".join([HEAD, *(row for batch in BATCHES for row in ratios(comparisons[batch]))]),
    }


def main() -> None:
    """Print the sections, or write them into the README."""
    readme, made = ROOT / "README.md", sections()
    if sys.argv[1:] != ["--write"]:
        print("\n\n".join(made.values()))
        return
    text = readme.read_text(encoding="utf-8")
    for name, content in made.items():
        text = re.sub(f"(<!-- {name} -->\n).*?(<!-- end -->)", lambda m, c=content: f"{m[1]}{c}\n{m[2]}", text, flags=re.DOTALL)
    readme.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
