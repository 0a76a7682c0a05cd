"""The command line: one file per command, options that several commands share in ``options``."""

from gradweave.cli.main import main

__all__ = ["main"]
