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


class Memory:
    """``nbytes`` bytes that start as zeros."""

    def __init__(self, space: Space, nbytes: int) -> None:
        self.space = space
        self.bytes = np.zeros(nbytes, np.uint8)

    def view(self, stream: Stream, counters: Sequence[int], levels: Sequence[int] = (), turns: Sequence[int] = ()) -> Array:
        """The words of one access, writable in place: shape ``(*turns, *extents)``.

        With ``levels`` (and the ``turns`` of each) it is the words of all turns of these loops at once; ``counters`` are those of the
        loops around them.

        Raises:
            UserError: the access leaves the memory.
        """
        strides, dims = stream.strides, stream.dims
        outer = [strides[level] if level < len(strides) else 0 for level in levels]
        extents = [dim.count if dim.limit is None else max(0, dim.extent(counters)) for dim in dims]
        address = stream.address(counters)
        try:
            return np.ndarray((*turns, *extents), stream.dtype.numpy, self.bytes, address, (*outer, *[dim.stride for dim in dims]))
        except (TypeError, ValueError) as error:
            raise outside(stream, address, self) from error


def outside(stream: Stream, address: int, memory: Memory) -> UserError:
    """The mistake of a stream that leaves its memory."""
    name = f" of symbol {stream.symbol}" if stream.symbol else ""
    return UserError("program", f"a stream{name} at address {address} leaves the {memory.space.name} of {memory.bytes.size} bytes")
