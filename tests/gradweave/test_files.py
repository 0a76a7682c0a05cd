"""Files are written whole or not at all, and mistakes are one line."""

import os
import sys
from pathlib import Path

import pytest

from isa.errors import UserError
from isa.files import read_bytes, read_text, write


def test_write_replaces_and_leaves_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    write(target, "first")
    write(target, b"second")
    assert target.read_bytes() == b"second"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(UserError, match=r"a\.bin: cannot write: No space left on device"):
        write(target, b"new")
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_write_follows_links(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_text("old")
    link.symlink_to(real)
    write(link, "new")
    assert link.is_symlink()
    assert real.read_text() == "new"


def test_new_files_get_the_usual_permissions(tmp_path: Path) -> None:
    write(tmp_path / "a", "")
    (tmp_path / "b").write_text("")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


@pytest.mark.skipif(sys.platform == "win32", reason="no /dev/null")
def test_devices_are_written_to_directly() -> None:
    write("/dev/null", "gone")
    assert not Path("/dev/null").is_file()


@pytest.mark.parametrize("place", ["missing/a.txt", ".", "nul\0byte"])
def test_places_that_cannot_be_written(tmp_path: Path, place: str) -> None:
    with pytest.raises(UserError, match="cannot write"):
        write(str(tmp_path / place), "x")
    assert os.listdir(tmp_path) == []


def test_unreadable_files_are_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes("ä".encode("latin-1"))
    for read, name in ((read_bytes, "missing"), (read_bytes, "."), (read_text, "latin"), (read_text, "missing")):
        with pytest.raises(UserError) as error:
            read(tmp_path / name)
        assert "\n" not in str(error.value)
        assert str(tmp_path / name) in str(error.value)
