"""What a train graph says about its tensors and products, as the lowering to tile operations asks for it."""

from collections import defaultdict
from math import prod

from xdsl.ir import Operation, SSAValue

from compiler.dialects import train
from compiler.dialects.train import shape_of
from compiler.schedule.axes import axes_in, shared
from compiler.schedule.blocks import WORD
from compiler.schedule.mapping import INTERLEAVED, Mapping
from compiler.schedule.schedules import Choice, Schedule
from isa.machine import Machine


class GraphView:
    """A tensor is known by its *root*: the value behind any reshapes."""

    def __init__(self, machine: Machine, schedule: Schedule, *, double_buffer: bool, dram_above: int) -> None:
        self.machine, self.schedule = machine, schedule
        self.double_buffer, self.dram_above = double_buffer, dram_above
        self._users: dict[SSAValue, list[Operation]] = defaultdict(list)
        self._roots: dict[SSAValue, SSAValue] = {}
        self._products: dict[tuple[str, SSAValue], list[train.ProductOp]] = defaultdict(list)

    def analyse(self, graph: train.GraphOp) -> None:
        """Find roots, users and the gradient products that belong together."""
        for op in graph.body.block.ops:
            if isinstance(op, train.ReshapeOp):
                self._roots[op.result] = self.root(op.input)
                continue
            for operand in dict.fromkeys(op.operands):
                self._users[self.root(operand)].append(op)
            if isinstance(op, train.ProductOp) and op.role.data != "fwd":
                self._products[self._pair_key(op)].append(op)

    def _pair_key(self, op: train.ProductOp) -> tuple[str, SSAValue]:
        return op.layer.data, self.root(op.lhs if op.role.data == "dx" else op.rhs)

    def root(self, value: SSAValue) -> SSAValue:
        return self._roots.get(value, value)

    def users(self, value: SSAValue) -> list[Operation]:
        """Operations that read the tensor, reshapes seen through."""
        return self._users[self.root(value)]

    def products_of(self, op: train.ProductOp) -> list[train.ProductOp]:
        """The gradient products of the same layer that read the same dY."""
        return self._products[self._pair_key(op)]

    def choice(self, op: train.ProductOp) -> Choice:
        """How the schedule has the gradients of the product's layer computed."""
        return self.schedule.choose(op.layer.data, op.class_sizes, self.machine, self.double_buffer)

    def scheduled(self, op: train.ProductOp) -> Mapping:
        """The dataflow that the schedule gives to a product; the forward product is weight-stationary under all of them."""
        return INTERLEAVED if op.role.data == "fwd" else self.choice(op).mapping(op.role.data)

    def mapping(self, op: train.ProductOp) -> Mapping:
        """The dataflow of a product that is computed as it stands.

        Sums that meet (dX of a convolution) cannot stay in the array, which has one accumulator for each: unless they are gathered
        (`tile_gather.py`), they are computed weight-stationary.
        """
        mapping = self.scheduled(op)
        return INTERLEAVED if self.overlaps(op) and mapping.beat(op.role.data) == "dw" else mapping

    def overlaps(self, op: train.ProductOp) -> bool:
        """Whether results of different taps meet in one word, so that no loop is the first to write it."""
        text = op.stored[2]
        return any(shared(text, axis) for axis in axes_in(text))

    def streams_out(self, value: SSAValue) -> bool:
        """Whether a product's result is only wanted in DRAM: a weight's gradient."""
        readers = self.users(value)
        return all(isinstance(u, train.UpdateOp | train.OutputOp) for u in readers)

    def large(self, value: SSAValue) -> bool:
        """Whether the tensor is too large to live in the scratchpad."""
        return WORD * prod(shape_of(value)) > self.dram_above
