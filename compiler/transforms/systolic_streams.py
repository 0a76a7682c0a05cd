"""Tile-level memories as streams of the ISA."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, prod

from xdsl.dialects.builtin import BFloat16Type, Float16Type, Float32Type, IntegerType
from xdsl.ir import Attribute, SSAValue

from compiler.dialects import tile
from compiler.dialects.train import to_ints
from compiler.schedule.access import row_major
from compiler.schedule.allocate import align
from compiler.transforms.allocate_memory import nbytes, storage
from isa.dtypes import DType
from isa.stream import Dim, Operand, Ring, Space, Stream, reach


def dtype_of(element: Attribute) -> DType:
    """The ISA's type of an element type."""
    match element:
        case Float32Type():
            return DType.f32
        case BFloat16Type():
            return DType.bf16
        case Float16Type():
            return DType.f16
        case IntegerType() if element.width.data == 8:
            return DType.i8
        case _:
            return DType.i32


@dataclass(frozen=True, slots=True)
class Loop:
    """A hardware loop of one queue that walks a named axis."""

    axis: str
    extent: int
    step: int
    first: int = 0
    """The turn that it begins with; where several arrays share a loop, each has some of its turns."""
    turns: int = 0
    """So many turns are the array's, 0: all."""
    skipped: int = 0
    """So many of these another loop does before."""
    beside: int = 0
    """In a queue of all arrays that serves this array's turns one by one: so many arrays are served in each, one after the other."""
    place: int = 0
    """How many of them are served before this one."""

    @property
    def count(self) -> int:
        return self.turns or ceil(self.extent / self.step)

    @property
    def start(self) -> int:
        """Entries of the axis before those of the first turn."""
        return (self.first + self.skipped) * self.step


def _layout(value: SSAValue, size: int, around: Sequence[Loop]) -> tuple[int, tuple[int, ...], tuple[int, ...]]:
    """Byte offset in the tensor or buffer behind a value, byte strides, and bytes that each loop around moves it on by."""
    owner, shape = value.owner, tile.memref_of(value).get_shape()
    match owner:
        case tile.SliceOp():
            offset, strides, moves = _layout(owner.input, size, around)
            offset += sum(start * stride for start, stride in zip(to_ints(owner.starts), strides, strict=True))
            return offset, tuple(by * stride for by, stride in zip(to_ints(owner.steps), strides, strict=True)), moves
        case tile.WindowOp():
            offset, strides, _ = _layout(owner.input, size, around)
            axis = owner.axis.value.data
            return offset, strides, (strides[axis] * shape[axis],) * len(around)
        case tile.PieceOp():
            offset, strides, _ = _layout(owner.input, size, around)
            by_axis = owner.moves(strides)
            return offset + start_of(by_axis, around), strides, steps(by_axis, around)
        case tile.ViewOp():
            offset, strides, moves = _layout(owner.input, size, around)
            assert strides == row_major(tile.memref_of(owner.input).get_shape(), size), "only side by side words have another shape"
            return offset, row_major(shape, size), moves
        case _:
            return 0, row_major(shape, size), (0,) * len(around)


@dataclass(frozen=True, slots=True)
class Memory:
    """An allocated tensor or buffer (behind any views), with the shape it is seen in."""

    space: Space
    base: int
    dtype: DType
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    """Bytes from one entry of each dimension to the next."""
    symbol: str
    slots: int
    slot_bytes: int
    outer: tuple[int, ...] = ()
    """Bytes that each loop of a ``tile.blocks``, or around a ``tile.epilogue``, moves it on by."""
    turns: tuple[int, ...] = ()
    """Turns of those loops."""
    slot: Ring | None = None
    """Which buffer of a ring is meant there."""

    @staticmethod
    def of(value: SSAValue, around: Sequence[Loop] = (), arrays: int = 1) -> "Memory":
        """The memory that a value stands for, once it is allocated; ``around``: the loops of what it is used in, see ``outer``.

        Of a ring of which each of several arrays has a part, it is the part of the array that is served.
        """
        owner = storage(value).owner
        assert isinstance(owner, tile.TensorOp | tile.BufferOp)
        assert owner.address is not None
        type = tile.memref_of(value)
        dtype = dtype_of(type.element_type)
        offset, strides, moves = _layout(value, dtype.size, around)
        ring = owner.slots if isinstance(owner, tile.BufferOp) else 1
        space = Space.dram if isinstance(owner, tile.TensorOp) else Space.spad
        memory = Memory(
            space, owner.address.value.data + offset, dtype, type.get_shape(), strides, owner.symbol.data, ring,
            align(nbytes(owner.result)), moves, tuple(loop.count for loop in around),
        )  # fmt: skip
        if arrays > 1:
            first = sum(loop.place for loop in around) * (ring // arrays) * memory.slot_bytes
            memory = replace(memory, base=memory.base + first, slots=ring // arrays)
            around = [replace(loop, beside=0, place=0) for loop in around]
        return replace(memory, slot=ring_of(memory, 0, around)) if around else memory

    @property
    def span(self) -> tuple[int, int]:
        """Its first byte and the one behind its last, all slots of a ring together."""
        if 0 in self.shape:
            return self.base, self.base
        moves = [(self.slots, self.slot_bytes)] if self.slots > 1 else list(zip(self.turns, self.outer, strict=True))
        low, high = reach([*zip(self.shape, self.strides, strict=True), *moves])
        return self.base + low, self.base + high + self.dtype.size

    def stream(
        self, dims: Sequence[Dim], strides: Sequence[int] = (), ring: Ring | None = None, operand: Operand = Operand.none, offset: int = 0
    ) -> Stream:
        """A stream into this memory, from so many bytes on; a slot that no loop changes is part of the base."""
        base, ring, strides = self.base + offset, ring or self.slot, (*self.outer, *strides)
        if ring is not None and not ring.steps:
            base, ring = base + ring.size * ring.start, None
        return Stream(self.space, self.dtype, base, tuple(dims), trim(strides), ring, operand, self.symbol)

    def whole(self) -> Stream:
        """All words of a tensor, or of a slice whose words lie side by side, one after the other."""
        strides = zip(self.shape, self.strides, row_major(self.shape, self.dtype.size), strict=True)
        assert all(n == 1 or own == wanted for n, own, wanted in strides), f"the words of {self.symbol} do not lie side by side"
        return self.stream([Dim(prod(self.shape), self.dtype.size)])


def trim(values: Sequence[int]) -> tuple[int, ...]:
    """Without trailing zeros: the canonical form of strides and ring steps."""
    kept = list(values)
    while kept and kept[-1] == 0:
        kept.pop()
    return tuple(kept)


def dim_of(axis: str, extent: int, tile_size: int, stride: int, stack: Sequence[Loop]) -> Dim:
    """One tile of an axis: clipped by the loop that walks it, or all of it where there is no such loop."""
    for level, loop in enumerate(stack):
        if loop.axis == axis and loop.step == tile_size:
            ragged = extent % tile_size != 0
            return Dim(tile_size, stride, extent - loop.start if ragged else None, level if ragged else 0)
    return Dim(extent, stride)


def steps(axis_strides: dict[str, int], stack: Sequence[Loop]) -> tuple[int, ...]:
    """Bytes that each loop moves a stream on by."""
    return tuple(loop.step * axis_strides.get(loop.axis, 0) for loop in stack)


def start_of(axis_strides: dict[str, int], stack: Sequence[Loop]) -> int:
    """Bytes before what is touched in the first turns of the loops."""
    return sum(loop.start * axis_strides.get(loop.axis, 0) for loop in stack)


def ring_of(memory: Memory, phase: int, stack: Sequence[Loop], arrays: int = 1) -> Ring | None:
    """The slot in use: one on for every turn of the innermost of these loops; each of so many arrays has as many of the slots.

    Where a queue serves several arrays in turn, it is one on for each of them.
    """
    slots = memory.slots // arrays
    if slots == 1:
        return None
    weights = []
    weight = prod(loop.beside or 1 for loop in stack)
    phase += sum(loop.place for loop in stack)
    for loop in reversed(stack):
        weights.append(weight % slots)
        if loop.beside:
            inner, whole = weight // loop.beside, ceil(loop.extent / loop.step)
            phase += (whole - loop.beside) * inner if loop.skipped else 0
            weight = inner * whole
        else:
            phase += loop.skipped * weight
            weight *= loop.count
    return Ring(slots, memory.slot_bytes, phase % slots, trim(weights[::-1]))
