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
    Float64Type,
    FloatAttr,
    IntegerAttr,
    MemRefType,
    StringAttr,
    SymbolNameConstraint,
    UnitAttr,
    f64,
    i64,
)
from xdsl.ir import Attribute, Block, Dialect, Operation, Region, SSAValue
from xdsl.irdl import (
    IRDLOperation,
    irdl_op_definition,
    operand_def,
    opt_prop_def,
    prop_def,
    region_def,
    result_def,
    traits_def,
    var_operand_def,
)
from xdsl.traits import NoTerminator
from xdsl.utils.exceptions import VerifyException

from compiler.dialects.train import ints, to_ints
from isa.stream import Operand
from isa.vector import FUNCTIONS, REDUCTIONS

MemRef = MemRefType[Attribute]
DRAM, SPAD = StringAttr("dram"), StringAttr("spad")
BEATS = ("fwd", "dx", "dw")


def memref(shape: Sequence[int], element: Attribute, space: StringAttr) -> MemRef:
    """Type of a tensor in a memory."""
    return MemRefType(element, shape, memory_space=space)


def memref_of(value: SSAValue) -> MemRef:
    """Type of a memory value."""
    assert isinstance(value.type, MemRefType)
    return value.type


def in_dram(value: SSAValue) -> bool:
    """Whether the value lies in DRAM rather than in the scratchpad."""
    return memref_of(value).memory_space == DRAM


def _int(value: int | None) -> IntegerAttr | None:
    return None if value is None else IntegerAttr(value, i64)


def _verify_space(op: Operation, value: SSAValue, space: StringAttr) -> None:
    if memref_of(value).memory_space != space:
        raise VerifyException(f"{op.name}: expected a tensor in {space.data}")


class TileOp(IRDLOperation):
    """What an operation that does work says about where it comes from."""

    layer = prop_def(StringAttr)
    product = prop_def(StringAttr)
    """fwd, dx, dw, dx+dw, update, vector."""


@irdl_op_definition
class ProgramOp(IRDLOperation):
    """The training step on one machine; rings of tiles have ``slots`` buffers."""

    name = "tile.program"
    sym_name = prop_def(SymbolNameConstraint())
    machine = prop_def(DictionaryAttr)
    schedule = prop_def(StringAttr)
    slots = prop_def(IntegerAttr[I64])
    """2: tiles are loaded and drained behind the beats (double buffering); 1: loading, beats and draining take turns."""
    body = region_def("single_block")
    traits = traits_def(NoTerminator())
    assembly_format = "$sym_name `slots` $slots `schedule` $schedule `machine` $machine $body attr-dict"

    def __init__(self, name: str, machine: DictionaryAttr, schedule: str, slots: int) -> None:
        super().__init__(
            properties={
                "sym_name": StringAttr(name),
                "machine": machine,
                "schedule": StringAttr(schedule),
                "slots": IntegerAttr(slots, i64),
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
    value = opt_prop_def(DenseIntOrFPElementsAttr)
    """Of a constant."""
    address = opt_prop_def(IntegerAttr[I64])
    """Byte address, once allocated."""
    result = result_def(MemRef)
    assembly_format = "$kind $symbol (`classes` $classes^)? (`value` $value^)? (`at` $address^)? attr-dict `:` type($result)"

    def __init__(
        self, kind: str, symbol: str, type: MemRef, classes: int | None = None, value: DenseIntOrFPElementsAttr | None = None
    ) -> None:
        super().__init__(
            properties={"kind": StringAttr(kind), "symbol": StringAttr(symbol), "classes": _int(classes), "value": value},
            result_types=[type],
        )

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
        _verify_space(self, self.input, DRAM)


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
        super().__init__(properties={"symbol": StringAttr(symbol), "ring": _int(ring)}, result_types=[type])

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
class CopyOp(TileOp):
    """A whole tensor from DRAM to the scratchpad or back."""

    name = "tile.copy"
    src = operand_def(MemRef)
    dst = operand_def(MemRef)
    assembly_format = "$src `to` $dst `layer` $layer `product` $product attr-dict `:` type($src) `to` type($dst)"

    def __init__(self, src: SSAValue, dst: SSAValue, layer: str, product: str) -> None:
        super().__init__(operands=[src, dst], properties={"layer": StringAttr(layer), "product": StringAttr(product)})

    def verify_(self) -> None:
        if in_dram(self.src) == in_dram(self.dst):
            raise VerifyException("a copy goes from one memory to the other")


@irdl_op_definition
class MapOp(TileOp):
    """An elementwise function on the vector unit; operands broadcast; ``imm`` stands for operand ``imm_at``."""

    name = "tile.map"
    fn = prop_def(StringAttr)
    imm = opt_prop_def(FloatAttr[Float64Type])
    imm_at = opt_prop_def(ArrayAttr[IntegerAttr])
    ins = var_operand_def(MemRef)
    out = operand_def(MemRef)
    assembly_format = (
        "$fn `(` $ins `)` (`imm` $imm^ `at` $imm_at)? `to` $out `layer` $layer `product` $product attr-dict `:` "
        "`(` type($ins) `)` `to` type($out)"
    )

    def __init__(
        self, fn: str, ins: Sequence[SSAValue], out: SSAValue, layer: str, product: str,
        imm: float | None = None, imm_at: Sequence[int] = (),
    ) -> None:  # fmt: skip
        super().__init__(
            operands=[list(ins), out],
            properties={
                "fn": StringAttr(fn),
                "imm": None if imm is None else FloatAttr(imm, f64),
                "imm_at": None if imm is None else ints(imm_at),
                "layer": StringAttr(layer),
                "product": StringAttr(product),
            },
        )

    def verify_(self) -> None:
        function = FUNCTIONS.get(self.fn.data)
        immediates = len(to_ints(self.imm_at)) if self.imm_at else 0
        if function is None or len(self.ins) + immediates != function.arity:
            raise VerifyException(f"{self.fn.data}: no such function, or not its number of operands")
        for value in (*self.ins, self.out):
            _verify_space(self, value, SPAD)


@irdl_op_definition
class ReduceOp(TileOp):
    """Sum or maximum on the vector unit; reduced dimensions have size 1 in the result."""

    name = "tile.reduce"
    fn = prop_def(StringAttr)
    input = operand_def(MemRef)
    out = operand_def(MemRef)
    assembly_format = "$fn $input `to` $out `layer` $layer `product` $product attr-dict `:` type($input) `to` type($out)"

    def __init__(self, fn: str, input: SSAValue, out: SSAValue, layer: str, product: str) -> None:
        super().__init__(
            operands=[input, out],
            properties={"fn": StringAttr(fn), "layer": StringAttr(layer), "product": StringAttr(product)},
        )

    def verify_(self) -> None:
        if self.fn.data not in REDUCTIONS:
            raise VerifyException(f"no reduction {self.fn.data!r}")


@irdl_op_definition
class TransposeOp(TileOp):
    """A permuted copy on the vector unit."""

    name = "tile.transpose"
    perm = prop_def(ArrayAttr[IntegerAttr])
    input = operand_def(MemRef)
    out = operand_def(MemRef)
    assembly_format = "$input `perm` $perm `to` $out `layer` $layer `product` $product attr-dict `:` type($input) `to` type($out)"

    def __init__(self, input: SSAValue, perm: Sequence[int], out: SSAValue, layer: str, product: str) -> None:
        super().__init__(
            operands=[input, out],
            properties={"perm": ints(perm), "layer": StringAttr(layer), "product": StringAttr(product)},
        )


@irdl_op_definition
class SgdOp(TileOp):
    """Weights updated on the vector unit, in chunks: v ← μ·v + (g + λ·w); w ← w − η·v; ``weights``: w and perhaps v, in DRAM, in place."""

    name = "tile.sgd"
    lr = prop_def(FloatAttr[Float64Type])
    momentum = prop_def(FloatAttr[Float64Type])
    decay = prop_def(FloatAttr[Float64Type])
    grad = operand_def(MemRef)
    """In DRAM or in the scratchpad."""
    chunks = var_operand_def(MemRef)
    """Weight and velocity in DRAM, then one scratchpad buffer for each DRAM operand, the gradient's first."""
    assembly_format = (
        "$grad `with` `(` $chunks `)` `lr` $lr `momentum` $momentum `decay` $decay `layer` $layer `product` $product attr-dict `:` "
        "type($grad) `with` `(` type($chunks) `)`"
    )

    def __init__(
        self, grad: SSAValue, weights: Sequence[SSAValue], buffers: Sequence[SSAValue], layer: str,
        lr: FloatAttr, momentum: FloatAttr, decay: FloatAttr,
    ) -> None:  # fmt: skip
        super().__init__(
            operands=[grad, [*weights, *buffers]],
            properties={
                "lr": lr, "momentum": momentum, "decay": decay, "layer": StringAttr(layer), "product": StringAttr("update"),
            },
        )  # fmt: skip

    @property
    def weights(self) -> list[SSAValue]:
        """Weight and perhaps velocity, in DRAM."""
        return [v for v in self.chunks if in_dram(v)]

    @property
    def buffers(self) -> list[SSAValue]:
        """One buffer for each operand that lies in DRAM: the gradient's (if it does), the weight's, the velocity's."""
        return [v for v in self.chunks if not in_dram(v)]

    def verify_(self) -> None:
        if len(self.buffers) != len(self.weights) + in_dram(self.grad):
            raise VerifyException("one buffer for each operand in DRAM")


@irdl_op_definition
class NestOp(TileOp):
    """A loop nest around beats. ``rows``, ``cols``, ``stream``: the axes laid onto the array's rows, its columns, and time."""

    name = "tile.nest"
    rows = prop_def(StringAttr)
    cols = prop_def(StringAttr)
    stream = prop_def(StringAttr)
    macs = prop_def(IntegerAttr[I64])
    """MACs of the products computed."""
    body = region_def("single_block")
    traits = traits_def(NoTerminator())
    assembly_format = (
        "`rows` $rows `cols` $cols `stream` $stream `layer` $layer `product` $product `macs` $macs $body attr-dict"
    )

    def __init__(self, rows: str, cols: str, stream: str, layer: str, product: str, macs: int, body: Sequence[Operation]) -> None:
        super().__init__(
            properties={
                "rows": StringAttr(rows), "cols": StringAttr(cols), "stream": StringAttr(stream), "layer": StringAttr(layer),
                "product": StringAttr(product), "macs": IntegerAttr(macs, i64),
            },
            regions=[Region(Block(list(body)))],
        )  # fmt: skip


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
            properties={"axis": StringAttr(axis), "extent": IntegerAttr(extent, i64), "step": IntegerAttr(step, i64)},
            regions=[Region(Block(list(body)))],
        )


class _Axes(IRDLOperation):
    """An operand with the names of its axes as stored."""

    def verify_axes(self, axes: StringAttr, value: SSAValue) -> None:
        if len(axes.data) != len(memref_of(value).get_shape()):
            raise VerifyException(f"{self.name}: axes {axes.data!r} do not fit {memref_of(value)}")


@irdl_op_definition
class ResidentOp(_Axes):
    """Make a tile the array's stationary operand; from DRAM it comes through ``slot``."""

    name = "tile.resident"
    src = operand_def(MemRef)
    slot = var_operand_def(MemRef)
    axes = prop_def(StringAttr)
    tag = prop_def(StringAttr)
    assembly_format = "$src $axes `as` $tag (`through` $slot^)? attr-dict `:` type($src) (`,` type($slot)^)?"

    def __init__(self, src: SSAValue, axes: str, tag: str, slot: SSAValue | None) -> None:
        super().__init__(
            operands=[src, [] if slot is None else [slot]], properties={"axes": StringAttr(axes), "tag": StringAttr(tag)}
        )

    def verify_(self) -> None:
        self.verify_axes(self.axes, self.src)
        if in_dram(self.src) != bool(self.slot):
            raise VerifyException("a tile from DRAM, and only that, goes through a slot")


@irdl_op_definition
class DrainOp(_Axes):
    """Take the accumulators, or after a ``tile.update`` the weights, out of the array; to DRAM through ``slot``."""

    name = "tile.drain"
    dst = operand_def(MemRef)
    slot = var_operand_def(MemRef)
    axes = prop_def(StringAttr)
    tag = prop_def(StringAttr)
    assembly_format = "$dst $axes `as` $tag (`through` $slot^)? attr-dict `:` type($dst) (`,` type($slot)^)?"

    def __init__(self, dst: SSAValue, axes: str, tag: str, slot: SSAValue | None) -> None:
        super().__init__(
            operands=[dst, [] if slot is None else [slot]], properties={"axes": StringAttr(axes), "tag": StringAttr(tag)}
        )

    def verify_(self) -> None:
        self.verify_axes(self.axes, self.dst)
        if in_dram(self.dst) != bool(self.slot):
            raise VerifyException("a tile for DRAM, and only that, goes through a slot")


@irdl_op_definition
class StageOp(_Axes):
    """Bring a panel (all of the streamed axis, one tile of the other) from DRAM into a ring, or with ``out`` take it back."""

    name = "tile.stage"
    tensor = operand_def(MemRef)
    panel = operand_def(MemRef)
    axes = prop_def(StringAttr)
    tag = prop_def(StringAttr)
    out = opt_prop_def(UnitAttr)
    assembly_format = "(`out` $out^)? $tensor $axes `as` $tag `panel` $panel attr-dict `:` type($tensor) `,` type($panel)"

    def __init__(self, tensor: SSAValue, axes: str, tag: str, panel: SSAValue, *, out: bool = False) -> None:
        super().__init__(
            operands=[tensor, panel],
            properties={"axes": StringAttr(axes), "tag": StringAttr(tag), "out": UnitAttr() if out else None},
        )

    def verify_(self) -> None:
        self.verify_axes(self.axes, self.tensor)
        self.verify_axes(self.axes, self.panel)


@irdl_op_definition
class BeatOp(_Axes):
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
    assembly_format = (
        "$kind `computes` $product `(` $first $first_axes `as` $first_tag `,` $second $second_axes `as` $second_tag `)` attr-dict `:` "
        "type($first) `,` type($second)"
    )

    def __init__(self, kind: str, product: str, first: tuple[SSAValue, str, str], second: tuple[SSAValue, str, str]) -> None:
        super().__init__(
            operands=[first[0], second[0]],
            properties={
                "kind": StringAttr(kind), "product": StringAttr(product),
                "first_axes": StringAttr(first[1]), "first_tag": StringAttr(first[2]),
                "second_axes": StringAttr(second[1]), "second_tag": StringAttr(second[2]),
            },
        )  # fmt: skip

    def verify_(self) -> None:
        if self.kind.data not in BEATS:
            raise VerifyException(f"no beat {self.kind.data!r}")
        for axes, tag, value in ((self.first_axes, self.first_tag, self.first), (self.second_axes, self.second_tag, self.second)):
            self.verify_axes(axes, value)
            _verify_space(self, value, SPAD)
            if tag.data not in Operand.__members__:
                raise VerifyException(f"no operand {tag.data!r}")


@irdl_op_definition
class UpdateOp(IRDLOperation):
    """The weight update in place: w ← w − η·(g + λ·w)."""

    name = "tile.update"
    lr = prop_def(FloatAttr[Float64Type])
    decay = prop_def(FloatAttr[Float64Type])
    assembly_format = "`lr` $lr `decay` $decay attr-dict"

    def __init__(self, lr: float, decay: float) -> None:
        super().__init__(properties={"lr": FloatAttr(lr, f64), "decay": FloatAttr(decay, f64)})


Tile = Dialect(
    "tile",
    [
        ProgramOp, TensorOp, PublishOp, BufferOp, ViewOp, CopyOp, MapOp, ReduceOp, TransposeOp, SgdOp, NestOp, ForOp, ResidentOp,
        DrainOp, StageOp, BeatOp, UpdateOp,
    ],
)  # fmt: skip
