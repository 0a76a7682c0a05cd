"""The ``tile`` dialect: the training step as loops over array tiles, with explicit memories and transfers.

A ``tile.program`` is a list of operations that run one after the other, at least as far as values go.  Tensors live in DRAM
(``tile.tensor``) or in the scratchpad (``tile.buffer``).  A ``tile.nest`` is a loop nest around beats of the array: its axes ``rows`` and
``cols`` are laid onto the rows and columns of processing elements, the remaining axis streams.  Everything still happens in one sequence
here; the next lowering deals it out to the machine's queues.
"""

from collections.abc import Sequence

from xdsl.dialects.builtin import (
    I64,
    ArrayAttr,
    DenseIntOrFPElementsAttr,
    DictionaryAttr,
    IntegerAttr,
    StringAttr,
    SymbolNameConstraint,
)
from xdsl.ir import Block, Dialect, Operation, Region, SSAValue
from xdsl.irdl import (
    IRDLOperation,
    irdl_op_definition,
    operand_def,
    opt_prop_def,
    prop_def,
    region_def,
    result_def,
    traits_def,
)
from xdsl.traits import NoTerminator
from xdsl.utils.exceptions import VerifyException

from compiler.dialects.integers import integer
from compiler.dialects.tile_base import DRAM, SPAD, MemRef, TileOp, in_dram, memref, memref_of, optional_int, verify_space
from compiler.dialects.tile_epilogue import EpilogueOp, PieceOp
from compiler.dialects.tile_loops import (
    BeatOp,
    DrainOp,
    DrainWeightsOp,
    ForOp,
    NestOp,
    PreloadOp,
    ResidentOp,
    StageOp,
    UpdateOp,
)
from compiler.dialects.tile_work import BlocksOp, CopyOp, MapOp, PoolGradOp, PoolOp, ReduceOp, SgdOp, TransposeOp, WindowOp
from compiler.dialects.train import ints, to_ints
from compiler.dialects.train_base import within


@irdl_op_definition
class ProgramOp(IRDLOperation):
    """The training step on one machine; rings of tiles have ``slots`` buffers."""

    name = "tile.program"
    sym_name = prop_def(SymbolNameConstraint())
    machine = prop_def(DictionaryAttr)
    schedule = prop_def(StringAttr)
    slots = prop_def(IntegerAttr[I64])
    """2: tiles are loaded and drained behind the beats (double buffering); 1: loading, beats and draining take turns."""
    kept = opt_prop_def(IntegerAttr[I64])
    """DRAM bytes that what forward leaves to backward costs at the least, for lower bounds."""
    body = region_def("single_block")
    traits = traits_def(NoTerminator())
    assembly_format = "$sym_name `slots` $slots `schedule` $schedule (`kept` $kept^)? `machine` $machine $body attr-dict"

    def __init__(self, name: str, machine: DictionaryAttr, schedule: str, slots: int) -> None:
        super().__init__(
            properties={
                "sym_name": StringAttr(name),
                "machine": machine,
                "schedule": StringAttr(schedule),
                "slots": integer(slots),
            },
            regions=[Region(Block())],
        )


@irdl_op_definition
class TensorOp(IRDLOperation):
    """A tensor in DRAM. ``kind``: input, param, constant or scratch; the values of params lie outside the IR, by name."""

    name = "tile.tensor"
    kind = prop_def(StringAttr)
    symbol = prop_def(StringAttr)
    classes = opt_prop_def(IntegerAttr[I64])
    ignored = opt_prop_def(IntegerAttr[I64])
    value = opt_prop_def(DenseIntOrFPElementsAttr)
    """Of a constant."""
    address = opt_prop_def(IntegerAttr[I64])
    """Byte address, once allocated."""
    result = result_def(MemRef)
    assembly_format = (
        "$kind $symbol (`classes` $classes^)? (`ignored` $ignored^)? (`value` $value^)? (`at` $address^)? attr-dict `:` type($result)"
    )

    def __init__(self, kind: str, symbol: str, type: MemRef, value: DenseIntOrFPElementsAttr | None = None) -> None:
        properties = {"kind": StringAttr(kind), "symbol": StringAttr(symbol), "value": value}
        super().__init__(properties=properties, result_types=[type])

    def verify_(self) -> None:
        if memref_of(self.result).memory_space != DRAM:
            raise VerifyException("a tile.tensor lies in dram")


@irdl_op_definition
class PublishOp(IRDLOperation):
    """Gives a DRAM tensor a name under which users read it after a run."""

    name = "tile.publish"
    target = prop_def(StringAttr)
    input = operand_def(MemRef)
    assembly_format = "$target $input attr-dict `:` type($input)"

    def __init__(self, target: str, input: SSAValue) -> None:
        super().__init__(operands=[input], properties={"target": StringAttr(target)})

    def verify_(self) -> None:
        verify_space(self, self.input, DRAM)


@irdl_op_definition
class BufferOp(IRDLOperation):
    """A tensor in the scratchpad; with ``ring``, that many of them used in turn."""

    name = "tile.buffer"
    symbol = prop_def(StringAttr)
    ring = opt_prop_def(IntegerAttr[I64])
    address = opt_prop_def(IntegerAttr[I64])
    """Byte address, once allocated."""
    result = result_def(MemRef)
    assembly_format = "$symbol (`ring` $ring^)? (`at` $address^)? attr-dict `:` type($result)"

    def __init__(self, symbol: str, type: MemRef, ring: int | None = None) -> None:
        super().__init__(properties={"symbol": StringAttr(symbol), "ring": optional_int(ring)}, result_types=[type])

    @property
    def slots(self) -> int:
        """How many of them there are."""
        return self.ring.value.data if self.ring else 1

    def verify_(self) -> None:
        if memref_of(self.result).memory_space != SPAD:
            raise VerifyException("a tile.buffer lies in spad")


@irdl_op_definition
class ViewOp(IRDLOperation):
    """The same memory under another shape."""

    name = "tile.view"
    input = operand_def(MemRef)
    result = result_def(MemRef)
    assembly_format = "$input attr-dict `:` type($input) `to` type($result)"

    def __init__(self, input: SSAValue, shape: Sequence[int]) -> None:
        type = memref_of(input)
        super().__init__(operands=[input], result_types=[memref(shape, type.element_type, SPAD if type.memory_space == SPAD else DRAM)])


@irdl_op_definition
class SliceOp(IRDLOperation):
    """Part of a tensor, in place: in each dimension the entries from ``starts`` on, ``steps`` apart; negative steps go backwards."""

    name = "tile.slice"
    starts = prop_def(ArrayAttr[IntegerAttr])
    steps = prop_def(ArrayAttr[IntegerAttr])
    input = operand_def(MemRef)
    result = result_def(MemRef)
    assembly_format = "$input `from` $starts `by` $steps attr-dict `:` type($input) `to` type($result)"

    def __init__(self, input: SSAValue, starts: Sequence[int], sizes: Sequence[int], steps: Sequence[int]) -> None:
        type = memref_of(input)
        super().__init__(
            operands=[input],
            properties={"starts": ints(starts), "steps": ints(steps)},
            result_types=[memref(sizes, type.element_type, SPAD if type.memory_space == SPAD else DRAM)],
        )

    def verify_(self) -> None:
        lists = to_ints(self.starts), to_ints(self.steps), memref_of(self.result).get_shape(), memref_of(self.input).get_shape()
        if len({len(values) for values in lists}) != 1:
            raise VerifyException("starts, steps and both shapes have one entry for each dimension")
        if not all(within(s, by, n, size) for s, by, n, size in zip(*lists, strict=True)):
            raise VerifyException("the slice leaves the tensor")


def written(op: Operation) -> list[SSAValue]:
    """The memories that an operation of the dialect writes to, those of operations inside it apart."""
    match op:
        case CopyOp():
            return [op.dst]
        case MapOp() | ReduceOp() | TransposeOp() | PoolOp():
            return [op.out]
        case PoolGradOp():
            return [op.out, *op.ins[3:]]
        case SgdOp():
            return [*op.weights, *op.buffers]
        case BeatOp():
            return [] if op.kind.data == "dw" else [op.second]
        case DrainOp() | DrainWeightsOp():
            return [op.dst, *op.slot]
        case ResidentOp() | PreloadOp():
            return [*op.slot]
        case StageOp():
            return [op.panel] if op.way.data == "in" else [op.panel, op.tensor]
        case _:
            return []


__all__ = [
    "DRAM", "SPAD", "BeatOp", "BlocksOp", "BufferOp", "CopyOp", "DrainOp", "DrainWeightsOp", "EpilogueOp", "ForOp", "MapOp", "MemRef",
    "NestOp", "PieceOp", "PoolGradOp", "PoolOp", "PreloadOp", "ProgramOp", "PublishOp", "ReduceOp", "ResidentOp", "SgdOp", "SliceOp",
    "StageOp", "TensorOp", "Tile", "TileOp", "TransposeOp", "UpdateOp", "ViewOp", "WindowOp", "in_dram", "memref", "memref_of", "written",
]  # fmt: skip

Tile = Dialect(
    "tile",
    [
        ProgramOp, TensorOp, PublishOp, BufferOp, ViewOp, SliceOp, WindowOp, BlocksOp, CopyOp, MapOp, ReduceOp, TransposeOp, PoolOp,
        PoolGradOp, SgdOp, NestOp, ForOp, ResidentOp, PreloadOp, DrainOp, DrainWeightsOp, StageOp, BeatOp, UpdateOp, EpilogueOp, PieceOp,
    ],
)  # fmt: skip
