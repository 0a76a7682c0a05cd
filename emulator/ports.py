"""Lanes between the scratchpad and the array: each one reads or writes one word in the cycle in which its beat passes."""

from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from emulator.memory import Array, Memory, convert, outside
from isa.dtypes import DType
from isa.stream import Stream, reach

Ints = npt.NDArray[np.int64]
Dims = tuple[tuple[int, int], ...]

# As arrays, since NumPy is faster with those than with numbers.
_ZERO = np.array(0)
_KEEPS = np.array(-1)
"""Stands for the address where a lane touches no word and stays as it is; below that, 0 enters."""
_BEYOND = -(1 << 60)
"""Added to an address, leaves it below _KEEPS."""


class Side(NamedTuple):
    """Lanes that one access goes through: the first of the timetable's, and how many."""

    first: int
    lanes: int


class Access(NamedTuple):
    """One word for each lane of a side, one a cycle."""

    dtype: DType
    touching: int
    """Lanes that touch a word, from the first on; 0 enters the others."""
    addresses: Ints
    """Of each lane's word."""
    low: int
    """First byte that is touched."""
    high: int
    """One after the last."""


def access(stream: Stream, address: int, dims: Dims, memory: Memory, lanes: int) -> Access:
    """Access of the words of a stream from an address on, ``dims`` as (count, stride), through so many lanes.

    Raises:
        UserError: it leaves the memory.
    """
    words = _words(stream.dtype, address, dims, lanes)
    if words.low < 0 or words.high > memory.bytes.size:
        raise outside(stream, address, memory)
    return words


def nothing(dtype: DType, lanes: int) -> Access:
    """Access that touches no word."""
    return _words(dtype, 0, ((0, 0),), lanes)


@dataclass(slots=True)
class _Sheet:
    kind: DType
    cells: Ints
    """[cycle, lane]: the word's address, or that it touches none."""
    flat: Ints
    """The same."""
    words: Array
    """The word of this type that begins at each byte of the memory, readable and writable."""


class Timetable:
    """Which word each of some lanes touches in this cycle and in those to come.

    Each type of words has its own sheet.  An access goes down a diagonal of it, since each lane touches its word one cycle after the lane
    before.
    """

    def __init__(self, memory: Memory, lanes: int, ahead: int) -> None:
        """``ahead``: what is entered is over in so many cycles."""
        self.memory, self.lanes, self.ahead = memory, lanes, ahead
        self.now = 0
        """Row of this cycle."""
        self.sheets: dict[DType, _Sheet] = {}

    def advance(self) -> None:
        """To the next cycle."""
        self.now += 1
        if self.now == self.ahead:
            self.now = 0
            for sheet in self.sheets.values():
                sheet.cells[: self.ahead] = sheet.cells[self.ahead :]
                sheet.cells[self.ahead :] = _KEEPS

    def enter(self, side: Side, access: Access, delay: int = 0) -> None:
        """The lanes of a side do an access, beginning after so many cycles; 0 enters those that touch no word."""
        first, lanes = side
        sheet = self.sheets.get(access.dtype) or self._sheet(access.dtype)
        start, step = (self.now + delay) * self.lanes + first, self.lanes + 1
        sheet.flat[start : start + lanes * step : step] = access.addresses

    def _sheet(self, dtype: DType) -> _Sheet:
        cells = np.full((2 * self.ahead, self.lanes), _KEEPS)
        words = np.ndarray((max(0, self.memory.bytes.size - dtype.size + 1),), dtype.numpy, self.memory.bytes, 0, (1,))
        self.sheets[dtype] = sheet = _Sheet(dtype, cells, cells.reshape(-1), words)
        return sheet

    def read(self, values: Array, dtype: DType) -> None:
        """Into ``values`` what enters the lanes in this cycle, as words of this type; the other lanes stay as they are."""
        for sheet in self.sheets.values():
            addresses = sheet.cells[self.now]
            reads = addresses >= _ZERO
            values[reads] = convert(sheet.words[addresses[reads]], dtype)
            values[addresses < _KEEPS] = _ZERO

    def write(self, side: Side, values: Array) -> None:
        """The lanes of a side leave words where they touch any in this cycle."""
        for sheet in self.sheets.values():
            addresses = sheet.cells[self.now, side.first : side.first + side.lanes]
            writes = addresses >= _ZERO
            sheet.words[addresses[writes]] = convert(values[writes], sheet.kind)


@lru_cache(1 << 12)
def _words(dtype: DType, address: int, dims: Dims, lanes: int) -> Access:
    offsets = _offsets(dims, lanes)
    if any(count <= 0 for count, _ in dims):
        return Access(dtype, 0, offsets, 0, 0)
    low, high = reach(dims)
    touching = min(prod(count for count, _ in dims), lanes)
    return Access(dtype, touching, offsets + address, address + low, address + high + dtype.size)


@lru_cache(1 << 10)
def _offsets(dims: Dims, lanes: int) -> Ints:
    """Of each lane's word from the first one's."""
    offsets = np.zeros(1, np.int64)
    for count, stride in dims:
        offsets = (offsets[:, None] + stride * np.arange(max(0, count))).reshape(-1)
    touching = offsets[:lanes]
    return np.concatenate([touching, np.full(lanes - len(touching), _BEYOND)])
