"""The program file: a header, sections of known order, a checksum.

    header    magic `GWB1`, version u16, number of sections u16, machine fingerprint 8 bytes, bytes of the whole file u64
    section   name (8 bytes, ASCII, padded by spaces), bytes of the payload u64, payload
    checksum  first 16 bytes of the SHA-256 of all that comes before

Integers are little-endian.  Tables are MessagePack, streams are rows of ``encoding.STREAM_ROW``, code is 128-bit words, and the
``from.*`` sections hold an i32 index into the provenance table for each instruction (-1: none, as for every ``end``).  A program has
exactly one file: the reader accepts only what the writer writes, so that binary → assembly → binary is an identity.
"""

import hashlib
import struct
from typing import Any

import msgspec
import numpy as np

from isa.encoding import (
    INSTRUCTION_BYTES,
    MAX_SEMAPHORES,
    STREAM_ROW,
    EncodingError,
    Streams,
    decode_instruction,
    decode_streams,
    encode_instruction,
)
from isa.errors import UserError
from isa.instructions import MAX_ARRAYS, Instruction, Queue, queues_of
from isa.machine import Machine
from isa.program import Program, Provenance, Semaphore, Symbol
from isa.sequencer import LoopError, Sequencer
from isa.stream import Stream

MAGIC = b"GWB1"
VERSION = 1
HEADER = struct.Struct("<4sHH8sQ")
SECTION = struct.Struct("<8sQ")
CHECKSUM_BYTES = 16
MAX_DRAM = 1 << 34
SYMBOL_KINDS = ("input", "param", "constant", "output", "scratch")

TABLES = ("machine", "program", "sems", "symbols", "origins", "names", "streams", "data")


def sections_of(arrays: int) -> tuple[str, ...]:
    """The sections of a program for so many arrays, in order.

    ``program``: (name, schedule, bytes of DRAM); ``sems``, ``symbols``, ``origins`` (provenance) and ``data``: lists as in
    ``isa.program``; ``names``: symbols that streams refer to; code and provenance of queue i: ``code.i`` and ``from.i``.
    """
    queues = queues_of(arrays)
    return (*TABLES[:-1], *[f"code.{queue.value}" for queue in queues], *[f"from.{queue.value}" for queue in queues], TABLES[-1])


SECTIONS = sections_of(1)
_BY_COUNT = {len(sections): sections for sections in map(sections_of, range(1, MAX_ARRAYS + 1))}


def write_program(program: Program) -> bytes:
    """The bytes of a program's file.

    Raises:
        UserError: something does not fit into the encoding: a field, too many streams or semaphores, loops that do not nest.
    """
    return _write(program, f"program {program.name!r}")


def _write(program: Program, place: str) -> bytes:
    validate_tables(program, place)
    payloads: dict[str, bytes] = {}
    if len(program.semaphores) > MAX_SEMAPHORES:
        raise UserError(place, f"{len(program.semaphores)} semaphores, at most {MAX_SEMAPHORES} can be encoded")
    streams = Streams()
    for queue in program.machine.queues:
        code = program.queues.get(queue, [])
        payloads[f"code.{queue.value}"] = _encode_code(code, streams, place, queue)
        origins = [-1 if i.provenance is None or i.op == "end" else i.provenance for i in code]
        if any(not -1 <= origin < len(program.provenance) for origin in origins):
            raise UserError(place, f"queue {queue.name}: an instruction's provenance is not in the table of {len(program.provenance)}")
        payloads[f"from.{queue.value}"] = np.array(origins, "<i4").tobytes()
    try:
        payloads["streams"] = streams.rows().tobytes()
        for name, table in {
            "machine": program.machine,
            "program": (program.name, program.schedule, program.dram_bytes),
            "sems": program.semaphores,
            "symbols": program.symbols,
            "origins": program.provenance,
            "names": list(streams.names),
            "data": program.data,
        }.items():
            payloads[name] = msgspec.msgpack.encode(table)
    except (EncodingError, OverflowError, UnicodeEncodeError) as error:
        raise UserError(place, f"cannot be encoded: {error}") from error
    names = sections_of(program.machine.arrays)
    sections = b"".join(SECTION.pack(name.ljust(8).encode(), len(payloads[name])) + payloads[name] for name in names)
    length = HEADER.size + len(sections) + CHECKSUM_BYTES
    body = HEADER.pack(MAGIC, VERSION, len(names), program.machine.fingerprint, length) + sections
    return body + _checksum(body)


def _checksum(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()[:CHECKSUM_BYTES]


def _encode_code(code: list[Instruction], streams: Streams, place: str, queue: Queue) -> bytes:
    try:
        Sequencer(code)
    except LoopError as error:
        raise UserError(place, f"queue {queue.name}, instruction {error.index}: {error}") from error
    words = []
    for index, instruction in enumerate(code):
        try:
            words.append(encode_instruction(instruction, streams))
        except EncodingError as error:
            raise UserError(place, f"queue {queue.name}, instruction {index} ({instruction.op}): {error}") from error
    return b"".join(words)


def read_program(data: bytes, place: str) -> Program:
    """The program of a file's bytes; ``place`` is the file's name.

    Raises:
        UserError: damaged, truncated, or of another version; names the section at fault.
    """
    sections = _split(data, place)
    machine = _table(sections, "machine", Machine, place)
    if data[8:16] != machine.fingerprint:
        raise UserError(place, "header: the fingerprint is not that of the machine in the file")
    if len(sections) != len(sections_of(machine.arrays)):
        raise UserError(place, f"offset 6: {len(sections)} sections are not those of a machine of {machine.arrays} arrays")
    name, schedule, dram_bytes = _table(sections, "program", tuple[str, str, int], place)
    names = _table(sections, "names", list[str], place)
    if len(sections["streams"]) % STREAM_ROW.itemsize:
        raise UserError(place, f"section streams: {len(sections['streams'])} bytes are not rows of {STREAM_ROW.itemsize}")
    try:
        streams = decode_streams(np.frombuffer(sections["streams"], STREAM_ROW), names)
    except EncodingError as error:
        raise UserError(place, f"section streams: {error}") from error
    program = Program(
        name,
        machine,
        {queue: _decode_code(sections, queue, streams, place) for queue in machine.queues},
        _table(sections, "sems", list[Semaphore], place),
        _table(sections, "symbols", list[Symbol], place),
        _table(sections, "origins", list[Provenance], place),
        _table(sections, "data", list[tuple[int, bytes]], place),
        dram_bytes,
        schedule,
    )
    again = _write(program, place)
    if again != data:
        at = next((i for i, (a, b) in enumerate(zip(again, data, strict=False)) if a != b), min(len(again), len(data)))
        raise UserError(place, f"offset {at}: not in the form that a program is written in")
    return program


def validate_tables(program: Program, place: str) -> None:
    """Check what the types of the tables leave open.

    Raises:
        UserError: the first entry that cannot be.
    """
    for symbol in program.symbols:
        if symbol.kind not in SYMBOL_KINDS:
            raise UserError(place, f"symbol {symbol.name!r}: no such kind {symbol.kind!r}; there are {', '.join(SYMBOL_KINDS)}")
        if symbol.address < 0 or any(size < 0 for size in symbol.shape) or (symbol.classes is not None and symbol.classes < 1):
            raise UserError(place, f"symbol {symbol.name!r}: address, shape and classes cannot be negative")
    known = {semaphore.name for semaphore in program.semaphores}
    if len(known) < len(program.semaphores):
        raise UserError(place, "two semaphores have the same name")
    if any(semaphore.initial < 0 for semaphore in program.semaphores):
        raise UserError(place, "a semaphore starts with less than no token")
    if program.dram_bytes > MAX_DRAM:
        raise UserError(place, f"{program.dram_bytes} bytes of DRAM, at most {MAX_DRAM} can be")
    if program.dram_bytes < 0 or any(address < 0 for address, _ in program.data):
        raise UserError(place, "an address or a size in DRAM is negative")
    if any(origin.group < 0 or origin.macs < 0 or origin.dram_bytes < 0 for origin in program.provenance):
        raise UserError(place, "provenance: a group, macs or dram_bytes is negative")
    known_queues = program.machine.queues
    for queue, code in program.queues.items():
        if queue not in known_queues:
            raise UserError(place, f"queue {queue.name}: the machine's arrays are {program.machine.arrays}")
        for index, instruction in enumerate(code):
            if instruction.op in ("wait", "signal") and not 0 <= instruction["sem"] < len(program.semaphores):
                raise UserError(
                    place,
                    f"queue {queue.name}, instruction {index} ({instruction.op}): "
                    f"semaphore {instruction['sem']} of {len(program.semaphores)}",
                )


def _split(data: bytes, place: str) -> dict[str, bytes]:
    """Payloads by section, after header, length and checksum have been found right."""
    if data[:4] != MAGIC:
        raise UserError(place, f"offset 0: not a program file (it starts with {data[:4]!r}, not {MAGIC!r})")
    if len(data) < HEADER.size + CHECKSUM_BYTES:
        raise UserError(place, f"offset {len(data)}: truncated in the header")
    _, version, count, _, length = HEADER.unpack_from(data)
    if version != VERSION:
        raise UserError(place, f"offset 4: written in version {version} of the format; this reads version {VERSION}")
    if length != len(data):
        what = "truncated" if len(data) < length else "too long"
        raise UserError(place, f"offset {min(length, len(data))}: {what}: the header says {length} bytes, the file has {len(data)}")
    end = len(data) - CHECKSUM_BYTES
    if _checksum(data[:end]) != data[end:]:
        raise UserError(place, f"offset {end}: the checksum does not match; the file is damaged")
    if count not in _BY_COUNT:
        raise UserError(place, f"offset 6: {count} sections instead of {len(SECTIONS)}")
    sections = {}
    at = HEADER.size
    for name in _BY_COUNT[count]:
        if at + SECTION.size > end:
            raise UserError(place, f"offset {at}: section {name} is missing")
        found, size = SECTION.unpack_from(data, at)
        at += SECTION.size
        if found != name.ljust(8).encode():
            raise UserError(place, f"offset {at - SECTION.size}: expected section {name}, found {found!r}")
        if size > end - at:
            raise UserError(place, f"offset {at}: section {name} has {size} bytes, {end - at} are left")
        sections[name] = data[at : at + size]
        at += size
    if at != end:
        raise UserError(place, f"offset {at}: {end - at} bytes after the last section")
    return sections


def _table(sections: dict[str, bytes], name: str, kind: Any, place: str) -> Any:
    try:
        return msgspec.msgpack.decode(sections[name], type=kind)
    except (msgspec.DecodeError, ValueError, RecursionError, MemoryError) as error:
        raise UserError(place, f"section {name}: {' '.join(str(error).split())}") from error


def _decode_code(sections: dict[str, bytes], queue: Queue, streams: list[Stream], place: str) -> list[Instruction]:
    words, origins = sections[f"code.{queue.value}"], sections[f"from.{queue.value}"]
    count, rest = divmod(len(words), INSTRUCTION_BYTES)
    if rest or len(origins) != 4 * count:
        raise UserError(place, f"section code.{queue.value} ({queue.name}): {len(words)} bytes of code and {len(origins)} of provenance")
    code = []
    for index, origin in enumerate(np.frombuffer(origins, "<i4").tolist()):
        word = words[index * INSTRUCTION_BYTES : (index + 1) * INSTRUCTION_BYTES]
        try:
            code.append(decode_instruction(word, streams, None if origin == -1 else origin))
        except EncodingError as error:
            raise UserError(place, f"section code.{queue.value} ({queue.name}): instruction {index}: {error}") from error
    return code
