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
from emulator.products import as_rows, fitted, product
from emulator.statements import Compute, Copy, Place, Product, Statement, Zero, noted
from emulator.tape import Tape
from emulator.together import Terms, Words, together, words_at
from emulator.totals import totals
from isa.stream import Space


class Batch:
    """The turns that ``flow`` tells of; ``tape`` notes how they are computed."""

    def __init__(self, flow: Flow, memories: Mapping[Space, Memory], arrays: Sequence[ArrayValues], tape: Tape) -> None:
        self.flow, self.turns, self.memories, self.arrays, self.tape = flow, flow.turns, memories, arrays, tape
        self.array = arrays[0]
        """For what is the same of all: shapes, types, and how they compute."""
        self._values: dict[Statement, tuple[list[Array], Array] | None] = {}
        self._flat: dict[tuple[Statement, int, int], Array] = {}
        self._entered: dict[tuple[Words, int], tuple[Array, Array]] = {}
        """Words, and the same as they enter the multipliers."""
        self.absorbed: set[Statement] = set()
        """Products that are added to sums for all turns at once: of what they write hardly any turn is needed."""
        self._changing: list[Array] = []
        """Words in memory that were read and may be written before the end."""

    # Reads

    def read(self, statement: Statement, number: int, first: int, last: int) -> Array:
        """What it reads in the turns from ``first`` to ``last``: one, or all from its start on."""
        place, source = statement.reads[number], self.flow.sources[statement, number]
        if source is None or first < source[1]:
            return self._present(statement, number, first, last - first)
        writer, distance = source
        words = self._written(writer, first - distance, last - distance)
        if not isinstance(place, Access) or not isinstance(writer.dst, Access):
            return words
        return self.part(words, (writer, first - distance, last - distance), writer.dst, place, distance)

    def part(self, words: Array, key: tuple[Statement, int, int] | None, dst: Access, place: Access, distance: int) -> Array:
        """Of what was written to ``dst``, what is read from ``place``; ``key`` is that of these words."""
        offset = place.address(distance) - dst.address(0)
        if offset == 0 and place.dims == dst.dims:
            return words
        if offset == 0 and sorted(place.dims) == sorted(dst.dims):
            left = list(range(len(dst.dims)))
            axes = [left.pop(next(i for i, axis in enumerate(left) if dst.dims[axis] == dim)) for dim in place.dims]
            return words.transpose(0, *[axis + 1 for axis in axes])
        flat = self._flat.get(key) if key else None
        if flat is None:
            assert dst.order is not None
            words = words.transpose(0, *[axis + 1 for axis in dst.order])
            dense = words if words[0].flags.c_contiguous else self.tape.copy(words)
            flat = dense.reshape(len(dense), -1)
            if key:
                self._flat[key] = flat
        strides = (flat.strides[0], *(stride for _, stride in place.dims))
        if flat.flags.c_contiguous:  # the same, but quicker
            return np.ndarray((len(flat), *place.shape), flat.dtype, flat, offset, strides)
        return as_strided(flat[:, offset // flat.itemsize :], (len(flat), *place.shape), strides, writeable=False)

    def _present(self, statement: Statement, number: int, first: int, turns: int) -> Array:
        """What a statement reads as it is before the repetition."""
        place = statement.reads[number]
        if isinstance(place, Register):
            return self.tape.new(_register, self.arrays[place.array], place.name)[None]
        view = place.view(self.memories[place.space], first, turns)
        if (statement, number) in self.flow.changing:
            self._changing.append(view)
        return view

    def _written(self, statement: Statement, first: int, last: int) -> Array:
        """What a statement writes in the turns from ``first`` to ``last``: one, or some from its start on."""
        if isinstance(statement, Copy):
            return self.copied(statement, self.read(statement, 0, first, last))
        if statement in self.absorbed and last - first == 1 and self._values.get(statement) is None:
            return self._value(statement, first, last)
        early, late = self._all_values(statement)
        if first < len(early):
            return early[first]
        return late[first - len(early) : last - len(early)] if len(late) > 1 else late

    def copied(self, statement: Copy, words: Array) -> Array:
        """What a copy makes of the words that it reads."""
        if isinstance(statement.dst, Register):
            words = self.tape.reshaped(words, (len(words), -1, words.shape[-1]))
            return self.tape.new(convert, words, self.array.accumulator)
        shape = statement.dst.shape
        if isinstance(statement.reads[0], Register):
            words = fitted(words, math.prod(shape[:-1]), shape[-1], self.tape)
            words = self.tape.reshaped(words, (len(words), *shape))
        return self.tape.new(convert, words, statement.dst.dtype)

    # Values

    def _all_values(self, statement: Statement) -> tuple[list[Array], Array]:
        """What a statement writes in each turn before its start, and in those from there on."""
        if statement not in self._values:
            self._values[statement] = None
            if isinstance(statement, Product):
                self._values.update(self._together(statement))
            else:
                self._values[statement] = self._alone(statement)
        found = self._values[statement]
        if found is None:
            raise Unclear  # what it reads depends on what it wrote before
        return found

    def _alone(self, statement: Statement) -> tuple[list[Array], Array]:
        start = self.flow.start(statement)
        early = [self._value(statement, turn, turn + 1) for turn in range(start)]
        return early, self._value(statement, start, self.turns) if start < self.turns else early[-1]

    def _together(self, statement: Product) -> dict[Statement, tuple[list[Array], Array]]:
        """A product, and those that have an operand in common with it."""
        start, alike = self.flow.start(statement), self.flow.alike.get(statement, [statement])
        if start == self.turns:
            return {statement: self._alone(statement)}
        late = together([self.terms(one, start, self.turns) for one in alike], self.multiply, self.tape)
        return {
            one: ([self._value(one, turn, turn + 1) for turn in range(start)], self._sums(one, result, start, self.turns))
            for one, result in zip(alike, late, strict=True)
        }

    def _value(self, statement: Statement, first: int, last: int) -> Array:
        if isinstance(statement, Zero):
            return np.broadcast_to(self.array.g.dtype.type(0), (1, *self.array.shape))
        if isinstance(statement, Compute):
            operands = [self.read(statement, number, first, last) for number in range(len(statement.reads))]
            return noted(statement, operands, self.tape)
        assert isinstance(statement, Product)
        [result] = together([self.terms(statement, first, last)], self.multiply, self.tape)
        return self._sums(statement, result, first, last)

    def terms(self, statement: Product, first: int, last: int) -> Terms:
        """The operands of the products that are added up before anybody reads their sum."""
        terms = [self.operands(one, first, last) for one in self.flow.chain(statement)]
        return terms[::-1]

    def _sums(self, statement: Product, result: Array, first: int, last: int) -> Array:
        """What a product leaves in its sums, those before added."""
        result = self.shaped(statement, result)
        if isinstance(statement.dst, Register):
            result = fitted(result, *self.array.shape, self.tape)
        if not self.flow.from_zero(statement, first):
            begin = self.flow.chain(statement)[-1]
            before = self.tape.new(convert, self.read(begin, 2, first, last), self.array.accumulator)
            product, result = result, result if len(result) >= len(before) else self.tape.empty(before.shape, before.dtype)
            self.tape.do(np.add, product, before, result)
        return self.tape.new(convert, result, statement.dst.dtype) if isinstance(statement.dst, Access) else result

    def operands(self, statement: Product, first: int, last: int) -> tuple[Array, Array]:
        """What a product multiplies, as it enters the multipliers: [turns, rows, inner] and [turns, inner, columns]."""
        array = self.array
        a, b = (self.read(statement, number, first, last) for number in range(2))
        a = self._entering(a, statement.lanes)
        lanes = statement.dst.shape[-1] if isinstance(statement.dst, Access) else 0
        if statement.op == "dw":
            return a.transpose(0, 2, 1), self._entering(b, 1)
        if statement.op == "fwd":
            return a, self.tape.new(array.as_operand, fitted(b, a.shape[-1], lanes, self.tape))
        return a, self.tape.new(array.as_operand, fitted(b, lanes, a.shape[-1], self.tape)).transpose(0, 2, 1)

    def _entering(self, words: Array, dims: int) -> Array:
        """Words as they enter the multipliers, [turns, rows, lanes]: the same array where they are the same words."""
        key = words_at(words), dims
        if key not in self._entered:
            rows = self.tape.new(convert, as_rows(words, dims, 1, self.tape.reshaped), self.array.accumulator)
            self._entered[key] = words, self.tape.new(self.array.as_operand, rows)
        return self._entered[key][1]

    def multiply(self, a: Array, b: Array) -> Array:
        return product(a, b, self.tape)

    def shaped(self, statement: Statement, result: Array) -> Array:
        """A product in the type and the shape of the sums."""
        if isinstance(statement.dst, Access):
            result = self.tape.reshaped(result, (*result.shape[:-2], *statement.dst.shape))
        return self.tape.new(self.array.summed, result)

    # Writes

    def run(self) -> None:
        """Compute everything, then write it.

        Raises:
            Unclear: nothing has been written then.
        """
        parts = totals(self)
        writes = [(dst, first, turns, self._written(statement, first, first + turns)) for statement, dst, first, turns in self.flow.writes]
        kept = [self._kept(words) for *_, words in writes]
        last = self.turns - 1
        tiles = {dst: self._kept(self._written(statement, last, last + 1)) for dst, statement in self.flow.registers.items()}
        for dst, first, turns, part in parts:
            self._add(dst, first, turns, part)
        for (place, first, turns, _), words in zip(writes, kept, strict=True):
            self.tape.do(np.copyto, place.view(self.memories[place.space], first, turns), words)
        for register, words in tiles.items():
            self.tape.do(self.arrays[register.array].put, register.name, words[0])

    def _kept(self, words: Array) -> Array:
        """Words that no write changes."""
        if not any(np.may_share_memory(words, memory.bytes) for memory in self.memories.values()):
            return words
        return self.tape.copy(words) if any(np.may_share_memory(words, view) for view in self._changing) else words

    def _add(self, dst: Place, first: int, turns: int, total: Array) -> None:
        if isinstance(dst, Access):
            view = dst.view(self.memories[dst.space], first, turns)
            self.tape.do(np.add, view, total, view)
        else:
            assert dst.name == "g"
            self.tape.do(_add_gradient, self.arrays[dst.array], total[0])


def _register(array: ArrayValues, name: str) -> Array:
    return array.registers[name]


def _add_gradient(array: ArrayValues, total: Array) -> None:
    array.add(array.g[: total.shape[0], : total.shape[1]], total)
