"""The stepped engine: the machine cycle by cycle, every register of every processing element.  It is the definition.

In each cycle what finishes becomes visible, then each queue issues what may issue (in the order of the queues), then the arrays and their
chains do their step.
"""

import numpy as np

from emulator.array_queue import ArrayQueue
from emulator.board import Board
from emulator.counters import Counters
from emulator.deadlock import deadlock
from emulator.memory import Memory
from emulator.queues import DmaQueue, GradientQueue, QueueMachine, VectorQueue, WeightQueue
from isa.instructions import Queue
from isa.program import Program

_MACHINES: dict[Queue, type[QueueMachine]] = {
    Queue.dma_in: DmaQueue,
    Queue.dma_out: DmaQueue,
    Queue.wchain: WeightQueue,
    Queue.array: ArrayQueue,
    Queue.gchain: GradientQueue,
    Queue.vector: VectorQueue,
}


class SteppedEngine:
    """Runs one program any number of times."""

    def __init__(self, program: Program) -> None:
        self.program = program

    def run(self, dram: Memory, trace: bool = False) -> Counters:
        """One run from idle units and an empty scratchpad; ``dram`` is read and written in place.

        Raises:
            UserError: the queues wait for each other, or a stream leaves its memory.
        """
        board = Board(self.program, dram, trace)
        queues = [_MACHINES[queue.unit](queue, board) for queue in self.program.machine.queues]
        # A condition that is met by time alone is met this long after the last event.
        settling = self.program.machine.rows + self.program.machine.cols + 1
        with np.errstate(all="ignore"):
            while True:
                if board.commits:
                    board.commit()
                ended = False
                for queue in queues:
                    if board.now >= queue.occupied_until:
                        queue.cycle()
                        ended |= queue.ended
                if ended:
                    queues = [queue for queue in queues if not queue.ended]
                if not queues and board.now >= board.horizon:
                    return board.counters
                if board.now > board.horizon + settling:
                    raise deadlock(self.program, {queue.queue: queue.index for queue in queues})
                for array in board.arrays:
                    array.grid.cycle(board.now)
                board.now += 1
