"""What the queues of the stepped engine see of each other."""

from collections import deque
from typing import Any

import numpy.typing as npt

from emulator.array_state import ArrayState
from emulator.banks import Banks, Ports
from emulator.channel import Channel
from emulator.counters import Causes, Counters
from emulator.memory import Memory
from isa.instructions import Queue
from isa.program import Program
from isa.stream import Space


class Board:
    """The state of one run in the current cycle: memories, tokens, the arrays, and what is issued but not done."""

    def __init__(self, program: Program, dram: Memory, trace: bool) -> None:
        self.program, self.machine = program, program.machine
        self.now = 0
        self.memories = {Space.dram: dram, Space.spad: Memory(Space.spad, program.machine.scratchpad.bytes)}
        self.counters = Counters.of(program, trace)
        self.tokens = [deque([0] * semaphore.initial) for semaphore in program.semaphores]
        """For each semaphore: the first cycle in which each of its tokens can be seen."""
        self.commits: list[tuple[int, npt.NDArray[Any], npt.NDArray[Any]]] = []
        """(cycle, place, words): what becomes visible when its instruction finishes."""
        self.horizon = 0
        """By this cycle, all that is known to be under way is done."""
        self.channel = Channel(program.machine.dram)
        self.channel_free = 0
        self.banks = Banks(program.machine.scratchpad)
        self.held: dict[Queue, tuple[Ports, float]] = {}
        """The ports of the scratchpad that each queue holds, or held last, and the first cycle in which they are free."""
        self.arrays = [ArrayState(program.machine, self.memories[Space.spad]) for _ in range(program.machine.arrays)]
        self.causes = Causes.of(program)

    def commit(self) -> None:
        """Make visible what finishes in this cycle."""
        for cycle, place, words in self.commits:
            if cycle <= self.now:
                place[...] = words
        self.commits = [entry for entry in self.commits if entry[0] > self.now]

    def lacks(self, needs: Ports) -> int | None:
        """The cause of a stall, if ports are not free that an instruction needs."""
        if not needs:
            return None
        taken = [ports for ports, until in self.held.values() if until > self.now]
        return None if self.banks.fit(needs, taken) else self.causes.scratchpad_ports

    def under_way(self, until: int) -> None:
        """Something goes on up to this cycle."""
        if until > self.horizon:
            self.horizon = until
