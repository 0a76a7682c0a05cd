"""Lanes between the scratchpad and the array: each one reads or writes one word in the cycle in which its beat passes."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from emulator.counters import READ, WRITE, Counters
from emulator.memory import Array, Memory, convert, outside
from isa.dtypes import DType
from isa.instructions import Queue
from isa.stream import Stream

Ints = npt.NDArray[np.int64]


class Lanes(IntEnum):
    """Fields of one access; lane i touches the word at ``address + i·stride`` if i < ``lanes``."""

    address = 0
    stride = 1
    lanes = 2
    dtype = 3
    operand = 4


def access(stream: Stream, counters: Sequence[int], memory: Memory) -> list[int]:
    """The fields of one access of a one-dimensional stream.

    Raises:
        UserError: it leaves the memory.
    """
    address, (dim,) = stream.address(counters), stream.dims
    lanes = max(0, dim.extent(counters))
    within(stream, address, [(lanes, dim.stride)], memory)
    return [address, dim.stride, lanes, stream.dtype, stream.operand]


def within(stream: Stream, address: int, dims: Sequence[tuple[int, int]], memory: Memory) -> None:
    """Raise UserError where an access of (words, stride) dimensions leaves the memory."""
    reach = [(count - 1) * stride for count, stride in dims]
    low = address + sum(min(0, r) for r in reach)
    high = address + sum(max(0, r) for r in reach) + stream.dtype.size
    if low < 0 or high > memory.bytes.size:
        raise outside(stream, address, memory)


def words(memory: Memory, kind: DType) -> Array:
    """The word of this type that begins at each byte, readable and writable."""
    return np.ndarray((max(0, memory.bytes.size - kind.size + 1),), kind.numpy, memory.bytes, 0, (1,))


class Timetable:
    """Which word each of some lanes touches in this cycle and in those to come.

    Each type of words has its own sheet: [cycle, lane], the word's address.  An access goes down a diagonal, since each lane touches its
    word one cycle after the lane before.
    """

    NONE = -1
    """No word is touched."""
    ZERO = -2
    """No word is touched; 0 enters."""

    def __init__(self, memory: Memory, lanes: int, ahead: int) -> None:
        """``ahead``: what is entered is over in less cycles than that."""
        self.memory, self.ahead = memory, ahead
        self.lane = np.arange(lanes)
        self.now = 0
        """Row of this cycle."""
        self.sheets: dict[int, tuple[DType, Ints, Array]] = {}
        """By the type's code, with the words in memory."""

    def advance(self) -> None:
        """To the next cycle."""
        self.now += 1
        if self.now == self.ahead:
            self.now = 0
            for _, sheet, _ in self.sheets.values():
                sheet[: self.ahead] = sheet[self.ahead :]
                sheet[self.ahead :] = self.NONE

    def enter(self, first: int, lanes: int, delay: int, dtype: int, address: int, stride: int, touching: int) -> None:
        """So many lanes from ``first`` on do an access, beginning after ``delay`` cycles; those beyond ``touching`` touch no word."""
        touching = min(touching, lanes)
        cells = diagonal(self._sheet(dtype), self.now + delay, first, lanes)
        cells[:touching] = address + stride * self.lane[:touching]
        if touching < lanes:
            cells[touching:] = self.ZERO

    def _sheet(self, dtype: int) -> Ints:
        if dtype not in self.sheets:
            kind = DType(dtype)
            self.sheets[dtype] = kind, np.full((2 * self.ahead, len(self.lane)), self.NONE), words(self.memory, kind)
        return self.sheets[dtype][1]

    def read(self, values: Array, dtype: DType) -> None:
        """Into ``values`` what enters the lanes in this cycle, as words of this type; the other lanes stay as they are."""
        for _, sheet, stored in self.sheets.values():
            addresses = sheet[self.now]
            np.copyto(values, convert(stored[addresses], dtype), where=addresses >= 0)
            np.copyto(values, 0, where=addresses == self.ZERO, casting="unsafe")

    def write(self, first: int, values: Array) -> None:
        """The lanes from ``first`` on leave words where they touch any in this cycle."""
        for kind, sheet, stored in self.sheets.values():
            addresses = sheet[self.now, first : first + len(values)]
            active = addresses >= 0
            stored[addresses[active]] = convert(values[active], kind)


def diagonal(table: Array, row: int, column: int, length: int) -> Array:
    """So many elements of a contiguous table from this one on, each one row and one column after the one before; writable."""
    step = table.shape[1] + 1
    start = row * (step - 1) + column
    flat: Array = table.reshape(-1)[start : start + length * step : step]
    return flat[:length]


@dataclass(slots=True)
class Port:
    """For counting: the queue, and the provenance of what each lane does in this cycle."""

    counters: Counters
    queue: Queue
    provenance: Ints

    def count(self, direction: int, fields: Ints, kind: DType) -> None:
        """All words of the access that lane 0 is at: the others follow, one a cycle."""
        _, _, extent, _, operand = fields[:, 0].tolist()
        lanes = min(extent, fields.shape[1])
        where = int(self.provenance[0]), direction, operand, self.queue
        self.counters.words[where] += lanes
        self.counters.bytes[where] += lanes * kind.size


def read_lanes(memory: Memory, fields: Ints, reading: npt.NDArray[np.bool_], dtype: DType, port: Port) -> Array:
    """One word for each lane that reads, converted to ``dtype``; 0 on the other lanes and beyond the access's lanes.

    Lane i does what lane 0 did i cycles ago.
    """
    values = np.zeros(fields.shape[1], dtype.numpy)
    for kind, lanes, addresses in _by_dtype(fields, reading):
        values[lanes] = convert(words(memory, kind)[addresses], dtype)
        if lanes[0]:
            port.count(READ, fields, kind)
    return values


def write_lanes(memory: Memory, fields: Ints, writing: npt.NDArray[np.bool_], values: Array, port: Port) -> None:
    """One word from each lane that writes and lies within the access's lanes; lane i does what lane 0 did i cycles ago."""
    for kind, lanes, addresses in _by_dtype(fields, writing):
        words(memory, kind)[addresses] = convert(values[lanes], kind)
        if lanes[0]:
            port.count(WRITE, fields, kind)


def _by_dtype(fields: Ints, touching: npt.NDArray[np.bool_]) -> list[tuple[DType, npt.NDArray[np.bool_], Ints]]:
    """The lanes that touch a word, by its type, with the words' addresses."""
    address, stride, extent, dtype, _ = fields
    lane = np.arange(fields.shape[1])
    left = touching & (lane < extent)
    groups = []
    while np.count_nonzero(left):
        code = dtype[left.argmax()]
        lanes = left & (dtype == code)
        groups.append((DType(int(code)), lanes, (address + lane * stride)[lanes]))
        left ^= lanes
    return groups
