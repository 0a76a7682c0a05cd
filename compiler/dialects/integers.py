"""Integers as attributes: an attribute never changes, so each number needs only one, and large programs have few different numbers."""

from functools import cache

from xdsl.dialects.builtin import I64, IntegerAttr, i64


@cache
def integer(value: int) -> IntegerAttr[I64]:
    """The number as a 64-bit integer."""
    return IntegerAttr(value, i64)
