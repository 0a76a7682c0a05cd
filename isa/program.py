"""A program in memory: what the compiler makes, the binary holds and the emulator runs."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from isa.dtypes import DType
from isa.instructions import Instruction, Queue
from isa.machine import Machine
from isa.stream import Space


@dataclass(frozen=True, slots=True)
class Symbol:
    """A named region of a memory.

    ``kind``: ``input`` (the user gives it), ``param`` (initial value in the data section; persists between runs),
    ``constant``, ``output`` (the user reads it after a run) or ``scratch``.  Several symbols may share an address: the output
    ``param/w`` lies where the param ``w`` does.
    """

    name: str
    space: Space
    address: int
    shape: tuple[int, ...]
    dtype: DType
    kind: str = "scratch"
    classes: int | None = None
    """For an input of labels: they are drawn from 0 … classes − 1."""
    ignored: int | None = None
    """For an input of labels: one that counts for nothing and may lie outside the classes (``ignore_index`` of ONNX)."""

    @property
    def nbytes(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.size


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where an instruction comes from.

    ``group`` numbers the operations of the program in order; all instructions of one operation share it.  ``macs`` and
    ``dram_bytes`` are the least that the operation needs (MACs of its products; compulsory traffic: each weight read once, each result
    written once), stated on one provenance entry of the group: lower bounds come from them, never cycle counts.  An entry that no
    instruction has (product ``kept``) states what the whole program needs beyond that.
    """

    layer: str
    """ONNX node name, or the name of what training added."""
    product: str
    """fwd, dx, dw, dx+dw (what the interleaved pair shares), update, or vector for what is no product."""
    group: int
    node: str = ""
    """ONNX operator, for people."""
    macs: int = 0
    dram_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Semaphore:
    """A counting semaphore with ``initial`` tokens."""

    name: str
    initial: int = 0


@dataclass(slots=True)
class Program:
    """Everything that a run needs except the inputs' values.

    ``data`` lists initial DRAM contents as (byte address, bytes).
    """

    name: str
    machine: Machine
    queues: dict[Queue, list[Instruction]]
    semaphores: list[Semaphore] = field(default_factory=list)
    symbols: list[Symbol] = field(default_factory=list)
    provenance: list[Provenance] = field(default_factory=list)
    data: list[tuple[int, bytes]] = field(default_factory=list)
    dram_bytes: int = 0
    schedule: str = ""
    """The schedule and options it was compiled with, for reports."""

    def symbol(self, name: str, kind: str | None = None) -> Symbol:
        """The symbol of this name (and kind); raises KeyError."""
        for symbol in self.symbols:
            if symbol.name == name and kind in (None, symbol.kind):
                return symbol
        raise KeyError(name)

    def named(self, kind: str) -> list[Symbol]:
        """All symbols of one kind, in order."""
        return [symbol for symbol in self.symbols if symbol.kind == kind]

    def set_data(self, address: int, array: npt.NDArray[np.generic]) -> None:
        """Add an array to the initial DRAM contents."""
        self.data.append((address, np.ascontiguousarray(array).tobytes()))
