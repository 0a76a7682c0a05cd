"""The DRAM channel: what a transfer costs by what it touches. Both engines hand it their transfers in the order of issue."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from emulator.costs import words_of
from isa.machine import Dram
from isa.stream import Stream

Ints = npt.NDArray[np.int64]


class Channel:
    """Bursts and the open row, where the machine file has them; without them a transfer costs its bytes."""

    def __init__(self, dram: Dram) -> None:
        self.dram = dram
        self.plain = dram.burst_bytes == 1 and not dram.row_bytes
        """Whether transfers of as many words cost the same, whatever they touch."""
        self.open_row = -1

    def transfer(self, stream: Stream, counters: Sequence[int]) -> tuple[int, int]:
        """Cycles for which a transfer of a DRAM stream holds the channel, and bytes that pass; its rows are open from now on."""
        dram, misses = self.dram, 0
        nbytes = words_of(stream, counters) * stream.dtype.size
        if nbytes and not self.plain:
            starts, length = runs(stream, counters)
            nbytes = dram.burst_bytes * int(_spanned(starts, length, dram.burst_bytes).sum())
            misses = self._open(starts, length) if dram.row_bytes else 0
        return max(1, math.ceil(nbytes / dram.bytes_per_cycle)) + misses * dram.row_miss_cycles, nbytes

    def _open(self, starts: Ints, length: int) -> int:
        """Rows that have to be opened for these runs, one after the other."""
        first, last = starts // self.dram.row_bytes, (starts + length - 1) // self.dram.row_bytes
        before = np.concatenate(([self.open_row], last[:-1]))
        self.open_row = int(last[-1])
        return int((first != before).sum() + (last - first).sum())


def _spanned(starts: Ints, length: int, size: int) -> Ints:
    """Aligned pieces of a size that each run touches."""
    spanned: Ints = (starts + length - 1) // size - starts // size + 1
    return spanned


def runs(stream: Stream, counters: Sequence[int]) -> tuple[Ints, int]:
    """Byte addresses at which runs of neighbouring words begin, in the stream's order, and the bytes of each."""
    dims = [(count, dim.stride) for dim in stream.dims if (count := dim.extent(counters)) > 1]
    length = stream.dtype.size
    while dims and dims[-1][1] == length:
        length *= dims.pop()[0]
    starts: Ints = np.array([stream.address(counters)], np.int64)
    for count, stride in dims:
        starts = (starts[:, None] + np.arange(count) * stride).reshape(-1)
    return starts, length
