"""``gradweave sweep``."""

from functools import partial
from typing import Any

import click
from rich.progress import BarColumn, MofNCompleteColumn, TimeRemainingColumn

import gradweave
from compiler.schedule.schedules import SCHEDULES
from gradweave.cache import Cache
from gradweave.cli.options import (
    cache,
    check_options,
    commas,
    double_buffer,
    fused_update,
    init,
    input_grads,
    loss,
    optimizer,
    progress,
    seed,
)
from isa.errors import UserError


def _batches(ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> tuple[int | None, ...]:
    texts = commas(ctx, parameter, values)
    if wrong := [text for text in texts if not (text.isdecimal() and int(text))]:
        raise click.BadParameter(f"{wrong[0]!r} is no positive number")
    return tuple(int(text) for text in texts) or (None,)


def _schedules(ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    names = commas(ctx, parameter, values)
    if wrong := [name for name in names if name not in SCHEDULES]:
        raise click.BadParameter(f"{wrong[0]!r} is not one of {', '.join(SCHEDULES)}")
    return names


@click.command(name="sweep", short_help="Many machines, models, batches and schedules, in one table.")
@click.argument("models", metavar="MODEL...", nargs=-1, required=True)
@click.option("--machine-grid", required=True, metavar="GRID.toml", help="Base machine, and lists of values for its fields, as above.")
@click.option("-o", "--output", required=True, metavar="X.csv|X.parquet", help="Where to write the table.")
@click.option(
    "--schedule", "schedules", multiple=True, default=("interleaved",), show_default=True, callback=_schedules, metavar="S,…",
    help=f"Of {', '.join(SCHEDULES)}.",
)  # fmt: skip
@click.option("--batch", "batches", multiple=True, callback=_batches, metavar="N,…", help="Samples in a step.")
@loss
@optimizer
@double_buffer
@fused_update
@input_grads
@init
@seed
@click.option("--scheduler", metavar="tcp://HOST:PORT", help="A Dask scheduler on whose workers to run.  [default: this computer's cores]")
@click.option("--workers", type=click.IntRange(min=1), metavar="N", help="Processes on this computer.  [default: one for each core]")
@cache
@click.option("--plot", metavar="X.svg|X.png", help="Draw energy over cycles with the Pareto front, a panel for each model and batch.")
def command(models: tuple[str, ...], output: str, cache: Cache | None, scheduler: str | None, workers: int | None, **options: Any) -> None:
    """Compile every MODEL for every machine, batch size and schedule, time one run of each, and write one table.

    Points are appended to the journal X.csv.journal as they are done: after a kill, the same command goes on where it stopped. A point
    that cannot be compiled is in the table with its error. Runs on Dask: pip install 'gradweave[sweep]'.

    \b
    gradweave sweep programs/digits_mlp.onnxtxt programs/digits_cnn.onnxtxt --machine-grid programs/grid.toml \\
        --batch 8,32 --schedule sequential,interleaved -o results.csv --plot pareto.svg

    \b
    A grid has a base machine and lists of values, each with each:
      base = "8x8.toml"                # a machine file beside the grid, or a table with a machine's fields
      [grid]
      "scratchpad.bytes" = [65536, 524288]
      "array" = [{rows = 8, cols = 8}, {rows = 16, cols = 16}]                    # fields that change together
      machine = [{name = "narrow", vector.lanes = 4}, {name = "wide", vector.lanes = 16}]    # those of any part
    """
    check_options(options)
    if scheduler is not None and workers is not None:
        raise UserError("--workers", "counts processes of this computer; with --scheduler the cluster has its own: leave one of them out")
    with progress(BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()) as bar:
        task = bar.add_task("sweeping", total=None)
        result = gradweave.sweep(
            models, output=output, cache=cache, scheduler=scheduler, workers=workers,
            each=lambda done, total: bar.update(task, completed=done, total=total), tell=partial(click.echo, err=True), **options,
        )  # fmt: skip
    if cache is not None:
        click.echo(f"cache: {result.cache['hit']} hits, {result.cache['stored']} stored in {cache.folder}", err=True)
    journal = f"; {result.resumed} were in {output}.journal" if result.resumed else ""
    errors = f", {len(result.failed)} with an error" if result.failed else ""
    click.echo(f"{output}: {len(result.rows)} points{errors}{journal}", err=True)
