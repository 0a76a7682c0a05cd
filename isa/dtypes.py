"""Element types of memory words, with their codes in the binary."""

from enum import IntEnum
from typing import Any

import ml_dtypes
import numpy as np


class DType(IntEnum):
    """What one word in a memory holds; the value is the code in the binary."""

    f32 = 0
    bf16 = 1
    f16 = 2
    i32 = 3
    i8 = 4

    @property
    def numpy(self) -> "np.dtype[Any]":
        """The NumPy type of one word."""
        return _NUMPY[self]

    @property
    def size(self) -> int:
        """Bytes of one word."""
        return _NUMPY[self].itemsize

    @property
    def is_float(self) -> bool:
        return self in (DType.f32, DType.bf16, DType.f16)


_NUMPY: dict[DType, "np.dtype[Any]"] = {
    DType.f32: np.dtype(np.float32),
    DType.bf16: np.dtype(ml_dtypes.bfloat16),
    DType.f16: np.dtype(np.float16),
    DType.i32: np.dtype(np.int32),
    DType.i8: np.dtype(np.int8),
}
