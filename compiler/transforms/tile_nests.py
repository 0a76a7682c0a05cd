"""Products as loop nests over array tiles."""

from collections.abc import Sequence
from functools import cached_property
from math import prod

from xdsl.dialects.builtin import f32
from xdsl.ir import Operation, SSAValue

from compiler.dialects import tile, train
from compiler.dialects.integers import integer
from compiler.dialects.train import shape_of, to_ints
from compiler.schedule import blocks
from compiler.schedule.axes import axes_in, blocked, parse_axes, shared
from compiler.schedule.blocks import WORD, Extents, Plan, Streamed
from compiler.schedule.estimates import Estimate, Loops
from compiler.schedule.mapping import SUMMED, Mapping
from compiler.schedule.partition import numbered
from compiler.schedule.plans import cheapest
from compiler.schedule.tilings import tilings
from compiler.transforms.allocate_memory import storage
from compiler.transforms.riders import riders
from compiler.transforms.tile_builder import TileBuilder
from compiler.transforms.tile_sharing import shared_loop

FAIR = 2
"""How many times the cycles of the best plan are too many."""


class Nest:
    """One nest that computes the products: one, or dX and dW interleaved. All of them share the mapping of the first.

    ``fuses``: the weight could be updated in the array, if a tile's whole gradient is there at once.
    """

    def __init__(
        self, builder: TileBuilder, products: Sequence[train.ProductOp], mapping: Mapping | None = None, *, fuses: bool = False
    ) -> None:  # fmt: skip
        self.fuses = fuses
        self.builder, self.products, self.mapping = builder, products, mapping or builder.mapping(products[0])
        self.sizes, self.classes = products[0].sizes, products[0].classes
        self.layer = products[0].layer.data
        self.product = "+".join(op.role.data for op in products)
        self.by = builder.choice(products[0]).by if len(products) > 1 else ""
        self.rows_first = len(products) > 1 and builder.choice(products[0]).rows_first
        self.fused: train.UpdateOp | None = None
        self.stages: list[tile.StageOp] = []
        self.memories: dict[str, SSAValue] = {}
        self.bordered: list[SSAValue] = []
        """Panels with zeros around what comes in."""
        self.arrays, self.across, self.room = 1, "", 0
        self.plan = Plan()
        self.plan, self.tile = self.choose()
        *rows, self.cols = self.tile
        self.rows = "".join(rows)
        self.sizes = self.plan.split(self.sizes)
        self.classes |= {axis.upper(): self.classes[axis] for axis in self.plan.blocks}
        self.time = self.axes_of(self.mapping.time)

    @property
    def in_blocks(self) -> bool:
        """Whether the array sees only part of the sum over b at a time."""
        return self.splits_sums(self.plan)

    def splits_sums(self, plan: Plan) -> bool:
        """Whether a plan walks blocks of what dW is summed over."""
        return any(self.classes[axis] == "b" for axis in plan.blocks)

    def emit(self, fused: train.UpdateOp | None) -> None:
        """Write the nest, perhaps with the weight update in it."""
        self.fused = fused
        self.builder.add(self.build())
        if fused is not None:
            self.builder.fused(fused)
        for op in self.products:
            self.builder.produced(op.result)

    # -- axes -----------------------------------------------------------------------------------------------------

    def axes_of(self, name: str) -> list[str]:
        """Axes of a class that are not walked in blocks, in the order of the first tensor that has them."""
        order = [axis for text in self.products[0].stored for terms in parse_axes(text) for axis, _ in terms]
        return [axis for axis in dict.fromkeys(order) if self.classes[axis] == name]

    def lane(self, name: str) -> str:
        """The axis of a class whose tiles lie on the lanes: the longest along which no two partial sums of a beat can be one word."""
        sums = [op.tensors[self.mapping.ports(op.role.data)[1]] for op in self.products if self.mapping.beat(op.role.data) != "dw"]
        axes = [axis for axis in self.axes_of(name) if not any(shared(text, axis) for text in sums)]
        return max(axes, key=lambda axis: self.sizes[axis])

    def tilings(self) -> list[Extents]:
        """What a tile may have of each axis on the lanes: several axes are on the rows only where these carry operands."""
        machine = self.builder.machine
        plain = Extents({self.lane(self.mapping.rows): machine.rows, self.lane(self.mapping.cols): machine.cols})
        if any(self.mapping.beat(op.role.data) == "dx" or self.builder.overlaps(op) for op in self.products):
            return [plain]
        tiled = [axis for axis, name in self.classes.items() if name != self.mapping.time]
        return tilings(plain, self.axes_of(self.mapping.rows), tiled, Extents(self.sizes))

    def axes(self, op: train.ProductOp, name: str) -> str:
        """Axes of one of the product's tensors, blocks split."""
        return blocked(op.tensors[name], self.plan.blocks)

    def inner(self, tiling: Extents) -> list[str]:
        """The order of the loops that choose no panels, from the outermost: groups, tiles and taps.

        The summed axes are the outer loops: then a partial sum is read back as late as possible after it was written.
        """
        time = self.axes_of(self.mapping.time)
        axes = [axis for axis in self.classes if axis not in time and self.classes[axis] != "g" and not axis.isupper()]
        *rows, cols = tiling
        if self.rows_first:
            first = rows
        else:
            summed = [SUMMED[op.role.data] for op in self.products if self.mapping.beat(op.role.data) != "dw"]
            first = [axis for axis in axes if self.classes[axis] in summed] or [cols]
        # Within a class the tiles on the lanes go outside the taps.
        by_lane = sorted(axes, key=lambda axis: axis not in tiling)
        groups = ["g"] if "g" in self.classes else []
        return [*groups, *(a for a in by_lane if a in first), *(a for a in by_lane if a not in first)]

    def order(self) -> list[str]:
        """All loops around the beats' own, from the outermost."""
        return self.plan.order(self.inner(self.tile))

    # -- the plan ---------------------------------------------------------------------------------------------------

    @cached_property
    def streamed_from_dram(self) -> list[Streamed]:
        """Tensors on the ports that live in DRAM."""
        found: dict[str, Streamed] = {}
        for op in self.products:
            for name in self.mapping.ports(op.role.data):
                value = self.value(op, name)
                if value is op.result:
                    if self.wanted_in_dram(value):
                        summed = frozenset(a for a, c in self.classes.items() if c == SUMMED[op.role.data])
                        shape, riding = shape_of(value), riders(self.builder, op)
                        found[name] = Streamed(name, op.tensors[name], shape, True, summed, self.begins_as_zeros(op), *riding)
                elif self.stays_in_dram(value):
                    found[name] = Streamed(name, op.tensors[name], shape_of(place.input) if (place := self.padded(value)) else None)
        return list(found.values())

    def begins_as_zeros(self, op: train.ProductOp) -> bool:
        """Whether the words of a result are 0 before products add to them: taps meet in some, or none come to others."""
        axes = axes_in(op.stored[2])
        return self.builder.overlaps(op) or prod(op.sizes[axis] for axis in axes) < prod(shape_of(op.result))

    def padded(self, operand: SSAValue) -> train.PlaceOp | None:
        """What puts zeros around an operand, if that happens on its way in."""
        return None

    def stays_in_dram(self, operand: SSAValue) -> bool:
        """Whether an operand is read from DRAM piece by piece."""
        return self.builder.stays_in_dram(operand)

    def wanted_in_dram(self, result: SSAValue) -> bool:
        """Whether a result's home is DRAM."""
        return self.builder.streams_out(result) or self.builder.large(result)

    def stationary(self) -> list[SSAValue]:
        """The operand that is held in the array, if there is one."""
        names = [(op, self.mapping.stationary(op.role.data)) for op in self.products]
        return [self.value(op, name) for op, name in names if name is not None]

    def choose(self) -> tuple[Plan, Extents]:
        """The quickest plan and tiling of those whose panels fit, by estimate."""
        tensors, scratchpad = self.streamed_from_dram, self.builder.machine.scratchpad.bytes
        streamed = {tensor.name for tensor in tensors}
        whole = {self.value(op, name) for op in self.products for name in self.mapping.ports(op.role.data) if name not in streamed}
        if any(WORD * prod(shape_of(value)) > scratchpad for value in whole):
            raise self.builder.does_not_fit(self.layer)
        ways = self.tilings()
        if not tensors:
            return Plan(), ways[0]
        drained = [op for op in self.products if self.mapping.beat(op.role.data) == "dw"]
        nests = [
            blocks.Nest(
                Extents(self.sizes), tiling, tuple(tensors),
                loaded=any(self.stays_in_dram(value) for value in self.stationary()),
                stored=any(self.wanted_in_dram(op.result) for op in drained),
                summed=frozenset(a for a, c in self.classes.items() if any(SUMMED[op.role.data] == c for op in drained)),
                held=prod(shape_of(self.stationary()[0])) if self.stationary() else 0,
                sums=0 if self.fuses else sum(prod(shape_of(op.result)) for op in drained),
            )
            for tiling in ways
        ]  # fmt: skip
        self.room = room = self.builder.room_beside(whole)
        time = tuple(self.axes_of(self.mapping.time))
        inside: list[tuple[Estimate, Extents]] = []
        outside: list[Estimate] = []
        for nest in nests:
            loops = Loops(tuple(self.walked(nest.tiles)), tuple(self.inner(nest.tiles)), time, len(self.products), self.builder.slots)
            fits, elsewhere = cheapest(nest, loops, self.builder.machine, self.builder.panel_budget, room)
            inside += [(fits, nest.tiles)] if fits else []
            outside += [elsewhere] if elsewhere else []
        best, tiling = min(inside, key=lambda found: found[0].key, default=(None, None))
        # Beside large tensors in the scratchpad panels may fit, but so small ones that these had better be in DRAM too.
        if best is None or tiling is None or best.cycles > FAIR * min(estimate.cycles for estimate in outside):
            raise self.builder.does_not_fit(self.layer)
        if self.fuses and self.splits_sums(best.plan):
            # No tile's gradient is whole, so the vector unit updates the weight: sums may as well be where it finds them.
            self.fuses = False
            return self.choose()
        return best.plan, tiling

    def walked(self, tiling: Extents) -> list[str]:
        """Axes that may be walked in blocks, the outermost first: those of b, and those that stream where nothing is summed over them."""
        axes = [axis for axis in self.axes_of("b") if axis not in tiling]
        if self.mapping.time != "b" and all(self.mapping.beat(op.role.data) != "dw" for op in self.products):
            texts = [text for op in self.products for text in op.stored]
            axes = [axis for axis in self.axes_of(self.mapping.time) if not any(shared(text, axis) for text in texts)] + axes
        around = [tensor.axes for tensor in self.streamed_from_dram if tensor.shape and not tensor.result]
        return [axis for axis in axes if not any(shared(text, axis) for text in around)]

    # -- operations ---------------------------------------------------------------------------------------------------

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
                panel.ring = integer(self.arrays * (panel.ring.value.data if panel.ring else 1))
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

    def value(self, op: train.ProductOp, name: str) -> SSAValue:
        """One of the product's tensors."""
        return dict(zip(op.tensors, (op.lhs, op.rhs, op.result), strict=True))[name]

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
