"""``best-sequential`` by measurement: for each gradient of each shape the dataflow with which the whole program is quickest.

The machine's own timing decides: the caller passes a function that compiles the step under a schedule and runs it.
"""

from collections.abc import Callable, Sequence

from compiler.schedule.mapping import Mapping
from compiler.schedule.schedules import CANDIDATES, SCHEDULES, Schedule, Sizes
from isa.machine import Machine

Key = tuple[str, tuple[tuple[str, int], ...]]
MOST_KEYS = 16
FIXED = ("sequential", "ws", "os", "is")


def key_of(product: str, sizes: Sizes) -> Key:
    """What one choice is made for: a gradient (dx or dw) of layers of one shape."""
    return product, tuple(sorted(sizes.items()))


def chosen(choice: dict[Key, Mapping]) -> Schedule:
    """The schedule that does as chosen."""

    def gradient(product: str, sizes: Sizes, machine: Machine, *, double_buffer: bool) -> Mapping:
        return choice[key_of(product, sizes)]

    best = SCHEDULES["best-sequential"]
    return Schedule(best.name, gradient, best.interleaves, best.doc)


def best_sequential(
    keys: Sequence[Key], machine: Machine, measure: Callable[[Schedule], int], *, double_buffer: bool
) -> Schedule:
    """The quickest choice found, never slower than any of the fixed schedules or the estimated best.

    Starts from the quickest of those, then tries every other dataflow for one key after the other and keeps what is quicker: each
    key's choice is made with the others as they are, so the result is a local optimum over the whole program.  A network with more than
    ``MOST_KEYS`` keys is left at its start: trying each would take hundreds of compilations.
    """
    starts = [{key: SCHEDULES[name].mapping(key[0], dict(key[1]), machine, double_buffer=double_buffer) for key in keys}
              for name in (*FIXED, "best-sequential")]  # fmt: skip
    cycles = [measure(chosen(start)) for start in starts]
    least = min(cycles)
    choice = starts[cycles.index(least)]
    for key in keys if len(keys) <= MOST_KEYS else ():
        for mapping in CANDIDATES[key[0]]:
            if mapping != choice[key]:
                trial = choice | {key: mapping}
                taken = measure(chosen(trial))
                if taken < least:
                    choice, least = trial, taken
    return chosen(choice)
