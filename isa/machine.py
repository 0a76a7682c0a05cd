"""The machine file: what an array, its memories and its energies are.

Every field has the default of ``programs/machines/32x32.toml``, so ``Machine()`` is that machine.
"""

import hashlib
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from isa.dtypes import DType
from isa.errors import UserError
from isa.instructions import MAX_ARRAYS, Queue, queues_of

Positive = Annotated[int, msgspec.Meta(ge=1, le=1 << 40)]
Natural = Annotated[int, msgspec.Meta(ge=0, le=1 << 40)]
Energy = Annotated[float, msgspec.Meta(ge=0, le=1e12)]


class Array(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """R rows × C columns of processing elements, one MAC each per cycle."""

    rows: Annotated[int, msgspec.Meta(ge=1, le=1024)] = 32
    cols: Annotated[int, msgspec.Meta(ge=1, le=1024)] = 32
    operand: Literal["f32", "bf16", "i8"] = "f32"
    """What the multipliers take; int8 products add into int32, the others into fp32."""


class Scratchpad(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The software-managed memory next to the array; what its ports mean is in ``docs/ports.md``."""

    bytes: Annotated[int, msgspec.Meta(ge=64, le=1 << 30)] = 1 << 20
    banks: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1
    """Equal ranges of addresses, one after the other, each with ports of its own."""
    read_ports: Natural = 0
    """Of each bank: so many operands can be read in a cycle. 0: as many as there are."""
    write_ports: Natural = 0


class Dram(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The off-chip channel: one transfer at a time, read or write."""

    bytes_per_cycle: Annotated[float, msgspec.Meta(ge=1e-3, le=1e9)] = 32.0
    latency: Natural = 100
    """Cycles from the request to the first byte; successive transfers overlap theirs."""
    burst_bytes: Positive = 1
    """The channel moves whole bursts, aligned to their size: a run of neighbouring words costs all that it touches."""
    row_bytes: Natural = 0
    """Bytes of a row; one is open at a time. 0: rows cost nothing."""
    row_miss_cycles: Natural = 0
    """Cycles to open another row."""


class Vector(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The unit for all that is not a product."""

    lanes: Positive = 32
    latency: Natural = 4
    """Cycles an instruction takes beyond one per ``lanes`` words."""


class EnergyTable(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Picojoules an event. ``source`` cites where they come from; presets are never mixed."""

    source: str = (
        "M. Horowitz, ISSCC 2014, 45 nm: fp32 multiply 3.7 + add 0.9; 64-bit read of a 1 MB SRAM 100, half of it a "
        "32-bit word; DRAM 640 per 32 bit. Vector operation: one fp32 multiply."
    )
    mac: Energy = 4.6
    scratchpad_byte: Energy = 12.5
    dram_byte: Energy = 160.0
    vector_op: Energy = 3.7


class Machine(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One machine. All times are in cycles, all sizes in bytes."""

    name: str = "32x32"
    array: Array = msgspec.field(default_factory=Array)
    arrays: Annotated[int, msgspec.Meta(ge=1, le=MAX_ARRAYS)] = 1
    """So many of these share the memories and the vector unit, each with its chains; see ``docs/arrays.md``."""
    scratchpad: Scratchpad = msgspec.field(default_factory=Scratchpad)
    dram: Dram = msgspec.field(default_factory=Dram)
    vector: Vector = msgspec.field(default_factory=Vector)
    energy: EnergyTable = msgspec.field(default_factory=EnergyTable)
    area_mm2: Annotated[float, msgspec.Meta(ge=0, le=1e6)] = 0.0
    """What the machine takes on a die, for comparisons at equal area; nothing derives it, 0: not given."""

    @property
    def rows(self) -> int:
        return self.array.rows

    @property
    def cols(self) -> int:
        return self.array.cols

    @property
    def elements(self) -> int:
        """Processing elements of all arrays: the most MACs in a cycle."""
        return self.arrays * self.rows * self.cols

    @property
    def queues(self) -> tuple[Queue, ...]:
        """All its queues, in the order of their codes."""
        return queues_of(self.arrays)

    @property
    def operand(self) -> DType:
        """Type of the multipliers' operands."""
        return DType[self.array.operand]

    @property
    def accumulator(self) -> DType:
        """Type of partial sums and accumulators."""
        return DType.i32 if self.operand is DType.i8 else DType.f32

    @property
    def fingerprint(self) -> bytes:
        """8 bytes that differ between machines that run programs differently or cost them differently."""
        return hashlib.sha256(msgspec.json.encode(self)).digest()[:8]


def parse_machine(text: str, place: str) -> Machine:
    """A machine from the text of a machine file.

    Raises:
        UserError: with ``place`` and the field at fault.
    """
    try:
        return msgspec.toml.decode(text, type=Machine)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise UserError(place, f"not a machine file: {' '.join(str(error).split())}") from error


def load_machine(path: str | Path) -> Machine:
    """Read a machine file (TOML); see :class:`Machine` for its fields.

    Raises:
        UserError: the file cannot be read, or is no machine.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(str(path), f"cannot read the machine file: {getattr(error, 'strerror', None) or error}") from error
    return parse_machine(text, str(path))
