"""The turns of a repetition at once: each statement of the body for all turns, as one operation on whole arrays.

What a statement reads was there before the repetition, or a statement of the body wrote it, always the same and so many turns before; then
it takes the words from that statement, whose buffer in the scratchpad is needed no more: a product reads its operands in DRAM, where they
were loaded from.  All reads come before all writes: at the end memories and registers get what the turns leave in them.
Products that only ever add to the same sums add up all turns at once.

Arrays have the turns as their first dimension, of length 1 where all turns have the same words.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.lib.stride_tricks import as_strided

from emulator.accesses import Access, Register, Unclear
from emulator.beats import ArrayValues
from emulator.flow import Flow
from emulator.memory import Array, Memory, convert
from emulator.products import as_rows, fitted, joined, product, product_sum
from emulator.statements import Compute, Copy, Place, Product, Statement, Zero, computed
from isa.stream import Space


class Batch:
    """The turns that ``flow`` tells of."""

    def __init__(self, flow: Flow, memories: Mapping[Space, Memory], arrays: Sequence[ArrayValues]) -> None:
        self.flow, self.turns, self.memories, self.arrays = flow, flow.turns, memories, arrays
        self.array = arrays[0]
        """For what is the same of all: shapes, types, and how they compute."""
        self._values: dict[Statement, tuple[list[Array], Array] | None] = {}
        self._flat: dict[tuple[Statement, int, int], Array] = {}
        self._changing: list[Array] = []
        """Words in memory that were read and may be written before the end."""

    # Reads

    def _read(self, statement: Statement, number: int, first: int, last: int) -> Array:
        """What it reads in the turns from ``first`` to ``last``: one, or all from its start on."""
        place, source = statement.reads[number], self.flow.sources[statement, number]
        if source is None or first < source[1]:
            return self._present(statement, number, first, last - first)
        writer, distance = source
        words = self._written(writer, first - distance, last - distance)
        if not isinstance(place, Access) or not isinstance(writer.dst, Access):
            return words
        return self._part(words, (writer, first - distance, last - distance), writer.dst, place, distance)

    def _part(self, words: Array, key: tuple[Statement, int, int], dst: Access, place: Access, distance: int) -> Array:
        """Of what was written to ``dst``, what is read from ``place``."""
        offset = place.address(distance) - dst.address(0)
        if offset == 0 and place.dims == dst.dims:
            return words
        if offset == 0 and sorted(place.dims) == sorted(dst.dims):
            left = list(range(len(dst.dims)))
            axes = [left.pop(next(i for i, axis in enumerate(left) if dst.dims[axis] == dim)) for dim in place.dims]
            return words.transpose(0, *[axis + 1 for axis in axes])
        if key not in self._flat:
            assert dst.order is not None
            words = words.transpose(0, *[axis + 1 for axis in dst.order])
            dense = words if words[0].flags.c_contiguous else np.ascontiguousarray(words)
            self._flat[key] = dense.reshape(len(dense), -1)
        flat = self._flat[key]
        strides = (flat.strides[0], *(stride for _, stride in place.dims))
        if flat.flags.c_contiguous:  # the same, but quicker
            return np.ndarray((len(flat), *place.shape), flat.dtype, flat, offset, strides)
        return as_strided(flat[:, offset // flat.itemsize :], (len(flat), *place.shape), strides, writeable=False)

    def _present(self, statement: Statement, number: int, first: int, turns: int) -> Array:
        """What a statement reads as it is before the repetition."""
        place = statement.reads[number]
        if isinstance(place, Register):
            return np.array(self.arrays[place.array].registers[place.name])[None]
        view = place.view(self.memories[place.space], first, turns)
        if (statement, number) in self.flow.changing:
            self._changing.append(view)
        return view

    def _written(self, statement: Statement, first: int, last: int) -> Array:
        """What a statement writes in the turns from ``first`` to ``last``: one, or some from its start on."""
        if isinstance(statement, Copy):
            words = self._read(statement, 0, first, last)
            if isinstance(statement.dst, Register):
                words = words.reshape(len(words), -1, words.shape[-1])
                return convert(words, self.array.accumulator)
            shape = statement.dst.shape
            if isinstance(statement.reads[0], Register):
                words = fitted(words, math.prod(shape[:-1]), shape[-1]).reshape(len(words), *shape)
            return convert(words, statement.dst.dtype)
        early, late = self._all_values(statement)
        if first < len(early):
            return early[first]
        return late[first - len(early) : last - len(early)] if len(late) > 1 else late

    # Values

    def _all_values(self, statement: Statement) -> tuple[list[Array], Array]:
        """What a statement writes in each turn before its start, and in those from there on."""
        if statement not in self._values:
            self._values[statement] = None
            start = self.flow.start(statement)
            early = [self._value(statement, turn, turn + 1) for turn in range(start)]
            self._values[statement] = early, self._value(statement, start, self.turns) if start < self.turns else early[-1]
        found = self._values[statement]
        if found is None:
            raise Unclear  # what it reads depends on what it wrote before
        return found

    def _value(self, statement: Statement, first: int, last: int) -> Array:
        if isinstance(statement, Zero):
            return np.zeros((1, *self.array.g.shape), self.array.g.dtype)
        if isinstance(statement, Compute):
            return computed(statement, [self._read(statement, number, first, last) for number in range(len(statement.reads))])
        assert isinstance(statement, Product)
        terms = [self._operands(statement, first, last)]
        while (source := self.flow.sources.get((statement, 2))) and source[0] in self.flow.continued:
            statement = source[0]
            terms.insert(0, self._operands(statement, first, last))
        result = self._product(statement, terms)
        if isinstance(statement.dst, Register):
            result = fitted(result, *self.array.g.shape)
        if len(statement.reads) > 2 and not (source and isinstance(source[0], Zero) and first >= source[1]):
            before = convert(self._read(statement, 2, first, last), self.array.accumulator)
            if len(result) < len(before):
                result = np.repeat(result, len(before), axis=0)
            self.array.add(result, before)
        return convert(result, statement.dst.dtype) if isinstance(statement.dst, Access) else result

    def _operands(self, statement: Statement, first: int, last: int) -> tuple[Array, Array]:
        """What a product multiplies, as it enters the multipliers: [turns, rows, inner] and [turns, inner, columns]."""
        assert isinstance(statement, Product)
        array = self.array
        a, b = (self._read(statement, number, first, last) for number in range(2))
        a = array.as_operand(convert(as_rows(a, statement.lanes, 1), array.accumulator))
        lanes = statement.dst.shape[-1] if isinstance(statement.dst, Access) else 0
        if statement.op == "dw":
            return a.transpose(0, 2, 1), array.as_operand(convert(as_rows(b, 1, 1), array.accumulator))
        if statement.op == "fwd":
            return a, array.as_operand(fitted(b, a.shape[-1], lanes))
        return a, array.as_operand(fitted(b, lanes, a.shape[-1])).transpose(0, 2, 1)

    def _product(self, statement: Statement, terms: Sequence[tuple[Array, Array]], total: int = 0) -> Array:
        """The sum of products of each turn, in the type of the sums; or the ``total`` of so many turns."""
        a, b = joined(terms)
        result = product_sum(a, b, total, self.array.matmul) if total else product(a, b, self.array.matmul)
        if isinstance(statement.dst, Access):
            result = result.reshape(*result.shape[:-2], *statement.dst.shape)
        return self.array.summed(result)

    # Writes

    def run(self) -> None:
        """Compute everything, then write it.

        Raises:
            Unclear: nothing has been written then.
        """
        totals = [(dst, self._totals(dst, statements)) for dst, statements in self.flow.totals.items()]
        writes = [(dst, first, turns, self._written(statement, first, first + turns)) for statement, dst, first, turns in self.flow.writes]
        kept = [self._kept(words) for *_, words in writes]
        last = self.turns - 1
        tiles = {dst: self._kept(self._written(statement, last, last + 1)) for dst, statement in self.flow.registers.items()}
        for dst, parts in totals:
            for first, part in parts:
                self._add(dst, first, part)
        for (place, first, turns, _), words in zip(writes, kept, strict=True):
            place.view(self.memories[place.space], first, turns)[...] = words
        for register, (tile,) in tiles.items():
            self.arrays[register.array].put(register.name, tile)

    def _kept(self, words: Array) -> Array:
        """Words that no write changes."""
        if not any(np.may_share_memory(words, memory.bytes) for memory in self.memories.values()):
            return words
        return words.copy() if any(np.may_share_memory(words, view) for view in self._changing) else words

    def _totals(self, dst: Place, statements: Sequence[Product]) -> list[tuple[int, Array]]:
        """What products add to the same sums: arrays for the turns from some on; one of length 1 is for that turn, or for all at once."""
        start, walks = max(map(self.flow.start, statements)), isinstance(dst, Access) and dst.shift != 0
        parts: list[tuple[int, Array]] = []
        for turn in range(start):
            parts += [(turn, self._product(one, [self._operands(one, turn, turn + 1)])) for one in statements]
        if start < self.turns:
            operands = [self._operands(statement, start, self.turns) for statement in statements]
            late = self._product(statements[0], operands, 0 if walks else self.turns - start)
            if walks and len(late) < self.turns - start:
                late = np.repeat(late, self.turns - start, axis=0)
            parts.append((start, late if walks else late[None]))
        return parts

    def _add(self, dst: Place, first: int, total: Array) -> None:
        if isinstance(dst, Access):
            self.array.add(dst.view(self.memories[dst.space], first, len(total)), total)
        else:
            assert dst.name == "g"
            self.array.add(self.arrays[dst.array].g[: total.shape[1], : total.shape[2]], total[0])
