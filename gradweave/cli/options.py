"""Options that several commands share."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.progress import Progress, ProgressColumn, SpinnerColumn, TextColumn, TimeElapsedColumn

from compiler.frontend.initialize import KINDS
from compiler.frontend.load import EXTENSIONS as MODELS
from compiler.frontend.topology import EXTENSION as TABLE
from compiler.schedule.partition import PARTITIONS
from compiler.schedule.schedules import SCHEDULES
from gradweave.cache import Cache
from isa.errors import UserError
from isa.machine import Machine, load_machine

Function = TypeVar("Function", bound=Callable[..., Any])


def together(*decorators: Callable[[Function], Function]) -> Callable[[Function], Function]:
    """Several decorators as one, in the order they show in the help."""

    def decorate(function: Function) -> Function:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate


def machine_file(ctx: click.Context, parameter: click.Parameter, path: str | None) -> Machine | None:
    """The machine that an option names; None without it."""
    return None if path is None else load_machine(path)


def _cache(ctx: click.Context, parameter: click.Parameter, folder: str | None) -> Cache | None:
    """The cache that an option asks for; it tells on stderr what it does."""
    if folder is None:
        return None
    if folder and (Path(folder).is_file() or Path(folder).suffix in (*MODELS, TABLE)):
        raise UserError(f"--cache {folder}", "takes a folder, and this is none; write --cache behind the model, or --cache=DIR")
    return Cache(folder or None, tell=partial(click.echo, err=True))


def commas(ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    """The values of an option that may be given several times, and several at a time."""
    return tuple(name for value in values for name in value.split(",") if name)


machine = click.option(
    "--machine", callback=machine_file, metavar="M.toml",
    help="Machine file: array, memories, energies.  [default: that of programs/machines/32x32.toml]",
)  # fmt: skip
batch = click.option(
    "--batch", type=click.IntRange(min=1), metavar="N",
    help="Samples in a step: binds the model's symbolic batch size.",
)  # fmt: skip
loss = click.option(
    "--loss", metavar="L",
    help="Add a loss and its input `labels`: softmax-cross-entropy or mse. "
         "Without it the outputs' gradients are inputs, named grad/<output>.",
)  # fmt: skip
optimizer = click.option(
    "--optimizer", metavar="O",
    help="Update the weights: sgd[:lr=0.01,momentum=0,weight_decay=0].",
)  # fmt: skip
schedule = click.option(
    "--schedule", type=click.Choice(list(SCHEDULES)), default="interleaved", show_default=True,
    help="How the two gradients of a layer share the array.",
)  # fmt: skip
double_buffer = click.option(
    "--double-buffer/--no-double-buffer", default=True, show_default=True,
    help="Load and drain tiles while others are at work.",
)  # fmt: skip
fused_update = click.option(
    "--fused-update/--no-fused-update", default=False, show_default=True,
    help="Update weights inside the array, where their gradients lie; these are then no outputs.",
)  # fmt: skip
partition = click.option(
    "--partition", type=click.Choice(PARTITIONS), default="auto", show_default=True,
    help="How several arrays share a layer: batch and pixels, rows (its inputs), columns (its outputs), none (one array works).  "
         "auto: by an estimate, or measured with --schedule auto.",
)  # fmt: skip
input_grads = click.option(
    "--input-grads", multiple=True, callback=commas, metavar="NAME,…",
    help="Inputs whose gradients are wanted too.",
)  # fmt: skip
init = click.option(
    "--init", type=click.Choice(KINDS),
    help="Draw the weights anew from --seed: products He-normal, scales 1, offsets 0.  [default: the model's own]",
)  # fmt: skip
seed = click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, metavar="N",
    help="Where what is drawn at random starts from.",
)  # fmt: skip
runner = click.option(
    "--engine", type=click.Choice(["fast", "stepped", "timing"]), default="fast", show_default=True,
    help="fast: whole streams at a time; stepped: every register in every cycle; timing: as fast, without values. "
         "All count the same cycles.",
)  # fmt: skip
backend = click.option(
    "--backend", metavar="B", default="numpy", show_default=True,
    help="Where the fast engine computes the array's products: numpy, or LIBRARY[:DEVICE] of the array API standard, as torch:cuda.",
)  # fmt: skip
engine = click.option(
    "--engine", type=click.Choice(["fast", "stepped"]), default="fast", show_default=True,
    help="fast: whole streams at a time; stepped: every register in every cycle. Both count the same cycles.",
)  # fmt: skip

cache = click.option(
    "--cache", is_flag=False, flag_value="", callback=_cache, metavar="[DIR]",
    help="Keep compiled programs in DIR and take them from there while model, options and gradweave stay the same.  "
         "[DIR, if left out: ~/.cache/gradweave]",
)  # fmt: skip

compiling = together(machine, schedule, batch, loss, optimizer, double_buffer, fused_update, partition, input_grads, init)
"""What decides which program a model becomes."""


def check_options(options: dict[str, Any]) -> None:
    """Raises UserError for options of ``compiling`` that contradict each other."""
    if options["fused_update"] and options["optimizer"] is None:
        raise UserError("--fused-update", "without --optimizer there is no update to fuse")


def split(options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The options of ``compiling``: those of the training step, and those of its lowering to a machine."""
    names = ("machine", "schedule", "double_buffer", "fused_update", "partition")
    of_lowering = {k: options[k] for k in names} | {"machine": options["machine"] or Machine()}
    return {k: v for k, v in options.items() if k not in names}, of_lowering


@contextmanager
def progress(*more: ProgressColumn) -> Iterator[Progress]:
    """Progress on a terminal, nothing elsewhere; it is gone when the work is done. ``more``: columns behind the description."""
    console = Console(stderr=True, highlight=False)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), *more, TimeElapsedColumn())
    bar = Progress(*columns, console=console, transient=True, redirect_stdout=sys.stdout.isatty())
    with bar if console.is_terminal else nullcontext():
        yield bar


@contextmanager
def doing(what: str) -> Iterator[None]:
    """Say on a terminal what takes its time."""
    with progress() as bar:
        bar.add_task(what, total=None)
        yield
