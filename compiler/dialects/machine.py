"""The machine description as an attribute, so that IR text carries it whole."""

from typing import Any

import msgspec
from xdsl.dialects.builtin import DictionaryAttr, FloatAttr, IntegerAttr, StringAttr, f64, i64
from xdsl.ir import Attribute

from isa.machine import Machine


def machine_attr(machine: Machine) -> DictionaryAttr:
    """The machine's tables and fields, as in the machine file."""
    attr = _to_attr(msgspec.to_builtins(machine))
    assert isinstance(attr, DictionaryAttr)
    return attr


def to_machine(attr: DictionaryAttr) -> Machine:
    """The machine of :func:`machine_attr`; raises msgspec.ValidationError."""
    return msgspec.convert(_from_attr(attr), Machine)


def _to_attr(value: Any) -> Attribute:
    match value:
        case dict():
            return DictionaryAttr({key: _to_attr(item) for key, item in value.items()})
        case int():
            return IntegerAttr(value, i64)
        case float():
            return FloatAttr(value, f64)
        case _:
            return StringAttr(value)


def _from_attr(attr: Attribute) -> Any:
    match attr:
        case DictionaryAttr():
            return {key: _from_attr(item) for key, item in attr.data.items()}
        case IntegerAttr() | FloatAttr():
            return attr.value.data
        case StringAttr():
            return attr.data
        case _:
            raise TypeError(f"no machine field holds {attr}")
