"""What both engines count while they run; reports are arithmetic on it."""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from isa.instructions import Queue
from isa.program import Program
from isa.stream import Operand, Stream

Ints = npt.NDArray[np.int64]
READ, WRITE = 0, 1
CHAIN_CAUSES = ("weight chain", "gradient chain", "partial sums", "DRAM channel", "scratchpad ports")


class Causes(NamedTuple):
    """The numbers of CHAIN_CAUSES."""

    weight_chain: int
    gradient_chain: int
    partial_sums: int
    dram_channel: int
    scratchpad_ports: int

    @staticmethod
    def of(program: Program) -> "Causes":
        """They follow those of the program's semaphores."""
        return Causes(*[len(program.semaphores) + number for number in range(len(CHAIN_CAUSES))])


@dataclass(slots=True)
class Slice:
    """A span of a queue's work, for the trace; ``end`` is exclusive."""

    queue: Queue
    provenance: int
    start: int
    end: int
    label: str


@dataclass(slots=True)
class Counters:
    """Counts of one run; the first index of each array is the provenance, with one more row for instructions that have none.

    Stall causes are numbered as in ``causes``: one a semaphore, then CHAIN_CAUSES.
    """

    causes: list[str]
    macs: Ints
    words: Ints
    """[provenance, READ or WRITE, operand, queue]: scratchpad words."""
    bytes: Ints
    """As ``words``, in bytes."""
    dram: Ints
    """[provenance, READ or WRITE]: DRAM bytes."""
    vector_ops: Ints
    finish: Ints
    """Latest finish."""
    busy: Ints
    """[provenance, queue]: cycles."""
    stalls: Ints
    """[provenance, queue, cause]: cycles."""
    ended: Ints
    """[queue]: cycle in which the queue was through with its code."""
    slices: list[Slice] | None = field(default=None, compare=False)
    """The trace, where one was asked for."""

    @staticmethod
    def of(program: Program, trace: bool = False) -> "Counters":
        """All zeros, sized for a program."""
        rows, queues = len(program.provenance) + 1, len(program.machine.queues)
        causes = [f"semaphore {semaphore.name}" for semaphore in program.semaphores] + list(CHAIN_CAUSES)

        def zeros(*shape: int) -> Ints:
            return np.zeros(shape, np.int64)

        return Counters(
            causes=causes,
            macs=zeros(rows),
            words=zeros(rows, 2, len(Operand), queues),
            bytes=zeros(rows, 2, len(Operand), queues),
            dram=zeros(rows, 2),
            vector_ops=zeros(rows),
            finish=zeros(rows),
            busy=zeros(rows, queues),
            stalls=zeros(rows, queues, len(causes)),
            ended=zeros(queues),
            slices=[] if trace else None,
        )

    @property
    def cycles(self) -> int:
        """Cycles of the run: until the last instruction has finished and the last queue has passed its last `wait`."""
        return int(max(self.finish.max(), self.ended.max()))

    def access(self, provenance: int, direction: int, stream: Stream, queue: Queue, words: int) -> None:
        """Count scratchpad words read or written through a stream."""
        self.words[provenance, direction, stream.operand, queue] += words
        self.bytes[provenance, direction, stream.operand, queue] += words * stream.dtype.size
