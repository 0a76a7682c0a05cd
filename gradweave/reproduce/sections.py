"""Parts of a page that a script makes: what stands between ``<!-- name -->`` and ``<!-- end -->``."""

import sys
from collections.abc import Mapping
from pathlib import Path

from isa.files import read_text, write


def put_into(page: Path, made: Mapping[str, str]) -> None:
    """Put the parts, by name, where they belong in the page; what it says around them stays.

    Raises:
        ValueError: the page has no such part, or two of a name.
        UserError: the page cannot be read or written.
    """
    text = read_text(page)
    for name, content in made.items():
        before, rest = text.split(f"<!-- {name} -->\n")
        text = f"{before}<!-- {name} -->\n{content}\n<!-- end -->{rest.split('<!-- end -->', 1)[1]}"
    write(page, text)


def print_or_write(page: Path, made: Mapping[str, str]) -> None:
    """What such a script does: print the parts, or with ``--write`` put them into the page."""
    if sys.argv[1:] == ["--write"]:
        put_into(page, made)
    else:
        print("\n\n".join(made.values()))
