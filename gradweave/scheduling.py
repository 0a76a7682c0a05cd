"""``best-sequential`` and ``auto`` by the machine's own timing: the search is the compiler's, the stopwatch is the emulator."""

from collections.abc import Callable
from dataclasses import replace

from compiler.dialects.train import ProductOp
from compiler.driver import TrainingStep, lower
from compiler.pass_times import PassTimes
from compiler.schedule.schedules import SCHEDULES, Schedule, partitioned
from compiler.schedule.search import Measured, Search, auto, best_sequential
from compiler.transforms.convert_train_to_tile import schedule_of
from emulator import timing
from emulator.report import Report
from isa.machine import Machine

SEARCHED = ("best-sequential", "auto")


def search_for(
    step: TrainingStep,
    machine: Machine,
    *,
    double_buffer: bool = True,
    fused_update: bool = False,
    partition: str = "auto",
    run: Callable[[Schedule], Report] | None = None,
) -> Search:
    """A search over the layers of a training step, nothing tried yet; what it measures has the ``Report`` of the run.

    ``run`` compiles and times the step under a schedule, where the caller has a way of its own to do so.
    """
    quiet = replace(step, dump_ir=None)
    products = [op for op in step.module.walk() if isinstance(op, ProductOp) and op.role.data != "fwd"]

    def run_once(trial: Schedule) -> Report:
        return timing(lower(quiet, machine, schedule=trial, double_buffer=double_buffer, fused_update=fused_update))

    def measure(trial: Schedule) -> Measured:
        report = (run or run_once)(trial)
        layers = {layer.name: layer.tally.cycles for layer in report.layers}
        return Measured(report.whole.cycles, report.whole.bound_cycles, layers, report)

    return Search({op.layer.data: op.class_sizes for op in products}, machine, double_buffer, measure, partition)


def resolve(
    step: TrainingStep,
    machine: Machine,
    schedule: str,
    *,
    double_buffer: bool = True,
    fused_update: bool = False,
    partition: str = "auto",
    times: PassTimes | None = None,
) -> str | Schedule:
    """The schedule to compile with, with the partition: ``best-sequential`` and ``auto`` as measured for this step, any other as it is.

    ``times`` records the search as a whole, with all that it compiles and runs.

    Raises:
        UserError: the machine is too small.
    """
    if schedule not in SEARCHED:
        return partitioned(schedule_of(schedule), partition)
    search = search_for(step, machine, double_buffer=double_buffer, fused_update=fused_update, partition=partition)
    if not search.layers:
        return partitioned(SCHEDULES[schedule], partition)
    with (times or PassTimes()).measure(f"search for {schedule}"):
        found = best_sequential(search) if schedule == "best-sequential" else auto(search, fused_update=fused_update)
    return partitioned(found, partition)
