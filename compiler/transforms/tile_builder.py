"""Where tensors live while a train graph is turned into tile operations."""

from collections import Counter
from collections.abc import Iterable, Sequence
from math import prod

from xdsl.dialects.builtin import f32
from xdsl.ir import Attribute, Operation, SSAValue

from compiler.dialects import tile, train
from compiler.dialects.train import shape_of, to_ints
from compiler.schedule.allocate import align
from compiler.schedule.blocks import WORD, divisor_below, panel_budget, tiles_ahead
from compiler.schedule.schedules import Schedule
from compiler.transforms.allocate_memory import ScratchpadError
from compiler.transforms.tile_graph import GraphView
from isa.machine import Machine

CHUNK_WORDS = 2048
"""Words of a weight that the vector unit updates at a time, if there is room."""

# The product under which the report books what is no matrix product.
VECTOR = {"fwd": "vector", "loss": "vector", "grad": "vector", "dx": "dx", "dw": "dw", "update": "update"}


class TileBuilder(GraphView):
    """Writes a ``tile.program``; knows for every tensor where its words are.

    Weights, and tensors above ``dram_above`` bytes, live in DRAM; the others live in the scratchpad from where they are made, or first
    read, to their last use.
    """

    def __init__(self, program: tile.ProgramOp, machine: Machine, schedule: Schedule, *, double_buffer: bool, dram_above: int) -> None:
        super().__init__(machine, schedule, double_buffer=double_buffer, dram_above=dram_above)
        self.program = program
        self.momentum = False
        """Whether velocities are updated in the array, which takes two more rings of tiles."""
        self.slots = program.slots.value.data
        self.panel_budget = panel_budget(machine)
        self.ahead = tiles_ahead(machine, self.slots, schedule.ahead)
        self.block = program.body.block
        self.dram: dict[SSAValue, SSAValue] = {}
        self.spad: dict[SSAValue, SSAValue] = {}
        self.published: set[str] = set()
        self.rings: dict[str, SSAValue] = {}
        self.names: Counter[str] = Counter()

    # -- where tensors live ---------------------------------------------------------------------------------

    def room_beside(self, values: Iterable[SSAValue]) -> int:
        """Bytes for panels, where an operation also needs these tensors in the scratchpad as a whole."""
        machine = self.machine
        tiles = ((4 if self.momentum else 2) * self.ahead + 2 * self.slots) * machine.arrays + (self.ahead if machine.arrays > 1 else 0)
        rings = tiles * WORD * machine.rows * machine.cols
        whole = sum(align(WORD * prod(shape_of(value))) for value in {self.root(value) for value in values})
        return min(self.panel_budget, self.machine.scratchpad.bytes - rings - whole)

    def comes_in_parts(self, value: SSAValue) -> bool:
        """Whether an operand of the vector unit is read from DRAM part by part; weights are copied to the scratchpad whole."""
        return self.stays_in_dram(value) and self.large(value)

    def stays_in_dram(self, value: SSAValue) -> bool:
        """Whether a tensor is read from DRAM piece by piece: a weight, or a large one."""
        root = self.root(value)
        self.materialise(value)
        weight = isinstance(root.owner, train.LeafOp) and root.owner.kind.data == "param"
        return root in self.dram and root not in self.spad and (weight or self.large(root))

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

    def buffer(self, name: str, shape: Sequence[int], element: Attribute, ring: int | None = None) -> SSAValue:
        """A new scratchpad buffer."""
        op = tile.BufferOp(self.unique(name), tile.memref(shape, element, tile.SPAD), ring)
        self.add(op)
        return op.result

    def chunk(self, buffers: int) -> int:
        """Words of each of so many buffers through which a tensor passes in chunks."""
        return max(1, min(CHUNK_WORDS, self.machine.scratchpad.bytes // 2 // (WORD * buffers)))

    def ring(self, name: str) -> SSAValue:
        """A ring of tiles that all nests share.

        ``w`` has weights, ``g`` drained accumulators, ``p`` those of earlier blocks, ``s`` what is added to sums in the scratchpad.
        Where velocities are updated in the array, ``v`` brings them, and ``u`` takes the weights beside them.

        Further arrays have their own, ``w.1``; what m of them read comes through ``w.allm``, whose slots are free when all m have read.
        """
        if name not in self.rings:
            slots = self.slots if name.startswith(("p", "s")) else self.ahead
            op = tile.BufferOp(f"{name}.tiles", tile.memref((self.machine.rows, self.machine.cols), f32, tile.SPAD), slots)
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

    def result_in_dram(self, value: SSAValue, name: str) -> SSAValue:
        """A DRAM home for a result; it bears the name under which the user asked for it, if so."""
        asked = [u.target.data for u in self.users(value) if isinstance(u, train.OutputOp)]
        return self.tensor("scratch", asked[0] if asked else self.unique(name), value)

    def in_dram(self, value: SSAValue) -> SSAValue:
        """A tensor that lives in DRAM, in the value's shape."""
        root = self.root(value)
        if shape_of(value) != shape_of(root):
            self.make_contiguous_in_dram(root)
        return self.view(self.dram[root], shape_of(value))

    def make_contiguous_in_dram(self, value: SSAValue) -> SSAValue:
        """The tensor's DRAM memory; a slice is copied first, since its words do not lie side by side."""
        root = self.root(value)
        memory = self.dram[root]
        if isinstance(memory.owner, tile.SliceOp):
            self.dram[root] = self.tensor("scratch", self.unique("slice"), root, home=False)
            self.copy_in_dram(memory, self.dram[root], "slice", "vector")
        return self.dram[root]

    def in_spad(self, value: SSAValue, layer: str, product: str) -> SSAValue:
        """The tensor in the scratchpad in the value's shape, copied there if it was not."""
        root = self.root(value)
        self.materialise(value)
        if root not in self.spad:
            name = root.owner.leaf.data if isinstance(root.owner, train.LeafOp) else f"{layer}.in"
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

    def materialise(self, value: SSAValue) -> None:
        """Put a constant into DRAM, where it can be loaded from."""
        root = self.root(value)
        if isinstance(root.owner, train.ConstantOp) and root not in self.dram:
            type = tile.memref(shape_of(root), train.element_of(root), tile.DRAM)
            tensor = tile.TensorOp("constant", self.unique("constant"), type, value=root.owner.value)
            self.add(tensor)
            self.dram[root] = tensor.result

    def part(self, memory: SSAValue, starts: Sequence[int], sizes: Sequence[int], steps: Sequence[int]) -> SSAValue:
        """A slice of a tensor, in place."""
        op = tile.SliceOp(memory, starts, sizes, steps)
        self.add(op)
        return op.result

    def view(self, memory: SSAValue, shape: Sequence[int]) -> SSAValue:
        if tile.memref_of(memory).get_shape() == tuple(shape):
            return memory
        op = tile.ViewOp(memory, shape)
        self.add(op)
        return op.result

    def fill(self, memory: SSAValue, value: float, layer: str, product: str) -> None:
        """Every word in the scratchpad becomes the value."""
        self.add(tile.MapOp("copy", [], memory, layer, product, value, [0]))

    def fill_ring(self, panel: SSAValue, layer: str, product: str) -> None:
        """Every word in each buffer of a ring becomes 0."""
        ring = panel.owner
        assert isinstance(ring, tile.BufferOp)
        self.add(tile.BlocksOp(ring.slots, ring.slots, layer, product, [tile.MapOp("copy", [], panel, layer, product, 0.0, [0])]))

    def fill_dram(self, memory: SSAValue, layer: str, product: str) -> None:
        """Every word in DRAM becomes 0."""
        words = prod(tile.memref_of(memory).get_shape())
        size = divisor_below(words, self.chunk(1))
        zeros = self.buffer(f"{layer}.zeros", (size,), f32)
        self.fill(zeros, 0.0, layer, product)
        window = tile.WindowOp(self.view(memory, (words,)), 0, size)
        self.add(tile.BlocksOp(words // size, self.slots, layer, product, [window, tile.CopyOp(zeros, window.result, layer, product)]))

    def copy_in_dram(self, source: SSAValue, target: SSAValue, layer: str, product: str) -> None:
        """From DRAM to DRAM, both memories of one shape, in as few blocks as fit."""
        shape = tile.memref_of(source).get_shape()
        words = prod(shape)
        most = [self.panel_budget * extent // (WORD * self.slots * words) for extent in shape]
        choices = [(divisor_below(extent, limit), axis) for axis, (extent, limit) in enumerate(zip(shape, most, strict=True))]
        size, axis = max(choices, key=lambda choice: choice[0] / shape[choice[1]])
        if size == 0:
            raise self.does_not_fit(layer, "a tensor")
        outside, inside = tile.WindowOp(source, axis, size), tile.WindowOp(target, axis, size)
        part = tile.memref_of(outside.result)
        panel = self.buffer(f"{layer}.copy.panel", part.get_shape(), part.element_type, self.slots)
        copies = [tile.CopyOp(outside.result, panel, layer, product), tile.CopyOp(panel, inside.result, layer, product)]
        self.add(tile.BlocksOp(shape[axis] // size, self.slots, layer, product, [outside, inside, *copies]))

    def does_not_fit(self, layer: str, what: str = "it") -> ScratchpadError:
        """The error for a layer of which, or of something of which, no part fits the scratchpad."""
        machine = self.machine
        return ScratchpadError(
            f'layer "{layer}"',
            f"no part of {what} fits the scratchpad of machine {machine.name} ({machine.scratchpad.bytes:,} bytes); "
            "give the machine a larger one or lower --batch",
        )

    # -- operations that move nothing -----------------------------------------------------------------------

    def leaf(self, op: train.LeafOp) -> None:
        """A tensor from outside."""
        kind = "param" if op.kind.data == "param" else "input"
        tensor = tile.TensorOp(kind, op.leaf.data, tile.memref(shape_of(op.result), train.element_of(op.result), tile.DRAM))
        tensor.classes, tensor.ignored = op.classes, op.ignored
        self.add(tensor)
        self.dram[op.result] = tensor.result

    def slice(self, op: train.SliceOp) -> None:
        """Part of a tensor, where it is."""
        starts, steps, shape = to_ints(op.starts), to_ints(op.steps), shape_of(op.result)
        if self.stays_in_dram(op.input):
            self.dram[op.result] = self.part(self.in_dram(op.input), starts, shape, steps)
        else:
            source = self.in_spad(op.input, op.layer.data, VECTOR[op.role.data])
            self.spad[op.result] = self.part(source, starts, shape, steps)

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
        outside = isinstance(owner, train.LeafOp | train.ConstantOp) or isinstance(self.dram.get(root, root).owner, tile.SliceOp)
        if outside or root not in self.dram:
            layer, product = (target, "vector") if not isinstance(owner, train.TrainOp) else (owner.layer.data, VECTOR[owner.role.data])
            if self.comes_in_parts(op.input):
                home = self.tensor("scratch", target, op.input, home=False)
                self.copy_in_dram(self.in_dram(op.input), home, layer, product)
            else:
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
        root, name = self.root(op.inputs[1]), _updated(op)
        in_dram = root not in self.spad
        grad = self.make_contiguous_in_dram(root) if in_dram else self.make_contiguous(root, name, "update")
        roles = ["grad", "weight", "velocity"][0 if in_dram else 1 : 1 + len(weights)]
        words = min(self.chunk(len(roles) * self.slots), prod(shape_of(op.inputs[0])))
        buffers = [self.buffer(f"update.{role}", (words,), f32, self.slots) for role in roles]
        self.add(tile.SgdOp(grad, weights, buffers, name, op.lr, op.momentum, op.decay))
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
