"""Who reads what whom wrote, in the turns of a repetition."""

import math
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from emulator.accesses import Access, Register, Unclear, covered, turns_ahead, turns_between
from emulator.nest import injective
from emulator.statements import Compute, Copy, Place, Product, Statement, Zero
from isa.dtypes import DType

Source = tuple[Statement, int]
"""The statement that wrote what is read, and how many turns before."""
Writers = dict[tuple[Statement, int], list[int]]
"""Of each statement's reads, and of what it writes (-1), the positions of statements that may write bytes of it in any turns."""


class Read(NamedTuple):
    """A read whose source lies so many turns before."""

    statement: Statement
    number: int
    distance: int

    @property
    def place(self) -> Place:
        return self.statement.reads[self.number]


class Flow:
    """Of ``turns`` turns of a body.

    Raises:
        Unclear: it cannot be shown that they can be executed at once.
    """

    def __init__(self, body: Sequence[Statement], turns: int, accumulator: DType) -> None:
        self.body, self.turns, self.accumulator = body, turns, accumulator
        writers = self._writers()
        self.sums = self._sums(writers)
        self.sources: dict[tuple[Statement, int], Source | None] = {}
        """Of each statement's reads; None: what was there before the repetition."""
        for position, statement in enumerate(body):
            for number in range(len(statement.reads)):
                if statement in self.sums and number == statement.adds_to:
                    continue
                self.sources[statement, number] = self._source(position, statement, number, writers[statement, number])
        self._check_writes(writers)
        self.continued = self._continued()
        self.totals: dict[Place, list[Statement]] = {}
        """The sums, by what they add to."""
        for statement in body:
            if statement in self.sums:
                self.totals.setdefault(statement.dst, []).append(statement)
        self.changing = {read for read, found in writers.items() if found}
        """The reads of words that are written in any turn."""
        self._starts: dict[Statement, int | None] = {}
        self.alike = self._alike()
        writing = [statement for statement in body if statement not in self.sums and statement not in self.continued]
        self.writes = self._writes(writing)
        self.registers = {statement.dst: statement for statement in writing if isinstance(statement.dst, Register)}
        """What leaves something in a register."""

    def start(self, statement: Statement) -> int:
        """The first turn from which on everything comes from statements of the body, as far back as it goes.

        Raises:
            Unclear: what it reads depends on what it wrote before.
        """
        if statement not in self._starts:
            self._starts[statement] = None
            sources = [self.sources.get((statement, number)) for number in range(len(statement.reads))]
            start = max((source[1] + self.start(source[0]) for source in sources if source), default=0)
            self._starts[statement] = min(start, self.turns)
        start_or_none = self._starts[statement]
        if start_or_none is None:
            raise Unclear
        return start_or_none

    def chain(self, statement: Product) -> list[Product]:
        """The products that end with this one, each of which continues the next one's sums."""
        found = [statement]
        while (source := self.sources.get((found[-1], 2))) and source[0] in self.continued:
            assert isinstance(source[0], Product)
            found.append(source[0])
        return found

    def from_zero(self, statement: Product, turn: int) -> bool:
        """Whether the first of the products that end with this one begins at 0, in this turn and later ones."""
        begin = self.chain(statement)[-1]
        source = self.sources.get((begin, 2))
        return len(begin.reads) < 3 or (source is not None and isinstance(source[0], Zero) and turn >= source[1])

    def drained(self, statement: Statement, turn: int) -> tuple[list[Read], Product] | None:
        """The product that a sum adds from this turn on, if it was begun at 0 and comes unchanged; and the reads that lead to it."""
        way: list[Read] = []
        number = statement.added
        while source := self.sources[statement, number]:
            way.append(Read(statement, number, source[1]))
            statement, number, turn = source[0], 0, turn - source[1]
            if isinstance(statement.dst, Access) and statement.dst.dtype is not self.accumulator:
                return None
            if isinstance(statement, Product):
                return (way, statement) if turn >= self.start(statement) and self.from_zero(statement, turn) else None
            if not isinstance(statement, Copy):
                return None
        return None

    def _alike(self) -> Mapping[Product, Sequence[Product]]:
        """Of each product whose operands were all there before the repetition, those of them that have one of its operands, too."""
        found: dict[object, list[Product]] = defaultdict(list)
        for statement in self.body:
            if isinstance(statement, Product) and statement not in self.sums and statement not in self.continued:
                chain = self.chain(statement)
                if all(self._was_there(one, number) for one in chain for number in (0, 1)):
                    shared = 1 if statement.op == "dw" else 0
                    found[statement.op, self.start(statement), tuple([one.reads[shared] for one in chain])].append(statement)
        return {statement: group for group in found.values() for statement in group}

    def _was_there(self, statement: Statement, number: int) -> bool:
        """Whether what a statement reads was there before the repetition, copies apart."""
        while source := self.sources[statement, number]:
            if not isinstance(source[0], Copy):
                return False
            statement, number = source[0], 0
        return True

    def _writes(self, writing: Iterable[Statement]) -> list[tuple[Statement, Access, int, int]]:
        """What is written to memories, in order: the statement, where to, the first turn, and how many turns."""
        walking: list[tuple[Statement, Access, int, int]] = []
        staying: list[tuple[Statement, Access]] = []
        for statement in writing:
            dst = statement.dst
            if isinstance(dst, Access) and dst.shift:
                start = self.start(statement)
                walking += [(statement, dst, turn, 1) for turn in range(start)]
                if start < self.turns:
                    walking.append((statement, dst, start, self.turns - start))
            elif isinstance(dst, Access):
                staying.append((statement, dst))
        # So many last turns leave all there is of what stays in its place or ring.
        repeats = min(self.turns, math.lcm(*[dst.period for _, dst in staying]))
        last: dict[tuple[object, ...], tuple[Statement, Access, int, int]] = {}
        for turn in range(self.turns - repeats, self.turns):
            for statement, dst in staying:
                where = dst.space, dst.address(turn), dst.dims, dst.dtype
                last.pop(where, None)  # what is written over is not written
                last[where] = statement, dst, turn, 1
        return [*walking, *last.values()]

    def _writers(self) -> Writers:
        registers: dict[Register, list[int]] = defaultdict(list)
        spans: dict[tuple[Statement, int], tuple[int, int, int]] = {}
        writers: Writers = {}
        positions: list[int] = []
        for position, statement in enumerate(self.body):
            for number, place in enumerate((statement.dst, *statement.reads), -1):
                if isinstance(place, Register):
                    writers[statement, number] = registers[place]
                else:
                    writers[statement, number] = []
                    spans[statement, number] = place.space, *place.span(self.turns)
            if isinstance(statement.dst, Register):
                registers[statement.dst].append(position)
            else:
                positions.append(position)
        if not positions:
            return writers
        names = list(spans)
        space, low, high = np.array(list(spans.values())).T
        own = [number < 0 for _, number in names]
        meet = (space[own, None] == space) & (low[own, None] < high) & (low < high[own, None])
        for name, writer in zip(*np.nonzero(meet.T), strict=True):
            writers[names[name]].append(positions[writer])
        return writers

    def _sums(self, writers: Writers) -> set[Statement]:
        """What only ever adds to sums that nothing else touches."""
        found = {statement for statement in self.body if self._adds(statement) and self._stays_apart(statement.dst)}
        while found:
            touched = {
                self.body[writer]
                for (statement, number), found_writers in writers.items()
                if statement not in found or number not in (-1, statement.adds_to)
                for writer in found_writers
            }
            if not found & touched:
                break
            found -= touched
        return found

    def _adds(self, statement: Statement) -> bool:
        """Whether it adds to sums in the accumulator's type."""
        if statement.adds_to is None or (isinstance(statement, Compute) and not self.accumulator.is_float):
            return False
        return isinstance(statement.dst, Register) or statement.dst.dtype is self.accumulator

    def _stays_apart(self, dst: Place) -> bool:
        return isinstance(dst, Register) or (dst.period == 1 and self._walks_apart(dst))

    def _walks_apart(self, dst: Access) -> bool:
        """Whether it stays where it is, or goes through memory without meeting itself."""
        return not dst.shift or injective([*dst.dims, (self.turns, dst.shift)], dst.dtype.size)

    def _source(self, position: int, statement: Statement, number: int, writers: Sequence[int]) -> Source | None:
        """Who of the writers wrote what the statement at this position reads, last."""
        read, best = statement.reads[number], None
        if isinstance(read, Register):
            before = bisect_left(writers, position)
            return (self.body[writers[before - 1]], 0 if before else 1) if writers else None
        for other in writers:
            distance = turns_between(self.body[other].dst, read, other < position, self.turns)
            if distance is not None and (best is None or (distance, -other) < best):
                best = (distance, -other)
        if best is None:
            return None
        writer, distance = self.body[-best[1]], best[0]
        if isinstance(writer.dst, Access) and covered(writer.dst, read, distance) is None:
            raise Unclear
        return writer, distance

    def _check_writes(self, writers: Writers) -> None:
        """That what walks through memory does not meet itself, nor others but in the same turn."""
        for statement in self.body:
            dst = statement.dst
            if statement in self.sums or isinstance(dst, Register):
                continue
            others = [self.body[writer] for writer in writers[statement, -1] if self.body[writer] is not statement]
            if not dst.shift and all(isinstance(other.dst, Access) and not other.dst.shift for other in others):
                continue
            if dst.period > 1 or not self._walks_apart(dst):
                raise Unclear
            if any(not isinstance(other.dst, Access) or turns_ahead(dst, other.dst, self.turns) for other in others):
                raise Unclear

    def _continued(self) -> set[Statement]:
        """The products that nobody reads but another one that adds to them in the same turn, in the same place."""
        readers = Counter(source[0] for source in self.sources.values() if source)
        found: set[Statement] = set()
        for statement in self.body:
            source = self.sources.get((statement, 2)) if self._adds(statement) else None
            if source and source[1] == 0 and isinstance(source[0], Product) and readers[source[0]] == 1 and source[0].dst == statement.dst:
                found.add(source[0])
        return found
