"""Running a program: inputs in, outputs and a report out; weights stay in DRAM from run to run."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from emulator.backend import NUMPY, matmul_of
from emulator.counters import Counters, Slice
from emulator.fast import FastEngine
from emulator.inputs import check_inputs, draw_inputs
from emulator.memory import Memory
from emulator.report import Report, report
from emulator.stepped import SteppedEngine
from isa.dtypes import DType
from isa.program import Program, Symbol
from isa.stream import Space

Array = npt.NDArray[Any]
Engine = Literal["fast", "stepped"]
"""The engines that compute values."""
Runner = Literal["fast", "stepped", "timing"]


@dataclass(frozen=True, slots=True)
class Result:
    """``outputs`` by name (bf16 ones widened to fp32); ``slices`` is the trace, where one was asked for."""

    outputs: dict[str, Array]
    report: Report
    slices: list[Slice] | None = None


class Emulator:
    """A machine with a program and its DRAM.

    ``engine``: ``fast``, ``stepped``, the definition, or ``timing``, which is ``fast`` without values: it takes no inputs and gives no
    outputs. All take the same cycles and count the same. ``backend``: where ``fast`` computes the array's products, see ``backend.py``.

    Raises:
        UserError: there is no such backend.
    """

    def __init__(self, program: Program, engine: Runner = "fast", backend: str = NUMPY) -> None:
        self.program = program
        self._values = engine != "timing"
        self._engine = SteppedEngine(program) if engine == "stepped" else FastEngine(program, self._values, matmul=matmul_of(backend))
        self._dram = Memory(Space.dram, program.dram_bytes if self._values else 0)
        for address, data in program.data if self._values else ():
            self._dram.bytes[address : address + len(data)] = np.frombuffer(data, np.uint8)

    def drawn(self, seed: int) -> dict[str, Array]:
        """Inputs as of :func:`draw_inputs`; none for an engine that takes none, since they may be gigabytes."""
        return draw_inputs(self.program, seed) if self._values else {}

    def run(self, inputs: Mapping[str, Any], trace: bool = False) -> Result:
        """One run; params in DRAM keep the values that it leaves.

        Raises:
            UserError: the inputs do not fit (all that is wrong is listed), or the program cannot proceed.
        """
        for name, value in check_inputs(self.program, inputs).items() if self._values else ():
            self._words(self.program.symbol(name, "input"))[...] = value
        counters: Counters = self._engine.run(self._dram, trace)
        outputs = {symbol.name: self._read(symbol) for symbol in self.program.named("output") if self._values}
        return Result(outputs, report(self.program, counters), counters.slices)

    def _words(self, symbol: Symbol) -> Array:
        """The words of a symbol, in place."""
        return np.ndarray(symbol.shape, symbol.dtype.numpy, self._dram.bytes, symbol.address)

    def _read(self, symbol: Symbol) -> Array:
        words = self._words(symbol)
        return words.astype(np.float32) if symbol.dtype is DType.bf16 else words.copy()


def timing(program: Program) -> Report:
    """The report of one run by the engine without values: no figure depends on any."""
    return Emulator(program, "timing").run({}).report


def cycles(program: Program) -> int:
    """Cycles of one run, as in :func:`timing`."""
    return FastEngine(program, values=False).run(Memory(Space.dram, 0)).cycles
