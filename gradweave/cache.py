"""Compiled programs kept in a folder by what they depend on, so that none is compiled twice."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Self

from isa.binary import read_program, write_program
from isa.errors import UserError
from isa.files import write
from isa.program import Program


def default_folder() -> Path:
    """``gradweave`` in the user's folder for caches, as the XDG base directory specification has it."""
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (given if given.is_absolute() else Path.home() / ".cache") / "gradweave"


class Cache:
    """A folder of binaries named by their keys; several processes may use it at a time.

    ``tell`` gets one line for each program that is found, stored or damaged.
    """

    def __init__(self, folder: str | Path | None = None, tell: Callable[[str], None] | None = None) -> None:
        self.folder = default_folder() if folder is None else Path(folder).expanduser()
        self._tell = tell or (lambda line: None)

    @classmethod
    def of(cls, cache: Self | str | Path | None) -> Self | None:
        """A cache from what the API takes."""
        return cls(cache) if isinstance(cache, str | Path) else cache

    def read(self, key: str) -> Program | None:
        """The program of this key; None if it is not there or damaged."""
        path = self._path(key)
        try:
            program = read_program(path.read_bytes(), str(path))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, UserError):
            self._tell(f"cache: damaged {path}; compiling anew")
            return None
        self._tell(f"cache: hit {path}")
        return program

    def store(self, key: str, program: Program) -> None:
        """Keep the program under this key; where that cannot be, tell so: it costs time, not the program."""
        path = self._path(key)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write(path, write_program(program))
        except OSError as error:
            self._tell(f"cache: not stored: {self.folder}: cannot make this folder: {error.strerror}")
        except UserError as error:
            self._tell(f"cache: not stored: {error}")
        else:
            self._tell(f"cache: stored {path}")

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.gwb"
