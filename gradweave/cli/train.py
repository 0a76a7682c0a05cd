"""``gradweave train``."""

import json
from dataclasses import asdict
from typing import Any

import click

import gradweave
from emulator.run import Engine
from gradweave.cli.options import batch, double_buffer, engine, fused_update, machine, partition, progress, schedule, seed
from gradweave.training import Epoch
from isa.files import write


@click.command(name="train", short_help="Train a model on the emulated machine.")
@click.argument("model", metavar="MODEL")
@click.option("--data", required=True, metavar="D.npz", help="x_train, y_train, and x_test, y_test for the accuracy.")
@click.option("--epochs", required=True, type=click.IntRange(min=1), metavar="E", help="Passes over the training samples.")
@click.option("--save", metavar="TRAINED.onnx", help="Where to write the model with its trained weights (.onnx or .onnxtxt).")
@click.option(
    "--loss", metavar="L", default="softmax-cross-entropy", show_default=True,
    help="softmax-cross-entropy: y are class numbers; mse: y has the shape of the model's output.",
)  # fmt: skip
@click.option(
    "--optimizer", metavar="O", default="sgd:lr=0.1,momentum=0.9", show_default=True,
    help="sgd[:lr=0.01,momentum=0,weight_decay=0].",
)  # fmt: skip
@batch
@machine
@schedule
@double_buffer
@fused_update
@partition
@seed
@engine
@click.option("--json", "json_path", metavar="HISTORY.json", help="Where to write loss, test result and cycles of each epoch.")
def command(model: str, data: str, epochs: int, json_path: str | None, engine: Engine, **options: Any) -> None:
    """Train MODEL on samples from an .npz file, every step on the emulated machine.

    Each epoch visits the samples in a new order, drawn from --seed; the last ones that fill no batch are left out of it.
    The test samples are run through the forward pass alone, the last batch padded with zeros. Without --batch it is the
    model's own batch size, or 32 if that is symbolic.

    \b
    gradweave train programs/digits_mlp.onnxtxt --data programs/digits.npz --epochs 20 --save trained.onnx
    """
    with progress() as bar:
        task = bar.add_task(f"compiling {model}", total=None)

        def each_step(epoch: int, step: int, steps: int) -> None:
            bar.update(task, description=f"epoch {epoch}/{epochs}, step {step + 1}/{steps}")

        def each_epoch(epoch: Epoch) -> None:
            print(line(epoch, epochs), flush=True)  # not click.echo, which would write past the progress line

        training = gradweave.train(model, data, epochs=epochs, engine=engine, each_step=each_step, each_epoch=each_epoch, **options)
    if json_path is not None:
        history = {"model": model, "machine": training.program.machine.name, "schedule": training.program.schedule}
        write(json_path, json.dumps(history | {"epochs": [asdict(epoch) for epoch in training.epochs]}, indent=1) + "\n")
    if options["save"]:
        click.echo(f"{options['save']}: trained weights {', '.join(training.weights)}", err=True)


def line(epoch: Epoch, epochs: int) -> str:
    """One epoch in one line."""
    test = "" if epoch.test is None else f"   test {epoch.metric} {epoch.test:{'.2%' if epoch.metric == 'accuracy' else '.6g'}}"
    return f"epoch {epoch.number:{len(str(epochs))}}/{epochs}   loss {epoch.loss:.6f}{test}   {epoch.cycles:,} cycles"
