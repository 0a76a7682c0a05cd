"""One model under every schedule and option, side by side."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from math import inf, isnan
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from compiler.driver import TrainingStep
from compiler.interpret import interpret_train
from compiler.schedule.schedules import SCHEDULES
from emulator import Emulator, draw_inputs
from emulator.run import Engine
from gradweave.arrays import Array
from gradweave.cache import Cache
from gradweave.compiling import StepCompiler, StepOptions
from isa.dtypes import DType
from isa.machine import Machine
from isa.program import Program

BASELINES = ("sequential", "best-sequential")
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True)
class Deviation:
    """The largest difference from the reference, relative to the tensor's largest entry."""

    value: float
    tensor: str


@dataclass(frozen=True, slots=True)
class Row:
    """One schedule with its options."""

    schedule: str
    double_buffer: bool
    fused_update: bool
    report: dict[str, Any]
    """As ``Report.to_dict()``."""
    gradients: Deviation
    weights: Deviation

    @property
    def cycles(self) -> int:
        return int(self.report["cycles"])

    @property
    def gradient_cycles(self) -> int:
        """Cycles booked to the products dX and dW."""
        return sum(figures["cycles"] for figures in self._gradients())

    @property
    def gradient_words(self) -> int:
        """Scratchpad words that the products dX and dW read and write."""
        return sum(figures["scratchpad_reads"] + figures["scratchpad_writes"] for figures in self._gradients())

    def _gradients(self) -> list[dict[str, Any]]:
        return [p for layer in self.report["layers"] for p in layer["products"] if p["product"] in ("dx", "dw", "dx+dw")]


@dataclass(slots=True)
class Comparison:
    """The table; ``skipped`` are options that change nothing, as (schedule, why)."""

    name: str
    machine: Machine
    batch: int | None
    optimizer: str | None
    rows: list[Row] = field(default_factory=list)

    def baseline(self, row: Row, schedule: str) -> Row | None:
        """The row of another schedule with the same options."""
        same = (row.double_buffer, row.fused_update)
        return next((r for r in self.rows if r.schedule == schedule and (r.double_buffer, r.fused_update) == same), None)

    def speedup(self, row: Row, schedule: str) -> float | None:
        """How many times fewer cycles than the baseline with the same options."""
        baseline = self.baseline(row, schedule)
        return None if baseline is None else baseline.cycles / row.cycles

    @property
    def gradients(self) -> Deviation:
        """The worst gradient of all rows."""
        return max((row.gradients for row in self.rows), key=lambda d: d.value)

    @property
    def weights(self) -> Deviation:
        """The worst updated weight of all rows."""
        return max((row.weights for row in self.rows), key=lambda d: d.value)

    def to_json(self) -> list[dict[str, Any]]:
        """One object a row: its report, its options, its ratios to the baselines and its agreement with the reference."""
        return [
            row.report
            | {
                "schedule": row.schedule,
                "double_buffer": row.double_buffer,
                "fused_update": row.fused_update,
                "gradient_cycles": row.gradient_cycles,
                "gradient_scratchpad_words": row.gradient_words,
                **{f"speedup_vs_{name.replace('-', '_')}": self.speedup(row, name) for name in BASELINES},
                "worst_gradient": {"tensor": row.gradients.tensor, "relative_error": row.gradients.value},
                "worst_weight": {"tensor": row.weights.tensor, "relative_error": row.weights.value},
            }
            for row in self.rows
        ]


def compare(
    model: str | Path | onnx.ModelProto,
    *,
    machine: Machine | None = None,
    batch: int | None = None,
    loss: str | None = None,
    optimizer: str | None = "sgd",
    schedules: Sequence[str] = tuple(SCHEDULES),
    inputs: Mapping[str, Array] | None = None,
    init: str | None = None,
    seed: int = 0,
    engine: Engine = "fast",
    each: Progress | None = None,
    cache: Cache | str | Path | None = None,
) -> Comparison:
    """Compile and run a training step under every schedule, with double buffering and fused update on and off.

    All rows run on the same inputs; their gradients and new weights are held against a float64 interpreter of the ``train``
    level, which shares no code with the emulator; it rounds the operands of products where the machine's multipliers take bf16.

    Args:
        model, machine, batch, loss, optimizer, init: as in ``compile``; without an optimizer there is no update to fuse.
        schedules: names in ``compiler.schedule.SCHEDULES``.
        inputs: by name; left out: drawn from ``seed``.
        seed: of the inputs, and of weights that are drawn.
        engine: ``fast`` or ``stepped``.
        each: called with the row's number, the number of rows and the row's name, before each row.
        cache: as in ``compile``.

    Raises:
        UserError: the model, the machine or an option cannot be used.
    """
    machine = machine or Machine()
    compiler = StepCompiler(model, StepOptions(batch, loss, optimizer, init=init, seed=seed), cache)
    step = compiler.step
    table = Comparison(step.name, machine, batch, optimizer)
    options = list(product(schedules, (True, False), (False, True) if optimizer else (False,)))
    reference: dict[str, Array] = {}
    values: dict[str, Array] = {}
    unfused: Program | None = None
    for number, (schedule, double_buffer, fused) in enumerate(options):
        if each:
            each(number, len(options), label(schedule, double_buffer, fused))
        program = compiler.program(machine, schedule=schedule, double_buffer=double_buffer, fused_update=fused)
        if not reference:
            values = draw_inputs(program, seed) if inputs is None else dict(inputs)
            reference = _reference(step, values, machine)
        if fused and unfused is not None and program.queues == unfused.queues:
            continue  # this schedule has no update to fuse: the row would only repeat the one above
        unfused = program
        result = Emulator(program, engine=engine).run(values)
        worst = {kind: _worst(kind, result.outputs, reference) for kind in ("grad/", "param/")}
        table.rows.append(Row(schedule, double_buffer, fused, result.report.to_dict(), worst["grad/"], worst["param/"]))
    return table


def label(schedule: str, double_buffer: bool, fused_update: bool) -> str:
    """A row's name in one line."""
    return schedule + ("" if double_buffer else ", single buffer") + (", fused update" if fused_update else "")


def _reference(step: TrainingStep, inputs: Mapping[str, Array], machine: Machine) -> dict[str, Array]:
    leaves = {name: np.asarray(value, np.float64) for name, value in {**step.weights, **inputs}.items()}
    return interpret_train(step.module, leaves, np.float64 if machine.operand is DType.f32 else machine.operand.numpy)


def _worst(kind: str, outputs: Mapping[str, Array], reference: Mapping[str, Array]) -> Deviation:
    """The worst output whose name starts with ``kind``."""
    return max(_deviations(kind, outputs, reference), key=lambda d: d.value, default=Deviation(0.0, ""))


def _deviations(kind: str, outputs: Mapping[str, Array], reference: Mapping[str, Array]) -> Iterator[Deviation]:
    for name, value in outputs.items():
        if name.startswith(kind) and value.size:
            expected = reference[name]
            error = np.abs(value.astype(np.float64) - expected).max()
            relative = float(error / (np.abs(expected).max() or 1.0))
            yield Deviation(inf if isnan(relative) else relative, name.removeprefix(kind))
