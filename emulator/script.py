"""What a run does to the memories, in the order of its cycles: steps, and repetitions of steps that steady states were found to be."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from emulator.plan import Plan
from isa.instructions import Queue


class Step(NamedTuple):
    """An instruction at certain loop counters; with a ``plan`` a beat nest without the `take` at its end, which is a step of its own."""

    queue: Queue
    instruction: int
    counters: tuple[int, ...]
    plan: Plan | None = None


class Advance(NamedTuple):
    """From one turn of a repetition to the next, a queue goes on by ``turns`` of its loop at ``level``."""

    queue: Queue
    level: int
    turns: int


@dataclass(frozen=True, slots=True)
class Repeat:
    """``times`` more turns of steps that are at the counters of the turn before the first."""

    steps: tuple["Step | Repeat", ...]
    times: int
    advances: tuple[Advance, ...]


class Script:
    """``start`` entries are gone already; positions count all entries ever made."""

    def __init__(self) -> None:
        self.start = 0
        self.entries: list[Step | Repeat] = []

    @property
    def position(self) -> int:
        return self.start + len(self.entries)

    def repeat(self, since: int, times: int, advances: Sequence[Advance]) -> None:
        """What was done since a position is done again."""
        self.entries.append(Repeat(tuple(self.entries[since - self.start :]), times, tuple(advances)))

    def take(self) -> list[Step | Repeat]:
        """All entries, which are then gone."""
        entries, self.entries = self.entries, []
        self.start += len(entries)
        return entries
