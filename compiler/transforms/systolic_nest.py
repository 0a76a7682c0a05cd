"""What all parts of a nest's lowering share: its loops and tiles, and how its instructions are made."""

from xdsl.ir import Operation, SSAValue

from compiler.dialects import tile
from compiler.dialects.systolic import OPS
from compiler.schedule.axes import parse_axes, strides_of
from compiler.schedule.tokens import Access
from compiler.transforms.systolic_context import Context
from compiler.transforms.systolic_streams import Loop, Memory, steps
from isa.instructions import Queue

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
        self.update = next((inner for inner in op.walk() if isinstance(inner, tile.UpdateOp)), None)
        self.beats = [inner for inner in op.walk() if isinstance(inner, tile.BeatOp)]
        self.accesses: list[Access] = []

    def tile_loops(self) -> list[tile.ForOp]:
        """The loops over tiles; the others are over beats."""
        return [f for f in self.op.walk() if isinstance(f, tile.ForOp) and f.axis.data not in self.time]

    def lanes(self, axes: str) -> list[str]:
        """The axes that lie on the array's rows and columns, in the order in which the tensor has them."""
        return [axis for terms in parse_axes(axes) for axis, _ in terms if axis in self.tile]

    def moved(self, memory: Memory, axes: str, stack: Stack) -> tuple[int, ...]:
        """Bytes by which each loop moves what is touched of a tensor."""
        return steps(strides_of(axes, memory.strides), stack)

    def wait(self, semaphore: int) -> Operation:
        return self.make("wait", sem=semaphore)

    def signal(self, semaphore: int) -> Operation:
        return self.make("signal", sem=semaphore)

    def provenance(self, product: str | None = None) -> int:
        return self.context.provenance(self.op.layer.data, product or self.op.product.data)

    def make(self, op: str, product: str | None = None, **args: object) -> Operation:
        return OPS[op].of(self.provenance(product), **args)

    def touch(self, queue: Queue, memory: Memory, *, writes: bool, sums: bool = False) -> None:
        """Note that a queue touches a memory."""
        access = Access(queue, memory.space, *memory.span, writes, sums)
        self.accesses.append(access)
