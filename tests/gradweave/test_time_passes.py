"""``gradweave compile --time-passes``: the table of what each pass takes."""

import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from compiler.pass_times import PassTimes

Cli = Callable[..., Result]
SMALL = ("compile", "small.onnxtxt", "--batch", "6", "--machine", "4x3.toml")
ROW = re.compile(r"(?P<name>\S.*?) +(?P<seconds>-?\d+\.\d{4}) +(?P<share>-?\d+\.\d)%(?: +(?P<runs>\d+))?")
PASSES = [
    "import", "verify", "load passes", "convert-onnx-to-train", "add-loss", "simplify", "differentiate", "add-optimizer",
    "widen-groups", "convert-train-to-tile", "fuse-epilogues", "fuse-blocks", "spill", "allocate-memory", "convert-tile-to-systolic",
    "emit", "check program", "encode",
]  # fmt: skip


def rows(text: str) -> dict[str, tuple[float, float, int]]:
    """Seconds, share in percent and runs of each pass, by name; -1 where no number of runs is told."""
    header, *lines = [line for line in text.splitlines() if ".gwb:" not in line]
    assert header.split() == ["pass", "seconds", "share", "runs"]
    found = [ROW.fullmatch(line) for line in lines]
    return {m["name"]: (float(m["seconds"]), float(m["share"]), int(m["runs"] or -1)) for m in found if m}


def test_every_pass_has_its_row(cli: Cli, folder: Path) -> None:
    result = cli(*SMALL, "--loss", "softmax-cross-entropy", "--optimizer", "sgd", "--time-passes")
    assert result.exit_code == 0
    assert result.stdout == ""
    table = rows(result.stderr)
    assert sorted(table) == sorted([*PASSES, "rest", "total"])
    assert table["simplify"][2] == 2
    assert table["verify"][2] == 4
    passes = [name for name in table if name != "total"]
    assert sum(table[name][0] for name in passes) == pytest.approx(table["total"][0], abs=1e-4 * len(passes))
    assert sum(table[name][1] for name in passes) == pytest.approx(100, abs=0.1 * len(passes))
    columns = {line.index(".") for line in result.stderr.splitlines()[1:] if ROW.fullmatch(line)}
    assert len(columns) == 1


def test_each_attempt_to_fit_the_scratchpad_counts(cli: Cli, folder: Path) -> None:
    (folder / "narrow.toml").write_text("[array]\nrows = 4\ncols = 4\n[scratchpad]\nbytes = 4096\n")
    result = cli("compile", "small.onnxtxt", "--batch", "100", "--machine", "narrow.toml", "--time-passes")
    table = rows(result.stderr)
    assert table["convert-train-to-tile"][2] == table["allocate-memory"][2] > 1


def test_ir_and_searches_have_rows_of_their_own(cli: Cli, folder: Path) -> None:
    table = rows(cli(*SMALL, "--schedule", "best-sequential", "--emit", "ir", "--dump-ir", "ir", "--time-passes").stderr)
    assert {"search for best-sequential", "dump IR", "print"} < set(table)
    assert table["convert-train-to-tile"][2] == 1
    assert "emit" not in table


def test_without_the_option_nothing_is_told(cli: Cli, folder: Path) -> None:
    assert "seconds" not in cli(*SMALL).stderr


def test_times_add_up_over_runs() -> None:
    times = PassTimes()
    for _ in range(2):
        with times.measure("slow"):
            time.sleep(0.02)
    with pytest.raises(ZeroDivisionError), times.measure("failing"):
        _ = 1 / 0
    assert times.passes["slow"].runs == 2
    assert 0.04 <= times.passes["slow"].seconds < 1
    assert times.passes["failing"].runs == 1
    assert list(rows(times.table())) == ["slow", "failing", "rest", "total"]
