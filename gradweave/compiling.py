"""Compiling for users: the compiler's driver, with ``best-sequential`` settled by the machine's own timing."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import onnx

from compiler.driver import TrainingStep, lower, training_step
from compiler.pass_times import PassTimes
from gradweave.cache import Cache
from gradweave.program_key import model_digest, program_key
from gradweave.scheduling import resolve
from isa.check import check
from isa.collection import no_collection
from isa.machine import Machine
from isa.program import Program


def compile(
    model: str | Path | onnx.ModelProto,
    *,
    machine: Machine | None = None,
    schedule: str = "interleaved",
    batch: int | None = None,
    loss: str | None = None,
    optimizer: str | None = None,
    double_buffer: bool = True,
    fused_update: bool = False,
    partition: str = "auto",
    input_grads: Sequence[str] = (),
    init: str | None = None,
    seed: int = 0,
    backward: bool = True,
    dump_ir: str | Path | None = None,
    times: PassTimes | None = None,
    cache: Cache | str | Path | None = None,
) -> Program:
    """Compile a model's training step.

    Args:
        model: path of a ``.onnx`` or ``.onnxtxt`` file or of a topology table (``.csv``), or an ONNX model itself.
        machine: the default is the one of ``programs/machines/32x32.toml``.
        schedule: a name in ``compiler.schedule.SCHEDULES``.
        batch: binds the model's symbolic batch size.
        loss: ``softmax-cross-entropy`` or ``mse``; None: the gradients of the outputs are inputs, ``grad/<output>``.
        optimizer: ``sgd[:lr=..,momentum=..,weight_decay=..]``; None: no weight is updated.
        double_buffer: load and drain tiles while others are at work.
        fused_update: update weights inside the array, where there is an optimizer and the schedule can.
        partition: how several arrays share a layer: a name in ``compiler.schedule.partition.PARTITIONS``; ``auto``: by an estimate, or
            under the schedule ``auto`` by the machine's timing.
        input_grads: inputs whose gradients are wanted too.
        init: ``he``: draw the weights anew, He-normal; None: the model's own (a table has none: they are drawn).
        seed: of the weights that are drawn.
        backward: False: the forward pass only.
        dump_ir: folder to which each level of IR is written, numbered.
        times: records what each pass takes.
        cache: where programs are kept, and taken from if nothing changed that they depend on; with ``dump_ir`` only kept.

    Raises:
        UserError: the model, the machine or an option cannot be used.
    """
    options = StepOptions(batch, loss, optimizer, tuple(input_grads), init, seed, backward)
    compiler = StepCompiler(model, options, cache, dump_ir, times)
    return compiler.program(
        machine or Machine(), schedule=schedule, double_buffer=double_buffer, fused_update=fused_update, partition=partition
    )


@dataclass(frozen=True, slots=True)
class StepOptions:
    """What decides which training step a model becomes, as in :func:`compile`."""

    batch: int | None = None
    loss: str | None = None
    optimizer: str | None = None
    input_grads: tuple[str, ...] = ()
    init: str | None = None
    seed: int = 0
    backward: bool = True


class StepCompiler:
    """A model's training step, read when it is first needed and lowered as often as wanted, through the cache if there is one."""

    def __init__(
        self,
        model: str | Path | onnx.ModelProto,
        options: StepOptions,
        cache: Cache | str | Path | None = None,
        dump_ir: str | Path | None = None,
        times: PassTimes | None = None,
    ) -> None:
        self._model = model
        self._options = options
        self._cache = Cache.of(cache)
        self._dump_ir = dump_ir
        self._times = times or PassTimes()

    @cached_property
    def step(self) -> TrainingStep:
        """The step at the ``train`` level; raises UserError."""
        return training_step(self._model, **asdict(self._options), dump_ir=self._dump_ir, times=self._times)

    @cached_property
    def _digest(self) -> str:
        return model_digest(self._model)

    @no_collection()
    def program(
        self, machine: Machine, *, schedule: str, double_buffer: bool = True, fused_update: bool = False, partition: str = "auto"
    ) -> Program:
        """The program of the step for a machine and a schedule, checked; raises UserError."""
        options = {"schedule": schedule, "double_buffer": double_buffer, "fused_update": fused_update, "partition": partition}
        if self._cache is None:
            return self._lower(machine, options)
        with self._times.measure("read cache"):
            key = program_key(self._model, self._digest, machine, asdict(self._options) | options)
            found = self._cache.read(key) if self._dump_ir is None else None
        if found is not None:
            return found
        program = self._lower(machine, options)
        with self._times.measure("store in cache"):
            self._cache.store(key, program)
        return program

    def _lower(self, machine: Machine, options: Mapping[str, Any]) -> Program:
        return lower_step(self.step, machine, **options, times=self._times)


@no_collection()
def lower_step(
    step: TrainingStep,
    machine: Machine,
    *,
    schedule: str,
    double_buffer: bool = True,
    fused_update: bool = False,
    partition: str = "auto",
    times: PassTimes | None = None,
) -> Program:
    """The program of a training step under a schedule, checked; raises UserError."""
    times = times or PassTimes()
    options = {"double_buffer": double_buffer, "fused_update": fused_update}
    settled = resolve(step, machine, schedule, **options, partition=partition, times=times)
    program = lower(step, machine, schedule=settled, **options, times=times)
    with times.measure("check program"):
        check(program, step.name)
    return program
