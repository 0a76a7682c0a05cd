"""What a nest should cost, to choose between dataflows. Reports never use this: they count what was executed."""

from math import ceil

from compiler.schedule.mapping import TENSORS, Mapping
from isa.machine import Machine


def tile_interval(beats: int, machine: Machine, *, double_buffer: bool) -> int:
    """Cycles from one tile of the array to the next, each of so many beats, DRAM aside (see ``docs/schedules.md``)."""
    rows, cols = machine.rows, machine.cols
    return max(beats, rows + 1) if double_buffer else 2 * rows + cols + beats - 2


def nest_cycles(mapping: Mapping, product: str, sizes: dict[str, int], machine: Machine, *, double_buffer: bool) -> int:
    """Estimated cycles of one product alone, with W and dW in DRAM and everything else in the scratchpad.

    ``sizes``: extents of b, k, n (and g). Array time and DRAM time overlap with double buffering and add up without.
    """
    rows, cols = machine.rows, machine.cols
    tiles = ceil(sizes[mapping.rows] / rows) * ceil(sizes[mapping.cols] / cols) * sizes.get("g", 1)
    array = tiles * tile_interval(sizes[mapping.time], machine, double_buffer=double_buffer)
    weight = sizes["k"] * sizes["n"] * sizes.get("g", 1) * 4
    traffic = sum(weight for name in TENSORS[product] if name in ("W", "dW"))
    dram = ceil(traffic / machine.dram.bytes_per_cycle) + machine.dram.latency
    if double_buffer:
        return max(array, dram) + rows + cols
    return array + dram
