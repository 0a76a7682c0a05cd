"""DRAM and scratchpad: byte buffers, seen through streams as typed strided arrays."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from isa.dtypes import DType
from isa.errors import UserError
from isa.stream import Space, Stream

Array = npt.NDArray[Any]


def convert(values: Array, dtype: DType) -> Array:
    """Words of one type as another, as they change on the way to or from a memory.

    To floats: round to nearest even.  Between integers: wrap.  Floats to integers: toward zero, clamped, NaN becomes 0.
    """
    target = dtype.numpy
    if values.dtype == target:
        return values
    if not dtype.is_float and values.dtype.kind not in "iu":
        bounds = np.iinfo(target)
        wide = np.nan_to_num(values.astype(np.float64), posinf=np.inf, neginf=-np.inf)
        return np.clip(np.trunc(wide), bounds.min, bounds.max).astype(target)
    with np.errstate(all="ignore"):
        return values.astype(target)


class _Pattern:
    """What all views through a stream have in common."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        """Held, so that no other takes its identity."""
        self.dtype = stream.dtype.numpy
        self.extents = tuple(dim.count for dim in stream.dims)
        self.inner = tuple(dim.stride for dim in stream.dims)
        self.clipped = any(dim.limit is not None for dim in stream.dims)


class Memory:
    """``nbytes`` bytes that start as zeros."""

    def __init__(self, space: Space, nbytes: int) -> None:
        self.space = space
        self.bytes = np.zeros(nbytes, np.uint8)
        self._patterns: dict[int, _Pattern] = {}

    def view(self, stream: Stream, counters: Sequence[int], levels: Sequence[int] = (), turns: Sequence[int] = ()) -> Array:
        """The words of one access, writable in place: shape ``(*turns, *extents)``.

        With ``levels`` (and the ``turns`` of each) it is the words of all turns of these loops at once; ``counters`` are those of the
        loops around them.

        Raises:
            UserError: the access leaves the memory.
        """
        pattern = self._patterns.get(id(stream))
        if pattern is None:
            pattern = self._patterns[id(stream)] = _Pattern(stream)
        extents, inner = pattern.extents, pattern.inner
        if pattern.clipped:
            extents = tuple([max(0, dim.extent(counters)) for dim in stream.dims])
        address = stream.address(counters)
        try:
            if not levels:
                return np.ndarray(extents, pattern.dtype, self.bytes, address, inner)
            outer = [stream.strides[level] if level < len(stream.strides) else 0 for level in levels]
            return np.ndarray((*turns, *extents), pattern.dtype, self.bytes, address, (*outer, *inner))
        except (TypeError, ValueError) as error:
            raise outside(stream, address, self) from error


def outside(stream: Stream, address: int, memory: Memory) -> UserError:
    """The mistake of a stream that leaves its memory."""
    name = f" of symbol {stream.symbol}" if stream.symbol else ""
    return UserError("program", f"a stream{name} at address {address} leaves the {memory.space.name} of {memory.bytes.size} bytes")
