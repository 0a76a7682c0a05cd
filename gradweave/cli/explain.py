"""``gradweave explain``."""

import click

from gradweave.cli.options import batch, doing, double_buffer, fused_update, init, loss, machine, optimizer, seed
from gradweave.explaining import explain
from gradweave.tables import explanation_table, show
from isa.machine import Machine


@click.command(name="explain", short_help="What --schedule auto chooses, and why.")
@click.argument("model", metavar="MODEL")
@machine
@batch
@loss
@optimizer
@double_buffer
@fused_update
@init
@seed
def command(
    model: str, machine: Machine | None, batch: int | None, loss: str | None, optimizer: str | None, double_buffer: bool,
    fused_update: bool, init: str | None, seed: int,
) -> None:  # fmt: skip
    """Search as `--schedule auto` does: what each layer's gradients get, what that saves, what still binds, and all that was tried.

    \b
    gradweave explain programs/digits_mlp.onnxtxt --batch 32 --optimizer sgd --fused-update
    """
    with doing(f"searching for {model}"):
        found = explain(
            model, machine=machine, batch=batch, loss=loss, optimizer=optimizer, double_buffer=double_buffer, fused_update=fused_update,
            init=init, seed=seed,
        )  # fmt: skip
    show(*explanation_table(found))
