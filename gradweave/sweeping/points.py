"""The points of a sweep, and what measures one."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from itertools import product
from pathlib import Path

import msgspec

from emulator import timing
from gradweave.cache import Cache
from gradweave.compiling import StepCompiler, StepOptions
from gradweave.program_key import model_digest, program_key
from isa.errors import UserError
from isa.machine import Machine


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """The figures of one training step, or why there are none."""

    cycles: int | None = None
    utilization: float | None = None
    macs: int | None = None
    dram_bytes: int | None = None
    scratchpad_words: int | None = None
    """Read and written."""
    energy_pj: float | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Lowering:
    """How a training step becomes a program, as in ``gradweave.compile``."""

    schedule: str
    double_buffer: bool = True
    fused_update: bool = False
    partition: str = "auto"


@dataclass(frozen=True, slots=True)
class Point:
    """One program; ``model`` is its path as it was given, ``key`` the one of all that decides its figures."""

    model: str
    digest: str
    step: StepOptions
    lowering: Lowering
    machine: Machine

    @property
    def key(self) -> str:
        return program_key(self.model, self.digest, self.machine, asdict(self.step) | asdict(self.lowering))


class ForeignModelError(Exception):
    """A worker finds another model under the same path, or none."""


def points(
    models: Sequence[str],
    batches: Sequence[int | None],
    schedules: Sequence[str],
    machines: Sequence[Machine],
    step: StepOptions,
    lowering: Lowering,
) -> list[Point]:
    """All combinations, machines first to change; ``step`` and ``lowering`` hold the options that stay.

    Raises:
        UserError: a model cannot be read.
    """
    digests = {model: model_digest(model) for model in models}
    return [
        Point(model, digests[model], replace(step, batch=batch), replace(lowering, schedule=schedule), machine)
        for model, batch, schedule, machine in product(models, batches, schedules, machines)
    ]


def measure(point: Point, path: str, cache: str | None) -> tuple[Outcome, list[str]]:
    """Compile a point and time one run of it; with what the cache, a folder, said. This is what workers do.

    A point that cannot be compiled has an outcome too, and always the same one.  What another try may mend is raised.

    Args:
        point: what to measure.
        path: where the model is, whatever the folder of the process.
        cache: folder for programs.
    """
    compiler, said = _compiler(path, point.digest, point.step, cache)
    said.clear()
    try:
        program = compiler.program(point.machine, **asdict(point.lowering))
        report = timing(program).whole
    except MemoryError:
        raise
    except Exception as error:  # a mistake of the compiler's own must not end the sweep either
        text = "; ".join(line.strip() for line in str(error).splitlines()).replace(path, point.model)
        return Outcome(error=text if isinstance(error, UserError) else f"{type(error).__name__}: {text}"), list(said)
    figures = Outcome(
        report.cycles, report.utilization, report.macs, int(report.dram.sum()), int(report.words.sum()), sum(report.energy.values())
    )
    return figures, list(said)


@lru_cache(maxsize=1)
def _compiler(path: str, digest: str, step: StepOptions, cache: str | None) -> tuple[StepCompiler, list[str]]:
    """The training step that the points next to each other share, and what the cache says."""
    try:
        found = model_digest(path)
    except UserError as error:
        raise ForeignModelError(f"{error}; workers have to see the models where this computer does") from error
    if found != digest:
        raise ForeignModelError(f"{path} is another model now, or on the worker")
    said: list[str] = []
    return StepCompiler(Path(path), step, None if cache is None else Cache(cache, said.append)), said
