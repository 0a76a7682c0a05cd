"""NumPy arrays as dense attributes and back, and the element types both sides share."""

from typing import Any

import ml_dtypes
import numpy as np
from xdsl.dialects.builtin import (
    BFloat16Type,
    BytesAttr,
    DenseIntOrFPElementsAttr,
    Float16Type,
    Float32Type,
    Float64Type,
    IntegerType,
    TensorType,
)
from xdsl.ir import Attribute

Array = np.ndarray[Any, np.dtype[Any]]

_ELEMENTS: dict[np.dtype[Any], Attribute] = {
    np.dtype(np.float32): Float32Type(),
    np.dtype(np.float64): Float64Type(),
    np.dtype(np.float16): Float16Type(),
    np.dtype(ml_dtypes.bfloat16): BFloat16Type(),
    np.dtype(np.int64): IntegerType(64),
    np.dtype(np.int32): IntegerType(32),
    np.dtype(np.int8): IntegerType(8),
    np.dtype(np.bool_): IntegerType(1),
}
_DTYPES = {element: dtype for dtype, element in _ELEMENTS.items()}


def element_type(dtype: np.dtype[Any]) -> Attribute | None:
    """The IR's element type for a NumPy dtype; None where the IR has none."""
    return _ELEMENTS.get(np.dtype(dtype))


def numpy_type(element: Attribute) -> np.dtype[Any]:
    """The NumPy dtype of an element type."""
    return _DTYPES[element]


def dense(array: Array) -> DenseIntOrFPElementsAttr:
    """The array as an attribute of type ``tensor<shape x element>``."""
    kind: TensorType[Any] = TensorType(_ELEMENTS[array.dtype], array.shape)
    return DenseIntOrFPElementsAttr(kind, BytesAttr(array.tobytes()))


def to_array(attr: DenseIntOrFPElementsAttr) -> Array:
    """The array of :func:`dense`."""
    return np.frombuffer(attr.data.data, numpy_type(attr.get_element_type())).reshape(attr.get_shape())
