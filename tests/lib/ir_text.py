"""IR text in, verified module out."""

from xdsl.context import Context
from xdsl.dialects.builtin import Builtin, ModuleOp
from xdsl.parser import Parser

from compiler.pipeline import DIALECTS


def parse(text: str) -> ModuleOp:
    """The module, verified; raises ParseError or VerifyException."""
    context = Context()
    context.load_dialect(Builtin)
    for load in DIALECTS.values():
        context.load_dialect(load())
    module = Parser(context, text).parse_module()
    module.verify()
    return module
