"""What a row of the table of ONNX operators holds."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from compiler.dialects.dense import Array

Value = int | float | str | tuple[int, ...]
"""What an attribute of a node holds."""

FLOAT = ("f32",)
FLOATS = ("f32", "f16", "bf16")
INTEGERS = ("i64", "i32")
ANY = ("f32", *INTEGERS)


@dataclass(frozen=True, slots=True)
class Input:
    """One input: ``elements`` it may hold (any, where it must be a constant), and whether it may be missing.

    A weight given as ``state`` is a running statistic: it is not trained.  The last input may be ``variadic``: there are one or more of it.
    """

    name: str
    elements: tuple[str, ...]
    optional: bool
    constant: bool
    state: bool
    variadic: bool


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a node: shapes and constant values by the input's name in the table, attributes with their defaults."""

    shapes: Mapping[str, tuple[int, ...]]
    constants: Mapping[str, Array]
    attributes: Mapping[str, Any]


Check = Callable[[Facts], str | None]


@dataclass(frozen=True, slots=True)
class Operator:
    """One supported ONNX operator.

    ``attributes`` maps each known attribute to its default (a type: there is none), or to the list of supported values, default first.
    ``check`` says what is wrong with a node or not supported, beyond what ONNX's own shape inference sees.
    """

    name: str
    inputs: tuple[Input, ...]
    outputs: int
    attributes: Mapping[str, Any]
    check: Check | None

    @property
    def required(self) -> int:
        """How many inputs must be there."""
        return sum(not slot.optional for slot in self.inputs)

    def slots(self, count: int) -> tuple[Input, ...]:
        """The inputs of a node that has ``count`` of them; a variadic one is repeated, numbered from 0."""
        last = self.inputs[-1]
        if not last.variadic:
            return self.inputs[:count]
        fixed = self.inputs[:-1]
        return (*fixed[:count], *(replace(last, name=f"{last.name}{i}") for i in range(count - len(fixed))))

    def takes(self, count: int) -> str | None:
        """What is wrong with this number of inputs."""
        most = math.inf if self.inputs[-1].variadic else len(self.inputs)
        if self.required <= count <= most:
            return None
        return f"{self.name} takes {self.required} {'or more' if most == math.inf else f'to {most}'} inputs, not {count}"

    def choices(self, attribute: str) -> tuple[Value, ...]:
        """The supported values of an attribute; empty: all."""
        spec = self.attributes[attribute]
        return tuple(spec) if isinstance(spec, list) else ()

    def default(self, attribute: str) -> Value | None:
        """What a missing attribute means; None: there is no default."""
        spec = self.attributes[attribute]
        if isinstance(spec, list):
            spec = spec[0]
        return None if isinstance(spec, type) else spec

    def kind(self, attribute: str) -> type:
        """int, float, str, or tuple (of integers)."""
        spec = self.attributes[attribute]
        return spec if isinstance(spec, type) else type(spec[0] if isinstance(spec, list) else spec)
