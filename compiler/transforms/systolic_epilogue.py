"""An epilogue, dealt out: what the array has summed goes through the vector unit before anybody stores it.

```
  DMA in:       loop { wait in.empty;                                    ld …;  signal in.full }
  array:        loop { wait panel.empty;                          beats …;      signal panel.done }
  vector unit:  loop { wait panel.done, in.full, out.empty;       vec …;        signal in.empty, out.full, or panel.empty }
  DMA out:      loop { wait out.full;                             st …;         signal out.empty, panel.empty }
```

Whoever is the last to use the panel gives it back to the array.  Panels that begin as zeros are cleared before that; where there are two,
one ahead of the epilogue, which waits for the array.
"""

from collections.abc import Callable
from math import prod

from xdsl.ir import Operation

from compiler.dialects import tile
from compiler.schedule.tokens import Access
from compiler.transforms.allocate_memory import storage
from compiler.transforms.systolic_context import Context, Piece
from compiler.transforms.systolic_nest import Nest, Stack
from compiler.transforms.systolic_streams import Memory, ring_of
from isa.instructions import Queue
from isa.stream import Dim, Operand

Lower = Callable[[Context, tile.TileOp], Piece]


class Epilogue:
    """The epilogue of a nest that is being lowered, inside the loops of ``stack``."""

    def __init__(self, nest: Nest, op: tile.EpilogueOp, stack: Stack, lower: Lower) -> None:
        self.nest, self.op, self.stack = nest, op, stack
        self.panel = Memory.of(op.panel)
        self.code: dict[Queue, list[Operation]] = {Queue.vector: []}
        filled: list[Memory] = []
        emptied: list[Memory] = []
        self.stored = False
        """Whether the panel itself goes to DRAM."""
        nest.context.around = stack
        for inner in op.body.block.ops:
            if isinstance(inner, tile.TileOp):
                piece = lower(nest.context, inner)
                nest.accesses += piece.accesses
                for queue, ops in piece.code.items():
                    self.code.setdefault(queue, []).extend(ops)
            if isinstance(inner, tile.CopyOp) and tile.in_dram(inner.src):
                filled.append(Memory.of(inner.dst))
            elif isinstance(inner, tile.CopyOp) and storage(inner.src) is op.panel:
                self.stored = True
            elif isinstance(inner, tile.CopyOp):
                emptied.append(Memory.of(inner.src))
        nest.context.around = []
        self.slots_in = min((memory.slots for memory in filled), default=0)
        """Panels of each tensor that DMA fills, 0 if there are none; and of those that it empties, the result's own apart."""
        self.slots_out = min((memory.slots for memory in emptied), default=0)
        if op.zeroed:
            nest.accesses.append(Access(Queue.vector, self.panel.space, *self.panel.span, True))

    @property
    def ahead(self) -> bool:
        """Whether panels are cleared ahead of the epilogue."""
        return self.op.zeroed is not None and self.panel.slots > 1

    @property
    def after(self) -> str:
        """What the panel is when the vector unit is done with it: worked on, if it is stored then, or empty."""
        return "worked" if self.stored else "empty"

    # -- tokens -----------------------------------------------------------------------------------------------------

    def token(self, state: str, slots: int) -> int:
        """A semaphore of the panel, or of those that come in or go out; it belongs to all nests that use it alike."""
        last = Queue.dma_out if self.stored else Queue.vector
        kind = f"{'zeroed' if self.op.zeroed else 'out'}.{last.name}." if state.startswith("panel") else ""
        return self.nest.context.semaphore(f"epilogue{slots}.{kind}{state}", slots if state.endswith("empty") else 0)

    def panel_token(self, state: str) -> int:
        return self.token(f"panel.{state}", self.panel.slots)

    # -- what the queues do -----------------------------------------------------------------------------------------

    def first(self, queue: Queue) -> list[Operation]:
        """Ahead of the whole nest."""
        return self.clear(0, []) if queue is Queue.vector and self.ahead else []

    def last(self, queue: Queue) -> list[Operation]:
        """Behind the whole nest: the panel that was cleared for no one is handed round once more."""
        steps = {Queue.array: ("full", "done"), Queue.vector: ("done", self.after)}
        if self.stored:
            steps[Queue.dma_out] = (self.after, "empty")
        if queue not in steps or not self.ahead:
            return []
        given, taken = steps[queue]
        return [self.nest.wait(self.panel_token(given)), self.nest.signal(self.panel_token(taken))]

    def before(self, queue: Queue) -> list[Operation]:
        """Ahead of a panel's beats."""
        match queue:
            case Queue.array:
                return [self.nest.wait(self.panel_token("full" if self.op.zeroed else "empty"))]
            case Queue.vector if self.op.zeroed and not self.ahead:
                return self.clear(0, self.stack)
            case _:
                return []

    def work(self, queue: Queue) -> list[Operation]:
        """Behind a panel's beats; see :meth:`stores` for what DMA stores."""
        nest, code = self.nest, self.code.get(queue, [])
        match queue:
            case Queue.array:
                return [nest.signal(self.panel_token("done"))]
            case Queue.dma_in if code:
                return [nest.wait(self.token("in.empty", self.slots_in)), *code, nest.signal(self.token("in.full", self.slots_in))]
            case Queue.vector:
                given = [("in", self.slots_in)] if self.slots_in else []
                taken = [("out", self.slots_out)] if self.slots_out else []
                waits = [self.panel_token("done"), *(self.token(f"{way}.full", n) for way, n in given)]
                waits += [self.token(f"{way}.empty", n) for way, n in taken]
                signals = [self.token(f"{way}.empty", n) for way, n in given] + [self.token(f"{way}.full", n) for way, n in taken]
                signals.append(self.panel_token(self.after))
                ahead = self.clear(1, self.stack) if self.ahead else []
                return [*ahead, *map(nest.wait, waits), *code, *map(nest.signal, signals)]
            case _:
                return []

    def stores(self, queue: Queue) -> list[Operation]:
        """What goes to DRAM, behind all else that the nest stores."""
        code = self.code.get(queue, [])
        if queue is not Queue.dma_out or not code:
            return []
        waits = [self.token("out.full", self.slots_out)] if self.slots_out else []
        signals = [self.token("out.empty", self.slots_out)] if self.slots_out else []
        if self.stored:
            waits.append(self.panel_token(self.after))
            signals.append(self.panel_token("empty"))
        return [*map(self.nest.wait, waits), *code, *map(self.nest.signal, signals)]

    def clear(self, ahead: int, stack: Stack) -> list[Operation]:
        """Zeros for the array to add to, in the panel so many turns ahead."""
        ring = ring_of(self.panel, ahead, stack)
        whole = [Dim(prod(self.panel.shape), self.panel.dtype.size)]
        fill = self.nest.zeros(self.panel.stream(whole, (), ring, Operand[self.op.tag.data]))
        return [self.nest.wait(self.panel_token("empty")), fill, self.nest.signal(self.panel_token("full"))]
