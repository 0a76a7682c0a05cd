"""Compiling for users: the compiler's driver, with ``best-sequential`` settled by the machine's own timing."""

from collections.abc import Sequence
from pathlib import Path

import onnx

from compiler.driver import TrainingStep, lower, training_step
from compiler.pass_times import PassTimes
from gradweave.scheduling import resolve
from isa.check import check
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
    input_grads: Sequence[str] = (),
    init: str | None = None,
    seed: int = 0,
    backward: bool = True,
    dump_ir: str | Path | None = None,
    times: PassTimes | None = None,
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
        input_grads: inputs whose gradients are wanted too.
        init: ``he``: draw the weights anew, He-normal; None: the model's own (a table has none: they are drawn).
        seed: of the weights that are drawn.
        backward: False: the forward pass only.
        dump_ir: folder to which each level of IR is written, numbered.
        times: records what each pass takes.

    Raises:
        UserError: the model, the machine or an option cannot be used.
    """
    step = training_step(
        model, batch=batch, loss=loss, optimizer=optimizer, input_grads=input_grads, backward=backward, init=init, seed=seed,
        dump_ir=dump_ir, times=times,
    )  # fmt: skip
    options = {"double_buffer": double_buffer, "fused_update": fused_update}
    return lower_step(step, machine or Machine(), schedule=schedule, **options, times=times)


def lower_step(
    step: TrainingStep,
    machine: Machine,
    *,
    schedule: str,
    double_buffer: bool = True,
    fused_update: bool = False,
    times: PassTimes | None = None,
) -> Program:
    """The program of a training step under a schedule, checked; raises UserError."""
    times = times or PassTimes()
    options = {"double_buffer": double_buffer, "fused_update": fused_update}
    settled = resolve(step, machine, schedule, **options, times=times)
    program = lower(step, machine, schedule=settled, **options, times=times)
    with times.measure("check program"):
        check(program, step.name)
    return program
