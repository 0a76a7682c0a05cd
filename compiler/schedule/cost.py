"""What a nest should cost, to choose between dataflows. Reports never use this: they count what was executed."""

from math import ceil

from compiler.schedule.mapping import TENSORS, Mapping
from isa.machine import Machine


def nest_cycles(mapping: Mapping, product: str, sizes: dict[str, int], machine: Machine, *, double_buffer: bool) -> int:
    """Estimated cycles of one product alone, with W and dW in DRAM and everything else in the scratchpad.

    ``sizes``: extents of b, k, n (and g). Array time and DRAM time overlap with double buffering and add up without.
    """
    rows, cols = machine.rows, machine.cols
    tiles = ceil(sizes[mapping.rows] / rows) * ceil(sizes[mapping.cols] / cols) * sizes.get("g", 1)
    beats = sizes[mapping.time]
    weight = sizes["k"] * sizes["n"] * sizes.get("g", 1) * 4
    traffic = sum(weight for name in TENSORS[product] if name in ("W", "dW"))
    dram = ceil(traffic / machine.dram.bytes_per_cycle) + machine.dram.latency
    if double_buffer:
        return max(tiles * max(beats, rows + 1), dram) + rows + cols
    return tiles * (2 * rows + cols + beats - 2) + dram
