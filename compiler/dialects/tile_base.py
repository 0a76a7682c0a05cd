"""What the operations of the ``tile`` dialect share: tensors in memories."""

from collections.abc import Sequence
from functools import cache

from xdsl.dialects.builtin import (
    IntegerAttr,
    MemRefType,
    StringAttr,
)
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.irdl import (
    IRDLOperation,
    prop_def,
)
from xdsl.utils.exceptions import VerifyException

from compiler.dialects.integers import integer
from compiler.schedule.axes import parse_axes
from isa.stream import Operand

MemRef = MemRefType[Attribute]
DRAM, SPAD = StringAttr("dram"), StringAttr("spad")


def memref(shape: Sequence[int], element: Attribute, space: StringAttr) -> MemRef:
    """Type of a tensor in a memory."""
    return _memref(tuple(shape), element, space)


@cache
def _memref(shape: tuple[int, ...], element: Attribute, space: StringAttr) -> MemRef:
    """Types never change, so each needs to be made only once."""
    return MemRefType(element, shape, memory_space=space)


def memref_of(value: SSAValue) -> MemRef:
    """Type of a memory value."""
    assert isinstance(value.type, MemRefType)
    return value.type


def in_dram(value: SSAValue) -> bool:
    """Whether the value lies in DRAM rather than in the scratchpad."""
    return memref_of(value).memory_space == DRAM


def optional_int(value: int | None) -> IntegerAttr | None:
    return None if value is None else integer(value)


def verify_space(op: Operation, value: SSAValue, space: StringAttr) -> None:
    if memref_of(value).memory_space != space:
        raise VerifyException(f"{op.name}: expected a tensor in {space.data}")


def verify_axes(op: Operation, axes: StringAttr, value: SSAValue) -> None:
    """That the names of a memory's axes are as many as its dimensions."""
    if len(parse_axes(axes.data)) != len(memref_of(value).get_shape()):
        raise VerifyException(f"{op.name}: axes {axes.data!r} do not fit {memref_of(value)}")


def verify_tag(tag: StringAttr) -> None:
    """That there is such an operand of a layer."""
    if tag.data not in Operand.__members__:
        raise VerifyException(f"no operand {tag.data!r}")


class TileOp(IRDLOperation):
    """What an operation that does work says about where it comes from."""

    layer = prop_def(StringAttr)
    product = prop_def(StringAttr)
    """fwd, dx, dw, dx+dw, update, vector."""
