"""Grids of machines: a TOML file with a base machine and lists of values for its fields.

    base = "8x8.toml"                                # a machine file beside this one, or a table [base] with a machine's fields

    [grid]
    "array" = [{rows = 8, cols = 8}, {rows = 16, cols = 16}]     # fields that change together
    "scratchpad.bytes" = [65536, 131072]                         # 2 × 2 machines
    machine = [{name = "slow", dram.latency = 300}, {name = "fast", dram.latency = 30}]    # any fields of the machine
"""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import msgspec

from isa.errors import UserError
from isa.files import read_text
from isa.machine import Machine, load_machine

Value = int | float | str
Fields = dict[str, Value]
"""Values by dotted name, ``array.rows``."""

WHOLE = "machine"
"""The axis whose values set fields of any part of the machine."""


@dataclass(frozen=True, slots=True)
class Grid:
    """All machines, the last axis first to change; ``fields`` are the dotted names of what varies."""

    machines: tuple[Machine, ...]
    fields: tuple[str, ...]

    def values(self, machine: Machine) -> dict[str, Value | None]:
        """What varies, as it is in one machine; None where the machine lacks that part."""
        values = dict(_leaves("", msgspec.to_builtins(machine)))
        return {name: values.get(name) for name in self.fields}


def load_grid(path: str | Path) -> Grid:
    """Read a grid.

    Raises:
        UserError: the file cannot be read, is no grid, or has values that no machine can have; all of these are listed.
    """
    try:
        return _grid(tomllib.loads(read_text(path)), str(path))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UserError(str(path), f"not a grid of machines: {error}") from error


def _grid(content: dict[str, Any], place: str) -> Grid:
    if unknown := sorted(set(content) - {"base", "grid"}):
        raise UserError(place, f"unknown entry {unknown[0]!r}; a grid of machines has `base` and `[grid]`")
    base = _base(content.get("base", {}), place)
    axes = _axes(content.get("grid", {}), place)
    _check(base, axes, place)
    names = dict.fromkeys(name for axis in axes for fields in axis for name in fields if name != "name")
    return Grid(tuple(_machine(base, choice) for choice in product(*axes)), tuple(names))


def _base(given: object, place: str) -> Machine:
    if isinstance(given, str):
        if "\0" in given:
            raise UserError(place, f"base: {given!r} cannot be the name of a file")
        return load_machine(Path(place).parent / given)
    try:
        return msgspec.convert(given, Machine)
    except msgspec.ValidationError as error:
        raise UserError(place, f"base: not a machine: {error}") from error


def _axes(given: object, place: str) -> list[list[Fields]]:
    """For each axis its values, each of them as fields."""
    if not isinstance(given, dict):
        raise UserError(place, '`grid` is no table; write [grid], and below it for instance "array.rows" = [8, 16]')
    axes = []
    for name, values in _leaves("", given):
        if not isinstance(values, list) or not values:
            raise UserError(place, f'[grid] "{name}": {values!r} is no list of values; write for instance "{name}" = [8, 16]')
        if wrong := [value for value in values if name == WHOLE and not isinstance(value, dict)]:
            example = f"{WHOLE} = [{{array.rows = 8, vector.lanes = 8}}]"
            raise UserError(place, f"[grid] {WHOLE}: {wrong[0]!r} is no table of fields; write for instance {example}")
        axes.append([dict(_leaves("" if name == WHOLE else name, value)) for value in values])
    names = [name for axis in axes for name in dict.fromkeys(name for fields in axis for name in fields)]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UserError(place, f'[grid] sets "{twice[0]}" in two lists; let one of them do it')
    return axes


def _check(base: Machine, axes: list[list[Fields]], place: str) -> None:
    """Raises UserError with every field that a machine does not have and every value that it cannot have."""
    known = dict(_leaves("", msgspec.to_builtins(base)))
    problems = []
    for fields in (fields for axis in axes for fields in axis):
        try:
            _machine(base, (fields,))
        except msgspec.ValidationError as error:
            hint = "" if fields.keys() <= known.keys() else f"; the fields are {', '.join(known)}"
            problems.append(f"{_text(fields)}: {str(error).split(' - at')[0]}{hint}")
    problems = list(dict.fromkeys(problems))
    if len(problems) == 1:
        raise UserError(place, f"[grid] {problems[0]}")
    if problems:
        raise UserError(place, f"[grid] has {len(problems)} mistakes", problems)


def _machine(base: Machine, choice: tuple[Fields, ...]) -> Machine:
    """The base with other fields, named after them where they set no name."""
    tree = msgspec.to_builtins(base)
    for name, value in ((name, value) for fields in choice for name, value in fields.items()):
        *parents, last = name.split(".")
        node = tree
        for parent in parents:
            if not isinstance(node.get(parent), dict):
                node[parent] = {}
            node = node[parent]
        node[last] = value
    tree["name"] = " ".join([str(tree["name"]), *(_text(fields) for fields in choice if fields and "name" not in fields)])
    return msgspec.convert(tree, Machine)


def _text(fields: Fields) -> str:
    return " ".join(f"{name}={value}" for name, value in fields.items())


def _leaves(prefix: str, value: Any) -> Iterator[tuple[str, Any]]:
    """What is no table, with its dotted name."""
    if not isinstance(value, Mapping):
        yield prefix, value
        return
    for name, inner in value.items():
        yield from _leaves(f"{prefix}.{name}" if prefix else name, inner)
