"""The fast engine: queues meet as discrete events, and each event moves whole streams.

A queue runs ahead through its loops and semaphores for as long as the cycles of the tokens it needs are known.  Of all the queues' next
timed instructions the one that starts first is executed, in the order of the queues where two start together; so the DRAM channel
and the scratchpad's ports are granted as they are cycle by cycle.  A beat nest (see `nest.py`) is one such instruction.  What comes again
in a steady state (see `steady.py`) is counted instead of executed.

Time depends on no value.  So the events only take down what is to be done, and `values.py` does it in their order; further runs of
the program do it again, without any events.
"""

import numpy as np

from emulator.array_unit import ArrayUnit
from emulator.backend import Matmul
from emulator.code import Code
from emulator.counters import Counters
from emulator.deadlock import deadlock
from emulator.loops import loops
from emulator.memory import Memory
from emulator.script import Script
from emulator.steady import SteadyState
from emulator.units import Dma, GradientChain, Shared, Unit, Vector, WeightChain
from emulator.values import Values
from isa.collection import no_collection
from isa.instructions import Queue
from isa.program import Program
from isa.stream import Space

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

    def __init__(self, program: Program, values: bool = True, skip: bool = True, matmul: Matmul = np.matmul) -> None:
        self.program, self.values, self.skip, self.matmul = program, values, skip, matmul
        self.events = 0
        """Instructions and beat nests whose time the last run looked at one by one."""
        self.steps = 0
        """Those whose values it computed one by one."""
        self.codes = {queue: Code(program.queues.get(queue, []), len(program.provenance)) for queue in program.machine.queues}
        self._known: tuple[Counters, Values | None] | None = None
        """What a run without a trace counts and does to the memories, once there was one, if that is not too long."""

    def run(self, dram: Memory, trace: bool = False) -> Counters:
        """One run from idle units and an empty scratchpad; ``dram`` is read and written in place.

        Raises:
            UserError: the queues wait for each other, or a stream leaves its memory.
        """
        self.events = 0
        with np.errstate(all="ignore"):
            if self._known and not trace:
                counters, values = self._known
                if values is None:
                    return counters
                if values.actions is not None and values.memories[Space.dram] is dram:
                    values.again()
                    return counters
            values = Values(self.program.machine, self.codes, dram, self.matmul) if self.values else None
            if not trace:
                self._known = None  # its memory can be used again
            counters = self._events(values, trace)
            if not trace:
                self._known = counters, values
        self.steps = values.steps if values else 0
        return counters

    @no_collection()
    def _events(self, values: Values | None, trace: bool) -> Counters:
        """All events, and what they do to the memories."""
        script = Script() if values else None
        shared = Shared(self.program, script, trace)
        units = [_UNITS[queue.unit](queue, code, shared) for queue, code in self.codes.items()]
        steady = SteadyState(self.program, units, shared) if self.skip and not trace else None
        for unit in units:
            _settle(unit)
        while True:
            chosen, earliest = None, 0
            for unit in units:
                if unit.ready:
                    start = unit.start()
                    if start is not None and unit.needs:
                        start = shared.claims.free_at(unit.needs, start)
                    if start is not None and (chosen is None or start < earliest):
                        chosen, earliest = unit, start
            if chosen is not None:
                chosen.execute(earliest)
                if chosen.needs:
                    shared.claims.hold(chosen.queue, chosen.needs, earliest, chosen.time)
                self.events += 1
                _settle(chosen)
                if chosen.turned:
                    chosen.turned = False
                    if steady:
                        steady.look(chosen, earliest)
            if shared.journal.long or chosen is None:
                shared.journal.close()
                if values and script:
                    values.run(loops(script.take()))
            if chosen is None:
                break
        if any(unit.index >= 0 for unit in units):
            raise deadlock(self.program, {unit.queue: unit.index for unit in units if unit.index >= 0})
        return shared.counters


def _settle(unit: Unit) -> None:
    """Let a unit go on to its next timed instruction, and those that missed its signals."""
    units = [unit]
    while units:
        units.extend(units.pop().settle())
