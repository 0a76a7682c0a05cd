"""What is known of a product's loop nest before it is written: which axes lie where, and what is in the scratchpad at a time."""

from collections.abc import Sequence
from functools import cached_property
from math import prod

from xdsl.ir import SSAValue

from compiler.dialects import train
from compiler.dialects.train import shape_of
from compiler.schedule import blocks
from compiler.schedule.axes import axes_in, blocked, parse_axes, shared
from compiler.schedule.blocks import WORD, Extents, Plan, Streamed
from compiler.schedule.estimates import Estimate, Loops
from compiler.schedule.mapping import SUMMED, Mapping
from compiler.schedule.plans import cheapest
from compiler.schedule.tilings import tilings
from compiler.transforms.riders import riders
from compiler.transforms.tile_builder import TileBuilder

FAIR = 2
"""How many times the cycles of the best plan are too many."""


class PlannedNest:
    """The nest of one product, or of dX and dW interleaved, which share the mapping of the first: its axes, and the best plan for it.

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
        self.room = 0
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

    def value(self, op: train.ProductOp, name: str) -> SSAValue:
        """One of the product's tensors."""
        return dict(zip(op.tensors, (op.lhs, op.rhs, op.result), strict=True))[name]

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
