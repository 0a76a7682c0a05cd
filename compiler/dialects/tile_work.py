"""Operations of the ``tile`` dialect outside the array: transfers and the vector unit's work."""

from collections.abc import Sequence

from xdsl.dialects.builtin import (
    I64,
    ArrayAttr,
    Float64Type,
    FloatAttr,
    IntegerAttr,
    StringAttr,
    f64,
)
from xdsl.ir import Block, Operation, Region, SSAValue
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

from compiler.dialects import train
from compiler.dialects.integers import integer
from compiler.dialects.tile_base import DRAM, SPAD, MemRef, TileOp, in_dram, memref, memref_of, verify_space
from compiler.dialects.train import ints, to_ints
from isa.vector import FUNCTIONS, REDUCTIONS


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
class WindowOp(IRDLOperation):
    """Inside a ``tile.blocks``: the part of a tensor that belongs to the current block, ``size`` entries of ``axis``."""

    name = "tile.window"
    axis = prop_def(IntegerAttr[I64])
    input = operand_def(MemRef)
    result = result_def(MemRef)
    assembly_format = "$input `axis` $axis attr-dict `:` type($input) `to` type($result)"

    def __init__(self, input: SSAValue, axis: int, size: int) -> None:
        type = memref_of(input)
        shape = [size if i == axis else n for i, n in enumerate(type.get_shape())]
        space = DRAM if in_dram(input) else SPAD
        super().__init__(
            operands=[input],
            properties={"axis": integer(axis)},
            result_types=[memref(shape, type.element_type, space)],
        )

    def verify_(self) -> None:
        axis, whole, part = self.axis.value.data, memref_of(self.input).get_shape(), memref_of(self.result).get_shape()
        if not 0 <= axis < len(whole):
            raise VerifyException(f"axis {axis} is no dimension of {whole}")
        if (*whole[:axis], *whole[axis + 1 :]) != (*part[:axis], *part[axis + 1 :]):
            raise VerifyException("a window has all of every other dimension")


@irdl_op_definition
class BlocksOp(TileOp):
    """Work on tensors too large for the scratchpad, block by block: copies in, the vector unit's work, copies out, ``count`` times.

    Its panels are rings of ``slots`` buffers.
    """

    name = "tile.blocks"
    count = prop_def(IntegerAttr[I64])
    slots = prop_def(IntegerAttr[I64])
    body = region_def("single_block")
    traits = traits_def(NoTerminator())
    assembly_format = "$count `slots` $slots `layer` $layer `product` $product $body attr-dict"

    def __init__(self, count: int, slots: int, layer: str, product: str, body: Sequence[Operation]) -> None:
        super().__init__(
            properties={
                "count": integer(count), "slots": integer(slots), "layer": StringAttr(layer),
                "product": StringAttr(product),
            },
            regions=[Region(Block(list(body)))],
        )  # fmt: skip

    def verify_(self) -> None:
        count = self.count.value.data
        for op in self.body.block.ops:
            if isinstance(op, WindowOp):
                axis = op.axis.value.data
                size, whole = (memref_of(v).get_shape()[axis] for v in (op.result, op.input))
                if count * size != whole:
                    raise VerifyException(f"{count} blocks of {size} are not {whole} entries")


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
            verify_space(self, value, SPAD)


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


class _Windowed(TileOp):
    """A window that slides, as in the ``train`` dialect."""

    fn = prop_def(StringAttr)
    kernel = prop_def(ArrayAttr[IntegerAttr])
    strides = prop_def(ArrayAttr[IntegerAttr])
    dilations = prop_def(ArrayAttr[IntegerAttr])


@irdl_op_definition
class PoolOp(_Windowed):
    """Maximum or sum over sliding windows, tap by tap on the vector unit."""

    name = "tile.pool"
    input = operand_def(MemRef)
    out = operand_def(MemRef)
    assembly_format = (
        "$fn $input `kernel` $kernel `strides` $strides `dilations` $dilations `to` $out `layer` $layer `product` $product attr-dict `:` "
        "type($input) `to` type($out)"
    )

    def __init__(self, pool: train.PoolOp, input: SSAValue, out: SSAValue, product: str) -> None:
        super().__init__(
            operands=[input, out],
            properties={
                "fn": pool.fn, "kernel": pool.kernel, "strides": pool.strides, "dilations": pool.dilations, "layer": pool.layer,
                "product": StringAttr(product),
            },
        )  # fmt: skip


@irdl_op_definition
class PoolGradOp(_Windowed):
    """Gradient of a pool, tap by tap: a sum's from dY; a maximum's from X, Y, dY with two buffers of dY's shape to work in."""

    name = "tile.pool_grad"
    ins = var_operand_def(MemRef)
    out = operand_def(MemRef)
    assembly_format = (
        "$fn `(` $ins `)` `kernel` $kernel `strides` $strides `dilations` $dilations `to` $out `layer` $layer `product` $product "
        "attr-dict `:` `(` type($ins) `)` `to` type($out)"
    )

    def __init__(self, pool: train.PoolGradOp, ins: Sequence[SSAValue], out: SSAValue, product: str) -> None:
        super().__init__(
            operands=[list(ins), out],
            properties={
                "fn": pool.fn, "kernel": pool.kernel, "strides": pool.strides, "dilations": pool.dilations, "layer": pool.layer,
                "product": StringAttr(product),
            },
        )  # fmt: skip

    def verify_(self) -> None:
        if len(self.ins) != (5 if self.fn.data == "max" else 1):
            raise VerifyException("takes X, Y, dY and two buffers for a maximum, dY for a sum")


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
