"""``gradweave run``."""

import json
from pathlib import Path
from typing import Any

import click

import gradweave
from emulator import Emulator
from emulator.backend import NUMPY
from emulator.run import Runner
from emulator.trace import trace_events
from gradweave.arrays import inputs_from, write_npz
from gradweave.cli.assembly import load
from gradweave.cli.options import backend, cache, check_options, compiling, doing, runner, seed
from gradweave.tables import report_table, show
from isa.errors import UserError
from isa.files import write


@click.command(name="run", short_help="Run a binary, or a model after compiling it.")
@click.argument("target", metavar="X.gwb|MODEL")
@click.option("--inputs", metavar="IN.npz", help="Values of all inputs, by name.  [default: drawn from --seed]")
@seed
@click.option("--outputs", metavar="OUT.npz", help="Where to write the results, by name: <output>, grad/<name>, param/<name>.")
@runner
@backend
@click.option("--json", "json_path", metavar="REPORT.json", help="Where to write the report.")
@click.option("--trace", metavar="TRACE.json", help="Where to write a trace for ui.perfetto.dev; its microseconds are cycles.")
@compiling
@cache
@click.pass_context
def command(
    ctx: click.Context,
    /,
    target: str,
    inputs: str | None,
    seed: int,
    outputs: str | None,
    engine: Runner,
    backend: str,
    json_path: str | None,
    trace: str | None,
    **options: Any,
) -> None:
    """Run a binary (.gwb), or compile MODEL with the options of `gradweave compile` and run that; report where the cycles went.

    A binary brings its machine along; --machine only checks that it was made for that one.

    \b
    gradweave run programs/digits_mlp.onnxtxt --batch 32 --schedule sequential
    gradweave run digits_mlp.gwb --inputs in.npz --outputs out.npz --json report.json
    """
    if engine != "fast" and backend != NUMPY:
        raise UserError("--backend", f"is for the fast engine; {engine} has no products of whole matrices")
    if engine == "timing" and (inputs or outputs):
        raise UserError("--engine timing", "computes no values, so that it takes no --inputs and gives no --outputs")
    if Path(target).suffix == ".gwb":
        given = [p.opts[0] for p in ctx.command.params if p.name in options and ctx.get_parameter_source(str(p.name)) == COMMANDLINE]
        if set(given) - {"--machine"}:
            raise UserError(target, f"is compiled already; {', '.join(given)} can only be given with a model")
        program = load(target, options["machine"])
    else:
        check_options(options)
        with doing(f"compiling {Path(target).name}"):
            program = gradweave.compile(target, seed=seed, **options)
    emulator = Emulator(program, engine, backend)
    values = emulator.drawn(seed) if inputs is None else inputs_from(inputs, program)
    with doing(f"running {program.name}"):
        result = emulator.run(values, trace=trace is not None)
    report = result.report.to_dict()
    if outputs is not None:
        write_npz(outputs, result.outputs)
    if json_path is not None:
        write(json_path, json.dumps(report, indent=1) + "\n")
    if trace is not None:
        write(trace, json.dumps(trace_events(program, result.slices or [])) + "\n")
    show(*report_table(report))
    if "loss" in result.outputs:
        click.echo(f"loss {float(result.outputs['loss']):.6g}")


COMMANDLINE = click.core.ParameterSource.COMMANDLINE
