"""What is settled of a beat nest before it runs."""

from dataclasses import dataclass
from typing import NamedTuple

from emulator.banks import Ports
from emulator.journal import Work
from emulator.sums import Rows


class Span(NamedTuple):
    """The turns of a beat of the body: cycles of each, and when the first and the last issue, counted from the nest's first beat."""

    cycles: int
    first: int
    last: int
    number: int
    """Of the last one among all beats."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A nest at certain turns, flags and extents: what it counts, and the lanes that it leaves on the ports."""

    turns: tuple[int, ...]
    swap: bool
    preload: bool
    take: bool
    zeros: tuple[bool, ...]
    needs: tuple[Ports, ...]
    """Of the scratchpad, by each beat of the body."""
    works: tuple[Work, ...]
    """One for each beat of the body; a `take` that is not the nest's only beat is left out."""
    spans: tuple[Span, ...]
    """Of the same."""
    length: int
    """Cycles for which these hold the array if nothing holds them up."""
    tail: Work | None
    """A `take` at the end of others."""
    lanes: tuple[int, int]
    read: Rows
    """The first rows of sums that it reads, and the last that it writes."""
    written: Rows
