"""``gradweave asm``, ``disasm`` and ``check``: programs without a model."""

from pathlib import Path

import click

from gradweave.cli.options import doing, machine_file
from isa.asm import assemble, disassemble
from isa.binary import read_program, write_program
from isa.check import check as check_program
from isa.files import read_bytes, read_text, write
from isa.machine import Machine
from isa.program import Program


def load(path: str, machine: Machine | None = None) -> Program:
    """A program from a binary, checked, with ``machine`` also for being made for that one; raises UserError."""
    with doing(f"checking {Path(path).name}"):
        program = read_program(read_bytes(path), path)
        check_program(program, path, machine)
    return program


@click.command(short_help="Assemble text into a binary.")
@click.argument("source", metavar="X.s")
@click.option("-o", "--output", metavar="X.gwb", help="Where to write the binary.  [default: beside the source, .gwb]")
def asm(source: str, output: str | None) -> None:
    """Assemble X.s into a binary, and check it as `gradweave check` does.

    \b
    gradweave asm tile.s -o tile.gwb
    """
    with doing(f"assembling {Path(source).name}"):
        program = assemble(read_text(source), source)
        check_program(program, source)
    write(output or Path(source).with_suffix(".gwb"), write_program(program))


@click.command(short_help="Print a binary as assembly.")
@click.argument("binary", metavar="X.gwb")
@click.option("-o", "--output", metavar="X.s", help="Where to write the text.  [default: standard output]")
def disasm(binary: str, output: str | None) -> None:
    """Print the program as assembly text, which `gradweave asm` turns into the same binary again.

    \b
    gradweave disasm digits_mlp.gwb | less
    """
    with doing(f"reading {Path(binary).name}"):
        text = disassemble(read_program(read_bytes(binary), binary))
    if output is None:
        click.echo(text, nl=False)
    else:
        write(output, text)


@click.command(short_help="Check a binary without running it.")
@click.argument("binary", metavar="X.gwb")
@click.option("--machine", callback=machine_file, metavar="M.toml", help="Check also that it was made for this machine.")
def check(binary: str, machine: Machine | None) -> None:
    """Find what cannot be right before anything runs.

    Addresses outside a memory, semaphores that deadlock, loop errors, reads of scratchpad that was never written.
    Exit code 0: nothing wrong found.

    \b
    gradweave check digits_mlp.gwb --machine programs/machines/32x32.toml
    """
    program = load(binary, machine)
    count = sum(len(code) for code in program.queues.values())
    click.echo(f"{binary}: {program.name} for {program.machine.name}, {count} instructions: nothing wrong found")
