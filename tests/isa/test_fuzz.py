"""Damaged input gives one clear line and nothing else: binaries, assembly and machine files, cut, flipped and mixed up."""

import hashlib
import random
import struct
from collections.abc import Callable
from typing import Any

import pytest
from damage import CASES

from isa.asm import assemble, disassemble
from isa.binary import CHECKSUM_BYTES, HEADER, SECTION, SECTIONS, read_program, write_program
from isa.errors import UserError
from isa.machine import Machine, parse_machine
from isa.program import Program

Tell = Callable[[str], None]


def accepts(read: Callable[[Any, str], object], data: bytes | str) -> bool:
    """Whether ``read`` accepts; a refusal has to be a UserError that is one line and names the place."""
    try:
        read(data, "broken")
    except UserError as error:
        assert len(str(error).splitlines()) == 1
        assert str(error).startswith("broken")
        return False
    return True


def sealed(body: bytes) -> bytes:
    """The body of a file with the right length and checksum, so that the damage reaches the decoders."""
    length = struct.pack("<Q", len(body) + CHECKSUM_BYTES)
    body = body[: HEADER.size - 8] + length + body[HEADER.size :]
    return body + hashlib.sha256(body).digest()[:CHECKSUM_BYTES]


@pytest.fixture
def binary(tile: Program) -> bytes:
    return write_program(tile)


def test_every_truncation_is_found(binary: bytes, tell: Tell) -> None:
    lengths = random.Random(0).sample(range(len(binary)), CASES["binaries cut short"])
    assert not any(accepts(read_program, binary[:length]) for length in lengths)
    tell(f"{len(lengths):6,} binaries cut short: all refused")


def test_every_flipped_bit_is_found(binary: bytes, tell: Tell) -> None:
    bits = random.Random(1).sample(range(8 * len(binary)), CASES["binaries with a flipped bit"])
    for bit in bits:
        damaged = bytearray(binary)
        damaged[bit // 8] ^= 1 << bit % 8
        assert not accepts(read_program, bytes(damaged))
    tell(f"{len(bits):6,} binaries with a flipped bit: all refused")


def test_bits_flipped_under_a_right_checksum_are_read_exactly_or_refused(binary: bytes, tell: Tell) -> None:
    """What is still a program is written again as the very same bytes, and survives as text."""
    draw = random.Random(2)
    body = binary[:-CHECKSUM_BYTES]
    accepted, cases = 0, CASES["binaries with flipped bits under a right checksum"]
    for _ in range(cases):
        damaged = bytearray(body)
        for _ in range(draw.choice([1, 1, 2, 8])):
            bit = draw.randrange(8 * HEADER.size, 8 * len(body))
            damaged[bit // 8] ^= 1 << bit % 8
        data = sealed(bytes(damaged))
        if accepts(read_program, data):
            accepted += 1
            program = read_program(data, "p.gwb")
            assert write_program(program) == data
            if accepted < 60:
                assert write_program(assemble(disassemble(program), "p.s")) == data
    assert 0 < accepted < cases
    tell(f"{cases:6,} binaries with flipped bits under a right checksum: {cases - accepted} refused")


@pytest.mark.parametrize("name", SECTIONS)
def test_absurd_sections_are_refused(binary: bytes, name: str) -> None:
    """Lengths beyond the file, and payloads that claim billions of entries or nest without end."""
    at = binary.index(SECTION.pack(name.ljust(8).encode(), 0)[:8])
    size = SECTION.unpack_from(binary, at)[1]
    start, body = at + SECTION.size, binary[:-CHECKSUM_BYTES]
    for length in (size + 1, 1 << 40, (1 << 64) - 1):
        damaged = body[: at + 8] + struct.pack("<Q", length) + body[start:]
        assert not accepts(read_program, sealed(damaged))
    for payload in (b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\x91" * 100_000, b"\xc6\xff\xff\xff\xff", b"\xc1", b"\xff" * 48):
        damaged = body[: at + 8] + struct.pack("<Q", len(payload)) + payload + body[start + size :]
        assert not accepts(read_program, sealed(damaged))


def mutated(text: str, draw: random.Random) -> str:
    """The text with a piece lost, doubled, swapped or replaced."""
    lines = text.splitlines()
    at = draw.randrange(len(lines))
    kind = draw.randrange(5)
    if kind == 0:
        del lines[at]
    elif kind == 1:
        lines.insert(at, draw.choice(lines))
    elif kind == 2:
        line = lines[at]
        place = draw.randrange(len(line) + 1)
        lines[at] = line[:place] + draw.choice('%@[]()x*+-,."=:/ 9é\0\\|;') + line[place + draw.randrange(2) :]
    elif kind == 3:
        words = lines[at].split(" ")
        words[draw.randrange(len(words))] = draw.choice(["end", "held", "9" * 30, "%9", "-1", "1e999", "nan", '"\\ud800"', "@7", "loop"])
        lines[at] = " ".join(words)
    else:
        return text[: draw.randrange(len(text))]
    return "\n".join(lines)


def test_mutated_assembly_is_read_or_refused_with_its_line(tile: Program, tell: Tell) -> None:
    draw = random.Random(3)
    text = disassemble(tile)
    refused, cases = 0, CASES["assembly texts"]
    for _ in range(cases):
        damaged = mutated(text, draw)
        try:
            program = assemble(damaged, "broken.s")
        except UserError as error:
            refused += 1
            assert len(str(error).splitlines()) == 1
            assert str(error).startswith("broken.s")
        else:
            assert read_program(write_program(program), "p.gwb") == program
    assert refused > cases // 3
    tell(f"{cases:6,} damaged assembly texts: {refused} refused")


BROKEN_MACHINES = [
    "rows = 32", "array.rows = 0", "array.rows = 1.5", "array.rows = 'x'", "array.operand = 'f64'", "array = 3", "dram.latency = -1",
    "dram.bytes_per_cycle = 0", "dram.bytes_per_cycle = nan", "energy.mac = -1.0", "energy.mac = " + "9" * 400, "[array", "name = 3",
    "scratchpad.bytes = 1", "scratchpad.bytes = " + "9" * 5000, "vector.lanes = 0", "a = " + "[" * 10_000, "array.rows = 1\narray.rows = 2",
    "\0", "name = '\\'\n=", "unknown.table = 1",
]  # fmt: skip


@pytest.mark.parametrize("text", BROKEN_MACHINES, ids=range(len(BROKEN_MACHINES)))
def test_broken_machine_files_are_refused(text: str) -> None:
    assert not accepts(parse_machine, text)


def test_there_are_2000_cases() -> None:
    assert sum(CASES.values()) >= 2000


def test_cut_machine_files_are_read_or_refused(tile: Program) -> None:
    text = "\n".join(line.removeprefix(".machine ") for line in disassemble(tile).splitlines() if line.startswith(".machine"))
    assert parse_machine(text, "whole.toml") == tile.machine
    draw = random.Random(4)
    accepted = [accepts(parse_machine, text[: draw.randrange(len(text))]) for _ in range(100)]
    assert not all(accepted)
    assert parse_machine("", "empty.toml") == Machine()
