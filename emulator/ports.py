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


@dataclass(slots=True)
class Port:
    """For counting: the queue, and the provenance of what each lane does in this cycle."""

    counters: Counters
    queue: Queue
    provenance: Ints

    def count(self, direction: int, active: npt.NDArray[np.bool_], operand: Ints, size: int) -> None:
        shape = self.counters.words.shape
        where = ((self.provenance[active] * shape[1] + direction) * shape[2] + operand[active]) * shape[3] + self.queue
        np.add.at(self.counters.words.reshape(-1), where, 1)
        np.add.at(self.counters.bytes.reshape(-1), where, size)


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


def read_lanes(memory: Memory, fields: Ints, reading: npt.NDArray[np.bool_], dtype: DType, port: Port) -> Array:
    """One word for each lane that reads, converted to ``dtype``; 0 on the other lanes and beyond the access's lanes."""
    lane = np.arange(fields.shape[1])
    values = np.zeros(fields.shape[1], dtype.numpy)
    for kind, active, where in _by_dtype(fields, reading & (lane < fields[Lanes.lanes])):
        values[active] = convert(memory.bytes[where].view(kind.numpy)[:, 0], dtype)
        port.count(READ, active, fields[Lanes.operand], kind.size)
    return values


def write_lanes(memory: Memory, fields: Ints, writing: npt.NDArray[np.bool_], values: Array, port: Port) -> None:
    """One word from each lane that writes and lies within the access's lanes."""
    lane = np.arange(fields.shape[1])
    for kind, active, where in _by_dtype(fields, writing & (lane < fields[Lanes.lanes])):
        memory.bytes[where] = convert(values[active], kind)[:, None].view(np.uint8)
        port.count(WRITE, active, fields[Lanes.operand], kind.size)


def _by_dtype(fields: Ints, active: npt.NDArray[np.bool_]) -> list[tuple[DType, npt.NDArray[np.bool_], Ints]]:
    """The active lanes of each type, with the addresses of the bytes of their words as [lane, byte]."""
    groups = []
    for code in set(fields[Lanes.dtype][active].tolist()):
        dtype, lanes = DType(code), active & (fields[Lanes.dtype] == code)
        addresses = (fields[Lanes.address] + np.arange(fields.shape[1]) * fields[Lanes.stride])[lanes]
        groups.append((dtype, lanes, addresses[:, None] + np.arange(dtype.size)))
    return groups
