"""Matrix products as loop nests over array tiles."""

from collections.abc import Sequence

from xdsl.dialects.builtin import f32
from xdsl.ir import Operation, SSAValue

from compiler.dialects import tile, train
from compiler.schedule.axes import macs
from compiler.schedule.mapping import SUMMED, TENSORS, Mapping
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
        self.sizes = products[0].sizes
        machine = builder.machine
        self.tile = {mapping.rows: machine.rows, mapping.cols: machine.cols}
        self.layer = products[0].layer.data
        self.product = "+".join(op.role.data for op in products)
        self.stages: dict[str, list[tile.StageOp]] = {"in": [], "out": []}
        self.memories: dict[str, tuple[SSAValue, str]] = {}

    def build(self) -> tile.NestOp:
        beats = [self.beat(op) for op in self.products]
        tile_ops: list[Operation] = []
        resident = self.resident()
        if resident is not None:
            tile_ops.append(resident)
        tile_ops.append(tile.ForOp(self.mapping.time, self.sizes[self.mapping.time], 1, beats))
        if self.fused is not None:
            tile_ops.append(tile.UpdateOp(self.fused.lr.value.data, self.fused.decay.value.data))
        drain = self.drain()
        if drain is not None:
            tile_ops.append(drain)
        total = macs(self.sizes) * len(self.products)
        return tile.NestOp(
            self.mapping.rows, self.mapping.cols, self.mapping.time, self.layer, self.product, total, self.loops(tile_ops)
        )

    # -- operands -------------------------------------------------------------------------------------------------

    def stored(self, op: train.ProductOp, name: str) -> tuple[SSAValue, str]:
        """The value and stored axes of one of the product's tensors."""
        names = TENSORS[op.role.data]
        return dict(zip(names, zip((op.lhs, op.rhs, op.result), op.stored, strict=True), strict=True))[name]

    def beat(self, op: train.ProductOp) -> tile.BeatOp:
        first, second = self.mapping.ports(op.role.data)
        operands = []
        for name in (first, second):
            memory, axes = self.streamed(op, name)
            operands.append((memory, axes, name))
        return tile.BeatOp(self.mapping.beat(op.role.data), op.role.data, operands[0], operands[1])

    def streamed(self, op: train.ProductOp, name: str) -> tuple[SSAValue, str]:
        """Scratchpad memory of a tensor that a port streams: a whole tensor, or a ring of panels of one that lives in DRAM."""
        if name in self.memories:
            return self.memories[name]
        value, axes = self.stored(op, name)
        if value is not op.result:
            home = self.builder.only_in_dram(value)
            memory = self.builder.in_spad(value, self.layer, self.product) if home is None else self.panel(home, axes, name, out=False)
        elif self.builder.streams_out(value):
            home = self.builder.tensor("scratch", self.gradient_name(value), value)
            memory = self.panel(home, axes, name, out=True)
        else:
            memory = self.builder.result(value, f"{self.layer}.{name}")
        self.memories[name] = memory, axes
        return memory, axes

    def gradient_name(self, value: SSAValue) -> str:
        """Users' name of a weight's gradient."""
        names = [u.target.data for u in self.builder.users(value) if isinstance(u, train.OutputOp)]
        return names[0] if names else self.builder.unique(f"{self.layer}.dW")

    def panel(self, home: SSAValue, axes: str, name: str, *, out: bool) -> SSAValue:
        """A ring of panels: all of the streamed axis, one tile of the other."""
        extents = [self.panel_extent(axis) for axis in axes]
        panel = self.builder.buffer(f"{self.layer}.{name}.panels", tuple(extents), f32, self.builder.slots)
        self.stages["out" if out else "in"].append(tile.StageOp(home, axes, name, panel, out=out))
        return panel

    def panel_extent(self, axis: str) -> int:
        if axis == "g":
            return 1
        return min(self.sizes[axis], self.tile.get(axis, self.sizes[axis]))

    def resident(self) -> tile.ResidentOp | None:
        """The stationary operand: that of the products that have one, or the weight that is updated in place."""
        for op in self.products:
            name = self.mapping.stationary(op.role.data)
            if name is not None:
                value, axes = self.stored(op, name)
                return self.resident_from(value, axes, name)
        if self.fused is not None:
            weight = self.fused.inputs[0]
            _, axes = self.stored(self.products[0], "dW")
            return self.resident_from(weight, axes, "W")
        return None

    def resident_from(self, value: SSAValue, axes: str, name: str) -> tile.ResidentOp:
        home = self.builder.only_in_dram(value)
        if home is None:
            return tile.ResidentOp(self.builder.in_spad(value, self.layer, self.product), axes, name, None)
        return tile.ResidentOp(self.fit(home, axes), axes, name, self.builder.ring("w"))

    def drain(self) -> tile.DrainOp | None:
        """Where accumulators go: to DRAM through a ring of tiles, or straight into a tensor in the scratchpad."""
        for op in self.products:
            if self.mapping.beat(op.role.data) != "dw":
                continue
            name = list(TENSORS[op.role.data])[-1]
            value, axes = self.stored(op, name)
            if self.fused is not None:
                weight = self.builder.only_in_dram(self.fused.inputs[0])
                assert weight is not None
                return tile.DrainOp(self.fit(weight, axes), axes, "W", self.builder.ring("g"))
            if self.builder.streams_out(value):
                home = self.builder.tensor("scratch", self.gradient_name(value), value)
                return tile.DrainOp(home, axes, name, self.builder.ring("g"))
            return tile.DrainOp(self.builder.result(value, f"{self.layer}.{name}"), axes, name, None)
        return None

    def fit(self, home: SSAValue, axes: str) -> SSAValue:
        """The weight in the shape that the product sees (they differ where the graph reshapes it)."""
        shape = tuple(self.sizes[axis] for axis in axes)
        return self.builder.view(home, shape)

    # -- loops ----------------------------------------------------------------------------------------------------

    def order(self) -> tuple[str, str]:
        """Tile loops, outer and inner.

        Sums in a panel are finished before the next panel, so its tile axis is the outer loop.  Otherwise the summed axis is: then a
        partial sum is read back as late as possible after it was written.
        """
        panels = [*self.stages["out"], *self.stages["in"]]
        if panels:
            outer = next(axis for axis in self.tile if axis in panels[0].axes.data)
        else:
            summed = [SUMMED[op.role.data] for op in self.products]
            outer = next((axis for axis in summed if axis in self.tile), self.mapping.cols)
        inner = self.mapping.rows if outer == self.mapping.cols else self.mapping.cols
        return outer, inner

    def loops(self, body: list[Operation]) -> list[Operation]:
        """The tile loops around the body, each with the panels that change with it."""
        outer, inner = self.order()
        for axis in (inner, outer):
            last = axis == outer
            due = {way: [s for s in stages if last is (inner not in s.axes.data)] for way, stages in self.stages.items()}
            body = [tile.ForOp(axis, self.sizes[axis], self.tile[axis], [*due["in"], *body, *due["out"]])]
        if "g" in self.sizes:
            body = [tile.ForOp("g", self.sizes["g"], 1, body)]
        return body


