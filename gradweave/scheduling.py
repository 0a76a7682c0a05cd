"""``best-sequential`` by the machine's own timing: the search is the compiler's, the stopwatch is the emulator."""

from dataclasses import replace

from compiler.dialects.train import ProductOp
from compiler.driver import TrainingStep, lower
from compiler.pass_times import PassTimes
from compiler.schedule.schedules import Schedule
from compiler.schedule.search import best_sequential, key_of
from emulator import cycles
from isa.machine import Machine


def resolve(
    step: TrainingStep,
    machine: Machine,
    schedule: str,
    *,
    double_buffer: bool = True,
    fused_update: bool = False,
    times: PassTimes | None = None,
) -> str | Schedule:
    """The schedule to compile with: ``best-sequential`` as measured for this step, any other as it is.

    ``times`` records the search as a whole, with all that it compiles and runs.

    Raises:
        UserError: the machine is too small.
    """
    if schedule != "best-sequential":
        return schedule
    quiet = replace(step, dump_ir=None)
    products = [op for op in step.module.walk() if isinstance(op, ProductOp) and op.role.data != "fwd"]
    keys = list(dict.fromkeys(key_of(op.role.data, op.class_sizes) for op in products))

    def measure(trial: Schedule) -> int:
        return cycles(lower(quiet, machine, schedule=trial, double_buffer=double_buffer, fused_update=fused_update))

    if not keys:
        return schedule
    with (times or PassTimes()).measure("search for best-sequential"):
        return best_sequential(keys, machine, measure, double_buffer=double_buffer)
