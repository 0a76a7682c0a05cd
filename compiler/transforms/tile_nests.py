"""Products as loop nests over array tiles."""

from collections.abc import Sequence

from xdsl.dialects.builtin import f32
from xdsl.ir import Operation, SSAValue

from compiler.dialects import tile, train
from compiler.dialects.integers import integer
from compiler.dialects.train import shape_of, to_ints
from compiler.schedule import blocks
from compiler.schedule.blocks import Streamed
from compiler.schedule.mapping import SUMMED, Mapping
from compiler.schedule.partition import numbered
from compiler.transforms.allocate_memory import storage
from compiler.transforms.planned_nest import PlannedNest
from compiler.transforms.tile_builder import TileBuilder
from compiler.transforms.tile_sharing import shared_loop


class Nest(PlannedNest):
    """One nest that computes the products, as planned."""

    def __init__(
        self, builder: TileBuilder, products: Sequence[train.ProductOp], mapping: Mapping | None = None, *, fuses: bool = False
    ) -> None:  # fmt: skip
        super().__init__(builder, products, mapping, fuses=fuses)
        self.fused: train.UpdateOp | None = None
        self.stages: list[tile.StageOp] = []
        self.memories: dict[str, SSAValue] = {}
        self.bordered: list[SSAValue] = []
        """Panels with zeros around what comes in."""
        self.arrays, self.across = 1, ""

    def emit(self, fused: train.UpdateOp | None) -> None:
        """Write the nest, perhaps with the weight update in it."""
        self.fused = fused
        self.builder.add(self.build())
        if fused is not None:
            self.builder.fused(fused)
        for op in self.products:
            self.builder.produced(op.result)

    def build(self) -> tile.NestOp:
        beats: list[Operation] = []
        together = [[self.beat(op) for op in self.products]] if self.by != "tile" else [[self.beat(op)] for op in self.products]
        for streamed in together:
            body: list[Operation] = list(streamed)
            for axis in reversed(self.time):
                body = [tile.ForOp(axis, self.sizes[axis], 1, body)]
            beats += body
        found = shared_loop(self)
        if found is not None:
            self.arrays, self.across = found.arrays(self.builder.machine.arrays), found.axis
            for panel in {storage(stage.panel).owner for stage in self.stages if self.across in stage.outside.data}:
                assert isinstance(panel, tile.BufferOp)
                panel.ring = integer(self.arrays * panel.slots)
        for bordered in self.bordered:
            self.builder.fill_ring(bordered, self.layer, self.product)
        tile_ops: list[Operation] = []
        resident = self.resident()
        if resident is not None:
            tile_ops.append(resident)
        tile_ops += [*self.preload(), *beats, *self.update()]
        drain = self.drain()
        if drain is not None:
            tile_ops.append(drain)
        total = sum(op.macs for op in self.products)
        loops, time = self.loops(tile_ops), "".join(self.time)
        return tile.NestOp(self.rows, self.cols, time, self.layer, self.product, total, loops, self.arrays, self.across)

    def rings(self, name: str, many: bool = True) -> list[SSAValue]:
        """A ring of tiles for each array, or one that is for all."""
        return [self.builder.ring(numbered(name, number)) for number in range(self.arrays if many else 1)]

    def weight_rings(self) -> list[SSAValue]:
        """Those of stationary tiles: where beats are dealt out, all arrays have the same tiles."""
        return [self.builder.ring(f"w.all{self.arrays}")] if self.arrays > 1 and self.across in self.time else self.rings("w")

    def beat(self, op: train.ProductOp) -> tile.BeatOp:
        role = op.role.data
        kind = self.mapping.beat(role)
        first, second = [(self.streamed(op, name), self.axes(op, name), name) for name in self.mapping.ports(role)]
        sums = None
        accumulates = any(stage.way.data == "inout" and stage.tag.data == second[2] for stage in self.stages)
        if kind != "dw" and not self.builder.overlaps(op) and not accumulates:
            sums = "".join(axis for axis, name in self.classes.items() if name == SUMMED[role])
        return tile.BeatOp(kind, role, first, second, sums)

    def streamed(self, op: train.ProductOp, name: str) -> SSAValue:
        """Scratchpad memory of a tensor that a port streams: a whole tensor, or panels of one that lives in DRAM."""
        if name not in self.memories:
            self.memories[name] = self.memory(op, name)
        return self.memories[name]

    def memory(self, op: train.ProductOp, name: str) -> SSAValue:
        builder, value = self.builder, self.value(op, name)
        streamed = next((t for t in self.streamed_from_dram if t.name == name), None)
        if value is not op.result:
            if streamed is None:
                return builder.in_spad(value, self.layer, self.product)
            place = self.padded(value)
            return self.panel(builder.in_dram(place.input if place else value), op, streamed, place)
        memory = self.result(op, name)
        if streamed is None:
            if self.begins_as_zeros(op):
                builder.fill(memory, 0.0, self.layer, self.product)
            return memory
        return self.panel(memory, op, streamed)

    def result(self, op: train.ProductOp, name: str) -> SSAValue:
        """A home for a product's result."""
        make = self.builder.result_in_dram if self.wanted_in_dram(op.result) else self.builder.result
        return make(op.result, f"{self.layer}.{name}")

    def panel(self, home: SSAValue, op: train.ProductOp, tensor: Streamed, place: train.PlaceOp | None = None) -> SSAValue:
        """Panels of a tensor in DRAM; ``place``: where it lies in them, among zeros that no transfer writes to."""
        turns = blocks.turns_of(self.sizes, self.tile)
        panels = blocks.panels_of(tensor, self.plan, self.order(), self.sizes, turns, self.tile)
        panel = self.builder.buffer(f"{self.layer}.{tensor.name}.panels", panels.shape, f32, panels.slots)
        if panels.zeros:
            self.builder.fill_dram(home, self.layer, self.product)
        way = "inout" if panels.accumulates else "zeroed" if tensor.zeroed else "out" if tensor.result else "in"
        inside = panel
        if place is not None:
            self.bordered.append(panel)
            size = list(map(min, panels.shape, shape_of(place.input)))
            inside = self.builder.part(panel, to_ints(place.starts), size, to_ints(place.steps))
        self.stages.append(tile.StageOp(home, self.axes(op, tensor.name), tensor.name, inside, way, panels.outside))
        return panel

    def resident(self) -> tile.ResidentOp | None:
        """The stationary operand: that of the products that have one, or the weight that is updated in place."""
        for op in self.products:
            name = self.mapping.stationary(op.role.data)
            if name is not None:
                value, axes = self.value(op, name), self.axes(op, name)
                if self.stays_in_dram(value) and "tiles" in self.plan.keeps:
                    return tile.ResidentOp(self.copied(self.builder.in_dram(value), name), axes, name)
                if self.stays_in_dram(value):
                    return tile.ResidentOp(self.builder.in_dram(value), axes, name, *self.weight_rings())
                return tile.ResidentOp(self.builder.in_spad(value, self.layer, self.product), axes, name)
        if self.fused is not None:
            return tile.ResidentOp(self.updated_in_place(0), self.axes(self.products[0], "dW"), "W", *self.weight_rings())
        return None

    def copied(self, home: SSAValue, name: str) -> SSAValue:
        """All of a tensor in DRAM, in the scratchpad for this nest alone."""
        type = tile.memref_of(home)
        copy = self.builder.buffer(f"{self.layer}.{name}.whole", type.get_shape(), type.element_type)
        self.builder.add(tile.CopyOp(home, copy, self.layer, self.product))
        return copy

    def preload(self) -> list[Operation]:
        """What the accumulators begin with: the velocity, where that is updated in place as well."""
        if self.fused is None or not self.fused.momentum.value.data:
            return []
        axes, momentum = self.axes(self.products[-1], "dW"), self.fused.momentum.value.data
        return [tile.PreloadOp(self.updated_in_place(2), axes, "velocity", momentum, *self.rings("v"))]

    def update(self) -> list[Operation]:
        """The update at a tile's end; of two tensors that it changes, the weights leave beside the accumulators."""
        if self.fused is None:
            return []
        momentum = bool(self.fused.momentum.value.data)
        update = tile.UpdateOp(self.fused.lr.value.data, self.fused.decay.value.data, velocity=momentum)
        if not momentum:
            return [update]
        return [update, tile.DrainWeightsOp(self.updated_in_place(0), self.axes(self.products[-1], "dW"), "W", *self.rings("u"))]

    def updated_in_place(self, operand: int) -> SSAValue:
        """What is updated in place, the weight (0) or the velocity (2), in DRAM, in the shape that the products see."""
        assert self.fused is not None
        home = self.builder.dram[self.builder.root(self.fused.inputs[operand])]
        return self.builder.view(home, shape_of(self.products[-1].result))

    def drain(self) -> tile.DrainOp | None:
        """Where accumulators go: to DRAM through a ring of tiles, or straight into a tensor in the scratchpad."""
        builder = self.builder
        for op in self.products:
            if self.mapping.beat(op.role.data) != "dw":
                continue
            name = list(op.tensors)[-1]
            axes = self.axes(op, name)
            if self.fused is not None:
                if self.fused.momentum.value.data:
                    return tile.DrainOp(self.updated_in_place(2), axes, "velocity", *self.rings("g"))
                return tile.DrainOp(self.updated_in_place(0), axes, "W", *self.rings("g"))
            if "sums" in self.plan.keeps:
                sums = builder.result(op.result, f"{self.layer}.{name}")
                builder.fill(sums, 0.0, self.layer, self.product)
                return tile.DrainOp(sums, axes, name, *self.rings("s"))
            if self.in_blocks and SUMMED[op.role.data] == "b":
                home = builder.result_in_dram(op.result, f"{self.layer}.{name}")
                builder.fill_dram(home, self.layer, self.product)
                return tile.DrainOp(home, axes, name, *self.rings("g"), *self.rings("p", self.across not in self.time))
            rings = self.rings("g") if self.wanted_in_dram(op.result) else []
            return tile.DrainOp(self.result(op, name), axes, name, *rings)
        return None

    def loops(self, body: list[Operation]) -> list[Operation]:
        """The tile loops around the body, each with the panels that change with it."""
        order = self.order()
        due: dict[str, list[tile.StageOp]] = {axis: [] for axis in order}
        whole: list[tile.StageOp] = []
        for stage in self.stages:
            around = blocks.enclosing(order, stage.outside.data)
            (due[around[-1]] if around else whole).append(stage)
        for axis in reversed(order):
            body = [tile.ForOp(axis, self.sizes[axis], self.tile.get(axis, 1), [*due[axis], *body])]
        return [*whole, *body]
