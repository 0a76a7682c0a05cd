"""Bits of instructions and streams: 128-bit words packed from the table of instructions, and the rows of the stream table."""

import math
import struct
from collections.abc import Callable
from operator import index
from typing import Any

import numpy as np
import numpy.typing as npt

from isa.dtypes import DType
from isa.instructions import BY_CODE, HELD, IMM, INSTRUCTION_BITS, OPCODE_BITS, WIDTHS, Field, FieldKind, Instruction, When
from isa.stream import MAX_DIMS, MAX_LOOPS, Dim, Operand, Ring, Space, Stream
from isa.vector import BY_CODE as FUNCTIONS_BY_CODE
from isa.vector import FUNCTIONS, REDUCTIONS, REDUCTIONS_BY_CODE

INSTRUCTION_BYTES = INSTRUCTION_BITS // 8
HELD_CODE = 0xFFFF
IMM_CODE = 0xFFFE
MAX_STREAMS = IMM_CODE
"""Streams that 16 bits can name beside ``held`` and ``imm``."""
MAX_SEMAPHORES = 1 << WIDTHS[FieldKind.SEMAPHORE]
WHEN_KINDS = ("never", "first", "last")

STREAM_ROW = np.dtype(
    [
        ("space", "u1"),
        ("dtype", "u1"),
        ("operand", "u1"),
        ("n_dims", "u1"),
        ("n_strides", "u1"),
        ("n_steps", "u1"),
        ("clipped", "u1"),
        ("has_ring", "u1"),
        ("symbol", "<i4"),
        ("ring_slots", "<u4"),
        ("ring_size", "<i8"),
        ("ring_start", "<i8"),
        ("base", "<i8"),
        ("strides", "<i8", (MAX_LOOPS,)),
        ("ring_steps", "<i8", (MAX_LOOPS,)),
        ("dim_count", "<i8", (MAX_DIMS,)),
        ("dim_stride", "<i8", (MAX_DIMS,)),
        ("dim_limit", "<i8", (MAX_DIMS,)),
        ("dim_level", "u1", (MAX_DIMS,)),
    ]
)
"""One row of the stream table; unused entries are 0, ``symbol`` is an index into the names or -1, ``clipped`` a bit per dimension."""


class EncodingError(Exception):
    """A value that the encoding cannot hold, or bits that mean nothing; callers add the place."""


def float32(value: float) -> float:
    """The nearest fp32 value, which is what an immediate holds; raises EncodingError for NaN and overflow."""
    try:
        rounded: float = struct.unpack("<f", struct.pack("<f", value))[0]
    except (struct.error, OverflowError) as error:
        raise EncodingError(f"{value!r} is not an fp32 number") from error
    if math.isnan(rounded):
        raise EncodingError("an immediate cannot be NaN")
    return rounded


def canonical(stream: Stream) -> Stream:
    """The stream as the binary holds it: no zeros at the end of its strides and ring steps, no level where nothing is clipped."""
    dims = tuple(Dim(d.count, d.stride) if d.limit is None else d for d in stream.dims)
    ring = stream.ring and Ring(stream.ring.slots, stream.ring.size, stream.ring.start, _trimmed(stream.ring.steps))
    return Stream(stream.space, stream.dtype, stream.base, dims, _trimmed(stream.strides), ring, stream.operand, stream.symbol)


def _trimmed(values: tuple[int, ...]) -> tuple[int, ...]:
    length = len(values)
    while length and not values[length - 1]:
        length -= 1
    return tuple(values[:length])


class Streams:
    """The table of streams of a program under construction: equal streams share a row; rows in order of first use."""

    def __init__(self) -> None:
        self.index: dict[Stream, int] = {}
        self.names: dict[str, int] = {}

    def add(self, stream: Stream) -> int:
        """Row of this stream."""
        if not isinstance(stream, Stream):
            raise EncodingError(f"expected a stream, found {stream!r}")
        return self.index.setdefault(canonical(stream), len(self.index))

    def rows(self) -> npt.NDArray[np.void]:
        """The table; fills ``names`` with the symbols it refers to.

        Raises:
            EncodingError: a value too large, or more dimensions, levels or streams than there may be.
        """
        if len(self.index) > MAX_STREAMS:
            raise EncodingError(f"{len(self.index)} different streams, at most {MAX_STREAMS} can be encoded")
        table = np.zeros(len(self.index), STREAM_ROW)
        for row, stream in zip(table, self.index, strict=True):
            try:
                self._fill(row, stream)
            except (OverflowError, ValueError, TypeError, IndexError) as error:
                raise EncodingError(f"cannot encode {stream}: {error}") from error
        return table

    def _fill(self, row: Any, stream: Stream) -> None:
        if len(stream.dims) > MAX_DIMS:
            raise EncodingError(f"a stream with {len(stream.dims)} dimensions, at most {MAX_DIMS} can be encoded")
        steps = stream.ring.steps if stream.ring else ()
        if len(stream.strides) > MAX_LOOPS or len(steps) > MAX_LOOPS or any(not 0 <= d.level < MAX_LOOPS for d in stream.dims):
            raise EncodingError(f"a stream refers to loops deeper than {MAX_LOOPS}")
        if any(d.count < 0 or (d.limit or 0) < 0 for d in stream.dims) or (stream.ring and stream.ring.slots < 1):
            raise EncodingError("a stream with a negative count or clip, or with a ring without slots")
        row["space"], row["dtype"], row["operand"] = stream.space, stream.dtype, stream.operand
        row["n_dims"], row["n_strides"], row["n_steps"] = len(stream.dims), len(stream.strides), len(steps)
        row["symbol"] = -1 if stream.symbol is None else self.names.setdefault(stream.symbol, len(self.names))
        row["base"] = stream.base
        row["strides"][: len(stream.strides)] = stream.strides
        if stream.ring:
            row["has_ring"] = 1
            row["ring_slots"], row["ring_size"], row["ring_start"] = stream.ring.slots, stream.ring.size, stream.ring.start
            row["ring_steps"][: len(steps)] = steps
        for d, dim in enumerate(stream.dims):
            row["dim_count"][d], row["dim_stride"][d] = dim.count, dim.stride
            if dim.limit is not None:
                row["clipped"] |= 1 << d
                row["dim_limit"][d], row["dim_level"][d] = dim.limit, dim.level


def decode_streams(table: npt.NDArray[np.void], names: list[str]) -> list[Stream]:
    """The streams of a table; raises EncodingError with the row that means nothing."""
    streams = []
    columns = {name: table[name].tolist() for name in STREAM_ROW.names or ()}  # Python's integers: they do not overflow
    for at in range(len(table)):
        try:
            streams.append(_decode_stream({name: column[at] for name, column in columns.items()}, names))
        except (ValueError, IndexError) as error:
            raise EncodingError(f"stream {at}: {error}") from error
    return streams


def _decode_stream(row: dict[str, Any], names: list[str]) -> Stream:
    n_dims, n_strides, n_steps, symbol = row["n_dims"], row["n_strides"], row["n_steps"], row["symbol"]
    if n_dims > MAX_DIMS or n_strides > MAX_LOOPS or n_steps > MAX_LOOPS or symbol < -1:
        raise ValueError("more dimensions or loops than there may be")
    dims = []
    for d in range(n_dims):
        limit = row["dim_limit"][d] if row["clipped"] >> d & 1 else None
        if row["dim_level"][d] >= MAX_LOOPS:
            raise ValueError("a clip refers to a loop that cannot be")
        if row["dim_count"][d] < 0 or row["dim_limit"][d] < 0:
            raise ValueError("a count or a clip is negative")
        dims.append(Dim(row["dim_count"][d], row["dim_stride"][d], limit, row["dim_level"][d]))
    ring = None
    if row["has_ring"]:
        if not row["ring_slots"]:
            raise ValueError("a ring without slots")
        ring = Ring(row["ring_slots"], row["ring_size"], row["ring_start"], tuple(row["ring_steps"][:n_steps]))
    return Stream(
        Space(row["space"]),
        DType(row["dtype"]),
        row["base"],
        tuple(dims),
        tuple(row["strides"][:n_strides]),
        ring,
        Operand(row["operand"]),
        names[symbol] if symbol >= 0 else None,
    )


# One encoder and one decoder per kind of field: value -> bits and bits -> value.


def _encode_when(when: When) -> int:
    if not isinstance(when, When) or when.kind not in WHEN_KINDS:
        raise EncodingError(f"expected a flag, found {when!r}")
    if any(not 0 <= level < MAX_LOOPS for level in when.levels):
        raise EncodingError(f"a flag refers to a loop beyond the {MAX_LOOPS} there can be")
    mask = 0 if when.kind == "never" else sum(1 << level for level in set(when.levels))
    return mask << 2 | WHEN_KINDS.index(when.kind)


def _decode_when(bits: int) -> When:
    if bits & 3 == 3:
        raise EncodingError("a flag of kind 3")
    return When(WHEN_KINDS[bits & 3], tuple(level for level in range(MAX_LOOPS) if bits >> 2 + level & 1))


def _encode_name(name: str) -> int:
    if len(name) > 4 or any(not " " <= character <= "~" for character in name):
        raise EncodingError(f"a loop's name is at most four printable ASCII characters, found {name!r}")
    return int.from_bytes(name.encode("ascii"), "little")


def _decode_name(bits: int) -> str:
    name = bits.to_bytes(4, "little").rstrip(b"\0").decode("latin-1")
    _encode_name(name)
    return name


def _lookup(table: dict[Any, Any], what: str) -> Callable[[Any], Any]:
    def find(key: Any) -> Any:
        if key not in table:
            raise EncodingError(f"no such {what}: {key!r}")
        return table[key]

    return find


def _level(value: int) -> int:
    if not 0 <= value < MAX_LOOPS:
        raise EncodingError(f"loops are numbered from 0 to {MAX_LOOPS - 1}, found {value}")
    return value


def _decode_float(bits: int) -> float:
    return float32(struct.unpack("<f", struct.pack("<I", bits))[0])


_PLAIN: tuple[Callable[[Any], int], Callable[[int], Any]] = (index, index)
_CODECS: dict[FieldKind, tuple[Callable[[Any], int], Callable[[int], Any]]] = {
    FieldKind.WHEN: (_encode_when, _decode_when),
    FieldKind.COUNT: _PLAIN,
    FieldKind.LEVEL: (_level, _level),
    FieldKind.NAME: (_encode_name, _decode_name),
    FieldKind.SEMAPHORE: _PLAIN,
    FieldKind.FLOAT: (lambda value: int(struct.unpack("<I", struct.pack("<f", float32(value)))[0]), _decode_float),
    FieldKind.FUNCTION: (
        _lookup({name: f.code for name, f in FUNCTIONS.items()}, "vector function"),
        _lookup({code: f.name for code, f in FUNCTIONS_BY_CODE.items()}, "vector function"),
    ),
    FieldKind.REDUCTION: (_lookup(dict(REDUCTIONS), "reduction"), _lookup(dict(REDUCTIONS_BY_CODE), "reduction")),
    FieldKind.FLAG: (int, bool),
}
_SPECIAL = {HELD: HELD_CODE, IMM: IMM_CODE}
_SPECIAL_BY_CODE = {code: name for name, code in _SPECIAL.items()}


def encode_instruction(instruction: Instruction, streams: Streams) -> bytes:
    """The 16 bytes of one instruction, its streams added to the table.

    Raises:
        EncodingError: a value that its field cannot hold.
    """
    spec = instruction.spec
    word, shift = spec.code, OPCODE_BITS
    for field in spec.fields:
        word |= _encode_field(field, instruction.args[field.name], streams) << shift
        shift += WIDTHS[field.kind]
    return word.to_bytes(INSTRUCTION_BYTES, "little")


def _encode_field(field: Field, value: Any, streams: Streams) -> int:
    try:
        if field.kind is FieldKind.OPERAND and isinstance(value, str):
            bits: int = _SPECIAL[value]
        elif field.kind in (FieldKind.STREAM, FieldKind.OPERAND):
            bits = streams.add(value)
        else:
            bits = _CODECS[field.kind][0](value)
    except (EncodingError, TypeError, ValueError, KeyError, AttributeError) as error:
        raise EncodingError(f"{field.name}: {error if isinstance(error, EncodingError) else f'cannot encode {value!r}'}") from error
    if not 0 <= bits < 1 << WIDTHS[field.kind]:
        raise EncodingError(f"{field.name}: {value!r} does not fit into {WIDTHS[field.kind]} bits")
    return bits


def decode_instruction(word: bytes, streams: list[Stream], provenance: int | None) -> Instruction:
    """The instruction of 16 bytes.

    Raises:
        EncodingError: bits that mean nothing.
    """
    bits = int.from_bytes(word, "little")
    spec = BY_CODE.get(bits & (1 << OPCODE_BITS) - 1)
    if spec is None:
        raise EncodingError(f"no instruction has the code 0x{bits & (1 << OPCODE_BITS) - 1:02x}")
    bits >>= OPCODE_BITS
    args = {}
    for field in spec.fields:
        width = WIDTHS[field.kind]
        args[field.name] = _decode_field(field, bits & (1 << width) - 1, streams)
        bits >>= width
    if bits:
        raise EncodingError(f"{spec.op}: bits set beyond the last field")
    return Instruction(spec.op, args, provenance)


def _decode_field(field: Field, bits: int, streams: list[Stream]) -> Any:
    if field.kind is FieldKind.OPERAND and bits in _SPECIAL_BY_CODE:
        return _SPECIAL_BY_CODE[bits]
    if field.kind in (FieldKind.STREAM, FieldKind.OPERAND):
        if bits >= len(streams):
            raise EncodingError(f"{field.name}: stream {bits} of {len(streams)}")
        return streams[bits]
    return _CODECS[field.kind][1](bits)
