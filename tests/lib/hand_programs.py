"""Small programs written by hand: all operands come in one transfer of one cycle, and whatever is asked for is stored at the end.

With latency 0 and a wide channel, the transfer starts in cycle 0 and its token can be seen from cycle 2 on (READY): then
every queue starts.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from isa.dtypes import DType
from isa.instructions import Instruction, Queue, make
from isa.machine import Array, Dram, Machine
from isa.program import Program, Provenance, Semaphore, Symbol
from isa.stream import Dim, Operand, Space, Stream

READY = 2
WIDE = 1 << 20


def wide_machine(rows: int, cols: int, operand: str = "f32") -> Machine:
    """A machine whose DRAM never makes anything wait for more than a cycle."""
    return Machine(array=Array(rows=rows, cols=cols, operand=operand), dram=Dram(bytes_per_cycle=float(WIDE), latency=0))  # type: ignore[arg-type]


class Spad:
    """Named fp32 arrays one after the other, at the same addresses in DRAM and scratchpad."""

    def __init__(self, **shapes: tuple[int, ...]) -> None:
        self.shapes, self.address, self.size = shapes, {}, 0
        for name, shape in shapes.items():
            self.address[name] = self.size
            self.size += 4 * int(np.prod(shape))

    def stream(self, name: str, dims: Sequence[tuple[int, int]], strides: Sequence[int] = (), skip: int = 0) -> Stream:
        """Words of an array: ``dims`` as (count, stride in words), ``strides`` and ``skip`` in words."""
        operand = Operand[name] if name in Operand.__members__ else Operand.none
        return Stream(
            Space.spad, DType.f32, self.address[name] + 4 * skip, tuple(Dim(c, 4 * s) for c, s in dims), tuple(4 * s for s in strides),
            operand=operand,
        )  # fmt: skip

    def program(self, machine: Machine, code: dict[Queue, list[Instruction]]) -> Program:
        """Every array is an input; every array is an output under its name with ``'`` behind it, once all queues are done.

        The code of the array, of the chains and of the vector unit is given; layer ``code`` is what of it has provenance 0.
        """
        everything = {space: Stream(space, DType.f32, 0, (Dim(self.size // 4, 4),)) for space in Space}
        queues = {queue: list(code.get(queue, [])) for queue in Queue}
        queues[Queue.dma_in] = [make("ld", dst=everything[Space.spad], src=everything[Space.dram], provenance=1)]
        semaphores: list[Semaphore] = []
        for queue in code:
            semaphores += [Semaphore(f"ready {queue.name}"), Semaphore(f"done {queue.name}")]
            ready, done = len(semaphores) - 2, len(semaphores) - 1
            queues[Queue.dma_in].append(make("signal", sem=ready))
            queues[queue] = [make("wait", sem=ready), *queues[queue], make("signal", sem=done)]
            queues[Queue.dma_out].append(make("wait", sem=done))
        queues[Queue.dma_out].append(make("st", dst=everything[Space.dram], src=everything[Space.spad], provenance=1))
        symbols = [
            Symbol(name + mark, Space.dram, self.address[name], shape, DType.f32, kind)
            for name, shape in self.shapes.items()
            for mark, kind in (("", "input"), ("'", "output"))
        ]
        return Program(
            "by hand", machine, queues, semaphores, symbols, [Provenance("code", "fwd", 0), Provenance("transfers", "vector", 1)],
            dram_bytes=self.size,
        )  # fmt: skip


def loop(count: int, *body: Instruction | list[Instruction]) -> list[Instruction]:
    """A loop around instructions."""
    inside: list[Instruction] = []
    for part in body:
        inside += part if isinstance(part, list) else [part]
    return [make("loop", name="l", count=count), *inside, make("end")]


def finish_of_code(report: Any) -> int:
    """The cycle in which all with provenance 0 is done: the first operation's share of the finish line."""
    (layer,) = [layer for layer in report.layers if layer.name == "code"]
    return int(layer.tally.cycles)
