"""The assembler: text to program; the other way is ``isa.disasm``.

Statements are lines.  Directives give what is not code (``.program``, ``.schedule``, ``.machine`` with lines of a machine file, ``.dram``,
``.semaphore``, ``.symbol``, ``.provenance``, ``.data``), and ``.queue`` starts the code of a queue.  ``@3`` on a line gives the
instructions that follow the provenance 3, at the end of an instruction that one alone; an ``end`` has none.  Symbols, semaphores and
provenance stand before the code that names them.  ``classes=10`` after the shape of a symbol says that it holds class numbers
0 … 9, ``ignored=-100`` that this one counts for nothing.
"""

import base64
from typing import Any

from lark import Token, Tree

from isa.binary import validate_tables
from isa.disasm import disassemble
from isa.encoding import MAX_SEMAPHORES, EncodingError, Streams, encode_instruction, float32
from isa.errors import UserError
from isa.grammar import AsmError, integer, parse, text_of
from isa.instructions import HELD, IMM, INSTRUCTIONS, MAX_ARRAYS, QUEUES, Field, FieldKind, Instruction, Queue, When
from isa.machine import Machine, parse_machine
from isa.program import Program, Provenance, Semaphore, Symbol
from isa.stream import MAX_LOOPS, Space
from isa.stream_syntax import loop_level, read_place, read_stream

__all__ = ["assemble", "disassemble"]

_POSITIONAL = (FieldKind.SEMAPHORE, FieldKind.FUNCTION, FieldKind.REDUCTION)
"""Kinds of field whose value stands alone, without ``name=``."""


def assemble(text: str, place: str) -> Program:
    """The program of an assembly text; ``place`` is the file's name.

    Raises:
        UserError: with file, line, column, what was found and what is expected.
    """
    assembler = _Assembler(place)
    tree = parse(text, "program", place)
    try:
        for statement in tree.children:
            assert isinstance(statement, Tree)
            getattr(assembler, f"on_{statement.data}")(statement.children)
        return assembler.finish()
    except AsmError as error:
        raise error.at(place) from error


class _Assembler:
    """Takes one statement after another; ``on_<rule>`` handles the statements of a rule of the grammar."""

    def __init__(self, place: str) -> None:
        self.place = place
        self.headers: dict[str, str] = {}
        self.machine: list[Token] = []
        self.dram_bytes = 0
        self.semaphores: list[Semaphore] = []
        self.semaphore_index: dict[str, int] = {}
        self.symbols: list[Symbol] = []
        self.addresses: dict[tuple[Space, str], int] = {}
        self.provenance: list[Provenance] = []
        self.data: list[tuple[int, list[Token]]] = []
        self.queues: dict[Queue, list[Instruction]] = {}
        self.code: list[Instruction] | None = None
        self.open: list[Token | None] = []
        self.loops: list[str] = []
        self.origin: int | None = None
        self.streams = Streams()

    def on_header(self, children: list[Any]) -> None:
        keyword, value = children
        if keyword in self.headers:
            raise AsmError(keyword, f"a second {keyword}")
        self.headers[keyword] = text_of(value)

    def on_machine(self, children: list[Any]) -> None:
        self.machine.append(children[0])

    def on_dram(self, children: list[Any]) -> None:
        self.dram_bytes = integer(children[0])

    def on_semaphore(self, children: list[Any]) -> None:
        name, initial = children
        if text_of(name) in self.semaphore_index:
            raise AsmError(name, f"a second semaphore {name}")
        if len(self.semaphores) == MAX_SEMAPHORES:
            raise AsmError(name, f"more than {MAX_SEMAPHORES} semaphores")
        self.semaphore_index[text_of(name)] = len(self.semaphores)
        self.semaphores.append(Semaphore(text_of(name), 0 if initial is None else integer(initial)))

    def on_symbol(self, children: list[Any]) -> None:
        name, kind, where, *shape, classes, minus, ignored = children
        space, dtype = read_place(where.children[0])
        address = integer(where.children[1])
        sizes = tuple(integer(size) for size in shape if size is not None)
        symbol = Symbol(
            text_of(name), space, address, sizes, dtype, str(kind), None if classes is None else integer(classes),
            None if ignored is None else -integer(ignored) if minus else integer(ignored),
        )  # fmt: skip
        self.symbols.append(symbol)
        self.addresses.setdefault((space, symbol.name), address)

    def on_provenance(self, children: list[Any]) -> None:
        index, layer, product, group, node, macs, dram_bytes = children
        if integer(index) != len(self.provenance):
            raise AsmError(index, f"found provenance {index}, expected {len(self.provenance)}: they are numbered in order")
        self.provenance.append(
            Provenance(text_of(layer), text_of(product), integer(group), text_of(node), integer(macs), integer(dram_bytes))
        )

    def on_data(self, children: list[Any]) -> None:
        self.data.append((integer(children[0]), []))

    def on_bytes(self, children: list[Any]) -> None:
        if not self.data:
            raise AsmError(children[0], "a line of data without .data before it")
        self.data[-1][1].append(children[0])

    def on_queue(self, children: list[Any]) -> None:
        name = children[0]
        self._end_queue()
        queue = QUEUES.get(name)
        if queue is None:
            further = f" and, of further arrays, {', '.join(f'{q.name}.1' for q in Queue if not q.shared)} to {MAX_ARRAYS - 1}"
            raise AsmError(name, f"no queue `{name}`; there are: {', '.join(Queue.__members__)}{further}")
        if queue in self.queues:
            raise AsmError(name, f"a second .queue {name}")
        self.code = self.queues[queue] = []
        self.origin = None

    def on_origin(self, children: list[Any]) -> None:
        self.origin = self._origin(children[0])

    def _origin(self, token: Token) -> int | None:
        if token == "@none":
            return None
        index = integer(Token("INT", token[1:], line=token.line, column=token.column))
        if index >= len(self.provenance):
            raise AsmError(token, f"no provenance {index}; there are {len(self.provenance)}")
        return index

    def on_loop(self, children: list[Any]) -> None:
        name, count, limit, reference, origin = children
        level = 0 if reference is None else loop_level(reference, self.loops)
        label = "" if name is None else text_of(name)
        turns = {"name": label, "count": integer(count), "limit": 0 if limit is None else integer(limit), "level": level}
        if len(self.loops) == MAX_LOOPS:
            raise AsmError(count, f"more than {MAX_LOOPS} loops inside each other")
        self._add(count, "loop", turns, origin)
        self.loops.append(label)
        self.open.append(count)

    def on_instruction(self, children: list[Any]) -> None:
        op, *arguments, origin = children
        if op not in INSTRUCTIONS or op == "loop":
            raise AsmError(op, f"no instruction `{op}`; there are: {', '.join(INSTRUCTIONS)}")
        spec = INSTRUCTIONS[op]
        args: dict[str, Any] = {}
        for argument in arguments:
            field, value = self._argument(op, spec.fields, argument)
            if field.name in args:
                raise AsmError(_first_token(argument), f"a second {field.name}")
            args[field.name] = value
        missing = [field.name for field in spec.fields if field.default is None and field.name not in args]
        if missing:
            raise AsmError(op, f"`{op}` needs {', '.join(missing)}")
        if op == "end":
            if not self.loops:
                raise AsmError(op, "end without a loop")
            self.loops.pop()
            self.open.pop()
        self._add(op, str(op), {field.name: args.get(field.name, field.default) for field in spec.fields}, origin)

    def _argument(self, op: Token, fields: tuple[Field, ...], argument: Any) -> tuple[Field, Any]:
        """The field that an argument gives, and its value."""
        token = _first_token(argument)
        by_name = {field.name: field for field in fields}
        if argument.data == "keyword":
            field = by_name.get(token)
            if field is not None and field.kind not in (FieldKind.WHEN, FieldKind.FLAG, *_POSITIONAL):
                return field, self._value(field, argument.children[1])
        else:
            head, _, kind = token.partition(".")
            field = by_name.get(head)
            if field is not None and field.kind is FieldKind.WHEN and argument.data == "flag":
                return field, self._when(token, kind, argument.children[1:])
            positional = next((field for field in fields if field.kind in _POSITIONAL), None)
            if positional is not None and all(child is None for child in argument.children[1:]):
                return positional, self._positional(positional, token)
        known = ", ".join(
            f.name if f.kind is FieldKind.WHEN else f"the {f.kind}" if f.kind in _POSITIONAL else f"{f.name}=" for f in fields
        )
        raise AsmError(token, f"found `{token}`, expected of `{op}`: {known or 'nothing'}")

    def _when(self, token: Token, kind: str, loops: list[Any]) -> When:
        levels = sorted({loop_level(loop, self.loops) for loop in loops if loop is not None})
        if kind not in ("", "first", "last") or (levels and not kind):
            raise AsmError(token, f"found `{token}`, expected a flag such as swap, swap.first(n) or swap.last(n)")
        return When(kind or "first", tuple(levels))

    def _positional(self, field: Field, token: Token) -> Any:
        if field.kind is not FieldKind.SEMAPHORE:
            return str(token)
        if text_of(token) not in self.semaphore_index:
            raise AsmError(token, f"no semaphore {token}")
        return self.semaphore_index[text_of(token)]

    def _value(self, field: Field, value: Any) -> Any:
        if value.data == "stream":
            if field.kind not in (FieldKind.STREAM, FieldKind.OPERAND):
                raise AsmError(_first_token(value), f"{field.name} is not a stream")
            return read_stream(value, self.loops, self.addresses)
        token = _first_token(value)
        if field.kind is FieldKind.OPERAND and token in (HELD, IMM):
            return str(token)
        if field.kind is FieldKind.FLOAT:
            try:
                return float32(float(token))
            except (ValueError, EncodingError) as error:
                raise AsmError(token, f"found `{token}`, expected an fp32 number") from error
        raise AsmError(token, f"found `{token}`, expected a stream such as X@spad.f32[0] x32 for {field.name}")

    def _add(self, token: Token, op: str, args: dict[str, Any], origin: Token | None) -> None:
        if self.code is None:
            raise AsmError(token, "an instruction before the first .queue")
        index = self.origin if origin is None else self._origin(origin)
        instruction = Instruction(op, args, None if op == "end" else index)
        try:
            encode_instruction(instruction, self.streams)
        except EncodingError as error:
            raise AsmError(token, str(error)) from error
        self.code.append(instruction)

    def _end_queue(self) -> None:
        if self.open:
            raise AsmError(self.open[-1], "a loop without an end")

    def finish(self) -> Program:
        """The program of all statements."""
        self._end_queue()
        if ".program" not in self.headers:
            raise AsmError(None, "no .program in the text")
        machine = self._machine()
        queues: dict[Queue, list[Instruction]] = {queue: [] for queue in machine.queues}
        program = Program(
            self.headers[".program"], machine, queues | self.queues, self.semaphores, self.symbols, self.provenance,
            [(address, _decode(lines)) for address, lines in self.data], self.dram_bytes, self.headers.get(".schedule", ""),
        )  # fmt: skip
        try:
            self.streams.rows()
        except EncodingError as error:
            raise UserError(self.place, str(error)) from error
        validate_tables(program, self.place)
        return program

    def _machine(self) -> Machine:
        if not self.machine:
            raise AsmError(None, "no .machine in the text")
        text = "\n".join(line.removeprefix(".machine") for line in self.machine)
        return parse_machine(text, f"{self.place}:{self.machine[0].line}: .machine")


def _first_token(tree: Any) -> Token:
    token: Token = next(tree.scan_values(lambda value: isinstance(value, Token)))
    return token


def _decode(lines: list[Token]) -> bytes:
    try:
        return base64.b64decode("".join(line[1:] for line in lines), validate=True)
    except ValueError as error:
        raise AsmError(lines[0], f"not base64: {error}") from error
