"""The grammar of the assembly, and its syntax errors in plain words."""

import json
from functools import cache
from pathlib import Path

from lark import Lark, Token, Tree, UnexpectedCharacters, UnexpectedInput, UnexpectedToken

from isa.errors import UserError
from isa.stream import MAX_LOOPS

_WORDS = {
    "NAME": "a name", "STRING": "a quoted string", "INT": "a number", "STRIDE": "a number", "NUMBER": "a number",
    "LEVEL": f"a loop as %0 … %{MAX_LOOPS - 1}", "DIM": "a dimension such as x32", "_NL": "the end of the line",
    "$END": "the end of the text",
    "BYTES": "a line of data", "ORIGIN": "a provenance such as @3", "HEADER": ".program or .schedule",
}  # fmt: skip
_MAX_WORDS = 8
_MAX_DIGITS = 20


class AsmError(Exception):
    """A mistake at a token; callers add the name of the file."""

    def __init__(self, token: Token | None, message: str) -> None:
        self.token = token
        super().__init__(message)

    def at(self, place: str) -> UserError:
        """The error for the user, with line and column."""
        where = f"{place}:{self.token.line}:{self.token.column}" if self.token is not None and self.token.line else place
        return UserError(where, str(self))


@cache
def _parser(start: str) -> Lark:
    return Lark((Path(__file__).parent / "asm.lark").read_text(encoding="utf-8"), parser="lalr", start=start, maybe_placeholders=True)


def parse(text: str, start: str, place: str) -> Tree[Token]:
    """The syntax tree of ``text``.

    Raises:
        UserError: with line, column, what was found and what would have been right.
    """
    parser = _parser(start)
    try:
        return parser.parse(text)
    except UnexpectedInput as error:
        raise UserError(f"{place}:{error.line}:{error.column}", _explain(error, text, parser)) from error


def _explain(error: UnexpectedInput, text: str, parser: Lark) -> str:
    if isinstance(error, UnexpectedToken):
        allowed = set(error.expected)
        found = "the end of the text" if error.token.type == "$END" else _quoted(error.token)
    else:
        allowed = set(error.allowed or ()) if isinstance(error, UnexpectedCharacters) else set()
        found = _quoted(text[error.pos_in_stream or 0 :][:1])
    literals = {terminal.name: terminal.pattern.value for terminal in parser.terminals if terminal.pattern.type == "str"}
    words = sorted({_WORDS.get(name) or f"`{literals.get(name, name.lower())}`" for name in allowed})
    shown = words[:_MAX_WORDS] + (["…"] if len(words) > _MAX_WORDS else [])
    return f"found {found}" + (f", expected {', '.join(shown)}" if shown else "")


def _quoted(text: str) -> str:
    return "the end of the line" if text[:1] in ("\n", "\r") else f"`{text if len(text) <= 40 else text[:40] + '…'}`"


def integer(token: Token) -> int:
    """The value of a number of a sensible length; what does not fit into its field is found by the encoder."""
    if len(token) > _MAX_DIGITS:
        raise AsmError(token, f"a number of {len(token)} digits, at most {_MAX_DIGITS} can be encoded")
    return int(token)


def text_of(token: Token) -> str:
    """The characters that a name or a quoted string stands for."""
    if token.type != "STRING":
        return str(token)
    try:
        text = str(json.loads(token))
        text.encode("utf-8")
    except ValueError as error:
        raise AsmError(token, 'not a string: escapes are those of JSON, such as \\n, \\" and \\u00e9') from error
    return text


def quoted(text: str) -> str:
    """``text`` as a quoted string of the assembly."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
