"""The training loop on the emulated machine."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from compiler.frontend.load import read_model
from emulator import Emulator
from emulator.run import Engine
from gradweave.arrays import Array, Dataset, dataset_from
from gradweave.compiling import compile
from gradweave.weights import check_model_path, with_weights, write_model
from isa.errors import UserError
from isa.machine import Machine
from isa.program import Program, Symbol

DEFAULT_BATCH = 32
LABELS, LOSS = "labels", "loss"


@dataclass(frozen=True, slots=True)
class Epoch:
    """What one epoch came to.

    ``loss``: mean over its steps; ``test``: the metric on the test set, None if there is none; ``metric``: ``accuracy`` for
    class numbers, otherwise ``mse``.
    """

    number: int
    loss: float
    test: float | None
    metric: str
    cycles: int


@dataclass(frozen=True, slots=True)
class Training:
    """A finished training; ``weights`` are the trained initializers by name."""

    epochs: list[Epoch]
    weights: dict[str, Array]
    program: Program


def train(
    model: str | Path,
    data: str | Path,
    *,
    epochs: int,
    batch: int | None = None,
    machine: Machine | None = None,
    schedule: str = "interleaved",
    loss: str = "softmax-cross-entropy",
    optimizer: str = "sgd:lr=0.1,momentum=0.9",
    double_buffer: bool = True,
    fused_update: bool = False,
    partition: str = "auto",
    seed: int = 0,
    engine: Engine = "fast",
    save: str | Path | None = None,
    each_step: Callable[[int, int, int], None] | None = None,
    each_epoch: Callable[[Epoch], None] | None = None,
) -> Training:
    """Train a model on the emulated machine, whose DRAM keeps weights and velocities from step to step.

    Each epoch visits the training samples in a new order, ``numpy.random.default_rng(seed).permutation`` drawn once an epoch, and
    leaves out the last ones that fill no batch.  The test set is run through the forward pass alone, its last batch padded.

    Args:
        model: path of a ``.onnx`` or ``.onnxtxt`` file with one input and one floating-point output.
        data: path of a ``.npz`` with ``x_train``, ``y_train`` and perhaps ``x_test``, ``y_test``.
        epochs: passes over the training samples, 1 or more.
        batch: samples in a step; left out: the model's own, or 32 if that is symbolic.
        machine, schedule, loss, optimizer, double_buffer, fused_update, partition: as in ``compile``.
        seed: of the shuffling.
        engine: ``fast`` or ``stepped``.
        save: where to write the model with its trained weights.
        each_step: called with the epoch, the step and the number of steps, before each step.
        each_epoch: called after each epoch.

    Raises:
        UserError: the model, the data or an option cannot be used.
    """
    if save is not None:
        check_model_path(save)
    raw = read_model(str(model))
    batch = batch or _fixed_batch(raw) or DEFAULT_BATCH
    options: dict[str, Any] = {"machine": machine, "schedule": schedule, "double_buffer": double_buffer, "batch": batch}
    options["partition"] = partition
    program = compile(model, loss=loss, optimizer=optimizer, fused_update=fused_update, **options)
    x, y = _inputs(program, str(model))
    samples = dataset_from(data, x, y)
    if len(samples.x_train) < batch:
        raise UserError(str(data), f"x_train has {len(samples.x_train)} samples, fewer than a batch of {batch}; give a smaller --batch")
    forward = compile(model, backward=False, **options) if len(samples.x_test) else None

    trainer, order = Emulator(program, engine=engine), np.random.default_rng(seed)
    metric = "mse" if y.classes is None else "accuracy"
    done: list[Epoch] = []
    weights: dict[str, Array] = {}
    steps = len(samples.x_train) // batch
    for number in range(1, epochs + 1):
        losses, cycles = [], 0
        for step, chosen in enumerate(np.split(order.permutation(len(samples.x_train))[: steps * batch], steps)):
            if each_step:
                each_step(number, step, steps)
            result = trainer.run({x.name: samples.x_train[chosen], y.name: samples.y_train[chosen]})
            losses.append(float(result.outputs[LOSS]))
            if not isfinite(losses[-1]):
                raise UserError(
                    "optimizer", f"{optimizer!r} diverges: the loss is {losses[-1]} in epoch {number}, step {step + 1}; lower lr"
                )
            cycles += result.report.cycles
        weights = {name.removeprefix("param/"): value for name, value in result.outputs.items() if name.startswith("param/")}
        test = None if forward is None else _test(with_weights(forward, weights), samples, metric, engine)
        done.append(Epoch(number, float(np.mean(losses)), test, metric, cycles))
        if each_epoch:
            each_epoch(done[-1])
    weights = {name: value for name, value in weights.items() if not name.startswith("velocity/")}
    if save is not None:
        write_model(save, raw, weights)
    return Training(done, weights, program)


def _fixed_batch(model: onnx.ModelProto) -> int | None:
    """The model's own batch size, None if it is symbolic."""
    dims = model.graph.input[0].type.tensor_type.shape.dim if model.graph.input else []
    return (dims[0].dim_value or None) if dims else None


def _inputs(program: Program, place: str) -> tuple[Symbol, Symbol]:
    """The symbols that samples and targets go to."""
    others = [symbol for symbol in program.named("input") if symbol.name != LABELS]
    if len(others) != 1:
        raise UserError(place, f"train feeds a model with one input; this one has {len(others)}: {', '.join(s.name for s in others)}")
    return others[0], program.symbol(LABELS, "input")


def _test(forward: Program, samples: Dataset, metric: str, engine: Engine) -> float:
    """The metric on the test set."""
    machine = Emulator(forward, engine=engine)
    predictions = np.concatenate(list(_predictions(forward, machine, samples.x_test)))[: len(samples.x_test)]
    if metric == "accuracy":
        return float(np.mean(predictions.argmax(axis=1) == samples.y_test))
    return float(np.mean((predictions.astype(np.float64) - samples.y_test) ** 2))


def _predictions(forward: Program, machine: Emulator, x: Array) -> Iterator[npt.NDArray[Any]]:
    """The model's output for each batch of samples; the last batch is filled up with zeros."""
    symbol, output = forward.named("input")[0], forward.named("output")[0].name
    batch = symbol.shape[0]
    for start in range(0, len(x), batch):
        part = x[start : start + batch]
        padding = np.zeros((batch - len(part), *part.shape[1:]), part.dtype)
        yield machine.run({symbol.name: np.concatenate([part, padding])}).outputs[output]
