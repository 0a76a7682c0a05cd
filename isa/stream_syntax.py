"""Streams as text: ``dX@spad.f32[h1 + 512*b + 128*n] x32``.

    [operand]@memory.type[address] xCOUNT[/LIMIT@LOOP][:STRIDE] …

The address is a base, a term for each enclosing loop that moves it, and the slot of a ring:
``h1 + 64`` (64 bytes into symbol h1), ``h1@4096`` (in h1, at address 4096) or ``4096``; ``+ 512*b``; ``+ 4096*((1 + n) mod 2)``.
Dimensions run from the outermost; without ``:STRIDE`` their words lie side by side; ``/100@n`` clips to 100 words over loop n.
A loop goes by its name, or by ``%level`` where the name is empty or not the only one.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from lark import Token

from isa.dtypes import DType
from isa.grammar import AsmError, integer, parse, quoted, text_of
from isa.stream import MAX_LOOPS, Dim, Operand, Ring, Space, Stream

Symbols = Mapping[tuple[Space, str], int]
"""Addresses of the symbols by memory and name."""

_BARE = re.compile(r"[A-Za-z_][A-Za-z0-9_./]*")
_LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def name_text(name: str) -> str:
    """A name as it is written: quoted if it has to be."""
    return name if _BARE.fullmatch(name) else quoted(name)


def loop_label(level: int, loop_names: Sequence[str]) -> str:
    """How a loop is referred to."""
    if level < len(loop_names):
        name = loop_names[level]
        if _LABEL.fullmatch(name) and loop_names.count(name) == 1:
            return name
    return f"%{level}"


def loop_level(token: Token, loop_names: Sequence[str]) -> int:
    """The level that a reference means."""
    if token.type == "LEVEL":
        level = int(token[1:])
        if level >= MAX_LOOPS:
            raise AsmError(token, f"loops are numbered from %0 to %{MAX_LOOPS - 1}")
        return level
    matches = [level for level, name in enumerate(loop_names) if name == token]
    if len(matches) != 1:
        known = ", ".join(loop_label(level, loop_names) for level in range(len(loop_names))) or "none"
        raise AsmError(token, f"{'no' if not matches else 'more than one'} loop around this is called `{token}`; there are: {known}")
    return matches[0]


def format_stream(stream: Stream, loop_names: Sequence[str], symbols: Symbols | None = None) -> str:
    """The text of a stream inside loops of these names, outermost first.

    Addresses are relative to the stream's symbol where ``symbols`` has it.
    """
    address = _base_text(stream, symbols or {})
    address += "".join(_term(stride, loop_label(level, loop_names)) for level, stride in enumerate(stream.strides) if stride)
    if stream.ring:
        address += _term(stream.ring.size, f"({_slot_text(stream.ring, loop_names)} mod {stream.ring.slots})", product=True)
    operand = stream.operand.name if stream.operand else ""
    dims = "".join(f" {text}" for text in _dims_text(stream, loop_names))
    return f"{operand}@{stream.space.name}.{stream.dtype.name}[{address}]{dims}"


def _base_text(stream: Stream, symbols: Symbols) -> str:
    if stream.symbol is None:
        return str(stream.base)
    home = symbols.get((stream.space, stream.symbol))
    if home is None:
        return f"{name_text(stream.symbol)}@{stream.base}"
    return name_text(stream.symbol) + (_term(stream.base - home, "") if stream.base != home else "")


def _term(factor: int, what: str, *, product: bool = False) -> str:
    """`` + factor*what`` with the sign taken out; ``product`` writes the factor even if it is 1."""
    sign, size = ("-" if factor < 0 else "+"), abs(factor)
    if not what:
        return f" {sign} {size}"
    return f" {sign} {what}" if size == 1 and not product else f" {sign} {size}*{what}"


def _slot_text(ring: Ring, loop_names: Sequence[str]) -> str:
    steps = "".join(_term(step, loop_label(level, loop_names)) for level, step in enumerate(ring.steps) if step)
    text = steps[3:] if not ring.start and steps.startswith(" + ") else f"{ring.start}{steps}"
    return f"({text})" if " " in text or ring.start < 0 else text


def _dims_text(stream: Stream, loop_names: Sequence[str]) -> list[str]:
    texts = []
    contiguous = stream.dtype.size
    strides = []
    for dim in reversed(stream.dims):
        strides.append("" if dim.stride == contiguous else f":{dim.stride}")
        contiguous *= dim.count
    for dim, stride in zip(stream.dims, reversed(strides), strict=True):
        clip = "" if dim.limit is None else f"/{dim.limit}@{loop_label(dim.level, loop_names)}"
        texts.append(f"x{dim.count}{clip}{stride}")
    return texts


def parse_stream(text: str, loop_names: Sequence[str], symbols: Symbols | None = None, place: str = "stream") -> Stream:
    """The stream of a text.

    Raises:
        UserError: with the place in the text.
    """
    tree = parse(text, "stream", place)
    try:
        return read_stream(tree, loop_names, symbols or {})
    except AsmError as error:
        raise error.at(place) from error


def read_stream(tree: Any, loop_names: Sequence[str], symbols: Symbols) -> Stream:
    """The stream of a syntax tree; raises AsmError."""
    operand, where, address, *dims = tree.children
    space, dtype = read_place(where)
    if operand is not None and operand not in Operand.__members__:
        raise AsmError(operand, f"no operand `{operand}`; there are: {', '.join(Operand.__members__)}")
    base, symbol, strides, ring = _read_address(address, loop_names, symbols, space)
    return Stream(space, dtype, base, _read_dims(dims, dtype, loop_names), strides, ring,
                  Operand[operand] if operand is not None else Operand.none, symbol)  # fmt: skip


def read_place(token: Token) -> tuple[Space, DType]:
    """Memory and type of ``spad.f32``."""
    space, _, dtype = token.partition(".")
    if space not in Space.__members__ or dtype not in DType.__members__:
        raise AsmError(token, f"found `{token}`, expected {'/'.join(Space.__members__)}, a dot and {'/'.join(DType.__members__)}")
    return Space[space], DType[dtype]


def _read_address(
    tree: Any, loop_names: Sequence[str], symbols: Symbols, space: Space
) -> tuple[int, str | None, tuple[int, ...], Ring | None]:
    first, *rest = tree.children
    symbol = None
    if first.data == "absolute":
        base = _signed(*first.children)
    else:
        name, sign, number = first.children
        symbol = text_of(name)
        if number is not None:
            base = _signed(sign, number)
        elif (space, symbol) in symbols:
            base = symbols[space, symbol]
        else:
            raise AsmError(name, f"no symbol {name} in {space.name}; write {name}@ADDRESS for a place without one")
    rings = []
    terms = []
    for sign, item in zip(rest[::2], rest[1::2], strict=True):
        if item.data == "ring":
            size, slot, slots = item.children
            start, steps = _read_sum([None, *slot.children] if slot.data == "lone" else slot.children, loop_names)
            if integer(slots) < 1:
                raise AsmError(slots, "a ring has at least one slot")
            rings.append((slots, Ring(integer(slots), _signed(None if sign == "+" else sign, size), start, steps)))
        else:
            terms += [sign, item]
    if len(rings) > 1:
        raise AsmError(rings[1][0], "a stream has at most one ring")
    offset, strides = _read_sum(terms, loop_names)
    return base + offset, symbol, strides, rings[0][1] if rings else None


def _signed(sign: Token | None, number: Token) -> int:
    return -integer(number) if sign else integer(number)


def _read_sum(children: Sequence[Any], loop_names: Sequence[str]) -> tuple[int, tuple[int, ...]]:
    """Constant and factor per loop of ``[-] item, ± item, …``."""
    constant = 0
    factors: dict[int, int] = {}
    for sign, item in zip(children[::2], children[1::2], strict=True):
        direction = -1 if sign == "-" else 1
        if item.data == "number":
            constant += direction * integer(item.children[0])
        else:
            factor, loop = item.children
            level = loop_level(loop, loop_names)
            factors[level] = factors.get(level, 0) + direction * (1 if factor is None else integer(factor))
    levels = max((level for level, factor in factors.items() if factor), default=-1) + 1
    return constant, tuple(factors.get(level, 0) for level in range(levels))


def _read_dims(trees: Sequence[Any], dtype: DType, loop_names: Sequence[str]) -> tuple[Dim, ...]:
    contiguous = dtype.size
    dims = []
    for tree in reversed(trees):
        count, limit, loop, stride = tree.children
        words = integer(Token("INT", count[1:], line=count.line, column=count.column))
        step = contiguous if stride is None else integer(stride)
        if limit is None:
            dims.append(Dim(words, step))
        else:
            dims.append(Dim(words, step, integer(limit), loop_level(loop, loop_names)))
        contiguous *= words
    return tuple(reversed(dims))
