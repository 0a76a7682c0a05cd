"""What a sweep has measured so far: a file to which every point is appended when it is done, so that a kill loses none."""

import os
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from gradweave.sweeping.points import Outcome
from isa.errors import UserError


class Entry(msgspec.Struct, frozen=True):
    """One line of the file, as JSON."""

    key: str
    outcome: Outcome


class Journal:
    """An open journal; ``done`` holds the outcomes by the keys of their points.

    Keys tell all that decides an outcome: lines of other sweeps, or of an older gradweave, do no harm.  A line that was cut off
    by a kill is passed over.

    Raises:
        UserError: the file cannot be opened, or written to.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            self._file = open(path, "a+b", buffering=0)  # noqa: SIM115  closed by __exit__
            self._file.seek(0)
            content = self._file.read()
        except OSError as error:
            raise UserError(str(path), f"cannot be written: {error.strerror}") from error
        self.done: dict[str, Outcome] = {}
        for line in content.splitlines():
            try:
                entry = msgspec.json.decode(line, type=Entry)
            except msgspec.DecodeError:
                continue
            self.done[entry.key] = entry.outcome
        if content and not content.endswith(b"\n"):
            self._write(b"\n")

    def add(self, key: str, outcome: Outcome) -> None:
        """Append one point."""
        self.done[key] = outcome
        self._write(msgspec.json.encode(Entry(key, outcome)) + b"\n")

    def _write(self, line: bytes) -> None:
        try:
            self._file.write(line)
        except OSError as error:
            raise UserError(str(self.path), f"cannot be written: {error.strerror}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()
        if self.path.stat().st_size == 0:  # nothing was done
            os.unlink(self.path)
