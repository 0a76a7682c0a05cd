"""``best-sequential`` and ``auto``: for each layer the choice with which the whole program is quickest.

The machine's own timing decides: the caller passes a function that compiles the step under a schedule and runs it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from compiler.schedule.blocks import TILES_AHEAD
from compiler.schedule.mapping import INTERLEAVED
from compiler.schedule.partition import PARTITIONS
from compiler.schedule.schedules import BY_BEAT, CANDIDATES, SCHEDULES, Choice, Schedule, Sizes, fixed, partitioned
from isa.errors import UserError
from isa.machine import Machine

MOST_SHAPES = 6
"""Networks with more shapes of layers are not searched shape by shape: it would take hundreds of compilations."""
DEPTHS = (6, 8)
"""Tiles in a ring that ``auto`` tries, beside the usual number."""
AGAIN = ("sequential", "turned", "os", "interleaved")
"""What ``auto`` then tries for each layer with another number."""
MARGINS = (0.0, 0.1)
"""By how much of its cycles a layer has to be quicker to get another schedule than the rest: its neighbours' transfers are among them."""
FOREVER = 1 << 62
SEQUENTIAL = ("sequential", "turned", "ws", "os", "is", "best-sequential")
INTERLEAVING = ("interleaved", "tile-interleaved")
"""In the order of preference where both take the same cycles: by beat, dY is read once."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a run took: cycles, the least that its work needs on the machine, and the cycles booked to each layer."""

    cycles: int
    bound: int
    layers: Mapping[str, int]
    report: Any = None
    """All else that the caller has to say of the run; the search does not look at it."""


@dataclass(slots=True)
class Search:
    """The quickest schedule found so far, and all that was tried, in order."""

    layers: Mapping[str, Sizes]
    """The layers with gradients, and the extents of each."""
    machine: Machine
    double_buffer: bool
    measure: Callable[[Schedule], Measured]
    partition: str = "auto"
    """How several arrays share all layers; auto: that is chosen, too."""
    tried: list[tuple[str, Measured]] = field(default_factory=list)
    known: dict[tuple[tuple[Choice, ...], int], Measured] = field(default_factory=dict)
    choices: dict[str, Choice] = field(default_factory=dict)
    ahead: int = TILES_AHEAD
    """Tiles in a ring, for the quickest."""
    least: Measured | None = None
    failure: UserError | None = None
    """Why something that was tried does not fit the machine."""

    def choices_of(self, schedule: Schedule) -> dict[str, Choice]:
        """What the schedule does for each layer."""
        choose = partitioned(schedule, self.partition).choose
        return {name: choose(name, sizes, self.machine, self.double_buffer) for name, sizes in self.layers.items()}

    @property
    def partitions(self) -> tuple[str, ...]:
        """The ways to share a layer that are there to choose from, beside the estimate's."""
        return PARTITIONS[1:] if self.machine.arrays > 1 and self.partition == "auto" else ()

    def try_out(self, name: str, choices: dict[str, Choice], ahead: int) -> Measured:
        """Measure choices, and keep them if nothing was quicker before; what the machine is too small for takes forever."""
        key = tuple(choices.values()), ahead
        if key in self.known:
            return self.known[key]
        try:
            measured = self.measure(by_layer(name, choices, ahead))
        except UserError as error:
            measured, self.failure = Measured(FOREVER, 0, dict.fromkeys(self.layers, FOREVER)), error
        self.known[key] = measured
        self.tried.append((name, measured))
        if measured.cycles < (self.least.cycles if self.least else FOREVER):
            self.least, self.choices, self.ahead = measured, choices, ahead
        return measured

    def start(self, schedules: Sequence[Schedule]) -> None:
        """Whole schedules, then the quickest of them, but for each layer that under which it took the fewest cycles.

        Raises:
            UserError: the machine is too small for all of them.
        """
        starts = []
        for schedule in schedules:
            choices = self.choices_of(schedule)
            starts.append((choices, self.try_out(schedule.name, choices, schedule.ahead)))
        whole, taken = min(starts, key=lambda start: start[1].cycles)
        quickest = {name: min(starts, key=lambda start: start[1].layers.get(name, 0)) for name in self.layers}
        for margin in MARGINS:
            mixed = {}
            for name, (choices, measured) in quickest.items():
                quicker = measured.layers.get(name, 0) < (1 - margin) * taken.layers.get(name, 0)
                mixed[name] = (choices if quicker else whole)[name]
            self.try_out("each layer's quickest" + (f" by {margin:.0%}" if margin else ""), mixed, self.ahead)
        if self.least is None and self.failure is not None:
            raise self.failure

    def improve(self, moves: Callable[[Choice], Iterator[Choice]]) -> None:
        """Change the choice of all layers of one shape after the other, and keep what is quicker: a local optimum."""
        shapes = list(dict.fromkeys(tuple(sorted(sizes.items())) for sizes in self.layers.values()))
        for shape in shapes if len(shapes) <= MOST_SHAPES else ():
            same = [name for name, sizes in self.layers.items() if tuple(sorted(sizes.items())) == shape]
            for move in moves(self.choices[same[0]]):
                if self.least is not None and self.least.cycles == self.least.bound:
                    return  # nothing can be quicker
                if any(self.choices[name] != move for name in same):
                    self.try_out(f"{', '.join(same)}: {move}", self.choices | dict.fromkeys(same, move), self.ahead)


def by_layer(name: str, choices: Mapping[str, Choice], ahead: int = TILES_AHEAD) -> Schedule:
    """The schedule that does for each layer as chosen."""
    return Schedule(name, lambda layer, sizes, machine, double_buffer: choices.get(layer, BY_BEAT), "", ahead=ahead)


def other_dataflows(choice: Choice) -> Iterator[Choice]:
    """The same with one gradient under another dataflow, dX and dW apart."""
    for dx in CANDIDATES["dx"]:
        yield replace(choice, dx=dx, by="", rows_first=False)
    for dw in CANDIDATES["dw"]:
        yield replace(choice, dw=dw, by="", rows_first=False)


def best_sequential(search: Search) -> Schedule:
    """The quickest found without interleaving: no slower than ``sequential``, ``turned``, ``ws``, ``os``, ``is`` and the estimate."""
    search.start([SCHEDULES[name] for name in SEQUENTIAL])
    search.improve(other_dataflows)
    return by_layer("best-sequential", search.choices, search.ahead)


def auto(search: Search, *, fused_update: bool) -> Schedule:
    """The quickest found of all that there is: no slower than any other schedule, nor than any with one partition for all layers.

    With the option, updating in the array is a choice for each layer too.
    """
    best = best_sequential(search)
    search.start([best, *(SCHEDULES[name] for name in INTERLEAVING), fixed("interleaved, rows first", replace(BY_BEAT, rows_first=True))])

    def moves(choice: Choice) -> Iterator[Choice]:
        yield from other_dataflows(choice)
        for by in ("beat", "tile"):
            for rows_first in (False, True):
                yield Choice(INTERLEAVED, INTERLEAVED, by, rows_first, partition=choice.partition)
        for partition in search.partitions:
            yield replace(choice, partition=partition)
        if fused_update:
            yield replace(choice, fuses=not choice.fuses)

    if search.partitions:
        uniform = [(name, partition) for partition in search.partitions for name in (*SEQUENTIAL, *INTERLEAVING)]
        shared = {pair: search.choices_of(partitioned(SCHEDULES[pair[0]], pair[1])) for pair in uniform}
        of_each = [by_layer(f"{name}, partition {partition}", choices) for (name, partition), choices in shared.items()]
        search.start([by_layer("the quickest", search.choices), *of_each])
    if fused_update:
        apart = {name: replace(choice, fuses=False) for name, choice in search.choices.items()}
        search.start([by_layer("the quickest", search.choices), by_layer("the same, no update in the array", apart)])
    for ahead in DEPTHS:
        search.try_out(f"the quickest, {ahead} tiles ahead", search.choices, ahead)
    if search.ahead != TILES_AHEAD:  # layers do not profit alike
        again = [by_layer("the quickest", search.choices, search.ahead), *(SCHEDULES[name] for name in AGAIN)]
        search.start([replace(schedule, name=f"{schedule.name}, {search.ahead} tiles ahead", ahead=search.ahead) for schedule in again])
    search.improve(moves)
    return by_layer("auto", search.choices, search.ahead)
