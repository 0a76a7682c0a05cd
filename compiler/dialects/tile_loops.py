"""Operations of the ``tile`` dialect on the array: loop nests around beats."""

from collections.abc import Sequence
from math import ceil

from xdsl.dialects.builtin import (
    I64,
    Float64Type,
    FloatAttr,
    IntegerAttr,
    StringAttr,
    UnitAttr,
    f64,
)
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue
from xdsl.irdl import (
    IRDLOperation,
    irdl_op_definition,
    operand_def,
    opt_prop_def,
    prop_def,
    region_def,
    traits_def,
    var_operand_def,
)
from xdsl.traits import NoTerminator
from xdsl.utils.exceptions import VerifyException

from compiler.dialects.integers import integer
from compiler.dialects.tile_base import DRAM, SPAD, MemRef, TileOp, in_dram, verify_axes, verify_space, verify_tag

BEATS = ("fwd", "dx", "dw")


@irdl_op_definition
class NestOp(TileOp):
    """A loop nest around beats. ``rows``, ``cols``: the axes whose tiles lie on the array's rows and columns; ``stream``: those of time.

    The rows may have several axes: all of the inner ones for each entry of a tile of the first.  With ``arrays`` so many share the loop
    over one axis: each has an equal part of its turns, as near as that can be, in order.
    """

    name = "tile.nest"
    rows = prop_def(StringAttr)
    cols = prop_def(StringAttr)
    stream = prop_def(StringAttr)
    macs = prop_def(IntegerAttr[I64])
    """MACs of the products computed."""
    arrays = opt_prop_def(IntegerAttr[I64])
    across = opt_prop_def(StringAttr)
    """The axis that they share."""
    body = region_def("single_block")
    traits = traits_def(NoTerminator())
    assembly_format = (
        "`rows` $rows `cols` $cols `stream` $stream `layer` $layer `product` $product `macs` $macs "
        "(`arrays` $arrays^ `by` $across)? $body attr-dict"
    )

    def __init__(
        self, rows: str, cols: str, stream: str, layer: str, product: str, macs: int, body: Sequence[Operation],
        arrays: int = 1, across: str = "",
    ) -> None:  # fmt: skip
        super().__init__(
            properties={
                "rows": StringAttr(rows), "cols": StringAttr(cols), "stream": StringAttr(stream), "layer": StringAttr(layer),
                "product": StringAttr(product), "macs": integer(macs),
                "arrays": integer(arrays) if arrays > 1 else None, "across": StringAttr(across) if arrays > 1 else None,
            },
            regions=[Region(Block(list(body)))],
        )  # fmt: skip

    @property
    def shared_by(self) -> int:
        """How many arrays take part."""
        return self.arrays.value.data if self.arrays else 1

    def verify_(self) -> None:
        if not self.arrays or self.across is None:
            return
        loops = [op for op in self.walk() if isinstance(op, ForOp) and op.axis == self.across]
        if not loops or any(ceil(op.extent.value.data / op.step.value.data) < self.shared_by for op in loops):
            raise VerifyException(f"{self.shared_by} arrays cannot share the loop over {self.across.data!r}")
        each, parts = self.shared_by, self.across.data in self.stream.data
        for op in self.walk():
            if isinstance(op, ResidentOp | PreloadOp) and op.slot and len(op.slot) != (1 if parts else each):
                raise VerifyException("a slot for each array where their tiles differ, one for all where they do not")
            if isinstance(op, DrainOp) and op.slot and len(op.slot) not in (each, each + (1 if parts else each)):
                raise VerifyException("a slot for each array, and as many of what earlier blocks have summed as are stored")
            if isinstance(op, DrainOp) and op.adds and len(op.slot) != each:
                raise VerifyException("what is added in the scratchpad has a slot for each array")
            if isinstance(op, DrainWeightsOp) and len(op.slot) != each:
                raise VerifyException("a slot for each array")
            if isinstance(op, DrainOp) and not op.slot and parts:
                raise VerifyException("accumulators of several arrays are added on their way to DRAM")


@irdl_op_definition
class ForOp(IRDLOperation):
    """Walk ``axis`` over ``extent`` in steps of ``step``; the last step may be ragged."""

    name = "tile.for"
    axis = prop_def(StringAttr)
    extent = prop_def(IntegerAttr[I64])
    step = prop_def(IntegerAttr[I64])
    body = region_def("single_block")
    traits = traits_def(NoTerminator())
    assembly_format = "$axis `to` $extent `step` $step $body attr-dict"

    def __init__(self, axis: str, extent: int, step: int, body: Sequence[Operation]) -> None:
        super().__init__(
            properties={"axis": StringAttr(axis), "extent": integer(extent), "step": integer(step)},
            regions=[Region(Block(list(body)))],
        )


class _TileMove(IRDLOperation):
    """A tile on its way between a memory and the array: the slots that it goes through, the memory's axes, and which operand it is."""

    slot = var_operand_def(MemRef)
    axes = prop_def(StringAttr)
    tag = prop_def(StringAttr)

    def __init__(self, memory: SSAValue, axes: str, tag: str, *slots: SSAValue, **others: Attribute) -> None:
        super().__init__(operands=[memory, list(slots)], properties={"axes": StringAttr(axes), "tag": StringAttr(tag), **others})

    def verify_(self) -> None:
        verify_axes(self, self.axes, self.operands[0])


@irdl_op_definition
class ResidentOp(_TileMove):
    """Make a tile the array's stationary operand; from DRAM it comes through ``slot``, each array's own where the tiles differ."""

    name = "tile.resident"
    src = operand_def(MemRef)
    assembly_format = "$src $axes `as` $tag (`through` $slot^)? attr-dict `:` type($src) (`,` type($slot)^)?"

    def verify_(self) -> None:
        super().verify_()
        if in_dram(self.src) != bool(self.slot):
            raise VerifyException("a tile from DRAM, and only that, goes through a slot")


@irdl_op_definition
class PreloadOp(_TileMove):
    """Let the accumulators begin with a tile from DRAM, scaled; it comes through ``slot``, each array's own."""

    name = "tile.preload"
    src = operand_def(MemRef)
    scale = prop_def(FloatAttr[Float64Type])
    assembly_format = "$src $axes `as` $tag `times` $scale `through` $slot attr-dict `:` type($src) `,` type($slot)"

    def __init__(self, src: SSAValue, axes: str, tag: str, scale: float, *slots: SSAValue) -> None:
        super().__init__(src, axes, tag, *slots, scale=FloatAttr(scale, f64))

    def verify_(self) -> None:
        super().verify_()
        verify_space(self, self.src, DRAM)


@irdl_op_definition
class DrainOp(_TileMove):
    """Take the accumulators, or after a ``tile.update`` without velocity the weights, out of the array; to DRAM through a slot.

    To the scratchpad they go directly; or through a slot, from which they are added to what is there.  Each array has a slot of its own.
    For DRAM, with a second slot, they are added to what is there, which comes through that one: there are as many as tiles at a time, one
    for each array, or one for all whose accumulators are added to each other first.
    """

    name = "tile.drain"
    dst = operand_def(MemRef)
    assembly_format = "$dst $axes `as` $tag (`through` $slot^)? attr-dict `:` type($dst) (`,` type($slot)^)?"

    @property
    def before(self) -> Sequence[SSAValue]:
        """The slots of what earlier blocks have summed; inside a nest."""
        nest = self.parent_op()
        while not isinstance(nest, NestOp):
            assert nest is not None
            nest = nest.parent_op()
        return self.slot[nest.shared_by :]

    @property
    def adds(self) -> bool:
        """Whether they are added to what the scratchpad has."""
        return bool(self.slot) and not in_dram(self.dst)

    def verify_(self) -> None:
        super().verify_()
        if in_dram(self.dst) and not self.slot:
            raise VerifyException("a tile for DRAM goes through a slot")


@irdl_op_definition
class DrainWeightsOp(_TileMove):
    """Take the weights that a ``tile.update`` left beside the velocity out of the array; to DRAM through a slot, each array's own."""

    name = "tile.drain_weights"
    dst = operand_def(MemRef)
    assembly_format = "$dst $axes `as` $tag `through` $slot attr-dict `:` type($dst) `,` type($slot)"

    def verify_(self) -> None:
        super().verify_()
        verify_space(self, self.dst, DRAM)


@irdl_op_definition
class StageOp(IRDLOperation):
    """Bring a panel of a tensor from DRAM into a ring, or take it back.

    A panel is what the loops over the axes ``outside`` choose: of an axis on the array's lanes one tile, of others one turn; it has all
    of every other axis.  ``way``: in, out, zeroed for sums that go out having begun as zeros, or inout for sums that are not complete when
    they go out, and come in again.

    Where several arrays share a loop that chooses panels, each has an equal part of the ring.
    """

    name = "tile.stage"
    tensor = operand_def(MemRef)
    panel = operand_def(MemRef)
    axes = prop_def(StringAttr)
    tag = prop_def(StringAttr)
    way = prop_def(StringAttr)
    outside = prop_def(StringAttr)
    assembly_format = "$way $tensor $axes `as` $tag `panel` $panel `by` $outside attr-dict `:` type($tensor) `,` type($panel)"

    def __init__(self, tensor: SSAValue, axes: str, tag: str, panel: SSAValue, way: str, outside: str) -> None:
        super().__init__(
            operands=[tensor, panel],
            properties={
                "axes": StringAttr(axes), "tag": StringAttr(tag), "way": StringAttr(way), "outside": StringAttr(outside),
            },
        )  # fmt: skip

    def verify_(self) -> None:
        if self.way.data not in ("in", "out", "zeroed", "inout"):
            raise VerifyException(f"a panel goes in, out, zeroed or inout, not {self.way.data!r}")
        verify_axes(self, self.axes, self.tensor)
        verify_axes(self, self.axes, self.panel)


@irdl_op_definition
class BeatOp(IRDLOperation):
    """One beat of each turn: fwd (h operand, sums), dx (v operand, sums) or dw (h operand, v operand)."""

    name = "tile.beat"
    kind = prop_def(StringAttr)
    first = operand_def(MemRef)
    first_axes = prop_def(StringAttr)
    first_tag = prop_def(StringAttr)
    second = operand_def(MemRef)
    second_axes = prop_def(StringAttr)
    second_tag = prop_def(StringAttr)
    product = prop_def(StringAttr)
    """Which of the layer's products the beat computes: its arithmetic (``kind``) may be that of another."""
    sums = opt_prop_def(StringAttr)
    """Axes summed over: partial sums start from 0 where the loops over all of them are in their first turn; absent: never."""
    assembly_format = (
        "$kind `computes` $product (`over` $sums^)? `(` $first $first_axes `as` $first_tag `,` "
        "$second $second_axes `as` $second_tag `)` attr-dict `:` type($first) `,` type($second)"
    )

    def __init__(
        self, kind: str, product: str, first: tuple[SSAValue, str, str], second: tuple[SSAValue, str, str], sums: str | None = None
    ) -> None:
        super().__init__(
            operands=[first[0], second[0]],
            properties={
                "kind": StringAttr(kind), "product": StringAttr(product), "sums": None if sums is None else StringAttr(sums),
                "first_axes": StringAttr(first[1]), "first_tag": StringAttr(first[2]),
                "second_axes": StringAttr(second[1]), "second_tag": StringAttr(second[2]),
            },
        )  # fmt: skip

    def verify_(self) -> None:
        if self.kind.data not in BEATS:
            raise VerifyException(f"no beat {self.kind.data!r}")
        for axes, tag, value in ((self.first_axes, self.first_tag, self.first), (self.second_axes, self.second_tag, self.second)):
            verify_axes(self, axes, value)
            verify_space(self, value, SPAD)
            verify_tag(tag)


@irdl_op_definition
class UpdateOp(IRDLOperation):
    """The weight update in place: w ← w − η·(g + λ·w); with ``velocity`` the accumulators become that, g ← g + λ·w, and leave, too."""

    name = "tile.update"
    lr = prop_def(FloatAttr[Float64Type])
    decay = prop_def(FloatAttr[Float64Type])
    velocity = opt_prop_def(UnitAttr)
    assembly_format = "`lr` $lr `decay` $decay (`velocity` $velocity^)? attr-dict"

    def __init__(self, lr: float, decay: float, *, velocity: bool = False) -> None:
        super().__init__(
            properties={"lr": FloatAttr(lr, f64), "decay": FloatAttr(decay, f64), "velocity": UnitAttr() if velocity else None}
        )
