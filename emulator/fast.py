"""The fast engine: queues meet as discrete events, and each event moves whole streams.

A queue runs ahead through its loops and semaphores for as long as the cycles of the tokens it needs are known.  Of all the queues' next
timed instructions the one that starts first is executed, in the order of the queues where two start together; so the DRAM
channel is granted as it is cycle by cycle.  A beat nest (see `nest.py`) is one such instruction.
"""

from emulator.array_unit import ArrayUnit
from emulator.counters import Counters
from emulator.deadlock import deadlock
from emulator.memory import Memory
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
    """Runs one program any number of times; without ``values`` it keeps time and counts only."""

    def __init__(self, program: Program, values: bool = True) -> None:
        self.program, self.values = program, values
        self.codes = {queue: Code(program.queues.get(queue, []), len(program.provenance)) for queue in Queue}

    def run(self, dram: Memory, trace: bool = False) -> Counters:
        """One run from idle units and an empty scratchpad; ``dram`` is read and written in place.

        Raises:
            UserError: the queues wait for each other, or a stream leaves its memory.
        """
        shared = Shared(self.program, dram, self.values, trace)
        units = [_UNITS[queue](queue, self.codes[queue], shared) for queue in Queue]
        while True:
            chosen, earliest = None, 0
            ready: list[Unit] = []
            signals = -1
            while signals != shared.signals:  # a signal may let a queue go on that was asked before
                signals = shared.signals
                ready = [unit for unit in units if unit.settle()]
            for unit in ready:
                start = unit.start()
                if start is not None and (chosen is None or start < earliest):
                    chosen, earliest = unit, start
            if chosen is None:
                break
            chosen.execute()
        if any(unit.index >= 0 for unit in units):
            raise deadlock(self.program, {unit.queue: unit.index for unit in units if unit.index >= 0})
        return shared.counters
