"""What rides on a product's panels: blocks of the vector unit's work, seen as work on whole tensors and then on their pieces."""

from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.ir import SSAValue

from compiler.dialects import tile
from compiler.dialects.train import to_ints
from compiler.schedule.access import regrouped
from compiler.transforms.allocate_memory import storage

Shape = tuple[int, ...]


@dataclass(eq=False, slots=True)
class Value:
    """A tensor of which the epilogue has a piece at a time."""

    shape: Shape
    home: SSAValue
    """The tensor in DRAM, and the shape in which its home is seen."""
    layer: str
    product: str
    name: str
    """What a panel of it is called."""
    loaded: bool = False
    """Whether it comes from DRAM; the others are made here."""
    base: "tuple[Value, tile.SliceOp] | None" = None
    """The tensor that it is a part of, and which part."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where else a value goes: to a tensor in DRAM, or a part of one that has the value's words and ``fill`` around them."""

    value: Value
    home: SSAValue
    starts: Sequence[int]
    fill: tile.MapOp | None
    layer: str
    product: str


Operand = Value | tuple[SSAValue, Shape]
"""A tensor, or a memory in the scratchpad that is there as a whole, and the shape that it is to be seen in."""


@dataclass(slots=True)
class Step:
    """One operation of the vector unit: elementwise, or a sum whose result is in the scratchpad as a whole."""

    op: tile.MapOp | tile.ReduceOp
    ins: list[Operand]
    out: Operand


def tensor_of(memory: SSAValue) -> SSAValue:
    """What identifies a tensor: views are the same one, a slice is another."""
    while isinstance(memory.owner, tile.ViewOp):
        memory = memory.owner.input
    return memory


def shape_of(memory: SSAValue) -> Shape:
    return tile.memref_of(memory).get_shape()


class UnsuitableError(Exception):
    """The blocks are no work that can be done panel by panel."""


class Reader:
    """Reads a ``tile.blocks`` as steps on whole tensors; ``known``: those of which the epilogue has a piece already."""

    def __init__(self, op: tile.BlocksOp, known: dict[SSAValue, Value]) -> None:
        self.op, self.known = op, dict(known)
        self.whole: dict[SSAValue, SSAValue] = {}
        """The memory of which an operand is a block."""
        self.comes: dict[SSAValue, tile.CopyOp] = {}
        self.goes: dict[SSAValue, tile.CopyOp] = {}
        self.made: dict[SSAValue, Value] = {}
        self.steps: list[Step] = []
        self.places: list[Place] = []
        self.work: list[tile.MapOp | tile.ReduceOp] = []
        self.slices: dict[SSAValue, tile.SliceOp] = {}
        for inner in op.body.block.ops:
            match inner:
                case tile.WindowOp():
                    self.whole[inner.result] = inner.input
                case tile.CopyOp() if tile.in_dram(inner.src):
                    self.comes[inner.dst] = inner
                case tile.CopyOp():
                    self.goes[inner.src] = inner
                case tile.MapOp() | tile.ReduceOp():
                    self.work.append(inner)
                case tile.SliceOp():
                    self.slices[inner.result] = inner
                case _:
                    raise UnsuitableError
        inputs = [tensor_of(self.all_of(copy.src)) for copy in self.comes.values()]
        found = [value for tensor in inputs if (value := self.find(tensor)) is not None]
        if not found:
            raise UnsuitableError
        self.space = found[0].shape

    def all_of(self, value: SSAValue) -> SSAValue:
        return self.whole.get(value, value)

    def find(self, tensor: SSAValue) -> Value | None:
        """A tensor that the epilogue has, or part of one."""
        if tensor not in self.known and isinstance(tensor.owner, tile.SliceOp):
            base = self.known.get(tensor_of(tensor.owner.input))
            if base is not None and base.shape == shape_of(tensor.owner.input):
                self.known[tensor] = Value(shape_of(tensor), tensor, base.layer, base.product, base.name, base=(base, tensor.owner))
        return self.known.get(tensor)

    def read(self) -> None:
        """Find the steps, or where something is placed; raises UnsuitableError."""
        if self.slices:
            self.place()
        else:
            for op in self.work:
                self.step(op)
            for buffer in self.goes.keys() - self.made.keys():
                self.copied(buffer)

    def step(self, op: tile.MapOp | tile.ReduceOp) -> None:
        walked = self.whole_shape(op.out if isinstance(op, tile.MapOp) else op.input)
        if regrouped(walked, walked, self.space) != self.space:
            raise UnsuitableError
        ins = [self.operand(value, walked) for value in (op.ins if isinstance(op, tile.MapOp) else [op.input])]
        if isinstance(op, tile.MapOp):
            self.steps.append(Step(op, ins, self.result(op)))
        else:
            self.steps.append(Step(op, ins, self.in_spad(op.out, walked)))

    def whole_shape(self, value: SSAValue) -> Shape:
        """Of the tensor that a value inside is a block of."""
        if value in self.comes:
            value = self.comes[value].src
        elif value in self.goes:
            value = self.goes[value].dst
        elif value in self.made:
            return self.made[value].shape
        return shape_of(self.all_of(value))

    def operand(self, value: SSAValue, walked: Shape) -> Operand:
        if value in self.made:
            return self.made[value]
        if value not in self.comes:
            return self.in_spad(value, walked)
        copy = self.comes[value]
        memory = self.all_of(copy.src)
        shape = self.seen(memory, walked)
        tensor = tensor_of(memory)
        found = self.find(tensor)
        if found is None:
            found = Value(shape, memory, copy.layer.data, copy.product.data, symbol_of(value), loaded=True)
            self.known[tensor] = found
        if found.shape != shape:
            raise UnsuitableError
        return found

    def result(self, op: tile.MapOp) -> Value:
        if op.out not in self.goes:
            raise UnsuitableError
        copy = self.goes[op.out]
        memory = self.all_of(copy.dst)
        made = Value(self.seen(memory, shape_of(memory)), memory, copy.layer.data, copy.product.data, symbol_of(op.out))
        self.made[op.out] = self.known[tensor_of(memory)] = made
        return made

    def in_spad(self, value: SSAValue, walked: Shape) -> Operand:
        memory = self.all_of(value)
        if tile.in_dram(memory):
            raise UnsuitableError
        return memory, self.seen(memory, walked)

    def seen(self, memory: SSAValue, walked: Shape) -> Shape:
        """The shape in which the epilogue sees a memory; a part of a tensor has no other shape than its own."""
        found = regrouped(shape_of(memory), walked, self.space)
        if found is None or (isinstance(tensor_of(memory).owner, tile.SliceOp) and found != shape_of(memory)):
            raise UnsuitableError
        return found

    def place(self) -> None:
        """Blocks that put a tensor among constants: later it is stored there, and they are stored around it."""
        fills = [op for op in self.work if isinstance(op, tile.MapOp) and not op.ins]
        copies = [op for op in self.work if isinstance(op, tile.MapOp) and op.out in self.slices]
        if len(self.work) != 2 or len(fills) != 1 or len(copies) != 1 or copies[0].ins[0] not in self.comes:
            raise UnsuitableError
        part = self.slices[copies[0].out]
        if part.input not in self.goes or set(to_ints(part.steps)) != {1}:
            raise UnsuitableError
        self.put(self.comes[copies[0].ins[0]], self.goes[part.input], to_ints(part.starts), fills[0])

    def copied(self, buffer: SSAValue) -> None:
        """A tensor that goes to another one as it is."""
        if buffer not in self.comes or self.work:
            raise UnsuitableError
        self.put(self.comes[buffer], self.goes[buffer], [0] * len(self.space), None)

    def put(self, comes: tile.CopyOp, goes: tile.CopyOp, starts: Sequence[int], fill: tile.MapOp | None) -> None:
        memory, home = self.all_of(comes.src), self.all_of(goes.dst)
        value = self.find(tensor_of(memory))
        if value is None or value.loaded or value.base is not None:
            raise UnsuitableError
        if value.shape != shape_of(memory) or len(value.shape) != len(shape_of(home)):
            raise UnsuitableError
        self.places.append(Place(value, home, starts, fill, goes.layer.data, goes.product.data))


def symbol_of(memory: SSAValue) -> str:
    """What a tensor or buffer is called."""
    owner = storage(memory).owner
    assert isinstance(owner, tile.TensorOp | tile.BufferOp)
    return owner.symbol.data


def around(shape: Sequence[int], inner: Sequence[int], starts: Sequence[int]) -> list[tuple[list[int], list[int]]]:
    """Starts and sizes of what lies around a part of a tensor: before and behind it in each dimension."""
    found = []
    for axis, (whole, own, start) in enumerate(zip(shape, inner, starts, strict=True)):
        for begin, size in ((0, start), (start + own, whole - start - own)):
            if size:
                found.append(([*starts[:axis], begin, *[0] * (len(shape) - axis - 1)], [*inner[:axis], size, *shape[axis + 1 :]]))
    return found
