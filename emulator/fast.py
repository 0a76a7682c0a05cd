"""The fast engine: queues meet as discrete events, and each event moves whole streams.

A queue runs ahead through its loops and semaphores for as long as the cycles of the tokens it needs are known.  Of all the queues' next
timed instructions the one that starts first is executed, in the order of the queues where two start together; so the DRAM
channel is granted as it is cycle by cycle.  A beat nest (see `nest.py`) is one such instruction.  Where only time is kept, what comes
again in a steady state (see `steady.py`) is counted instead of executed.
"""

from emulator.array_unit import ArrayUnit
from emulator.counters import Counters
from emulator.deadlock import deadlock
from emulator.memory import Memory
from emulator.steady import SteadyState
from emulator.units import Code, Dma, GradientChain, Shared, Unit, Vector, WeightChain
from isa.instructions import Queue
from isa.program import Program

_UNITS: dict[Queue, type[Unit]] = {
    Queue.dma_in: Dma,
    Queue.dma_out: Dma,
    Queue.wchain: WeightChain,
    Queue.array: ArrayUnit,
    Queue.gchain: GradientChain,
    Queue.vector: Vector,
}


class FastEngine:
    """Runs one program any number of times; without ``values`` it keeps time and counts only, and may ``skip`` what repeats itself."""

    def __init__(self, program: Program, values: bool = True, skip: bool = True) -> None:
        self.program, self.values, self.skip = program, values, skip
        self.events = 0
        """Instructions and beat nests that the last run executed one by one."""
        self.codes = {queue: Code(program.queues.get(queue, []), len(program.provenance)) for queue in Queue}

    def run(self, dram: Memory, trace: bool = False) -> Counters:
        """One run from idle units and an empty scratchpad; ``dram`` is read and written in place.

        Raises:
            UserError: the queues wait for each other, or a stream leaves its memory.
        """
        shared = Shared(self.program, dram, self.values, trace)
        units = [_UNITS[queue](queue, self.codes[queue], shared) for queue in Queue]
        steady = SteadyState(self.program, units, shared) if self.skip and not self.values and not trace else None
        for unit in units:
            _settle(unit)
        self.events = 0
        while True:
            chosen, earliest = None, 0
            for unit in units:
                if unit.ready:
                    start = unit.start()
                    if start is not None and (chosen is None or start < earliest):
                        chosen, earliest = unit, start
            if chosen is None:
                break
            chosen.execute()
            self.events += 1
            _settle(chosen)
            if chosen.turned:
                chosen.turned = False
                if steady:
                    steady.look(chosen, earliest)
            shared.journal.tidy()
        if any(unit.index >= 0 for unit in units):
            raise deadlock(self.program, {unit.queue: unit.index for unit in units if unit.index >= 0})
        shared.journal.close()
        return shared.counters


def _settle(unit: Unit) -> None:
    """Let a unit go on to its next timed instruction, and those that missed its signals."""
    units = [unit]
    while units:
        units.extend(units.pop().settle())
