"""The disassembler: a program as text that assembles to the same program."""

import base64
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np

from isa.grammar import quoted
from isa.instructions import HELD, IMM, Field, FieldKind, Instruction, Queue, When
from isa.machine import Machine
from isa.program import Program, Provenance, Symbol
from isa.stream_syntax import Symbols, format_stream, loop_label, name_text
from isa.vector import FUNCTIONS

QUEUE_DOCS = {
    Queue.dma_in: "DRAM → scratchpad",
    Queue.dma_out: "scratchpad → DRAM",
    Queue.wchain: "the chain that brings weights and velocities: scratchpad → w_next, g_next",
    Queue.array: "the beats of the array",
    Queue.gchain: "the chain that takes gradients and weights: g_out, w_out → scratchpad",
    Queue.vector: "what is no product",
}
"""What each queue is for, in a few words."""

_COMMENT_COLUMN = 40
_DATA_COLUMNS = 96
_MAX_ALIGNED = 80

Row = tuple[str, list[str], str]
"""Indentation with mnemonic, the operands of an instruction, and its provenance where it has one for itself."""


def disassemble(program: Program) -> str:
    """The assembly text of a program, alone a whole program again."""
    lines = [f".program {quoted(program.name)}"]
    if program.schedule:
        lines.append(f".schedule {quoted(program.schedule)}")
    lines += [f".machine {line}" for line in machine_text(program.machine).strip("\n").split("\n")]
    lines.append(f".dram {program.dram_bytes}")
    lines += _section("semaphores and their tokens at the start", [_semaphore_line(s.name, s.initial) for s in program.semaphores])
    lines += _section("symbols: kind, place, shape", _symbol_lines(program.symbols))
    lines += _section("where instructions come from", [_provenance_line(i, p) for i, p in enumerate(program.provenance)])
    symbols: dict[Any, int] = {}
    for symbol in program.symbols:
        symbols.setdefault((symbol.space, symbol.name), symbol.address)
    for queue in program.machine.queues:
        code = program.queues.get(queue, [])
        if code:
            lines += ["", _commented(f".queue {queue.name}", f"{QUEUE_DOCS[queue.unit]}, {len(code)} instructions")]
            lines += code_lines(code, program, symbols)
    if program.data:
        lines += ["", "; initial contents of DRAM: address, then bytes in base64"]
        for address, content in program.data:
            lines.append(f".data {address}")
            encoded = base64.b64encode(content).decode()
            lines += [f"|{encoded[at : at + _DATA_COLUMNS]}" for at in range(0, len(encoded), _DATA_COLUMNS)]
    return "\n".join(lines) + "\n"


def instruction_text(instruction: Instruction, loop_names: list[str], program: Program) -> str:
    """One instruction in assembly, inside loops of these names."""
    symbols: dict[Any, int] = {}
    for symbol in program.symbols:
        symbols.setdefault((symbol.space, symbol.name), symbol.address)
    return " ".join([instruction.op, *_operands(instruction, loop_names, program, symbols)])


def _section(title: str, lines: list[str]) -> list[str]:
    return ["", f"; {title}", *lines] if lines else []


def _commented(text: str, comment: str, column: int = _COMMENT_COLUMN) -> str:
    return f"{text:<{max(column - 1, 0)}} ; {comment if comment.isprintable() else quoted(comment)}"


def machine_text(machine: Machine) -> str:
    """A machine as the text of a machine file, one line for each of its parts."""
    return "\n".join(f"{name} = {_toml(value)}" for name, value in msgspec.to_builtins(machine).items())


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {_toml(item)}" for name, item in value.items()) + " }"
    return quoted(value) if isinstance(value, str) else repr(value)


def _semaphore_line(name: str, initial: int) -> str:
    return f".semaphore {name_text(name)}" + (f" = {initial}" if initial else "")


def _symbol_lines(symbols: list[Symbol]) -> list[str]:
    names = [name_text(symbol.name) for symbol in symbols]
    places = [f"{s.kind} {s.space.name}.{s.dtype.name}[{s.address}]" for s in symbols]
    width, place_width = max(map(len, names), default=0), max(map(len, places), default=0)
    lines = []
    for symbol, name, where in zip(symbols, names, places, strict=True):
        shape = ", ".join(str(size) for size in symbol.shape)
        labels = "" if symbol.classes is None else f" classes={symbol.classes}"
        labels += "" if symbol.ignored is None else f" ignored={symbol.ignored}"
        lines.append(f".symbol {name:<{width}} = {where:<{place_width}} ({shape}){labels}")
    return lines


def _provenance_line(index: int, origin: Provenance) -> str:
    return (
        f".provenance {index} layer={quoted(origin.layer)} product={quoted(origin.product)} group={origin.group} "
        f"node={quoted(origin.node)} macs={origin.macs} dram_bytes={origin.dram_bytes}"
    )


def code_lines(code: list[Instruction], program: Program, symbols: Symbols) -> Iterator[str]:
    """The lines of a queue: operands in columns between loops, provenance as a header, or beside an instruction that is alone with it."""
    rows: list[Row] = []
    loops: list[str] = []
    origin: int | None = None
    for instruction, following in zip(code, _following(code), strict=True):
        if instruction.op == "end" and loops:
            loops.pop()
        indent = "  " * (len(loops) + 1)
        alone = ""
        if instruction.op != "end" and instruction.provenance != origin:
            if following is None or following.provenance == instruction.provenance:
                yield from _aligned(rows)
                rows = []
                origin = instruction.provenance
                yield _origin_line(f"{indent}{_origin_text(origin)}", origin, program)
            else:
                alone = _origin_line(_origin_text(instruction.provenance), instruction.provenance, program, column=0)
        row = (f"{indent}{instruction.op:<7}", _operands(instruction, loops, program, symbols), alone)
        rows.append(row)
        if instruction.op in ("loop", "end"):
            yield from _aligned(rows[:-1])
            yield from _aligned(rows[-1:])
            rows = []
        if instruction.op == "loop":
            loops.append(instruction["name"])
    yield from _aligned(rows)


def _following(code: list[Instruction]) -> list[Instruction | None]:
    """For each instruction the next that is no ``end``."""
    following: list[Instruction | None] = []
    after = None
    for instruction in reversed(code):
        following.append(after)
        after = after if instruction.op == "end" else instruction
    following.reverse()
    return following


def _origin_text(index: int | None) -> str:
    return "@none" if index is None else f"@{index}"


def _origin_line(text: str, index: int | None, program: Program, column: int = _COMMENT_COLUMN) -> str:
    if index is None:
        return text
    origin = program.provenance[index]
    return _commented(text, " · ".join(part for part in (origin.layer, origin.product, origin.node) if part), column)


def _aligned(rows: list[Row]) -> Iterator[str]:
    """Rows with their operands in columns; very long operands do not push the others away."""
    widths: dict[int, int] = {}
    for _, operands, _ in rows:
        for column, operand in enumerate(operands[:-1]):
            if len(operand) <= _MAX_ALIGNED:
                widths[column] = max(widths.get(column, 0), len(operand))
    texts = []
    for head, operands, _ in rows:
        padded = [f"{operand:<{widths.get(column, 0)}}" for column, operand in enumerate(operands)]
        texts.append(f"{head}{' '.join(padded)}".rstrip())
    width = max((len(text) for text, (_, _, alone) in zip(texts, rows, strict=True) if alone), default=0)
    for text, (_, _, alone) in zip(texts, rows, strict=True):
        yield f"{text:<{width}} {alone}" if alone else text


def _operands(instruction: Instruction, loops: list[str], program: Program, symbols: Symbols) -> list[str]:
    if instruction.op == "loop":
        return [_loop_text(instruction, loops)]
    texts = []
    shown = _used_immediates(instruction)
    for field in instruction.spec.fields:
        value = instruction.args[field.name]
        if field.name in shown or field.default is None or not _same(value, field.default):
            texts.append(_field_text(field, value, loops, program, symbols))
    return texts


def _same(value: Any, default: Any) -> bool:
    """Whether a value is the default; -0.0 is not 0.0."""
    return bool(value == default) and str(value) == str(default)


def _loop_text(loop: Instruction, loops: list[str]) -> str:
    name = f"{name_text(loop['name'])}, " if loop["name"] else ""
    clipped = loop["limit"] or loop["level"]
    clip = f"/{loop['limit']}@{loop_label(loop['level'], loops)}" if clipped else ""
    return f"{name}{loop['count']}{clip}"


def _used_immediates(instruction: Instruction) -> set[str]:
    """Operands of a vector function that are the immediate, and the immediate: shown even where they are the default."""
    if instruction.op != "vec":
        return set()
    used = {name for name in "abc"[: FUNCTIONS[instruction["fn"]].arity] if instruction[name] == IMM}
    return used | {"imm"} if used else used


def _field_text(field: Field, value: Any, loops: list[str], program: Program, symbols: Symbols) -> str:
    if field.kind is FieldKind.WHEN:
        return _when_text(field.name, value, loops)
    if field.kind is FieldKind.SEMAPHORE:
        return name_text(program.semaphores[value].name) if 0 <= value < len(program.semaphores) else str(value)
    if field.kind in (FieldKind.FUNCTION, FieldKind.REDUCTION):
        return str(value)
    if field.kind is FieldKind.FLOAT:
        return f"{field.name}={np.float32(value)!s}"  # the shortest decimal that reads back as the same fp32 number
    if value in (HELD, IMM):
        return f"{field.name}={value}"
    return f"{field.name}={format_stream(value, loops, symbols)}"


def _when_text(name: str, when: When, loops: list[str]) -> str:
    if when.kind == "first" and not when.levels:
        return name
    return f"{name}.{when.kind}({', '.join(loop_label(level, loops) for level in when.levels)})"
