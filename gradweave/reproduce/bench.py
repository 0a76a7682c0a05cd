"""Every schedule of one training step on one machine, by running; no program is run twice."""

from dataclasses import dataclass, field
from typing import Any

from compiler.driver import TrainingStep, lower
from compiler.schedule.schedules import SCHEDULES, Choice, Schedule
from compiler.schedule.search import Search, auto, best_sequential
from emulator import Report, timing
from gradweave.scheduling import search_for
from isa.machine import Machine

Figures = dict[str, int | float]


@dataclass(slots=True)
class Bench:
    """A step, a machine and the options that all schedules share."""

    step: TrainingStep
    machine: Machine
    double_buffer: bool = True
    fused_update: bool = False
    _runs: dict[tuple[tuple[Choice, ...], int], Report] = field(default_factory=dict)

    def measure(self, schedule: str) -> Report:
        """The report under a schedule of ``SCHEDULES``; those that are found by running are searched as by ``gradweave compile``."""
        if schedule == "best-sequential":
            return self._run(best_sequential(self._search()))
        if schedule == "auto":
            return self._run(auto(self._search(), fused_update=self.fused_update))
        return self._run(SCHEDULES[schedule])

    def _search(self) -> Search:
        return search_for(self.step, self.machine, double_buffer=self.double_buffer, fused_update=self.fused_update, run=self._run)

    def _run(self, schedule: Schedule) -> Report:
        key = tuple(self._search().choices_of(schedule).values()), schedule.ahead
        if key not in self._runs:
            self._runs[key] = timing(lower(
                self.step, self.machine, schedule=schedule, double_buffer=self.double_buffer, fused_update=self.fused_update
            ))  # fmt: skip
        return self._runs[key]


def figures(report: Report) -> Figures:
    """What a results file keeps of a report; ``backward_…`` is all but the forward products: gradients and updates."""
    whole = _figures(report.whole.to_dict())
    forward = [_figures(p.to_dict()) for layer in report.layers for name, p in layer.products.items() if name == "fwd"]
    kept = ("cycles", "scratchpad_words", "dram_bytes")
    return whole | {f"backward_{key}": whole[key] - sum(product[key] for product in forward) for key in kept}


def _figures(tally: dict[str, Any]) -> Figures:
    return {
        "cycles": tally["cycles"],
        "bound_cycles": tally["bound_cycles"],
        "macs": tally["macs"],
        "scratchpad_words": tally["scratchpad_reads"] + tally["scratchpad_writes"],
        "dram_bytes": tally["dram_bytes"],
        "energy_pj": round(tally["energy_pj"]),
    }
