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

from emulator.accesses import Access, Register, Unclear, covered, turns_ahead, turns_between
from emulator.beats import ArrayValues
from emulator.memory import Array, Memory, convert
from emulator.nest import injective
from emulator.products import as_rows, fitted, product, product_sum
from emulator.statements import REGISTERS, Compute, Copy, G, Place, Product, Statement, Zero, computed
from isa.stream import Space

Source = tuple[Statement, int]
"""The statement that wrote what is read, and how many turns before."""


class Batch:
    """``turns`` turns of a body.

    Raises:
        Unclear: it cannot be shown that they can be executed at once.
    """

    def __init__(self, body: Sequence[Statement], turns: int, memories: Mapping[Space, Memory], array: ArrayValues) -> None:
        self.body, self.turns, self.memories, self.array = body, turns, memories, array
        self.writers = self._writers()
        self.sums = self._sums()
        self.sources: dict[tuple[Statement, int], Source | None] = {}
        for position, statement in enumerate(body):
            for number in range(2 if statement in self.sums else len(statement.reads)):
                self.sources[statement, number] = self._source(position, statement, number)
        self._check_writes()
        self._starts: dict[Statement, int | None] = {}
        self._values: dict[Statement, tuple[list[Array], Array] | None] = {}
        self._flat: dict[tuple[Statement, int, int], Array] = {}

    # What meets what

    def _writers(self) -> dict[tuple[Statement, int], list[int]]:
        """Of each statement's reads, and of what it writes (-1), the positions of statements that may write bytes of it in any turns."""
        names = [(statement, number) for statement in self.body for number in range(-1, len(statement.reads))]
        bounds = np.array([self._bounds(s.reads[number] if number >= 0 else s.dst) for s, number in names]).T
        space, low, high = bounds
        own = [number < 0 for _, number in names]
        meet = (space[own, None] == space) & (low[own, None] < high) & (low < high[own, None])
        writers: dict[tuple[Statement, int], list[int]] = {name: [] for name in names}
        for column, position in zip(*np.nonzero(meet.T), strict=True):
            writers[names[column]].append(int(position))
        return writers

    def _bounds(self, place: Place) -> tuple[int, int, int]:
        """Which memory or register it is, its lowest byte and the one after the highest."""
        if isinstance(place, Register):
            return len(Space) + REGISTERS.index(place), 0, 1
        return place.space, *place.span(self.turns)

    def _sums(self) -> set[Statement]:
        """The products whose sums nothing touches but products that add to them."""

        def adds(statement: Statement) -> bool:
            if not isinstance(statement, Product) or len(statement.reads) < 3:
                return False
            dst = statement.dst
            return isinstance(dst, Register) or (dst.dtype is self.array.accumulator and dst.period == 1 and self._walks_apart(dst))

        found = {statement for statement in self.body if adds(statement)}
        while found:
            touched = {
                self.body[writer]
                for (statement, number), writers in self.writers.items()
                if statement not in found or number in (0, 1)
                for writer in writers
            }
            if not found & touched:
                break
            found -= touched
        return found

    def _walks_apart(self, dst: Access) -> bool:
        """Whether it stays where it is, or goes through memory without meeting itself."""
        return not dst.shift or injective([*dst.dims, (self.turns, dst.shift)], dst.dtype.size)

    def _source(self, position: int, statement: Statement, number: int) -> Source | None:
        """Who wrote what the statement at this position reads, last."""
        read, best = statement.reads[number], None
        for other in self.writers[statement, number]:
            distance = turns_between(self.body[other].dst, read, other < position, self.turns)
            if distance is not None and (best is None or (distance, -other) < best):
                best = (distance, -other)
        if best is None:
            return None
        writer, distance = self.body[-best[1]], best[0]
        if isinstance(read, Access) and isinstance(writer.dst, Access) and covered(writer.dst, read, distance) is None:
            raise Unclear
        return writer, distance

    def _check_writes(self) -> None:
        """That what walks through memory does not meet itself, nor others but in the same turn."""
        for statement in self.body:
            dst = statement.dst
            if statement in self.sums or isinstance(dst, Register):
                continue
            others = [self.body[writer] for writer in self.writers[statement, -1] if self.body[writer] is not statement]
            if not dst.shift and all(isinstance(other.dst, Access) and not other.dst.shift for other in others):
                continue
            if dst.period > 1 or not self._walks_apart(dst):
                raise Unclear
            if any(not isinstance(other.dst, Access) or turns_ahead(dst, other.dst, self.turns) for other in others):
                raise Unclear

    # Reads

    def _start(self, statement: Statement) -> int:
        """The first turn from which on everything comes from statements of the body, as far back as it goes."""
        if statement not in self._starts:
            self._starts[statement] = None
            sources = [self.sources.get((statement, number)) for number in range(len(statement.reads))]
            start = max((source[1] + self._start(source[0]) for source in sources if source), default=0)
            self._starts[statement] = min(start, self.turns)
        start_or_none = self._starts[statement]
        if start_or_none is None:
            raise Unclear  # what it reads depends on what it wrote before
        return start_or_none

    def _read(self, statement: Statement, number: int, first: int, last: int) -> Array:
        """What it reads in the turns from ``first`` to ``last``: one, or all from its start on."""
        place, source = statement.reads[number], self.sources[statement, number]
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
        return as_strided(flat[:, offset // flat.itemsize :], (len(flat), *place.shape), strides, writeable=False)

    def _present(self, statement: Statement, number: int, first: int, turns: int) -> Array:
        """What a statement reads as it is before the repetition; a copy if that changes."""
        place = statement.reads[number]
        if isinstance(place, Register):
            return np.array(self.array.registers[place.name])[None]
        view = place.view(self.memories[place.space], first, turns)
        return view.copy() if self.writers[statement, number] else view

    def _written(self, statement: Statement, first: int, last: int) -> Array:
        """What a statement writes in the turns from ``first`` to ``last``: one, or some from its start on."""
        if isinstance(statement, Copy):
            words = self._read(statement, 0, first, last)
            if isinstance(statement.dst, Register):
                words = words[:, None] if words.ndim == 2 else words
                return convert(words, self.array.accumulator)
            shape = statement.dst.shape
            if isinstance(statement.reads[0], Register):
                rows, cols = shape if len(shape) == 2 else (1, *shape)
                words = fitted(words, rows, cols).reshape(len(words), *shape)
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
            start = self._start(statement)
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
        result = self._product(statement, first, last, total=False)
        if len(statement.reads) > 2:
            before = convert(self._read(statement, 2, first, last), self.array.accumulator)
            if isinstance(statement.dst, Register):
                shape = self.array.g.shape
                before, result = fitted(before, *shape), np.array(fitted(result, *shape))
            if len(result) < len(before):
                result = np.repeat(result, len(before), axis=0)
            self.array.add(result, before)
        return convert(result, statement.dst.dtype) if isinstance(statement.dst, Access) else result

    def _product(self, statement: Product, first: int, last: int, total: bool) -> Array:
        """The product of each turn, in the type of the sums; or the total of all turns."""
        array = self.array
        a, b = (self._read(statement, number, first, last) for number in range(2))
        a = array.as_operand(convert(as_rows(a, 1), array.accumulator))
        lanes = statement.dst.shape[-1] if isinstance(statement.dst, Access) else 0
        if statement.op == "dw":
            a, b = a.transpose(0, 2, 1), array.as_operand(convert(as_rows(b, 1), array.accumulator))
        elif statement.op == "fwd":
            b = array.as_operand(fitted(b, a.shape[-1], lanes))
        else:
            b = array.as_operand(fitted(b, lanes, a.shape[-1])).transpose(0, 2, 1)
        result = product_sum(a, b, last - first, array.matmul) if total else product(a, b, array.matmul)
        if isinstance(statement.dst, Access):
            result = result.reshape(*result.shape[:-2], *statement.dst.shape)
        return result if array.accumulator.is_float else result.astype(np.int64).astype(np.int32)

    # Writes

    def run(self) -> None:
        """Compute everything, then write it.

        Raises:
            Unclear: nothing has been written then.
        """
        totals = [(statement, self._totals(statement)) for statement in self.body if statement in self.sums]
        walking: list[tuple[Access, int, int, Array]] = []
        staying: list[list[tuple[Place, Array]]] = [[] for _ in range(self._repeats())]
        for statement in self.body:
            if statement in self.sums:
                continue
            dst, start = statement.dst, self._start(statement)
            if isinstance(dst, Access) and dst.shift:
                walking += [(dst, turn, 1, self._written(statement, turn, turn + 1)) for turn in range(start)]
                if start < self.turns:
                    walking.append((dst, start, self.turns - start, self._written(statement, start, self.turns)))
            else:
                for number, writes in enumerate(staying):
                    turn = self.turns - len(staying) + number
                    writes.append((dst, self._written(statement, turn, turn + 1)))
        for statement, parts in totals:
            for first, part in parts:
                self._add(statement.dst, first, part)
        for place, first, turns, words in walking:
            place.view(self.memories[place.space], first, turns)[...] = words
        for number, writes in enumerate(staying):
            for where, words in writes:
                if isinstance(where, Register):
                    self.array.put(where.name, words[0])
                else:
                    where.view(self.memories[where.space], self.turns - len(staying) + number, 1)[...] = words

    def _repeats(self) -> int:
        """So many last turns leave all there is of what stays in its place or ring."""
        periods = [s.dst.period for s in self.body if isinstance(s.dst, Access) and not s.dst.shift]
        return min(self.turns, math.lcm(*periods))

    def _totals(self, statement: Statement) -> list[tuple[int, Array]]:
        """What a product adds to its sums: arrays for the turns from some on; one of length 1 is for that turn, or for all at once."""
        assert isinstance(statement, Product)
        start, walks = self._start(statement), isinstance(statement.dst, Access) and statement.dst.shift != 0
        parts = [(turn, self._product(statement, turn, turn + 1, total=False)) for turn in range(start)]
        if start < self.turns:
            late = self._product(statement, start, self.turns, total=not walks)
            if walks and len(late) < self.turns - start:
                late = np.repeat(late, self.turns - start, axis=0)
            parts.append((start, late if walks else late[None]))
        return parts

    def _add(self, dst: Place, first: int, total: Array) -> None:
        if isinstance(dst, Access):
            self.array.add(dst.view(self.memories[dst.space], first, len(total)), total)
        else:
            assert dst == G
            self.array.add(self.array.g[: total.shape[1], : total.shape[2]], total[0])
