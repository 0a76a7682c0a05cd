"""``convert-train-to-tile``: choose a dataflow for every product, give every tensor a home, and write the loops over tiles.

Reshapes vanish (same words), inputs are copied to the scratchpad at their first use, weights stay in DRAM and come tile by tile,
gradients of weights go out tile by tile, everything else stays in the scratchpad.  The two gradient products of a layer are
scheduled together: interleaved in one nest, or one nest after the other.
"""

import sys
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation
from xdsl.passes import ModulePass

from compiler.dialects import tile, train
from compiler.dialects.integers import integer
from compiler.dialects.machine import machine_attr
from compiler.discard import discard
from compiler.schedule import SCHEDULES
from compiler.schedule.kept import least_traffic, needed_again
from compiler.schedule.schedules import Schedule, partitioned
from compiler.transforms.spread_results import spread_results
from compiler.transforms.tile_builder import TileBuilder
from compiler.transforms.tile_gather import gathered
from compiler.transforms.tile_nests import Nest
from compiler.transforms.tile_vector import lower_vector
from isa.errors import UserError
from isa.machine import Machine, load_machine


@dataclass(frozen=True)
class ConvertTrainToTile(ModulePass):
    """See the module's docstring."""

    name = "convert-train-to-tile"

    schedule: str = "interleaved"
    """One of compiler.schedule.SCHEDULES."""
    machine: str = ""
    """Path of a machine file; empty: the default machine."""
    double_buffer: bool = True
    """Load and drain tiles behind the beats."""
    fused_update: bool = False
    """Update weights in the array, where schedule and optimiser allow it; their gradients are then not stored."""
    dram_above: int = -1
    """Tensors of more bytes live in DRAM and come in pieces; negative: none does."""
    partition: str = "auto"
    """How several arrays share a product: one of compiler.schedule.partition.PARTITIONS."""

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        machine = load_machine(self.machine) if self.machine else Machine()
        schedule = partitioned(schedule_of(self.schedule), self.partition)
        lower(op, machine, schedule, double_buffer=self.double_buffer, fused_update=self.fused_update, dram_above=self.dram_above)


def lower(
    module: ModuleOp, machine: Machine, schedule: str | Schedule, *, double_buffer: bool, fused_update: bool, dram_above: int = -1
) -> None:
    """The pass, for callers that have a machine rather than its file, or a schedule that is not in the table.

    Raises:
        UserError: an unknown schedule, or a machine that cannot compute what the graph needs.
    """
    schedule = schedule_of(schedule) if isinstance(schedule, str) else schedule
    if not machine.operand.is_float:
        raise UserError(f"machine {machine.name}", f"its array computes {machine.array.operand}; training needs f32 or bf16 operands")
    for graph in [op for op in module.body.block.ops if isinstance(op, train.GraphOp)]:
        label = f"{schedule.name}, double buffer {_on(double_buffer)}, fused update {_on(fused_update)}"
        label += f", partition {schedule.partition}" if machine.arrays > 1 else ""
        program = tile.ProgramOp(graph.sym_name.data, machine_attr(machine), label, 2 if double_buffer else 1)
        limit = dram_above if dram_above >= 0 else sys.maxsize
        builder = TileBuilder(program, machine, schedule, double_buffer=double_buffer, dram_above=limit)
        spread_results(graph, builder)
        builder.analyse(graph)
        kept = least_traffic(*needed_again(graph, builder.root, builder.users), machine.scratchpad.bytes)
        program.kept = integer(kept) if kept else None
        _Walk(builder, fused_update).graph(graph)
        module.body.block.insert_op_before(program, graph)
        discard(graph)


def schedule_of(name: str) -> Schedule:
    """The schedule of a name; raises UserError."""
    if name not in SCHEDULES:
        raise UserError("--schedule", f"unknown schedule {name!r}; there are {', '.join(SCHEDULES)}")
    return SCHEDULES[name]


def _on(option: bool) -> str:
    return "on" if option else "off"


class _Walk:
    """Goes through a graph once, handing every operation to its lowering."""

    def __init__(self, builder: TileBuilder, fused_update: bool) -> None:
        self.builder = builder
        self.fused_update = fused_update
        self.done: set[Operation] = set()

    def graph(self, graph: train.GraphOp) -> None:
        self.builder.momentum = self.fused_update and any(map(self.preloads, graph.body.block.ops))
        for op in graph.body.block.ops:
            if op not in self.done:
                self.operation(op)
                self.done.add(op)

    def operation(self, op: Operation) -> None:
        match op:
            case train.ProductOp() if 0 in op.sizes.values():
                raise UserError(f'node "{op.layer.data}"', "multiplies a tensor without elements, which the array cannot")
            case train.ProductOp() if op.role.data == "fwd":
                Nest(self.builder, [op]).emit(None)
            case train.ProductOp():
                self.gradients(op)
            case train.UpdateOp():
                self.builder.update(op)
            case train.OutputOp():
                self.builder.output(op)
            case _:
                lower_vector(self.builder, op)

    def gradients(self, op: train.ProductOp) -> None:
        """Both gradient products of a layer, dX before dW; which of them exist is the graph's affair."""
        pair = [op]
        for other in self.builder.products_of(op):
            if other not in self.done and other.role.data != op.role.data:
                pair.append(other)
                break
        pair.sort(key=lambda p: p.role.data, reverse=True)
        fused = None
        for products in [pair] if self.builder.choice(op).by else [[product] for product in pair]:
            gathered_ops = gathered(self.builder, products[0])
            if gathered_ops:
                self.done |= set(gathered_ops)
                continue
            wanted = self.fused_update and self.builder.choice(op).fuses and products[-1].role.data == "dw"
            update = self.fusable(pair) if wanted else None
            nest = Nest(self.builder, products, fuses=update is not None)
            fused = update if nest.fuses else None
            self.velocity(fused)
            nest.emit(fused if products[-1].role.data == "dw" else None)
        self.done |= set(pair)
        if fused is not None:
            self.done.add(fused)

    def preloads(self, op: Operation) -> bool:
        """Whether an operation is a product whose accumulators may begin with a velocity."""
        if not isinstance(op, train.ProductOp) or op.role.data != "dw":
            return False
        updates = any(isinstance(user, train.UpdateOp) and user.momentum.value.data for user in self.builder.users(op.result))
        return updates and self.builder.choice(op).fuses and self.builder.mapping(op).beat("dw") == "dw"

    def velocity(self, fused: train.UpdateOp | None) -> None:
        """The velocity of an update, which the graph names first where it is updated, has to be there where that is fused."""
        for leaf in [self.builder.root(value).owner for value in fused.inputs[2:]] if fused else []:
            if isinstance(leaf, Operation) and leaf not in self.done:
                self.operation(leaf)
                self.done.add(leaf)

    def fusable(self, pair: list[train.ProductOp]) -> train.UpdateOp | None:
        """The update that can happen in the array: of a weight that nothing later reads, with momentum by a velocity of its own."""
        dw = pair[-1]
        if dw.role.data != "dw":
            return None
        users = self.builder.users(dw.result)
        updates = [u for u in users if isinstance(u, train.UpdateOp)]
        if len(updates) != 1 or any(not isinstance(u, train.UpdateOp | train.OutputOp) for u in users):
            return None
        update = updates[0]
        weight = self.builder.root(update.inputs[0])
        readers = set(self.builder.users(update.inputs[0])) - {update}
        mapping = self.builder.mapping(dw)
        in_place = mapping.beat("dw") == "dw" and isinstance(weight.owner, train.LeafOp)
        velocities = [self.builder.root(value) for value in update.inputs[2:]]
        own = all(isinstance(v.owner, train.LeafOp) and set(self.builder.users(v)) == {update} for v in velocities)
        if not in_place or not own or not readers <= self.done | set(pair):
            return None
        return update
