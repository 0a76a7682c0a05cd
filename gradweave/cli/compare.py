"""``gradweave compare``."""

import json

import click

import gradweave
from emulator.run import Engine
from gradweave.cache import Cache
from gradweave.cli.options import batch, cache, engine, init, loss, machine, progress, seed
from gradweave.tables import comparison_table, show
from isa.files import write
from isa.machine import Machine


@click.command(name="compare", short_help="Every schedule side by side, baselines named.")
@click.argument("model", metavar="MODEL")
@machine
@batch
@loss
@click.option(
    "--optimizer", metavar="O", default="sgd", show_default=True,
    help="Update the weights: sgd[:lr=0.01,momentum=0,weight_decay=0]; none: gradients only.",
)  # fmt: skip
@init
@seed
@engine
@cache
@click.option("--json", "json_path", metavar="TABLE.json", help="Where to write the table: a list of reports, one a row.")
def command(
    model: str, machine: Machine | None, batch: int | None, loss: str | None, optimizer: str, init: str | None, seed: int, engine: Engine,
    cache: Cache | None, json_path: str | None,
) -> None:  # fmt: skip
    """Compile and run one training step of MODEL under every schedule, with double buffering and fused update on and off.

    All run on the same machine and the same inputs. Ratios name their baseline; gradients are held against a float64 reference.

    \b
    gradweave compare programs/digits_mlp.onnxtxt --batch 32
    gradweave compare programs/torch_mlp.onnx --batch 8 --machine programs/machines/8x8.toml --json table.json
    """
    with progress() as bar:
        task = bar.add_task(f"compiling {model}", total=None)

        def each(number: int, total: int, name: str) -> None:
            bar.update(task, description=f"{number + 1}/{total} {name}", completed=number, total=total)

        table = gradweave.compare(
            model, machine=machine, batch=batch, loss=loss, optimizer=None if optimizer == "none" else optimizer,
            init=init, seed=seed, engine=engine, each=each, cache=cache,
        )  # fmt: skip
    if json_path is not None:
        write(json_path, json.dumps(table.to_json(), indent=1) + "\n")
    show(*comparison_table(table))
