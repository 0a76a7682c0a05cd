"""``fuse-epilogues``: work on a product's result rides on its panels, where the result would go to DRAM and come back.

Bias and activation, say, or the mask of a gradient: each comes down as blocks that load the result, work on it and store it.  In the nest
the vector unit works on a panel while it is still in the scratchpad (``tile.epilogue``); if nobody else reads the result, it never goes to
DRAM.  What rides is found here, `write_epilogue.py` writes it.
"""

from collections.abc import Iterator, KeysView, Sequence, Set
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation, SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import Rewriter

from compiler.dialects import tile
from compiler.dialects.machine import to_machine
from compiler.schedule.blocks import panel_budget
from compiler.transforms.allocate_memory import nbytes, scratchpad_bytes, storage, touched, written
from compiler.transforms.epilogue_steps import Place, Reader, Step, UnsuitableError, Value, shape_of, tensor_of
from compiler.transforms.write_epilogue import Layout, Panel, Writer, panel_of


@dataclass(frozen=True)
class FuseEpilogues(ModulePass):
    """Runs behind ``convert-train-to-tile`` and before ``fuse-blocks``."""

    name = "fuse-epilogues"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for program in op.body.block.ops:
            if isinstance(program, tile.ProgramOp):
                ops = list(program.body.block.ops)
                tiles = {op.result for op in ops if isinstance(op, tile.BufferOp) and op.symbol.data.endswith(".tiles")}
                for nest in [op for op in ops if isinstance(op, tile.NestOp)]:
                    rider = _Rider(program, nest, tiles)
                    if rider.stage is not None and rider.find(rider.stage):
                        rider.write()


class _Rider:
    """What rides on one nest."""

    def __init__(self, program: tile.ProgramOp, nest: tile.NestOp, tiles: Set[SSAValue]) -> None:
        self.program, self.nest, self.tiles = program, nest, tiles
        self.machine = to_machine(program.machine)
        stages = [op for op in nest.walk() if isinstance(op, tile.StageOp) and op.way.data in ("out", "zeroed")]
        self.stage = stages[0] if stages else None
        """The panels of a result that are complete when they leave."""
        self.riding: list[tile.BlocksOp] = []
        self.ahead: list[tile.TileOp] = []
        """Operations behind the nest that what rides needs, so they have to come before it."""
        self.steps: list[Step] = []
        self.places: list[Place] = []
        self.values: dict[SSAValue, Value] = {}
        """What the epilogue has a piece of, by tensor; the product itself is the first."""
        self.panel: Panel | None = None
        self.memories: dict[Operation, tuple[KeysView[SSAValue], KeysView[SSAValue]]] = {}

    def find(self, stage: tile.StageOp) -> bool:
        """Take all that can ride, up to the second nest from here; whether that saves traffic."""
        between: list[tile.TileOp] = []
        for op in self.following():
            if not (isinstance(op, tile.BlocksOp) and self.ride(op, stage, between)):
                between.append(op)
        return bool(self.riding) and self.saved(between) > 0

    def following(self) -> Iterator[tile.TileOp]:
        nests = 0
        op = self.nest.next_op
        while op is not None:
            nests += isinstance(op, tile.NestOp)
            if nests > 1:
                return
            following = op.next_op
            if isinstance(op, tile.TileOp):
                yield op
            op = following

    # -- what can ride ------------------------------------------------------------------------------------------------

    def ride(self, op: tile.BlocksOp, stage: tile.StageOp, between: list[tile.TileOp]) -> bool:
        """Take an operation along, if possible."""
        known, panel = self.values, self.panel
        if self.met(op, self.nest) - {storage(stage.tensor)}:
            return False  # dW, say, which is complete only with the last panel
        if panel is None:
            panel = self.first_panel(op, stage)
            if panel is None:
                return False
            known = {stage.tensor: Value(panel.space, stage.tensor, self.nest.layer.data, self.nest.product.data, "")}
        try:
            reader = Reader(op, known)
            reader.read()
        except UnsuitableError:
            return False
        values = dict(reader.known)
        if any(n not in (1, panel.space[i]) for v in values.values() for i, n in enumerate(v.shape) if i in panel.turns):
            return False
        ahead = self.needed(op, between)
        steps, places = self.steps + reader.steps, self.places + reader.places
        if ahead is None or self.slots(panel, values, steps, places, [*self.riding, op]) is None:
            return False
        self.panel, self.values, self.steps, self.places = panel, values, steps, places
        self.riding.append(op)
        self.ahead += ahead
        between[:] = [other for other in between if other not in ahead]
        return True

    def first_panel(self, op: tile.BlocksOp, stage: tile.StageOp) -> Panel | None:
        """The panel in the shape in which the first that rides sees the result; None where panels are not the parts of a result."""
        for copy in op.body.block.ops:
            if isinstance(copy, tile.CopyOp) and tile.in_dram(copy.src):
                memory = copy.src.owner.input if isinstance(copy.src.owner, tile.WindowOp) else copy.src
                source = tensor_of(memory)
                if isinstance(source.owner, tile.SliceOp):
                    memory = source.owner.input
                if tensor_of(memory) is stage.tensor:
                    return panel_of(stage, shape_of(memory)) or panel_of(stage, shape_of(stage.tensor))
        return None

    def touches(self, op: Operation) -> tuple[KeysView[SSAValue], KeysView[SSAValue]]:
        if op not in self.memories:
            self.memories[op] = touched(op), written(op)
        return self.memories[op]

    def met(self, one: Operation, other: Operation) -> set[SSAValue]:
        """The memories for which two operations have to stay in their order."""
        (mine, changed), (others, written_there) = self.touches(one), self.touches(other)
        return changed & others | mine & written_there

    def needed(self, op: tile.BlocksOp, between: Sequence[tile.TileOp]) -> list[tile.TileOp] | None:
        """The operations that have to come before the nest, if this one is to be part of it; None if one of them cannot."""
        moved: list[tile.TileOp] = [op]
        for other in reversed(between):
            if any(self.met(other, each) for each in moved):
                moved.append(other)
        ahead = moved[:0:-1]
        stay: list[Operation] = [self.nest, *self.riding]
        if any(isinstance(other, tile.NestOp) or any(self.met(other, each) for each in stay) for other in ahead):
            return None
        return ahead

    # -- what it takes and saves --------------------------------------------------------------------------------------

    def stored(self, values: dict[SSAValue, Value], riding: Sequence[Operation]) -> list[Value]:
        """What others need in DRAM."""
        made = [value for value in values.values() if not value.loaded and value.base is None]
        return [value for value in made if set(users(value.home)) - {self.nest, *riding}]

    def slots(
        self, panel: Panel, values: dict[SSAValue, Value], steps: Sequence[Step], places: Sequence[Place],
        riding: Sequence[Operation],
    ) -> tuple[Layout, int, int] | None:  # fmt: skip
        """A layout and how many panels of the result and of other tensors there are, as many as there is room for."""
        product = next(iter(values.values()))
        stored = [*self.stored(values, riding), *(place.value for place in places)]
        layout = Layout(panel, steps, product, stored)
        ring = panel.stage.panel.owner
        assert isinstance(ring, tile.BufferOp)
        now = ring.slots
        wholes = {storage(operand[0]) for step in steps for operand in (*step.ins, step.out) if not isinstance(operand, Value)}
        beside = {memory.owner for memory in self.touches(self.nest)[0] | wholes | self.tiles} - {ring}
        taken, panels = (
            sum(scratchpad_bytes(buffer) for buffer in beside if isinstance(buffer, tile.BufferOp) and (buffer.ring or not rings))
            for rings in (False, True)
        )
        room = min(self.machine.scratchpad.bytes - taken, panel_budget(self.machine) - panels)
        room = max(room, scratchpad_bytes(ring))
        several = self.program.slots.value.data if now > 1 else 1
        across = self.nest.across
        each = self.nest.shared_by if across is not None and across.data in panel.stage.outside.data else 1
        for own in ([now + each] if layout.own.stored and now > each else []) + [now]:
            for others in range(several, 0, -1):
                if layout.bytes(own, others) <= room:
                    return layout, own, others
        return None

    def saved(self, between: Sequence[tile.TileOp]) -> int:
        """DRAM bytes, compared with blocks that follow each other in one loop, behind the nest."""
        followers = {op for op in between if isinstance(op, tile.BlocksOp)}
        total = 0
        for index, value in enumerate(self.values.values()):
            others = set(users(value.home)) - {self.nest, *self.riding}
            loads, stays = bool(others & followers), others <= followers
            size = nbytes(value.home)
            total += size * any(place.value is value and self.hidden(value) for place in self.places)
            if value.base is not None:
                continue
            if index == 0:
                total += size * (not loads) + size * (not others)
            else:
                total -= size * loads + size * (stays and bool(others) and not value.loaded)
        return total

    def hidden(self, value: Value) -> bool:
        """Whether others can read a value where it is part of a larger tensor: they take windows of it and no other shape."""
        uses = [use.operation for use in value.home.uses]
        others = [op for op in uses if not set(_users(op)) <= {self.nest, *self.riding}]
        return bool(others) and shape_of(value.home) == value.shape and all(isinstance(op, tile.WindowOp) for op in others)

    # -- writing ------------------------------------------------------------------------------------------------------

    def write(self) -> None:
        """Move what has to come first, write the epilogue, and take away what it replaces."""
        assert self.panel is not None
        stage = self.panel.stage
        found = self.slots(self.panel, self.values, self.steps, self.places, self.riding)
        assert found is not None
        last = self.riding[-1]
        moved = set(self.ahead)
        op = self.nest.next_op
        while op is not None and op is not last:
            following = op.next_op
            if op in moved or not isinstance(op, tile.TileOp | tile.PublishOp):
                op.detach()
                self.program.body.block.insert_op_before(op, self.nest)
            op = following
        places = [(place, self.part(place)) for place in self.places]
        for place, part in places:
            if self.hidden(place.value):
                place.value.home.replace_all_uses_with(part)
        writer = Writer(*found, self.program.slots.value.data)
        epilogue = writer.write(self.steps, self.stored(self.values, self.riding), places)
        self.program.body.block.insert_ops_before(writer.outside, self.nest)
        body = stage.parent_block()
        assert body is not None
        body.add_op(epilogue)
        Rewriter.erase_op(stage)
        for blocks in self.riding:
            Rewriter.erase_op(blocks)
        for tensor in [value.home for value in self.values.values() if not value.loaded]:
            erase_unused(tensor)

    def part(self, place: Place) -> SSAValue:
        """The part of a tensor in DRAM where a value goes."""
        if shape_of(place.home) == place.value.shape:
            return place.home
        part = tile.SliceOp(place.home, place.starts, place.value.shape, [1] * len(place.starts))
        self.program.body.block.insert_op_before(part, self.nest)
        return part.result


def users(memory: SSAValue) -> Iterator[Operation]:
    """The operations of the program that use a tensor or anything that is part of it, whoever owns it."""
    for use in storage(memory).uses:
        yield from _users(use.operation)


def _users(op: Operation) -> Iterator[Operation]:
    if isinstance(op, tile.ViewOp | tile.SliceOp | tile.WindowOp | tile.PieceOp):
        for use in op.result.uses:
            yield from _users(use.operation)
        return
    while not isinstance(op.parent_op(), tile.ProgramOp):
        parent = op.parent_op()
        assert parent is not None
        op = parent
    yield op


def erase_unused(memory: SSAValue) -> None:
    """A tensor that nobody uses any more, and views of it."""
    for use in list(memory.uses):
        if isinstance(use.operation, tile.ViewOp | tile.SliceOp):
            erase_unused(use.operation.result)
    if memory.first_use is None and isinstance(memory.owner, tile.ViewOp | tile.SliceOp | tile.TensorOp):
        source = memory.owner.input if not isinstance(memory.owner, tile.TensorOp) else None
        Rewriter.erase_op(memory.owner)
        if source is not None:
            erase_unused(source)
