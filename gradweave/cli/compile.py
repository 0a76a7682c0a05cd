"""``gradweave compile``."""

from pathlib import Path
from typing import Any

import click

from compiler.driver import lower_to_systolic
from compiler.pass_times import PassTimes
from compiler.schedule.schedules import SCHEDULES
from gradweave.cache import Cache
from gradweave.cli.options import cache, check_options, compiling, doing, seed, split
from gradweave.compiling import StepCompiler, StepOptions
from gradweave.scheduling import resolve
from isa.asm import disassemble
from isa.binary import write_program
from isa.errors import UserError
from isa.files import write

SCHEDULE_DOCS = "\b\nSchedules:\n" + "\n".join(f"  {name:<16} {schedule.doc}" for name, schedule in SCHEDULES.items())


@click.command(name="compile", short_help="Compile a model's training step into a binary.", epilog=SCHEDULE_DOCS)
@click.argument("model", metavar="MODEL")
@click.option("-o", "--output", metavar="X.gwb", help="Where to write.  [default: MODEL's name with .gwb; standard output for ir and asm]")
@compiling
@seed
@cache
@click.option("--dump-ir", metavar="DIR", help="Write each level of IR to a numbered file in this folder.")
@click.option(
    "--emit", type=click.Choice(["ir", "asm", "bin"]), default="bin", show_default=True,
    help="The systolic level of IR, assembly text, or a binary.",
)  # fmt: skip
@click.option("--time-passes", is_flag=True, help="Print to stderr what each pass takes.")
def command(
    model: str, output: str | None, emit: str, dump_ir: str | None, time_passes: bool, cache: Cache | None, **options: Any
) -> None:  # fmt: skip
    """Compile the training step of MODEL: forward and backward pass, and with --optimizer the update.

    MODEL is an ONNX model (.onnx, .onnxtxt), or a SCALE-Sim topology table (.csv) whose layers stand alone.

    \b
    gradweave compile programs/digits_mlp.onnxtxt --batch 32 --loss softmax-cross-entropy --optimizer sgd:lr=0.1
    gradweave compile programs/digits_mlp.onnxtxt --batch 8 --emit asm | less
    gradweave compile programs/torch_mlp.onnx --batch 32 --dump-ir ir
    """
    check_options(options)
    if emit == "ir" and cache is not None:
        raise UserError("--cache", "keeps binaries, which --emit ir does not make: leave it out")
    times = PassTimes()
    with doing(f"compiling {Path(model).name}"):
        of_step, of_lowering = split(options)
        compiler = StepCompiler(model, StepOptions(**of_step), cache, dump_ir, times)
        if emit == "ir":
            step = compiler.step
            of_lowering["schedule"] = resolve(step, **of_lowering, times=times)
            del of_lowering["partition"]  # which is part of it now
            module = lower_to_systolic(step, **of_lowering, times=times)
            with times.measure("print"):
                content: bytes | str = f"{module!s}\n"
        else:
            program = compiler.program(**of_lowering)
            with times.measure("print" if emit == "asm" else "encode"):
                content = disassemble(program) if emit == "asm" else write_program(program)
    if time_passes:
        click.echo(times.table(), err=True)
    if emit == "bin":
        output = output or Path(model).with_suffix(".gwb").name
    if output is None:
        click.echo(content, nl=False)
        return
    write(output, content)
    if emit == "bin":
        count = sum(len(code) for code in program.queues.values())
        machine = f"machine {program.machine.name}, {program.schedule}"
        click.echo(f"{output}: {count} instructions, {len(content):,} bytes, {machine}", err=True)
