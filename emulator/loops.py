"""Repetitions of a script as loops: the turn that was found to come again is the first of them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from emulator.script import Advance, Repeat, Step


@dataclass(frozen=True, slots=True)
class Loop:
    """``turns`` turns of steps; they are at the counters of the first."""

    steps: tuple["Step | Loop", ...]
    turns: int
    advances: tuple[Advance, ...]

    def turn(self, number: int) -> list["Step | Loop"]:
        """The steps of one turn."""
        return [moved(step, self.advances, number) for step in self.steps]


def loops(entries: Iterable[Step | Repeat]) -> list[Step | Loop]:
    """Entries of a script with each repetition and the turn before it made one loop."""
    found: list[Step | Loop] = []
    sizes: list[int] = []
    """How many entries each of ``found`` was made of."""
    for entry in entries:
        if not isinstance(entry, Repeat):
            found.append(entry)
            sizes.append(1)
            continue
        first, missing = len(found), len(entry.steps)
        while missing > 0 and first > 0:
            first -= 1
            missing -= sizes[first]
        if missing:  # its first turn begins before these entries, or within another loop
            steps, before = loops(entry.steps), 0
            turns = [moved(step, entry.advances, 1) for step in steps], entry.times
        else:
            turns, before = (found[first:], entry.times + 1), sum(sizes[first:])
            del found[first:], sizes[first:]
        found.append(Loop(tuple(turns[0]), turns[1], entry.advances))
        sizes.append(before + 1)
    return found


def length(steps: Iterable[Step | Loop]) -> int:
    """How many steps there are in all turns of their loops."""
    return sum(step.turns * length(step.steps) if isinstance(step, Loop) else 1 for step in steps)


def unrolled(steps: Iterable[Step | Loop]) -> list[Step]:
    """Steps with all turns of their loops."""
    found: list[Step] = []
    for step in steps:
        if isinstance(step, Loop):
            inner = unrolled(step.steps)
            found += [_later(one, step.advances, turn) for turn in range(step.turns) for one in inner]
        else:
            found.append(step)
    return found


def moved(step: Step | Loop, advances: Sequence[Advance], turns: int) -> Step | Loop:
    """A step or loop as it is so many turns of the loop around it later."""
    if isinstance(step, Loop):
        return Loop(tuple([moved(inner, advances, turns) for inner in step.steps]), step.turns, step.advances)
    return _later(step, advances, turns)


def _later(step: Step, advances: Sequence[Advance], turns: int) -> Step:
    for queue, level, pace in advances:
        if queue is step.queue:
            counters = step.counters
            return Step(queue, step.instruction, (*counters[:level], counters[level] + turns * pace, *counters[level + 1 :]), step.plan)
    return step
