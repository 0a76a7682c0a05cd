"""Where tensors live while a train graph is turned into tile operations."""

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
from xdsl.dialects.builtin import f32
from xdsl.ir import Attribute, Operation, SSAValue

from compiler.dialects import tile, train
from compiler.dialects.train import shape_of, to_ints
from compiler.schedule.axes import axes_in, shared
from compiler.schedule.mapping import INTERLEAVED, Mapping
from compiler.schedule.schedules import Schedule
from isa.errors import UserError
from isa.machine import Machine

CHUNK_WORDS = 2048
"""Words of a weight that the vector unit updates at a time."""

# The product under which the report books what is no matrix product.
VECTOR = {"fwd": "vector", "loss": "vector", "grad": "vector", "dx": "dx", "dw": "dw", "update": "update"}

NOTHING = {"sum": 0.0, "max": -np.inf}
"""What a reduction of no elements gives."""


class TileBuilder:
    """Writes a ``tile.program``; knows for every tensor where its words are.

    A tensor is known by its *root*: the value behind any reshapes.
    """

    def __init__(self, program: tile.ProgramOp, machine: Machine, schedule: Schedule, *, double_buffer: bool) -> None:
        self.program, self.machine, self.schedule = program, machine, schedule
        self.double_buffer = double_buffer
        self.slots = program.slots.value.data
        self.block = program.body.block
        self.dram: dict[SSAValue, SSAValue] = {}
        self.spad: dict[SSAValue, SSAValue] = {}
        self.published: set[str] = set()
        self.rings: dict[str, SSAValue] = {}
        self.names: Counter[str] = Counter()
        self._users: dict[SSAValue, list[Operation]] = defaultdict(list)
        self._roots: dict[SSAValue, SSAValue] = {}
        self._products: dict[tuple[str, SSAValue], list[train.ProductOp]] = defaultdict(list)

    # -- what the graph says ------------------------------------------------------------------------------

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

    def mapping(self, op: train.ProductOp) -> Mapping:
        """The dataflow that the schedule gives to a product.

        Results whose tiles overlap (dX of a convolution: taps meet) cannot stay in the array, which has one accumulator for each: they are
        computed weight-stationary under every schedule.
        """
        mapping = self.schedule.mapping(op.role.data, op.class_sizes, self.machine, double_buffer=self.double_buffer)
        result = op.stored[2]
        overlaps = any(shared(result, axis) for axis in axes_in(result))
        return INTERLEAVED if overlaps and mapping.beat(op.role.data) == "dw" else mapping

    def streams_out(self, value: SSAValue) -> bool:
        """Whether a product's result is only wanted in DRAM: a weight's gradient."""
        readers = self.users(value)
        return all(isinstance(u, train.UpdateOp | train.OutputOp) for u in readers)

    # -- memory -------------------------------------------------------------------------------------------

    def add(self, op: Operation) -> None:
        self.block.add_op(op)

    def unique(self, name: str) -> str:
        """The name, with a number from its second use on."""
        self.names[name] += 1
        return name if self.names[name] == 1 else f"{name}.{self.names[name]}"

    def tensor(self, kind: str, name: str, value: SSAValue, *, home: bool = True) -> SSAValue:
        """A new DRAM tensor with the value's shape, its home unless told otherwise."""
        op = tile.TensorOp(kind, name, tile.memref(shape_of(value), train.element_of(value), tile.DRAM))
        self.add(op)
        if home:
            self.dram[self.root(value)] = op.result
        return op.result

    def buffer(self, name: str, shape: tuple[int, ...], element: Attribute, ring: int | None = None) -> SSAValue:
        """A new scratchpad buffer."""
        op = tile.BufferOp(self.unique(name), tile.memref(shape, element, tile.SPAD), ring)
        self.add(op)
        return op.result

    def ring(self, name: str) -> SSAValue:
        """The ring of tiles called ``w`` or ``g``, which all nests share."""
        if name not in self.rings:
            shape = (self.machine.rows, self.machine.cols)
            op = tile.BufferOp(f"{name}.tiles", tile.memref(shape, f32, tile.SPAD), self.slots)
            first = self.block.first_op
            if first is None:
                self.block.add_op(op)
            else:
                self.block.insert_op_before(op, first)
            self.rings[name] = op.result
        return self.rings[name]

    def result(self, value: SSAValue, name: str) -> SSAValue:
        """A scratchpad home for a result."""
        memory = self.buffer(name, shape_of(value), train.element_of(value))
        self.spad[self.root(value)] = memory
        return memory

    def only_in_dram(self, value: SSAValue) -> SSAValue | None:
        """A weight in the value's shape; None for what is, or is worth bringing, in the scratchpad as a whole."""
        root = self.root(value)
        if root in self.spad or not isinstance(root.owner, train.LeafOp) or root.owner.kind.data != "param":
            return None
        return self.view(self.dram[root], shape_of(value))

    def in_spad(self, value: SSAValue, layer: str, product: str) -> SSAValue:
        """The tensor in the scratchpad in the value's shape, copied there if it was not."""
        root = self.root(value)
        self.materialise(value)
        if root not in self.spad:
            name = f"{layer}.in"
            if isinstance(root.owner, train.LeafOp):
                name = root.owner.leaf.data
            copy = self.buffer(name, shape_of(root), train.element_of(root))
            self.add(tile.CopyOp(self.dram[root], copy, layer, product))
            self.spad[root] = copy
        if shape_of(value) != shape_of(root):
            self.make_contiguous(root, layer, product)
        return self.view(self.spad[root], shape_of(value))

    def make_contiguous(self, value: SSAValue, layer: str, product: str) -> SSAValue:
        """The tensor's scratchpad memory; a slice is copied first, since its words do not lie side by side."""
        root = self.root(value)
        memory = self.spad[root]
        if isinstance(memory.owner, tile.SliceOp):
            self.spad[root] = self.buffer(f"{layer}.slice", shape_of(root), train.element_of(root))
            self.add(tile.MapOp("copy", [memory], self.spad[root], layer, product))
        return self.spad[root]

    def part(self, memory: SSAValue, starts: Sequence[int], sizes: Sequence[int], steps: Sequence[int]) -> SSAValue:
        """A slice of a tensor, in place."""
        op = tile.SliceOp(memory, starts, sizes, steps)
        self.add(op)
        return op.result

    def fill(self, memory: SSAValue, value: float, layer: str, product: str) -> None:
        """Every word becomes the value."""
        self.add(tile.MapOp("copy", [], memory, layer, product, value, [0]))

    def view(self, memory: SSAValue, shape: tuple[int, ...]) -> SSAValue:
        if tile.memref_of(memory).get_shape() == tuple(shape):
            return memory
        op = tile.ViewOp(memory, shape)
        self.add(op)
        return op.result

    # -- operations that are no products --------------------------------------------------------------------

    def simple(self, op: Operation) -> None:
        """Leaves, constants and the vector unit's work."""
        match op:
            case train.LeafOp():
                kind = "param" if op.kind.data == "param" else "input"
                tensor = tile.TensorOp(kind, op.leaf.data, tile.memref(shape_of(op.result), train.element_of(op.result), tile.DRAM))
                tensor.classes, tensor.ignored = op.classes, op.ignored
                self.add(tensor)
                self.dram[op.result] = tensor.result
            case train.ConstantOp() | train.ReshapeOp():
                pass  # a constant is an immediate, or made a tensor by what needs it; a reshape moves nothing
            case train.MapOp():
                self.map(op)
            case train.ReduceOp():
                source, out = self._unary(op.input, op.result, op, op.fn.data)
                if 0 in shape_of(op.input):
                    self.fill(out, NOTHING[op.fn.data], op.layer.data, VECTOR[op.role.data])
                else:
                    self.add(tile.ReduceOp(op.fn.data, source, out, op.layer.data, VECTOR[op.role.data]))
                self.produced(op.result)
            case train.TransposeOp():
                source, out = self._unary(op.input, op.result, op, "transpose")
                self.add(tile.TransposeOp(source, to_ints(op.perm), out, op.layer.data, VECTOR[op.role.data]))
                self.produced(op.result)
            case train.BroadcastOp():
                source, out = self._unary(op.input, op.result, op, "broadcast")
                self.add(tile.MapOp("copy", [source], out, op.layer.data, VECTOR[op.role.data]))
                self.produced(op.result)
            case train.SliceOp() | train.PlaceOp() | train.ConcatOp():
                self.rearrange(op)
                self.produced(op.result)
            case train.PoolOp() | train.PoolGradOp():
                self.pool(op)
                self.produced(op.result)
            case _:
                raise UserError(op.name, "convert-train-to-tile does not know this operation")

    def rearrange(self, op: train.SliceOp | train.PlaceOp | train.ConcatOp) -> None:
        """A slice moves nothing; placing and concatenating copy into slices of the result."""
        layer, product = op.layer.data, VECTOR[op.role.data]
        shape = shape_of(op.result)
        match op:
            case train.SliceOp():
                source = self.in_spad(op.input, layer, product)
                self.spad[op.result] = self.part(source, to_ints(op.starts), shape, to_ints(op.steps))
            case train.PlaceOp():
                source = self.in_spad(op.input, layer, product)
                out = self.result(op.result, f"{layer}.padded")
                if shape_of(op.input) != shape:
                    self.fill(out, op.value.value.data, layer, product)
                inner = self.part(out, to_ints(op.starts), shape_of(op.input), to_ints(op.steps))
                self.add(tile.MapOp("copy", [source], inner, layer, product))
            case train.ConcatOp():
                axis, at = op.axis.value.data, 0
                sources = [self.in_spad(value, layer, product) for value in op.inputs]
                out = self.result(op.result, f"{layer}.concat")
                for value, source in zip(op.inputs, sources, strict=True):
                    starts = [at if i == axis else 0 for i in range(len(shape))]
                    inner = self.part(out, starts, shape_of(value), [1] * len(shape))
                    self.add(tile.MapOp("copy", [source], inner, layer, product))
                    at += shape_of(value)[axis]

    def pool(self, op: train.PoolOp | train.PoolGradOp) -> None:
        """Pooling and its gradient, tap by tap."""
        layer, product = op.layer.data, VECTOR[op.role.data]
        if isinstance(op, train.PoolOp):
            source = self.in_spad(op.input, layer, product)
            self.add(tile.PoolOp(op, source, self.result(op.result, f"{layer}.pool"), product))
            return
        ins = [self.in_spad(value, layer, product) for value in op.inputs]
        if op.fn.data == "max":
            grad = op.inputs[-1]
            ins += [self.buffer(f"{layer}.{name}", shape_of(grad), train.element_of(grad)) for name in ("left", "chosen")]
        out = self.result(op.result, f"{layer}.dX")
        self.fill(out, 0.0, layer, product)
        self.add(tile.PoolGradOp(op, ins, out, product))

    def _unary(self, source: SSAValue, result: SSAValue, op: train.TrainOp, what: str) -> tuple[SSAValue, SSAValue]:
        read = self.in_spad(source, op.layer.data, VECTOR[op.role.data])
        return read, self.result(result, f"{op.layer.data}.{what}")

    def materialise(self, value: SSAValue) -> None:
        """Put a constant into DRAM, where it can be loaded from."""
        root = self.root(value)
        if isinstance(root.owner, train.ConstantOp) and root not in self.dram:
            type = tile.memref(shape_of(root), train.element_of(root), tile.DRAM)
            tensor = tile.TensorOp("constant", self.unique("constant"), type, value=root.owner.value)
            self.add(tensor)
            self.dram[root] = tensor.result

    def map(self, op: train.MapOp) -> None:
        """An elementwise function; constants of one element become the immediate, as far as there is one."""
        layer, product = op.layer.data, VECTOR[op.role.data]
        immediate: float | None = None
        at: list[int] = []
        operands: list[SSAValue] = []
        for index, value in enumerate(op.inputs):
            scalar = self.scalar(value)
            if scalar is not None and immediate in (None, scalar):
                immediate = scalar
                at.append(index)
            else:
                operands.append(self.in_spad(value, layer, product))
        out = self.result(op.result, f"{layer}.{op.fn.data}")
        self.add(tile.MapOp(op.fn.data, operands, out, layer, product, immediate, at))
        self.produced(op.result)

    def scalar(self, value: SSAValue) -> float | None:
        """The number that a constant of one element holds (an fp32 number, as the immediate is)."""
        owner = self.root(value).owner
        if isinstance(owner, train.ConstantOp) and np.prod(shape_of(owner.result), dtype=int) == 1:
            return float(np.float32(owner.value.get_values()[0]))
        return None

    # -- what leaves ------------------------------------------------------------------------------------------

    def produced(self, value: SSAValue) -> None:
        """A result is complete: store it at once if the user asked for it."""
        for user in self.users(value):
            if isinstance(user, train.OutputOp):
                self.output(user)

    def output(self, op: train.OutputOp) -> None:
        """Give the user a value by name; it is stored to DRAM unless its home is there."""
        root, target = self.root(op.input), op.target.data
        if target in self.published:
            return
        owner = root.owner
        if isinstance(owner, train.UpdateOp):
            self.publish(target, self.dram[root])
            return
        outside = isinstance(owner, train.LeafOp | train.ConstantOp)
        if outside or root not in self.dram:
            layer, product = (target, "vector") if not isinstance(owner, train.TrainOp) else (owner.layer.data, VECTOR[owner.role.data])
            self.in_spad(op.input, layer, product)
            source = self.view(self.make_contiguous(op.input, layer, product), shape_of(op.input))
            home = self.tensor("scratch", target, op.input, home=not outside)
            self.add(tile.CopyOp(source, home, layer, product))
            self.publish(target, home)
        else:
            self.publish(target, self.view(self.dram[root], shape_of(op.input)))

    def publish(self, target: str, memory: SSAValue) -> None:
        self.add(tile.PublishOp(target, memory))
        self.published.add(target)

    def update(self, op: train.UpdateOp) -> None:
        """SGD on the vector unit, in place; the new weight's home is the old one's."""
        weights = [self.dram[self.root(v)] for v in (op.inputs[0], *op.inputs[2:])]
        root = self.root(op.inputs[1])
        in_dram = root in self.dram
        grad = self.dram[root] if in_dram else self.spad[root]
        words = min(CHUNK_WORDS, int(np.prod(shape_of(op.inputs[0]), dtype=int)))
        names = ["grad", "weight", "velocity"][0 if in_dram else 1 : 1 + len(weights)]
        buffers = [self.buffer(f"update.{name}", (words,), f32, self.slots) for name in names]
        self.add(tile.SgdOp(grad, weights, buffers, _updated(op), op.lr, op.momentum, op.decay))
        self.updated(op)

    def updated(self, op: train.UpdateOp) -> None:
        """Note that the results of an update lie where the old weights did."""
        for old, new in zip((op.inputs[0], *op.inputs[2:]), op.outs, strict=True):
            self.dram[new] = self.dram[self.root(old)]
            self.produced(new)

    def fused(self, op: train.UpdateOp) -> None:
        """Note an update that happened in the array: the gradient was never stored, so nobody gets it."""
        for user in self.users(op.inputs[1]):
            if isinstance(user, train.OutputOp):
                self.published.add(user.target.data)
        self.updated(op)


def _updated(op: train.UpdateOp) -> str:
    """What an update is called in reports: the weight's name."""
    leaf = op.inputs[0].owner
    return leaf.leaf.data if isinstance(leaf, train.LeafOp) else op.layer.data
