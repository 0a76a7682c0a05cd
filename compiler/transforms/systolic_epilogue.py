"""An epilogue, dealt out: what the array has summed goes through the vector unit before anybody stores it.

```
  DMA in:       loop { wait in.empty;                                    ld …;  signal in.full }
  array:        loop { wait panel.empty;                          beats …;      signal panel.done }
  vector unit:  loop { wait panel.done, in.full, out.empty;       vec …;        signal in.empty, out.full, or panel.empty }
  DMA out:      loop { wait out.full;                             st …;         signal out.empty, panel.empty }
```

Whoever is the last to use the panel gives it back to the array.  Panels that begin as zeros are cleared before that; where there are two,
one ahead of the epilogue, which waits for the array.

Arrays that share the nest hand a panel on together, or each has panels of its own: then the others serve all of them in each turn, through
the same rings of what comes in and goes out.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod

from xdsl.ir import Operation

from compiler.dialects import tile
from compiler.schedule.partition import numbered
from compiler.schedule.tokens import Access
from compiler.transforms.allocate_memory import storage
from compiler.transforms.systolic_context import Context, Piece
from compiler.transforms.systolic_nest import Nest, Stack
from compiler.transforms.systolic_panels import own_panels, panel_slots, panel_stream, parts
from compiler.transforms.systolic_streams import Loop, Memory
from isa.instructions import Queue
from isa.stream import Dim

Lower = Callable[[Context, tile.TileOp], Piece]
Code = dict[Queue, list[Operation]]


class Epilogue:
    """The epilogue of a nest that is being lowered."""

    def __init__(self, nest: Nest, op: tile.EpilogueOp, lower: Lower) -> None:
        self.nest, self.op, self.lower = nest, op, lower
        self.panel, self.slots, self.own = Memory.of(op.panel), panel_slots(nest, op), own_panels(nest, op)
        self.code: dict[tuple[Loop, ...], list[tuple[Sequence[int], Code]]] = {}
        """By the loops around it, for each panel that is served there: the arrays that it is for, and what is done with it."""
        copies = [inner for inner in op.body.block.ops if isinstance(inner, tile.CopyOp)]
        filled = [Memory.of(copy.dst).slots for copy in copies if tile.in_dram(copy.src)]
        self.stored = any(storage(copy.src) is op.panel for copy in copies)
        """Whether the panel itself goes to DRAM."""
        emptied = [Memory.of(copy.src).slots for copy in copies if not tile.in_dram(copy.src) and storage(copy.src) is not op.panel]
        self.slots_in, self.slots_out = min(filled, default=0), min(emptied, default=0)
        """Panels of each tensor that DMA fills, 0 if there are none; and of those that it empties, the result's own apart."""

    def deal(self, stack: Stack) -> None:
        """Lower what is done inside these loops."""
        if tuple(stack) in self.code:
            return
        nest, served = self.nest, parts(self.nest, self.op, stack)
        found: list[tuple[Sequence[int], Code]] = []
        nest.context.parts = {self.op.panel: nest.arrays} if self.own else {}
        for place, (numbers, loops) in enumerate(served):
            beside = len(served) if self.own else 0
            nest.context.around = [replace(loop, beside=beside, place=place) if loop.axis == nest.across else loop for loop in loops]
            code: Code = {Queue.vector: []}
            for inner in self.op.body.block.ops:
                if isinstance(inner, tile.TileOp):
                    piece = self.lower(nest.context, inner)
                    nest.accesses += piece.accesses
                    for queue, ops in piece.code.items():
                        code.setdefault(queue, []).extend(ops)
            found.append((numbers, code))
        nest.context.around, nest.context.parts = [], {}
        self.code[tuple(stack)] = found
        if self.op.zeroed:
            nest.accesses.append(Access(Queue.vector, self.panel.space, *self.panel.span, True))

    def each(self, queue: Queue, stack: Stack) -> list[tuple[Sequence[int], list[Operation]]]:
        """What a queue does with each panel, and the arrays that it is for."""
        return [(numbers, code.get(queue, [])) for numbers, code in self.code[tuple(stack)]]

    @property
    def ahead(self) -> bool:
        """Whether panels are cleared ahead of the epilogue."""
        return self.op.zeroed is not None and self.slots > 1

    @property
    def after(self) -> str:
        """What the panel is when the vector unit is done with it: worked on, if it is stored then, or empty."""
        return "worked" if self.stored else "empty"

    # -- tokens -----------------------------------------------------------------------------------------------------

    def token(self, state: str, slots: int, kind: str = "") -> int:
        """A semaphore of what comes in or goes out, or of the panel; it belongs to all nests that use it alike."""
        return self.nest.context.semaphore(f"epilogue{slots}.{kind}{state}", slots if state.endswith("empty") else 0)

    def panel_tokens(self, state: str, numbers: Sequence[int]) -> list[int]:
        """Those of a panel that is for these arrays: each has its own where it gives or takes it."""
        last = Queue.dma_out if self.stored else Queue.vector
        kind = f"{'zeroed' if self.op.zeroed else 'out'}.{last.name}."
        elsewhere = state == "worked" or (state == "empty" and self.op.zeroed is not None)
        return [self.token(f"{numbered('panel', number)}.{state}", self.slots, kind) for number in numbers[: 1 if elsewhere else None]]

    def handshake(self, before: Sequence[int], code: Sequence[Operation], after: Sequence[int]) -> list[Operation]:
        return [*map(self.nest.wait, before), *code, *map(self.nest.signal, after)]

    # -- what the queues do -----------------------------------------------------------------------------------------

    def first(self, queue: Queue) -> list[Operation]:
        """Ahead of the whole nest."""
        return self.clear(0, []) if queue is Queue.vector and self.ahead else []

    def last(self, queue: Queue) -> list[Operation]:
        """Behind the whole nest: the panel that was cleared for no one is handed round once more."""
        steps = {Queue.vector: ("done", self.after)}
        if self.stored:
            steps[Queue.dma_out] = (self.after, "empty")
        if not self.ahead or not (queue in steps or queue.unit is Queue.array):
            return []
        given, taken = steps.get(queue, ("full", "done"))
        everyone = [numbers for numbers, _ in parts(self.nest, self.op, [])] if queue.shared else [[queue.number]]
        return [
            op for numbers in everyone
            for op in self.handshake(self.panel_tokens(given, numbers), [], self.panel_tokens(taken, numbers))
        ]  # fmt: skip

    def before(self, queue: Queue, stack: Stack) -> list[Operation]:
        """Ahead of a panel's beats."""
        if queue.unit is Queue.array:
            return self.handshake(self.panel_tokens("full" if self.op.zeroed else "empty", [queue.number]), [], [])
        return self.clear(0, stack) if queue is Queue.vector and self.op.zeroed and not self.ahead else []

    def work(self, queue: Queue, stack: Stack) -> list[Operation]:
        """Behind a panel's beats; see :meth:`stores` for what DMA stores."""
        if queue.unit is Queue.array:
            return self.handshake([], [], self.panel_tokens("done", [queue.number]))
        out: list[Operation] = []
        if queue is Queue.dma_in and self.slots_in:
            for _, code in self.each(queue, stack):
                out += self.handshake([self.token("in.empty", self.slots_in)], code, [self.token("in.full", self.slots_in)])
        if queue is Queue.vector:
            out += self.clear(1, stack) if self.ahead else []
            given = [("in", self.slots_in)] if self.slots_in else []
            taken = [("out", self.slots_out)] if self.slots_out else []
            for numbers, code in self.each(queue, stack):
                waits = [*self.panel_tokens("done", numbers), *(self.token(f"{way}.full", n) for way, n in given)]
                waits += [self.token(f"{way}.empty", n) for way, n in taken]
                signals = [self.token(f"{way}.empty", n) for way, n in given] + [self.token(f"{way}.full", n) for way, n in taken]
                out += self.handshake(waits, code, [*signals, *self.panel_tokens(self.after, numbers)])
        return out

    def stores(self, queue: Queue, stack: Stack) -> list[Operation]:
        """What goes to DRAM, behind all else that the nest stores."""
        out: list[Operation] = []
        if queue is Queue.dma_out and (self.stored or self.slots_out):
            for numbers, code in self.each(queue, stack):
                waits = [self.token("out.full", self.slots_out)] if self.slots_out else []
                signals = [self.token("out.empty", self.slots_out)] if self.slots_out else []
                if self.stored:
                    waits += self.panel_tokens("worked", numbers)
                    signals += self.panel_tokens("empty", numbers)
                out += self.handshake(waits, code, signals)
        return out

    def clear(self, ahead: int, stack: Stack) -> list[Operation]:
        """Zeros for the array to add to, in the panel so many turns ahead."""
        whole, out = [Dim(prod(self.panel.shape), self.panel.dtype.size)], []
        for numbers, own in parts(self.nest, self.op, stack):
            fill = self.nest.zeros(panel_stream(self.nest, self.op, whole, (), own, numbers[0], ahead=ahead))
            out += self.handshake(self.panel_tokens("empty", numbers), [fill], self.panel_tokens("full", numbers))
        return out
