"""Where the array's products are computed: NumPy, or a library of the array API standard on a device of its own.

Words stay in NumPy; only the operands of a product go to the device, and the product comes back.
"""

import importlib
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from isa.errors import UserError

Array = npt.NDArray[Any]
NUMPY = "numpy"


class Matmul(Protocol):
    """[…, rows, inner] × […, inner, columns], in the type of both."""

    def __call__(self, a: Array, b: Array, /) -> Array: ...


def matmul_of(name: str) -> Matmul:
    """The matrix product of a backend: ``numpy``, or ``library`` or ``library:device`` as in ``torch:cuda``.

    Raises:
        UserError: there is no such library, or it has no such device.
    """
    library, _, device = name.partition(":")
    if library == NUMPY and not device:
        return np.matmul
    space, to_host = _namespace(library)

    def matmul(a: Array, b: Array) -> Array:
        on_device = [space.asarray(np.require(words, requirements=["C", "W"]), device=device or None) for words in (a, b)]
        return np.from_dlpack(to_host(space.matmul(*on_device)))

    try:
        matmul(np.ones((1, 1), np.float32), np.ones((1, 1), np.float32))
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError("--backend", f"{name}: its arrays cannot be used: {reason}") from error
    return matmul


def _namespace(library: str) -> tuple[Any, Callable[[Any], Any]]:
    """The library's array API, through array-api-compat where that knows it, and how its arrays come back to the host."""
    try:
        compat = importlib.import_module("array_api_compat")
        try:
            space = importlib.import_module(f"array_api_compat.{library}")
        except ImportError:
            space = importlib.import_module(library)
    except ImportError as error:
        raise UserError("--backend", f"no {error.name}: pip install {error.name.replace('_', '-') if error.name else library}") from error
    if not hasattr(space, "matmul"):
        raise UserError("--backend", f"{library} has no arrays of the array API standard")
    return space, lambda array: compat.to_device(array, "cpu") if _is_elsewhere(compat, array) else array


def _is_elsewhere(compat: Any, array: Any) -> bool:
    return getattr(compat.device(array), "type", "cpu") != "cpu"
