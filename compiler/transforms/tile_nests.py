"""Products as loop nests over array tiles."""

from collections.abc import Sequence

from xdsl.dialects.builtin import f32
from xdsl.ir import Operation, SSAValue

from compiler.dialects import tile, train
from compiler.schedule.axes import axes_in, macs, parse_axes, shared
from compiler.schedule.mapping import SUMMED, Mapping
from compiler.transforms.tile_builder import TileBuilder


def emit_nest(builder: TileBuilder, products: Sequence[train.ProductOp], fused: train.UpdateOp | None) -> None:
    """One nest that computes the products (one, or dX and dW interleaved), perhaps with the weight update in it.

    All of them share the mapping of the first.
    """
    nest = _Nest(builder, products, builder.mapping(products[0]), fused)
    builder.add(nest.build())
    if fused is not None:
        builder.fused(fused)
    for op in products:
        builder.produced(op.result)


class _Nest:
    def __init__(
        self, builder: TileBuilder, products: Sequence[train.ProductOp], mapping: Mapping, fused: train.UpdateOp | None
    ) -> None:
        self.builder, self.products, self.mapping, self.fused = builder, products, mapping, fused
        self.sizes, self.classes = products[0].sizes, products[0].classes
        self.layer = products[0].layer.data
        self.product = "+".join(op.role.data for op in products)
        self.rows, self.cols = self.lane(mapping.rows), self.lane(mapping.cols)
        self.tile = {self.rows: builder.machine.rows, self.cols: builder.machine.cols}
        self.time = self.axes_of(mapping.time)
        self.stages: dict[str, list[tile.StageOp]] = {"in": [], "out": []}
        self.memories: dict[str, tuple[SSAValue, str]] = {}

    def axes_of(self, name: str) -> list[str]:
        """Axes of a class, in the order of the first tensor that has them."""
        order = [axis for text in self.products[0].stored for terms in parse_axes(text) for axis, _ in terms]
        return [axis for axis in dict.fromkeys(order) if self.classes[axis] == name]

    def lane(self, name: str) -> str:
        """The axis of a class whose tiles lie on the lanes: the longest along which no two partial sums of a beat can be one word."""
        sums = [op.tensors[self.mapping.ports(op.role.data)[1]] for op in self.products if self.mapping.beat(op.role.data) != "dw"]
        axes = [axis for axis in self.axes_of(name) if not any(shared(text, axis) for text in sums)]
        return max(axes, key=lambda axis: self.sizes[axis])

    def build(self) -> tile.NestOp:
        beats: list[Operation] = [self.beat(op) for op in self.products]
        for axis in reversed(self.time):
            beats = [tile.ForOp(axis, self.sizes[axis], 1, beats)]
        tile_ops: list[Operation] = []
        resident = self.resident()
        if resident is not None:
            tile_ops.append(resident)
        tile_ops += beats
        if self.fused is not None:
            tile_ops.append(tile.UpdateOp(self.fused.lr.value.data, self.fused.decay.value.data))
        drain = self.drain()
        if drain is not None:
            tile_ops.append(drain)
        total = macs(self.sizes) * len(self.products)
        return tile.NestOp(self.rows, self.cols, "".join(self.time), self.layer, self.product, total, self.loops(tile_ops))

    # -- operands -------------------------------------------------------------------------------------------------

    def value(self, op: train.ProductOp, name: str) -> SSAValue:
        """One of the product's tensors."""
        return dict(zip(op.tensors, (op.lhs, op.rhs, op.result), strict=True))[name]

    def beat(self, op: train.ProductOp) -> tile.BeatOp:
        role = op.role.data
        kind = self.mapping.beat(role)
        first, second = [(*self.streamed(op, name), name) for name in self.mapping.ports(role)]
        sums = None
        if kind != "dw" and not self.overlaps(op):
            sums = "".join(self.axes_of(SUMMED[role]))
        return tile.BeatOp(kind, role, first, second, sums)

    def overlaps(self, op: train.ProductOp) -> bool:
        """Whether results of different taps meet in one word, so that no loop is the first to write it."""
        text = op.stored[2]
        return any(shared(text, axis) for axis in axes_in(text))

    def streamed(self, op: train.ProductOp, name: str) -> tuple[SSAValue, str]:
        """Scratchpad memory of a tensor that a port streams: a whole tensor, or a ring of panels of one that lives in DRAM."""
        if name not in self.memories:
            self.memories[name] = self.memory(op, name), op.tensors[name]
        return self.memories[name]

    def memory(self, op: train.ProductOp, name: str) -> SSAValue:
        builder, value, axes = self.builder, self.value(op, name), op.tensors[name]
        if value is not op.result:
            home = builder.only_in_dram(value)
            return builder.in_spad(value, self.layer, self.product) if home is None else self.panel(home, axes, name, out=False)
        if self.overlaps(op):
            memory = builder.result(value, f"{self.layer}.{name}")
            builder.fill(memory, 0.0, self.layer, self.product)
            return memory
        if builder.streams_out(value):
            return self.panel(builder.tensor("scratch", self.gradient_name(value), value), axes, name, out=True)
        return builder.result(value, f"{self.layer}.{name}")

    def gradient_name(self, value: SSAValue) -> str:
        """Users' name of a weight's gradient."""
        names = [u.target.data for u in self.builder.users(value) if isinstance(u, train.OutputOp)]
        return names[0] if names else self.builder.unique(f"{self.layer}.dW")

    def panel(self, home: SSAValue, axes: str, name: str, *, out: bool) -> SSAValue:
        """A ring of panels: one tile of the axis on the lanes and one group, all of every other axis."""
        part = {axis: min(size, self.tile.get(axis, size)) for axis, size in self.sizes.items()} | {"g": 1}
        shape = [1 + sum(factor * (part[axis] - 1) for axis, factor in terms) for terms in parse_axes(axes)]
        panel = self.builder.buffer(f"{self.layer}.{name}.panels", tuple(shape), f32, self.builder.slots)
        self.stages["out" if out else "in"].append(tile.StageOp(home, axes, name, panel, out=out))
        return panel

    def resident(self) -> tile.ResidentOp | None:
        """The stationary operand: that of the products that have one, or the weight that is updated in place."""
        for op in self.products:
            name = self.mapping.stationary(op.role.data)
            if name is not None:
                return self.resident_from(self.value(op, name), op.tensors[name], name)
        if self.fused is not None:
            return tile.ResidentOp(self.updated_weight(), self.products[0].tensors["dW"], "W", self.builder.ring("w"))
        return None

    def resident_from(self, value: SSAValue, axes: str, name: str) -> tile.ResidentOp:
        home = self.builder.only_in_dram(value)
        if home is None:
            return tile.ResidentOp(self.builder.in_spad(value, self.layer, self.product), axes, name, None)
        return tile.ResidentOp(home, axes, name, self.builder.ring("w"))

    def updated_weight(self) -> SSAValue:
        """The weight that is updated in place, in DRAM, in the shape that the products see."""
        assert self.fused is not None
        home = self.builder.dram[self.builder.root(self.fused.inputs[0])]
        return self.builder.view(home, train.shape_of(self.products[-1].result))

    def drain(self) -> tile.DrainOp | None:
        """Where accumulators go: to DRAM through a ring of tiles, or straight into a tensor in the scratchpad."""
        for op in self.products:
            if self.mapping.beat(op.role.data) != "dw":
                continue
            name = list(op.tensors)[-1]
            value, axes = op.result, op.tensors[name]
            if self.fused is not None:
                return tile.DrainOp(self.updated_weight(), axes, "W", self.builder.ring("g"))
            if self.builder.streams_out(value):
                home = self.builder.tensor("scratch", self.gradient_name(value), value)
                return tile.DrainOp(home, axes, name, self.builder.ring("g"))
            return tile.DrainOp(self.builder.result(value, f"{self.layer}.{name}"), axes, name, None)
        return None

    # -- loops ----------------------------------------------------------------------------------------------------

    def order(self) -> list[str]:
        """Axes of the tile loops, from the outermost.

        Sums in a panel are finished before the next panel, so its tiles are the outermost loop.  Otherwise the summed axes are: then
        a partial sum is read back as late as possible after it was written.
        """
        axes = [axis for axis in self.sizes if axis not in self.time and self.classes[axis] != "g"]
        panels = [*self.stages["out"], *self.stages["in"]]
        if panels:
            first = [axis for axis in (self.rows, self.cols) if axis in panels[0].axes.data][:1]
        else:
            summed = [SUMMED[op.role.data] for op in self.products if self.mapping.beat(op.role.data) != "dw"]
            first = [axis for axis in axes if self.classes[axis] in summed] or [self.cols]
        # Within a group of axes the tiles on the lanes go outside the taps.
        by_lane = sorted(axes, key=lambda axis: axis not in self.tile)
        return [*(a for a in by_lane if a in first), *(a for a in by_lane if a not in first)]

    def loops(self, body: list[Operation]) -> list[Operation]:
        """The tile loops around the body, each with the panels that change with it."""
        order = self.order()
        due: dict[str, dict[str, list[tile.StageOp]]] = {axis: {"in": [], "out": []} for axis in order}
        for way, stages in self.stages.items():
            for stage in stages:
                inmost = [axis for axis in order if axis in self.tile and axis in stage.axes.data][-1]
                due[inmost][way].append(stage)
        for axis in reversed(order):
            body = [tile.ForOp(axis, self.sizes[axis], self.tile.get(axis, 1), [*due[axis]["in"], *body, *due[axis]["out"]])]
        if "g" in self.sizes:
            body = [tile.ForOp("g", self.sizes["g"], 1, body)]
        return body
