"""What the three queues of one array see of each other in the stepped engine: its registers, handshakes, and sums on their way."""

from emulator.grid import Grid
from emulator.memory import Memory
from isa.chains import REGISTERS
from isa.machine import Machine


class Slot:
    """A register between array and chain, which both look at: how many tiles were put there and got, and the cycle of the last."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.puts = self.gets = 0
        self.last_put = self.last_get = -1

    def can_put(self, now: int) -> bool:
        """Whether the tile before was got, in an earlier cycle."""
        return self.puts == self.gets and (not self.puts or now >= self.last_get + 1)

    def can_get(self, now: int) -> bool:
        """Whether there is a tile, since as many cycles as the array has rows."""
        return self.puts > self.gets and now >= self.last_put + self.rows

    def put(self, now: int) -> None:
        self.puts, self.last_put = self.puts + 1, now

    def get(self, now: int) -> None:
        self.gets, self.last_get = self.gets + 1, now


class ArrayState:
    """One array in the current cycle."""

    def __init__(self, machine: Machine, spad: Memory) -> None:
        self.weights, self.preloads, self.gradients, self.updates = (Slot(machine.rows) for _ in REGISTERS)
        self.sums: dict[int, int] = {}
        """The scoreboard: address of a row of partial sums, first cycle in which it can be read again."""
        self.grid = Grid(machine, spad)
