"""The journal of a sweep."""

from pathlib import Path

import pytest

from gradweave.sweeping.journal import Journal
from gradweave.sweeping.points import Outcome
from isa.errors import UserError

GOOD = Outcome(cycles=3, utilization=0.1, macs=5, dram_bytes=7, scratchpad_words=9, energy_pj=0.1 + 0.2)
BAD = Outcome(error='too small, "really"')


def test_what_is_added_is_found_again(tmp_path: Path) -> None:
    path = tmp_path / "t.csv.journal"
    with Journal(path) as journal:
        assert journal.done == {}
        journal.add("a", GOOD)
    with Journal(path) as journal:
        journal.add("b", BAD)
    with Journal(path) as journal:
        assert journal.done == {"a": GOOD, "b": BAD}


@pytest.mark.parametrize("cut", range(1, 56))
def test_a_line_that_was_cut_off_spoils_no_other(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "t.csv.journal"
    with Journal(path) as journal:
        journal.add("a", GOOD)
        journal.add("b", BAD)
    content = path.read_bytes()
    path.write_bytes(content[:-cut])
    with Journal(path) as journal:
        whole = {"a": GOOD, "b": BAD} if cut == 1 else {"a": GOOD}  # without the line's end, it is complete
        assert journal.done == whole
        journal.add("c", BAD)
    with Journal(path) as journal:
        assert journal.done == whole | {"c": BAD}


def test_other_lines_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "t.csv.journal"
    path.write_bytes(b'\xff\x00\n[]\n{"key": 3}\n\n{"key": "a", "outcome": {"cycles": "x"}}\n{"key": "b", "outcome": {"cycles": 4}}\n')
    with Journal(path) as journal:
        assert journal.done == {"b": Outcome(cycles=4)}


def test_nothing_done_leaves_nothing_behind(tmp_path: Path) -> None:
    with Journal(tmp_path / "t.csv.journal"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"missing/t\.csv\.journal: cannot be written: No such file"):
        Journal(tmp_path / "missing" / "t.csv.journal")
