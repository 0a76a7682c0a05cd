"""dX of a convolution whose sums meet in the array: gathered, one nest for each phase (see ``compiler/schedule/gather.py``).

dY has zeros around it: panels of it that hold whole images have them, or it is padded once for all phases.  A phase reads a slice of it
and a slice of W, backwards over the phase's taps, and writes every ``stride``-th word of dX; nothing is rearranged.  Where only a part of
dX is wanted (the input was padded), the rest is not computed.
"""

from collections.abc import Collection, Sequence
from itertools import product as combinations
from math import prod

from xdsl.ir import Operation, SSAValue

from compiler.dialects import train
from compiler.dialects.integers import integer
from compiler.dialects.train import shape_of, to_ints
from compiler.schedule.axes import parse_axes
from compiler.schedule.gather import Phase, Sliding, gathered_axes, padding, sliding
from compiler.schedule.mapping import Mapping
from compiler.transforms.tile_builder import TileBuilder
from compiler.transforms.tile_nests import Nest
from compiler.transforms.tile_vector import lower_vector
from isa.errors import UserError


def gathered(builder: TileBuilder, op: train.ProductOp) -> list[Operation]:
    """Write dX in phases where the schedule holds sums in the array that meet; the operations that this computes.

    None are where it does not apply, and where the phases do not fit the scratchpad: then nothing is written.
    """
    mapping = builder.scheduled(op)
    if op.role.data != "dx" or mapping.beat("dx") == "dx" or not builder.overlaps(op):
        return []
    slides = sliding(*op.stored)
    if slides is None:
        return []
    try:
        gather = _Gather(builder, op, mapping, slides)
        gather.emit_padding()
    except UserError:  # raised before anything is written
        return []
    return gather.emit()


Nests = list[tuple[tuple[Phase, ...], "_PhaseNest"]]
"""Those of each phase in each dimension."""


class _Gather:
    def __init__(self, builder: TileBuilder, op: train.ProductOp, mapping: Mapping, slides: Sequence[Sliding]) -> None:
        self.builder, self.op, self.mapping, self.slides = builder, op, mapping, slides
        self.layer, self.role = op.layer.data, op.role.data
        self.wanted, starts = self.part()
        shape, sizes = shape_of(self.wanted.results[0]), op.sizes
        self.phases = [slide.phases(starts[slide.dimension], shape[slide.dimension], sizes[slide.tap]) for slide in slides]
        dy = parse_axes(op.stored[0])
        self.pixels = [dy.index(((slide.pixel, 1),)) for slide in slides]
        """The dimensions of dY that phases are of."""
        self.fronts, self.padded = self.pad()
        each = list(combinations(*self.phases))
        self.empty = [phases for phases in each if not all(phase.taps for phase in phases)]
        self.reached = [phases for phases in each if all(phase.taps for phase in phases)]
        self.in_dram = frozenset[str]()
        self.nests = self.padded_on_the_way() or self.padded_before()
        self.share_work()

    def part(self) -> tuple[train.TrainOp, Sequence[int]]:
        """What makes the part of dX that is wanted, and where it begins: a slice of the pixels if that is all that reads dX."""
        users = self.builder.users(self.op.result)
        slices = [u for u in users if isinstance(u, train.SliceOp) and u.input is self.op.result and set(to_ints(u.steps)) == {1}]
        if len(users) == len(slices) == 1:
            sliced = {slide.dimension for slide in self.slides}
            sizes = zip(shape_of(slices[0].result), shape_of(self.op.result), strict=True)
            if all(part == whole or dimension in sliced for dimension, (part, whole) in enumerate(sizes)):
                return slices[0], to_ints(slices[0].starts)
        return self.op, [0] * len(shape_of(self.op.result))

    def pad(self) -> tuple[list[int], train.PlaceOp | None]:
        """Zeros in front of each dimension of dY, and dY among its zeros; None if it needs none."""
        shape = list(shape_of(self.op.lhs))
        fronts = [0] * len(shape)
        for at, phases in zip(self.pixels, self.phases, strict=True):
            fronts[at], shape[at] = padding(phases, shape[at])
        if tuple(shape) == shape_of(self.op.lhs):
            return fronts, None
        return fronts, train.PlaceOp(self.op.lhs, fronts, [1] * len(shape), shape, 0.0, self.layer, self.role)

    def padded_on_the_way(self) -> Nests:
        """Nests whose panels have zeros around dY; none where it needs none or is not streamed, or where whole images do not fit."""
        if self.padded is None or not self.builder.stays_in_dram(self.op.lhs):
            return []
        self.in_dram = self.find_in_dram(dy=True)
        try:
            nests = [(phases, self.nest(phases, self.among_zeros(phases))) for phases in self.reached]
        except UserError:
            return []
        self.padded = None
        return nests

    def padded_before(self) -> Nests:
        """Nests that read slices of dY as it is, or as it has been padded."""
        if self.padded is None:
            dy, there = self.op.lhs, self.builder.stays_in_dram(self.op.lhs)
        else:
            dy, there = self.padded.result, self.builder.large(self.padded.result)  # it has no home yet
        self.in_dram = self.find_in_dram(there)
        return [(phases, self.nest(phases, self.met(dy, phases))) for phases in self.reached]

    def find_in_dram(self, dy: bool) -> frozenset[str]:
        """Which of the three tensors live in DRAM; dX has no home yet."""
        builder, dx = self.builder, self.wanted.results[0]
        found = {"dY": dy, "W": builder.stays_in_dram(self.op.rhs), "dX": builder.streams_out(dx) or builder.large(dx)}
        return frozenset(name for name, there in found.items() if there)

    def met(self, dy: SSAValue, phases: Sequence[Phase]) -> train.SliceOp:
        """What a phase meets of dY, which has its zeros around it."""
        starts, sizes = list(self.fronts), list(shape_of(dy))
        for at, phase in zip(self.pixels, phases, strict=True):
            starts[at], sizes[at] = self.fronts[at] - phase.lead, phase.reach
        return train.SliceOp(dy, starts, sizes, [1] * len(sizes), self.layer, self.role)

    def among_zeros(self, phases: Sequence[Phase]) -> train.PlaceOp:
        """What a phase meets of dY, and zeros around it; raises ScratchpadError where it meets zeros alone."""
        sizes = list(shape_of(self.op.lhs))
        starts, fronts, whole = [0] * len(sizes), [0] * len(sizes), list(sizes)
        for at, phase in zip(self.pixels, phases, strict=True):
            starts[at], fronts[at], whole[at] = max(0, -phase.lead), max(0, phase.lead), phase.reach
            sizes[at] = min(sizes[at], phase.reach - phase.lead) - starts[at]
        if min(sizes) < 1:
            raise self.builder.does_not_fit(self.layer)
        steps = [1] * len(sizes)
        part = train.SliceOp(self.op.lhs, starts, sizes, steps, self.layer, self.role)
        return train.PlaceOp(part.result, fronts, steps, whole, 0.0, self.layer, self.role)

    def nest(self, phases: Sequence[Phase], met: train.SliceOp | train.PlaceOp) -> "_PhaseNest":
        """The product of one phase in each dimension."""
        of_dy, of_w, of_dx = self.op.stored
        taps, kernel, steps = [0] * len(parse_axes(of_w)), list(shape_of(self.op.rhs)), [1] * len(parse_axes(of_w))
        for slide, phase in zip(self.slides, phases, strict=True):
            at = parse_axes(of_w).index(((slide.tap, 1),))
            taps[at], kernel[at], steps[at] = phase.last_tap, phase.taps, -phase.tap_step
        backwards = train.SliceOp(self.op.rhs, taps, kernel, steps, self.layer, self.role)
        axes = gathered_axes(of_dy, of_w, of_dx, self.slides, phases)
        product = train.ProductOp(axes, met.result, backwards.result, self.layer, self.role, self.region(phases)[1])
        return _PhaseNest(self.builder, product, self.mapping, self.in_dram)

    def share_work(self) -> None:
        """Divide the graph's MACs among the phases where the zeros around dY make more of them; cut off padding makes fewer."""
        products = [nest.products[0] for _, nest in self.nests]
        total = sum(product.macs for product in products)
        if total <= self.op.macs:
            return
        shares = [self.op.macs * product.macs // total for product in products]
        shares[0] += self.op.macs - sum(shares)
        for product, share in zip(products, shares, strict=True):
            product.work = integer(share)

    def region(self, phases: Sequence[Phase]) -> tuple[list[int], list[int], list[int]]:
        """Starts, sizes and steps of the words of dX that a phase computes."""
        sizes = list(shape_of(self.wanted.results[0]))
        starts, steps = [0] * len(sizes), [1] * len(sizes)
        for slide, phase in zip(self.slides, phases, strict=True):
            starts[slide.dimension], sizes[slide.dimension], steps[slide.dimension] = phase.first, phase.size, slide.stride
        return starts, sizes, steps

    def emit_padding(self) -> None:
        """Write dY among its zeros; raises UserError, with nothing written, where no part of it fits."""
        if self.padded is not None:
            lower_vector(self.builder, self.padded)

    def emit(self) -> list[Operation]:
        """Write the rest: zeros where no tap reaches, a nest for each phase."""
        builder, dx = self.builder, self.wanted.results[0]
        name = f"{self.layer}.dX"
        home = builder.result_in_dram(dx, name) if "dX" in self.in_dram else builder.result(dx, name)
        if self.empty and "dX" in self.in_dram:
            builder.fill_dram(home, self.layer, self.role)
        for phases in self.empty:
            if "dX" not in self.in_dram:
                builder.fill(builder.part(home, *self.region(phases)), 0.0, self.layer, self.role)
        for phases, nest in self.nests:
            place = nest.padded(nest.op.lhs)
            for operand in (place.input if place else nest.op.lhs, nest.op.rhs):
                assert isinstance(operand.owner, train.SliceOp)
                builder.slice(operand.owner)
            nest.home = home if prod(map(len, self.phases)) == 1 else builder.part(home, *self.region(phases))
            nest.emit(None)
        builder.produced(dx)
        return list(dict.fromkeys((self.op, self.wanted)))


class _PhaseNest(Nest):
    """The nest of one phase: it knows what lives in DRAM before its operands have homes, and its result is part of another."""

    home: SSAValue

    def __init__(self, builder: TileBuilder, op: train.ProductOp, mapping: Mapping, in_dram: Collection[str]) -> None:
        self.op = op
        self.outside = {value for name, value in zip(op.tensors, (op.lhs, op.rhs, op.result), strict=True) if name in in_dram}
        super().__init__(builder, [op], mapping)

    def padded(self, operand: SSAValue) -> train.PlaceOp | None:
        return operand.owner if isinstance(operand.owner, train.PlaceOp) else None

    def stays_in_dram(self, value: SSAValue) -> bool:
        return value in self.outside

    def wanted_in_dram(self, result: SSAValue) -> bool:
        return result in self.outside

    def result(self, op: train.ProductOp, name: str) -> SSAValue:
        return self.home
