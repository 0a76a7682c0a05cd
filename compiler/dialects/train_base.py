"""What the operations of the ``train`` dialect share."""

from collections.abc import Sequence

from xdsl.dialects.builtin import ArrayAttr, IntegerAttr, StringAttr, TensorType
from xdsl.ir import Attribute, SSAValue
from xdsl.irdl import IRDLOperation, prop_def
from xdsl.utils.exceptions import VerifyException

from compiler.dialects.integers import integer

Tensor = TensorType[Attribute]

LEAF_KINDS = ("input", "param", "labels")
OUTPUT_KINDS = ("output", "grad", "param")
ROLES = ("fwd", "grad", "dx", "dw", "loss", "update")


def shape_of(value: SSAValue) -> tuple[int, ...]:
    """Static shape of a tensor value."""
    assert isinstance(value.type, TensorType)
    return value.type.get_shape()


def element_of(value: SSAValue) -> Attribute:
    """Element type of a tensor value."""
    assert isinstance(value.type, TensorType)
    element: Attribute = value.type.element_type
    return element


def ints(values: Sequence[int]) -> ArrayAttr[IntegerAttr]:
    """A list of integers as an attribute."""
    return ArrayAttr([integer(v) for v in values])


def to_ints(attr: ArrayAttr[IntegerAttr]) -> tuple[int, ...]:
    """The integers of :func:`ints`."""
    return tuple(a.value.data for a in attr)


def within(start: int, step: int, count: int, size: int) -> bool:
    """Whether ``count`` entries from ``start`` on, ``step`` apart (backwards if it is negative), are among ``size``."""
    if count == 0:
        return step != 0 and start >= 0
    last = start + step * (count - 1)
    return step != 0 and min(start, last) >= 0 and max(start, last) < size


class TrainOp(IRDLOperation):
    """What all operations of the level share: where they come from."""

    layer = prop_def(StringAttr)
    """ONNX node name, or the name of what training added ("loss", "sgd")."""
    role = prop_def(StringAttr)
    """One of ROLES."""

    def verify_(self) -> None:
        if self.role.data not in ROLES:
            raise VerifyException(f"role {self.role.data!r} is none of {', '.join(ROLES)}")
