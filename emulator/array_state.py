"""What the three queues of one array see of each other in the stepped engine: its registers, handshakes, and sums on their way."""

from emulator.grid import Grid
from emulator.memory import Memory
from isa.machine import Machine


class ArrayState:
    """One array in the current cycle."""

    def __init__(self, machine: Machine, spad: Memory) -> None:
        self.loads = self.swaps = self.takes = self.drains = 0
        self.last_load = self.last_swap = self.last_take = self.last_drain = -1
        self.sums: dict[int, int] = {}
        """The scoreboard: address of a row of partial sums, first cycle in which it can be read again."""
        self.grid = Grid(machine, spad)
