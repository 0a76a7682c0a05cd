"""A tile nest dealt out to the queues: each gets the loops around what it does, and semaphores where it meets another."""

from collections.abc import Sequence
from dataclasses import replace
from math import prod

from xdsl.ir import Operation, SSAValue

from compiler.dialects import tile
from compiler.dialects.systolic import loop_of
from compiler.schedule.axes import strides_of
from compiler.schedule.partition import numbered
from compiler.transforms import systolic_rings as rings
from compiler.transforms.allocate_memory import storage
from compiler.transforms.systolic_context import Context, Piece
from compiler.transforms.systolic_epilogue import Epilogue, Lower
from compiler.transforms.systolic_nest import Nest, Stack
from compiler.transforms.systolic_panels import clear_panel, load_panel, panel_stream, panel_token, store_panel
from compiler.transforms.systolic_streams import Loop, Memory, dim_of, start_of, steps
from isa.errors import UserError
from isa.instructions import ALWAYS, HELD, NEVER, Queue, When
from isa.stream import Stream


def lower_nest(context: Context, op: tile.NestOp, lower: Lower) -> Piece:
    """The code of a nest, for each queue, and what it touches; ``lower``: how the operations of an epilogue are lowered.

    Raises:
        UserError: the machine has fewer arrays.
    """
    if op.shared_by > context.machine.arrays:
        raise UserError(f'layer "{op.layer.data}"', f"is for {op.shared_by} arrays, the machine has {context.machine.arrays}")
    return _Lowering(context, op, lower).piece()


class _Lowering(Nest):
    """The structure of the code: which queue does what in which loop, and the beats."""

    def __init__(self, context: Context, op: tile.NestOp, lower: Lower) -> None:
        super().__init__(context, op)
        self.lower = lower
        self.epilogue: Epilogue | None = None

    def piece(self) -> Piece:
        self.context.work(self.op.macs.value.data)
        body = list(self.op.body.block.ops)
        code = {queue: self.body(queue, body, []) for queue in self.context.machine.queues if queue.number < self.arrays}
        if self.epilogue is not None:
            code = {queue: [*self.epilogue.first(queue), *ops, *self.epilogue.last(queue)] for queue, ops in code.items()}
        loops = [Loop(f.axis.data, f.extent.value.data, f.step.value.data) for f in self.tile_loops()]
        tiles = [prod(self.share(loop, number).count if loop.axis == self.across else loop.count for loop in loops)
                 for number in range(self.arrays)]  # fmt: skip
        for op in (self.resident, self.preload, self.weights, self.drain):
            for number, slot in enumerate(op.slot if op is not None else ()):
                self.context.advance(slot, tiles[number % self.arrays])
        return Piece({queue: ops for queue, ops in code.items() if ops}, list(dict.fromkeys(self.accesses)), self.provenance())

    # -- structure ------------------------------------------------------------------------------------------------

    def body(self, queue: Queue, ops: Sequence[Operation], stack: Stack, axis: str = "") -> list[Operation]:
        """What a queue does in a loop's body, between the handshakes that the body as a whole needs."""
        out: list[Operation] = []
        stages = [op for op in ops if isinstance(op, tile.StageOp)]
        epilogue = self.epilogue_of(queue, ops, stack)
        has_resident = any(isinstance(op, tile.ResidentOp) for op in ops)
        has_drain = any(isinstance(op, tile.DrainOp) for op in ops)
        number = queue.number
        if queue.unit is Queue.array:
            for stage in stages:
                self.panels[storage(stage.panel)] = stage, list(stack)
                out.append(self.wait(panel_token(self, stage, "empty" if stage.way.data == "out" else "full", number)))
            if self.single and has_drain:
                out.append(self.wait(self.context.semaphore(numbered("g.free", number), 1)))
        if epilogue is not None:
            out += epilogue.before(queue, stack)
        loaded = not self.turns_over(axis, ops)
        for op in ops:
            if queue is Queue.dma_in and not loaded and not isinstance(op, tile.StageOp):
                # Accumulators of the block before have to be in DRAM before any is read back.
                out.append(self.wait(self.context.semaphore("p.turn", 1)))
                loaded = True
            if isinstance(op, tile.ForOp):
                out += self.loop(queue, op, stack)
            elif isinstance(op, tile.BeatOp):
                if queue.unit is Queue.array:
                    out += self.beat(queue, op, ops, stack)
            elif isinstance(op, tile.EpilogueOp):
                assert epilogue is not None
                out += epilogue.work(queue, stack)
            else:
                out += self.step(queue, op, stack)
        if queue is Queue.dma_out:
            for stage in stages:
                out += store_panel(self, stage, stack)
            if self.turns_over(axis, ops):
                out.append(self.signal(self.context.semaphore("p.turn", 1)))
        if epilogue is not None:
            out += epilogue.stores(queue, stack)
        if queue.unit is Queue.array:
            for stage in stages:
                out.append(self.signal(panel_token(self, stage, "empty" if stage.way.data == "in" else "done", number)))
            if self.single and has_resident:
                out.append(self.signal(self.context.semaphore(numbered("tile.free", number), 1)))
        return out

    def epilogue_of(self, queue: Queue, ops: Sequence[Operation], stack: Stack) -> Epilogue | None:
        """The epilogue at the end of a loop's body, if there is one."""
        op = next((op for op in ops if isinstance(op, tile.EpilogueOp)), None)
        if op is None:
            return None
        self.panels[storage(op.panel)] = op, list(stack)
        if self.epilogue is None:
            self.epilogue = Epilogue(self, op, self.lower)
        if queue.shared:
            self.epilogue.deal(stack)
        return self.epilogue

    def loop(self, queue: Queue, op: tile.ForOp, stack: Stack) -> list[Operation]:
        loop = Loop(op.axis.data, op.extent.value.data, op.step.value.data)
        inner = list(op.body.block.ops)
        if loop.axis == self.across:
            return self.shared_loop(queue, loop, inner, stack)
        if loop.count == 1:
            return self.body(queue, inner, stack, loop.axis)
        body = self.body(queue, inner, [*stack, loop], loop.axis)
        if not body:
            return []
        return [loop_of(self.provenance(), loop.axis, loop.count, body)]

    def shared_loop(self, queue: Queue, loop: Loop, inner: list[Operation], stack: Stack) -> list[Operation]:
        """The loop that the arrays share: in a queue of one array that array's turns, in others those of all, side by side.

        Where some arrays have one turn more than others, that comes last, in a loop of its own.
        """
        if not queue.shared:
            parts = [(self.share(loop, queue.number), self.shares[queue.number])]
        else:
            least = min(self.shares)
            parts = [(loop, least)] + [(replace(loop, skipped=least), 1)] * (max(self.shares) > least)
        code = [(turns, self.body(queue, inner, [*stack, part], loop.axis)) for part, turns in parts]
        return [loop_of(self.provenance(), loop.axis, turns, body) for turns, body in code if body]

    def step(self, queue: Queue, op: Operation, stack: Stack) -> list[Operation]:
        """A queue's share of an operation other than beats."""
        match op, queue.unit:
            case tile.ResidentOp() | tile.PreloadOp(), Queue.dma_in if op.slot:
                return rings.load(self, op, stack)
            case tile.ResidentOp(), Queue.wchain:
                return rings.wload(self, queue, op, stack)
            case tile.PreloadOp(), Queue.wchain:
                return rings.gload(self, queue, op, stack)
            case tile.StageOp(), Queue.dma_in if op.way.data in ("in", "inout"):
                return load_panel(self, op, stack)
            case tile.StageOp(), Queue.vector if op.way.data == "zeroed":
                return clear_panel(self, op, stack)
            case tile.UpdateOp(), Queue.array:
                return [self.make("mupd" if op.velocity else "upd", lr=op.lr.value.data, decay=op.decay.value.data)]
            case tile.DrainOp() | tile.DrainWeightsOp(), Queue.gchain:
                return rings.drained(self, queue, op, stack)
            case tile.DrainOp(), Queue.dma_in if op.before:
                return rings.reload(self, op, stack)
            case tile.DrainOp(), Queue.vector if op.slot and rings.adds(self, op):
                return rings.accumulate(self, op, stack)
            case tile.DrainOp() | tile.DrainWeightsOp(), Queue.dma_out if op.slot and tile.in_dram(op.dst):
                return rings.store(self, op, stack)
            case _:
                return []

    def turns_over(self, axis: str, ops: Sequence[Operation]) -> bool:
        """Whether this is what one block does, where accumulators are added to those of the blocks before."""
        if self.drain is None or not self.drain.before or not axis.isupper():
            return False
        return not any(isinstance(inner, tile.ForOp) and inner.axis.data.isupper() for op in ops for inner in op.walk())

    # -- beats ------------------------------------------------------------------------------------------------------------

    def beat(self, queue: Queue, op: tile.BeatOp, body: Sequence[Operation], stack: Stack) -> list[Operation]:
        first, last = self.beats[0], next((b for b in reversed(self.beats) if b.kind.data == "dw"), None)
        turns = tuple(level for level, loop in enumerate(stack) if loop.axis in self.time)
        swap = When("first", turns) if op is first and self.resident is not None else NEVER
        preload = swap if self.preload is not None else NEVER
        take = (When("last", turns) if turns else ALWAYS) if op is last and self.drain is not None and self.update is None else NEVER
        product, kind = op.product.data, op.kind.data
        lanes = {"fwd": (self.rows, self.cols), "dx": (self.cols, self.rows), "dw": (self.rows, self.cols)}[kind]
        operands = ((op.first, op.first_axes.data, op.first_tag.data), (op.second, op.second_axes.data, op.second_tag.data))
        streams = [self.port(queue, operand, axes, stack) for operand, axes in zip(operands, lanes, strict=True)]
        for position, (value, _, _) in enumerate(operands):
            sums = position == 1 and kind != "dw"
            self.touch(queue, Memory.of(value), writes=sums, sums=sums)
        if kind == "dw":
            held = {"h": streams[0], "v": streams[1]} | self.held(op, [b for b in body if isinstance(b, tile.BeatOp)])
            return [self.make("dw", product, **held, swap=swap, take=take, preload=preload)]
        zero = NEVER
        if op.sums is not None:
            zero = When("first", tuple(level for level, loop in enumerate(stack) if loop.axis in op.sums.data))
        port = "h" if kind == "fwd" else "v"
        args: dict[str, object] = {port: streams[0], "acc": streams[1], "zero": zero, "swap": swap, "preload": preload}
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

    def port(self, queue: Queue, operand: tuple[SSAValue, str, str], lanes: str, stack: Stack) -> Stream:
        """The stream of one port: a lane for each row or column, one row of words a beat."""
        value, axes, tag = operand
        memory = Memory.of(value)
        strides = strides_of(axes, memory.strides)
        dims = [dim_of(axis, self.sizes[axis], self.tile[axis], strides[axis], stack) for axis in lanes]
        staged = self.panels.get(storage(value))
        if staged is None:
            return self.stream(memory, dims, axes, tag, stack)
        # A panel is addressed from its own start: the loops that choose it do not move within it.
        stage, around = staged
        within = {axis: stride for axis, stride in strides.items() if axis not in stage.outside.data}
        return panel_stream(self, stage, dims, steps(within, stack), around, queue.number, start_of(within, stack))
