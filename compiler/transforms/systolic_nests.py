"""A tile nest dealt out to the queues: each gets the loops around what it does, and semaphores where it meets another."""

from collections.abc import Sequence
from math import prod

from xdsl.ir import Operation, SSAValue

from compiler.dialects import tile
from compiler.dialects.systolic import OPS, loop_of
from compiler.schedule.axes import parse_axes, strides_of
from compiler.schedule.tokens import Access
from compiler.transforms.allocate_memory import storage
from compiler.transforms.systolic_context import Context, Piece
from compiler.transforms.systolic_streams import Loop, Memory, dim_of, ring_of, steps
from isa.instructions import ALWAYS, HELD, IMM, NEVER, Queue, When
from isa.stream import MAX_DIMS, Dim, Operand, Stream

Stack = list[Loop]


def lower_nest(context: Context, op: tile.NestOp) -> Piece:
    """The code of a nest, for each queue, and what it touches."""
    return _Nest(context, op).piece()


class _Nest:
    def __init__(self, context: Context, op: tile.NestOp) -> None:
        self.context, self.op = context, op
        machine = context.machine
        self.rows, self.cols, self.time = op.rows.data, op.cols.data, op.stream.data
        loops = [inner for inner in op.walk() if isinstance(inner, tile.ForOp)]
        self.sizes = {f.axis.data: f.extent.value.data for f in loops}
        self.tile = {self.rows: machine.rows, self.cols: machine.cols}
        self.single = context.slots == 1
        self.stages = [inner for inner in op.walk() if isinstance(inner, tile.StageOp)]
        self.panels: dict[SSAValue, tuple[tile.StageOp, Stack]] = {}
        """The stage of each panel, and the loops around it: they choose its slot."""
        self.resident = next((inner for inner in op.walk() if isinstance(inner, tile.ResidentOp)), None)
        self.drain = next((inner for inner in op.walk() if isinstance(inner, tile.DrainOp)), None)
        self.update = next((inner for inner in op.walk() if isinstance(inner, tile.UpdateOp)), None)
        self.beats = [inner for inner in op.walk() if isinstance(inner, tile.BeatOp)]
        self.accesses: list[Access] = []

    def piece(self) -> Piece:
        self.context.work(self.op.macs.value.data)
        body = list(self.op.body.block.ops)
        code = {queue: self.body(queue, body, []) for queue in Queue}
        tiles = prod(Loop(f.axis.data, f.extent.value.data, f.step.value.data).count for f in self.tile_loops())
        if self.resident is not None and self.resident.slot:
            self.context.advance(self.resident.slot[0], tiles)
        for slot in self.drain.slot if self.drain is not None else ():
            self.context.advance(slot, tiles)
        return Piece({queue: ops for queue, ops in code.items() if ops}, list(dict.fromkeys(self.accesses)), self.provenance())

    def tile_loops(self) -> list[tile.ForOp]:
        return [f for f in self.op.walk() if isinstance(f, tile.ForOp) and f.axis.data not in self.time]

    # -- structure ------------------------------------------------------------------------------------------------

    def body(self, queue: Queue, ops: Sequence[Operation], stack: Stack, axis: str = "") -> list[Operation]:
        """What a queue does in a loop's body, between the handshakes that the body as a whole needs."""
        out: list[Operation] = []
        stages = [op for op in ops if isinstance(op, tile.StageOp)]
        has_resident = any(isinstance(op, tile.ResidentOp) for op in ops)
        has_drain = any(isinstance(op, tile.DrainOp) for op in ops)
        if queue is Queue.array:
            for stage in stages:
                self.panels[storage(stage.panel)] = stage, list(stack)
                out.append(self.wait(self.panel_token(stage, "empty" if stage.way.data == "out" else "full")))
            if self.single and has_drain:
                out.append(self.wait(self.context.semaphore("g.free", 1)))
        loaded = not self.turns_over(axis, ops)
        for op in ops:
            if queue is Queue.dma_in and not loaded and not isinstance(op, tile.StageOp):
                # Accumulators of the block before have to be in DRAM before any is read back.
                out.append(self.wait(self.context.semaphore("p.turn", 1)))
                loaded = True
            if isinstance(op, tile.ForOp):
                out += self.loop(queue, op, stack)
            elif isinstance(op, tile.BeatOp):
                if queue is Queue.array:
                    out += self.beat(op, ops, stack)
            else:
                out += self.step(queue, op, stack)
        if queue is Queue.dma_out:
            for stage in stages:
                out += self.store_panel(stage, stack)
            if self.turns_over(axis, ops):
                out.append(self.signal(self.context.semaphore("p.turn", 1)))
        if queue is Queue.array:
            for stage in stages:
                out.append(self.signal(self.panel_token(stage, "empty" if stage.way.data == "in" else "done")))
            if self.single and has_resident:
                out.append(self.signal(self.context.semaphore("tile.free", 1)))
        return out

    def loop(self, queue: Queue, op: tile.ForOp, stack: Stack) -> list[Operation]:
        loop = Loop(op.axis.data, op.extent.value.data, op.step.value.data)
        inner = list(op.body.block.ops)
        if loop.count == 1:
            return self.body(queue, inner, stack, loop.axis)
        body = self.body(queue, inner, [*stack, loop], loop.axis)
        if not body:
            return []
        return [loop_of(self.provenance(), loop.axis, loop.count, body)]

    def step(self, queue: Queue, op: Operation, stack: Stack) -> list[Operation]:
        """A queue's share of an operation other than beats."""
        match op, queue:
            case tile.ResidentOp(), Queue.dma_in if op.slot:
                return self.load(op.src, op.slot[0], op.axes.data, op.tag.data, "w", stack)
            case tile.ResidentOp(), Queue.wchain:
                return self.wload(op, stack)
            case tile.StageOp(), Queue.dma_in if op.way.data in ("in", "inout"):
                return self.load_panel(op, stack)
            case tile.StageOp(), Queue.vector if op.way.data == "zeroed":
                return self.clear_panel(op, stack)
            case tile.UpdateOp(), Queue.array:
                return [self.make("upd", lr=op.lr.value.data, decay=op.decay.value.data)]
            case tile.DrainOp(), Queue.gchain:
                return self.drained(op, stack)
            case tile.DrainOp(), Queue.dma_in if len(op.slot) > 1:
                return self.load(op.dst, op.slot[1], op.axes.data, op.tag.data, "p", stack)
            case tile.DrainOp(), Queue.vector if len(op.slot) > 1:
                return self.accumulate(op, stack)
            case tile.DrainOp(), Queue.dma_out if op.slot:
                return self.store(op, stack)
            case _:
                return []

    # -- handshakes -------------------------------------------------------------------------------------------------

    def wait(self, semaphore: int) -> Operation:
        return self.make("wait", sem=semaphore)

    def signal(self, semaphore: int) -> Operation:
        return self.make("signal", sem=semaphore)

    def provenance(self, product: str | None = None) -> int:
        return self.context.provenance(self.op.layer.data, product or self.op.product.data)

    def make(self, op: str, product: str | None = None, **args: object) -> Operation:
        return OPS[op].of(self.provenance(product), **args)

    def turns_over(self, axis: str, ops: Sequence[Operation]) -> bool:
        """Whether this is what one block does, where accumulators are added to those of the blocks before."""
        if self.drain is None or len(self.drain.slot) < 2 or not axis.isupper():
            return False
        return not any(isinstance(inner, tile.ForOp) and inner.axis.data.isupper() for op in ops for inner in op.walk())

    def panel_token(self, stage: tile.StageOp, state: str) -> int:
        """Semaphore of a panel: full (from DRAM, or of zeros), done (by the array), empty."""
        way, slots = stage.way.data, Memory.of(stage.panel).slots
        same = [s for s in self.stages if s.way == stage.way and Memory.of(s.panel).slots == slots]
        name = f"panel.{way}" if slots > 1 or way == "inout" else f"single.{way}"
        return self.context.semaphore(f"{name}{same.index(stage)}.{state}", slots if state == "empty" else 0)

    def touch(self, queue: Queue, memory: Memory, *, writes: bool, sums: bool = False) -> None:
        access = Access(queue, memory.space, *memory.span, writes, sums)
        self.accesses.append(access)

    # -- tiles through rings ------------------------------------------------------------------------------------------

    def tile_dims(self, memory: Memory, axes: str, stack: Stack) -> list[Dim]:
        """A tile of a whole tensor, rows of the array and columns in stored order."""
        strides = strides_of(axes, memory.strides)
        return [dim_of(axis, self.sizes[axis], self.tile[axis], strides[axis], stack) for axis in self.lanes(axes)]

    def lanes(self, axes: str) -> list[str]:
        """The axes that lie on the array's rows and columns, in the order in which the tensor has them."""
        return [axis for terms in parse_axes(axes) for axis, _ in terms if axis in self.tile]

    def slot_dims(self, slot: Memory, like: Sequence[Dim]) -> list[Dim]:
        """The same tile packed into a slot."""
        outer, inner = like
        size = slot.dtype.size
        return [Dim(outer.count, inner.count * size, outer.limit, outer.level), Dim(inner.count, size, inner.limit, inner.level)]

    def moved(self, memory: Memory, axes: str, stack: Stack) -> tuple[int, ...]:
        return steps(strides_of(axes, memory.strides), stack)

    def slot_stream(self, slot: SSAValue, dims: list[Dim], tag: str, stack: Stack) -> Stream:
        memory = Memory.of(slot)
        return memory.stream(dims, (), ring_of(memory, self.context.phase(slot), stack), Operand[tag])

    def array_order(self, dims: list[Dim], axes: str) -> list[Dim]:
        """Rows of the array first, then its columns."""
        order = self.lanes(axes)
        return [dims[order.index(self.rows)], dims[order.index(self.cols)]]

    def load(self, src: SSAValue, slot: SSAValue, axes: str, tag: str, ring: str, stack: Stack) -> list[Operation]:
        memory = Memory.of(src)
        self.touch(Queue.dma_in, memory, writes=False)
        self.context.reads(src)
        dims = self.tile_dims(memory, axes, stack)
        source = memory.stream(dims, self.moved(memory, axes, stack), None, Operand[tag])
        target = self.slot_stream(slot, self.slot_dims(Memory.of(slot), dims), tag, stack)
        return [
            self.wait(self.context.semaphore(f"{ring}.empty", Memory.of(slot).slots)),
            self.make("ld", dst=target, src=source),
            self.signal(self.context.semaphore(f"{ring}.full", 0)),
        ]

    def wload(self, op: tile.ResidentOp, stack: Stack) -> list[Operation]:
        memory, axes, tag = Memory.of(op.src), op.axes.data, op.tag.data
        before = [self.wait(self.context.semaphore("tile.free", 1))] if self.single else []
        dims = self.tile_dims(memory, axes, stack)
        if not op.slot:
            self.touch(Queue.wchain, memory, writes=False)
            source = memory.stream(self.array_order(dims, axes), self.moved(memory, axes, stack), None, Operand[tag])
            return [*before, self.make("wload", src=source)]
        packed = self.slot_dims(Memory.of(op.slot[0]), dims)
        source = self.slot_stream(op.slot[0], self.array_order(packed, axes), tag, stack)
        return [
            *before,
            self.wait(self.context.semaphore("w.full", 0)),
            self.make("wload", src=source),
            self.signal(self.context.semaphore("w.empty")),
        ]

    def drained(self, op: tile.DrainOp, stack: Stack) -> list[Operation]:
        memory, axes, tag = Memory.of(op.dst), op.axes.data, op.tag.data
        after = [self.signal(self.context.semaphore("g.free", 1))] if self.single else []
        dims = self.tile_dims(memory, axes, stack)
        if not op.slot:
            self.touch(Queue.gchain, memory, writes=True)
            target = memory.stream(self.array_order(dims, axes), self.moved(memory, axes, stack), None, Operand[tag])
            return [self.make("drain", dst=target), *after]
        packed = self.slot_dims(Memory.of(op.slot[0]), dims)
        target = self.slot_stream(op.slot[0], self.array_order(packed, axes), tag, stack)
        return [
            self.wait(self.context.semaphore("g.empty", Memory.of(op.slot[0]).slots)),
            self.make("drain", dst=target),
            self.signal(self.context.semaphore("g.partial" if len(op.slot) > 1 else "g.full")),
            *after,
        ]

    def accumulate(self, op: tile.DrainOp, stack: Stack) -> list[Operation]:
        """Drained accumulators plus those of the blocks before."""
        axes, tag = op.axes.data, op.tag.data
        dims = self.slot_dims(Memory.of(op.slot[0]), self.tile_dims(Memory.of(op.dst), axes, stack))
        drained, before = (self.slot_stream(slot, dims, tag, stack) for slot in op.slot)
        return [
            self.wait(self.context.semaphore("g.partial")),
            self.wait(self.context.semaphore("p.full")),
            self.make("vec", fn="add", dst=drained, a=drained, b=before),
            self.signal(self.context.semaphore("p.empty")),
            self.signal(self.context.semaphore("g.summed")),
        ]

    def store(self, op: tile.DrainOp, stack: Stack) -> list[Operation]:
        memory, axes, tag = Memory.of(op.dst), op.axes.data, op.tag.data
        self.touch(Queue.dma_out, memory, writes=True)
        self.context.writes(op.dst)
        dims = self.tile_dims(memory, axes, stack)
        source = self.slot_stream(op.slot[0], self.slot_dims(Memory.of(op.slot[0]), dims), tag, stack)
        target = memory.stream(dims, self.moved(memory, axes, stack), None, Operand[tag])
        return [
            self.wait(self.context.semaphore("g.summed" if len(op.slot) > 1 else "g.full")),
            self.make("st", dst=target, src=source),
            self.signal(self.context.semaphore("g.empty", Memory.of(op.slot[0]).slots)),
        ]

    # -- panels ---------------------------------------------------------------------------------------------------------

    def load_panel(self, op: tile.StageOp, stack: Stack) -> list[Operation]:
        self.touch(Queue.dma_in, Memory.of(op.tensor), writes=False)
        self.touch(Queue.dma_in, Memory.of(op.panel), writes=True)
        self.context.reads(op.tensor)
        return [self.wait(self.panel_token(op, "empty")), self.moved_panel(op, stack), self.signal(self.panel_token(op, "full"))]

    def clear_panel(self, op: tile.StageOp, stack: Stack) -> list[Operation]:
        """Zeros for the array to add to."""
        panel = Memory.of(op.panel)
        self.touch(Queue.vector, panel, writes=True)
        whole = panel.stream([Dim(prod(panel.shape), panel.dtype.size)], (), ring_of(panel, 0, stack), Operand[op.tag.data])
        fill = self.make("vec", fn="copy", dst=whole, a=IMM, imm=0.0)
        return [self.wait(self.panel_token(op, "empty")), fill, self.signal(self.panel_token(op, "full"))]

    def store_panel(self, op: tile.StageOp, stack: Stack) -> list[Operation]:
        if op.way.data == "in":
            return []
        self.touch(Queue.dma_out, Memory.of(op.tensor), writes=True)
        self.touch(Queue.dma_out, Memory.of(op.panel), writes=False)
        self.context.writes(op.tensor)
        store = self.moved_panel(op, stack, out=True)
        return [self.wait(self.panel_token(op, "done")), store, self.signal(self.panel_token(op, "empty"))]

    def moved_panel(self, op: tile.StageOp, stack: Stack, *, out: bool = False) -> Operation:
        """The transfer between a tensor and a panel, in loops over the dimensions that a stream has no room for."""
        tensor, panel, tag = Memory.of(op.tensor), Memory.of(op.panel), Operand[op.tag.data]
        dims = self.panel_dims(tensor, panel, op, stack)
        loops = dims[: max(0, len(dims) - MAX_DIMS)]
        outside, inside = ([dim[i] for dim in dims[len(loops) :]] for i in (0, 1))
        far = [*self.moved(tensor, op.axes.data, stack), *(dim.stride for dim, _ in loops)]
        near = [*(0 for _ in stack), *(dim.stride for _, dim in loops)]
        streams = tensor.stream(outside, far, None, tag), panel.stream(inside, near, ring_of(panel, 0, stack), tag)
        code = self.make("st", dst=streams[0], src=streams[1]) if out else self.make("ld", dst=streams[1], src=streams[0])
        for depth, (dim, _) in reversed(list(enumerate(loops))):
            code = loop_of(self.provenance(), f"i{depth}", dim.count, [code], limit=dim.limit or 0, level=dim.level)
        return code

    def panel_dims(self, tensor: Memory, panel: Memory, op: tile.StageOp, stack: Stack) -> list[tuple[Dim, Dim]]:
        """A panel's dimensions as they lie in the tensor and in the panel; neighbours that lie side by side in both are one."""
        dims: list[tuple[Dim, Dim]] = []
        for terms, extent, *strides in zip(parse_axes(op.axes.data), panel.shape, tensor.strides, panel.strides, strict=True):
            lane = next((axis for axis, _ in terms if axis in self.tile and axis in op.outside.data), None)
            if lane is not None:
                far, near = (dim_of(lane, self.sizes[lane], self.tile[lane], stride, stack) for stride in strides)
            else:
                far, near = (Dim(extent, stride) for stride in strides)
            if far.count == 1 and far.limit is None:
                continue
            whole = far.limit is None and dims and dims[-1][0].limit is None
            if whole and all(outer.stride == inner.stride * inner.count for outer, inner in zip(dims[-1], (far, near), strict=True)):
                count = dims.pop()[0].count * far.count
                far, near = Dim(count, far.stride), Dim(count, near.stride)
            dims.append((far, near))
        return dims or [(Dim(1, tensor.dtype.size), Dim(1, panel.dtype.size))]

    # -- beats ------------------------------------------------------------------------------------------------------------

    def beat(self, op: tile.BeatOp, body: Sequence[Operation], stack: Stack) -> list[Operation]:
        first, last = self.beats[0], next((b for b in reversed(self.beats) if b.kind.data == "dw"), None)
        turns = tuple(level for level, loop in enumerate(stack) if loop.axis in self.time)
        swap = When("first", turns) if op is first and self.resident is not None else NEVER
        take = (When("last", turns) if turns else ALWAYS) if op is last and self.drain is not None and self.update is None else NEVER
        product, kind = op.product.data, op.kind.data
        lanes = {"fwd": (self.rows, self.cols), "dx": (self.cols, self.rows), "dw": (self.rows, self.cols)}[kind]
        operands = ((op.first, op.first_axes.data, op.first_tag.data), (op.second, op.second_axes.data, op.second_tag.data))
        streams = [self.port(operand, lane, stack) for operand, lane in zip(operands, lanes, strict=True)]
        for position, (value, _, _) in enumerate(operands):
            sums = position == 1 and kind != "dw"
            self.touch(Queue.array, Memory.of(value), writes=sums, sums=sums)
        if kind == "dw":
            held = {"h": streams[0], "v": streams[1]} | self.held(op, [b for b in body if isinstance(b, tile.BeatOp)])
            return [self.make("dw", product, **held, swap=swap, take=take)]
        zero = NEVER
        if op.sums is not None:
            zero = When("first", tuple(level for level, loop in enumerate(stack) if loop.axis in op.sums.data))
        port = "h" if kind == "fwd" else "v"
        args: dict[str, object] = {port: streams[0], "acc": streams[1], "zero": zero, "swap": swap}
        return [self.make(kind, product, **args)]

    def held(self, op: tile.BeatOp, beats: list[tile.BeatOp]) -> dict[str, str]:
        """Ports on which a dw beat finds what the beat just before it brought."""
        index = beats.index(op)
        if index == 0:
            return {}
        before = beats[index - 1]
        if before.kind.data == "dx" and before.first is op.second and before.first_axes == op.second_axes:
            return {"v": HELD}
        if before.kind.data == "fwd" and before.first is op.first and before.first_axes == op.first_axes:
            return {"h": HELD}
        return {}

    def port(self, operand: tuple[SSAValue, str, str], lane: str, stack: Stack) -> Stream:
        """The stream of one port: a lane for each row or column, one row of words a beat."""
        value, axes, tag = operand
        memory = Memory.of(value)
        strides = strides_of(axes, memory.strides)
        dim = dim_of(lane, self.sizes[lane], self.tile[lane], strides[lane], stack)
        staged = self.panels.get(storage(value))
        if staged is None:
            return memory.stream([dim], self.moved(memory, axes, stack), None, Operand[tag])
        # A panel is addressed from its own start: the loops that choose it do not move within it.
        stage, around = staged
        within = {axis: stride for axis, stride in strides.items() if axis not in stage.outside.data}
        return memory.stream([dim], steps(within, stack), ring_of(memory, 0, around), Operand[tag])
