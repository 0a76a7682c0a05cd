"""What is settled of a beat nest before it runs."""

import math
from dataclasses import dataclass

from emulator.banks import Ports
from emulator.journal import Work
from emulator.sums import Rows


@dataclass(frozen=True, slots=True)
class Plan:
    """A nest at certain turns, flags and extents: what it counts, and the lanes that it leaves on the ports."""

    turns: tuple[int, ...]
    swap: bool
    take: bool
    zeros: tuple[bool, ...]
    needs: tuple[Ports, ...]
    """Of the scratchpad, by each beat of the body."""
    costs: tuple[int, ...]
    """Cycles of each."""
    works: tuple[Work, ...]
    """One for each beat of the body; a `take` that is not the nest's only beat is left out."""
    tail: Work | None
    """A `take` at the end of others."""
    lanes: tuple[int, int]
    rows: Rows

    @property
    def total(self) -> int:
        """Beats."""
        return len(self.zeros) * math.prod(self.turns)
