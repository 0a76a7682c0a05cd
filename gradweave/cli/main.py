"""The command ``gradweave``."""

import click

from gradweave.cli import assembly, compare, compile, explain, reproduce, run, sweep, train
from isa.errors import UserError


class Mistake(click.ClickException):
    """A mistake of the user's: ``error: …`` on stderr, exit code 1."""

    def show(self, file: object = None) -> None:
        """Print the message and nothing else."""
        click.echo(f"error: {self.message}", err=True)


class Commands(click.Group):
    """A group whose commands may raise UserError."""

    def invoke(self, ctx: click.Context) -> object:
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except UserError as error:
            raise Mistake(str(error)) from error
        except MemoryError as error:
            raise Mistake("out of memory: try a smaller --batch") from error


@click.group(name="gradweave", cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="gradweave")
def main() -> None:
    """Train neural networks on an emulated gradient-interleaved systolic array.

    An ONNX model and its backward pass are compiled to instruction streams, which an emulator executes cycle by cycle.

    \b
    Start with:
      gradweave compare programs/digits_mlp.onnxtxt --batch 32
      gradweave train programs/digits_mlp.onnxtxt --data programs/digits.npz --epochs 20
    """


for command in (
    compile.command, run.command, compare.command, explain.command, sweep.command, train.command, reproduce.command,
    assembly.asm, assembly.disasm, assembly.check,
):  # fmt: skip
    main.add_command(command)
