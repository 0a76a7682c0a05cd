"""What all parts of a nest's lowering share: its loops and tiles, and how its instructions are made."""

from collections.abc import Sequence
from dataclasses import replace

from xdsl.ir import Operation, SSAValue

from compiler.dialects import tile
from compiler.dialects.systolic import OPS
from compiler.schedule.axes import parse_axes, strides_of
from compiler.schedule.tokens import Access
from compiler.transforms.systolic_context import Context
from compiler.transforms.systolic_streams import Loop, Memory, start_of, steps
from isa.instructions import IMM, Queue
from isa.stream import Dim, Operand, Stream

Stack = list[Loop]


class Nest:
    """A nest that is being lowered."""

    def __init__(self, context: Context, op: tile.NestOp) -> None:
        self.context, self.op = context, op
        self.rows, self.cols, self.time = op.rows.data, op.cols.data, op.stream.data
        loops = [inner for inner in op.walk() if isinstance(inner, tile.ForOp)]
        self.sizes = {f.axis.data: f.extent.value.data for f in loops}
        self.tile = {f.axis.data: f.step.value.data for f in loops if f.axis.data in self.rows + self.cols}
        self.single = context.slots == 1
        self.stages = [inner for inner in op.walk() if isinstance(inner, tile.StageOp)]
        self.panels: dict[SSAValue, tuple[tile.StageOp | tile.EpilogueOp, Stack]] = {}
        """The stage or epilogue of each panel, and the loops around it: they choose its slot."""
        self.resident = next((inner for inner in op.walk() if isinstance(inner, tile.ResidentOp)), None)
        self.drain = next((inner for inner in op.walk() if isinstance(inner, tile.DrainOp)), None)
        self.preload = next((inner for inner in op.walk() if isinstance(inner, tile.PreloadOp)), None)
        self.weights = next((inner for inner in op.walk() if isinstance(inner, tile.DrainWeightsOp)), None)
        """Those that leave beside the accumulators."""
        self.update = next((inner for inner in op.walk() if isinstance(inner, tile.UpdateOp)), None)
        self.beats = [inner for inner in op.walk() if isinstance(inner, tile.BeatOp)]
        self.accesses: list[Access] = []
        self.arrays, self.across = op.shared_by, op.across.data if op.across else ""
        """How many arrays take part, and the axis whose loop they share."""
        self.summed = self.across in self.time and self.arrays > 1
        """Whether all arrays have the same tiles, each of the accumulators a part of the sum."""
        turns = next((Loop(f.axis.data, f.extent.value.data, f.step.value.data).count for f in loops if f.axis.data == self.across), 0)
        self.shares = [turns // self.arrays + (number < turns % self.arrays) for number in range(self.arrays)]
        """Turns of that loop that each array has, in order; the first ones have one more where they are not equal."""

    def share(self, loop: Loop, number: int) -> Loop:
        """What an array has of the loop that the arrays share."""
        return replace(loop, first=sum(self.shares[:number]), turns=self.shares[number])

    def views(self, stack: Stack) -> list[tuple[int, Stack]]:
        """The arrays that a queue of all serves here, and the loops as each of them sees them."""
        found = []
        for number in range(self.arrays):
            own = [self.share(loop, number) if loop.axis == self.across else loop for loop in stack]
            if all(loop.skipped < loop.count for loop in own):
                found.append((number, own))
        return found

    def slot(self, slots: Sequence[SSAValue], number: int) -> SSAValue:
        """An array's own of several slots, or the one that is for all."""
        return slots[number] if len(slots) > 1 else slots[0]

    def tile_loops(self) -> list[tile.ForOp]:
        """The loops over tiles; the others are over beats."""
        return [f for f in self.op.walk() if isinstance(f, tile.ForOp) and f.axis.data not in self.time]

    def lanes(self, axes: str) -> list[str]:
        """The axes that lie on the array's rows and columns, in the order in which the tensor has them."""
        return [axis for terms in parse_axes(axes) for axis, _ in terms if axis in self.tile]

    def moved(self, memory: Memory, axes: str, stack: Stack) -> tuple[int, ...]:
        """Bytes by which each loop moves what is touched of a tensor."""
        return steps(strides_of(axes, memory.strides), stack)

    def stream(self, memory: Memory, dims: Sequence[Dim], axes: str, tag: str, stack: Stack) -> Stream:
        """Part of a whole tensor, as the loops choose it."""
        start = start_of(strides_of(axes, memory.strides), stack)
        return memory.stream(dims, self.moved(memory, axes, stack), None, Operand[tag], start)

    def wait(self, semaphore: int) -> Operation:
        return self.make("wait", sem=semaphore)

    def signal(self, semaphore: int) -> Operation:
        return self.make("signal", sem=semaphore)

    def provenance(self, product: str | None = None) -> int:
        return self.context.provenance(self.op.layer.data, product or self.op.product.data)

    def make(self, op: str, product: str | None = None, **args: object) -> Operation:
        return OPS[op].of(self.provenance(product), **args)

    def zeros(self, panel: Stream) -> Operation:
        """Clear a panel, for the array to add to."""
        return self.make("vec", fn="copy", dst=panel, a=IMM, imm=0.0)

    def touch(self, queue: Queue, memory: Memory, *, writes: bool, sums: bool = False) -> None:
        """Note that a queue touches a memory."""
        access = Access(queue, memory.space, *memory.span, writes, sums)
        self.accesses.append(access)
