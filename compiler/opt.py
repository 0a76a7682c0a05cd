"""``gradweave-opt``: runs passes on a model or on IR text, in the manner of ``mlir-opt``."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO, ClassVar

from xdsl.dialects import get_all_dialects
from xdsl.dialects.builtin import ModuleOp
from xdsl.transforms import get_all_passes
from xdsl.utils.exceptions import ArgSpecParseError, DiagnosticException, ParseError
from xdsl.xdsl_opt_main import xDSLOptMain

from compiler.pipeline import DIALECTS, PASSES
from isa.errors import UserError

DESCRIPTION = """\
Run a pipeline of passes on an ONNX model (.onnx, .onnxtxt), a topology table (.csv) or IR text (.mlir) and print the result, for instance:
gradweave-opt programs/digits_mlp.onnxtxt --batch 32 -p 'convert-onnx-to-train,differentiate,cse,dce' --print-between-passes.
`gradweave compile --dump-ir DIR` writes the pipeline that it used at the top of each level.
"""


class GradweaveOpt(xDSLOptMain):
    """xDSL's driver with this project's dialects, passes and frontends beside xDSL's own."""

    version_format: ClassVar[str] = "gradweave-opt, built on xDSL {xdsl_version}"

    def register_all_arguments(self, arg_parser: argparse.ArgumentParser) -> None:
        """Adds ``--batch``."""
        super().register_all_arguments(arg_parser)
        arg_parser.add_argument("--batch", type=int, metavar="N", help="value of the model's symbolic batch size")

    def register_all_dialects(self) -> None:
        """xDSL's and ours, whether or not ours are also installed as a plugin."""
        for name, factory in (get_all_dialects() | DIALECTS).items():
            self.ctx.register_dialect(name, factory)

    def register_all_passes(self) -> None:
        """xDSL's and ours."""
        for name, factory in (get_all_passes() | PASSES).items():
            self.register_pass(name, factory)

    def register_all_frontends(self) -> None:
        """MLIR text, ONNX models in both formats, and topology tables."""
        super().register_all_frontends()
        self.available_frontends |= {"onnx": self._parse_model, "onnxtxt": self._parse_model, "csv": self._parse_model}

    def run(self) -> None:
        """As xDSL's, but an output file takes its place only once it is complete."""
        target = self.args.output_file
        if target is None:
            super().run()
            return
        self.args.output_file = f"{target}.part"
        try:
            super().run()
            os.replace(self.args.output_file, target)
        finally:
            Path(self.args.output_file).unlink(missing_ok=True)

    def _parse_model(self, io: IO[bytes]) -> ModuleOp:
        """The model is read by name: weights may lie in files beside it."""
        from compiler.frontend.importer import parse_onnx_file
        from compiler.frontend.topology import EXTENSION, import_table

        path = self.args.input_file
        if path is None:
            raise UserError("stdin", "models are read from files, not from standard input")
        return import_table(path, self.args.batch)[0] if path.endswith(EXTENSION) else parse_onnx_file(path, self.args.batch)


def main(args: Sequence[str] | None = None) -> None:
    """Entry point; a user's mistake is told without a traceback, exit code 1."""
    try:
        GradweaveOpt(DESCRIPTION, args).run()
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (UserError, ParseError, DiagnosticException, ArgSpecParseError, ValueError, OSError) as error:
        sys.exit(f"error: {str(error).strip()}")
