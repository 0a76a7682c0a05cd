"""Operations of the ``tile`` dialect by which the vector unit's work rides on a product's results, before they leave the scratchpad."""

from collections.abc import Sequence

from xdsl.dialects.builtin import StringAttr, UnitAttr
from xdsl.ir import Block, Operation, Region, SSAValue
from xdsl.irdl import IRDLOperation, irdl_op_definition, operand_def, opt_prop_def, prop_def, region_def, result_def, traits_def
from xdsl.traits import NoTerminator
from xdsl.utils.exceptions import VerifyException

from compiler.dialects.tile_base import DRAM, SPAD, MemRef, in_dram, memref, memref_of, verify_axes, verify_space, verify_tag
from compiler.schedule.axes import parse_axes


@irdl_op_definition
class EpilogueOp(IRDLOperation):
    """Work on each panel of a nest's result once its sums are complete: copies in, the vector unit's work, copies out.

    It stands at the end of the loop that chooses the panel, which is as in a ``tile.stage``; with ``zeroed`` the panel begins as zeros.
    The panel reaches DRAM only by a copy.
    """

    name = "tile.epilogue"
    panel = operand_def(MemRef)
    axes = prop_def(StringAttr)
    tag = prop_def(StringAttr)
    outside = prop_def(StringAttr)
    zeroed = opt_prop_def(UnitAttr)
    body = region_def("single_block")
    traits = traits_def(NoTerminator())
    assembly_format = "(`zeroed` $zeroed^)? $panel $axes `as` $tag `by` $outside `:` type($panel) $body attr-dict"

    def __init__(self, panel: SSAValue, axes: str, tag: str, outside: str, zeroed: bool, body: Sequence[Operation]) -> None:
        super().__init__(
            operands=[panel],
            properties={
                "axes": StringAttr(axes), "tag": StringAttr(tag), "outside": StringAttr(outside), "zeroed": UnitAttr() if zeroed else None,
            },
            regions=[Region(Block(list(body)))],
        )  # fmt: skip

    def verify_(self) -> None:
        verify_space(self, self.panel, SPAD)
        verify_axes(self, self.axes, self.panel)
        verify_tag(self.tag)
        for op in self.body.block.ops:
            if isinstance(op, PieceOp) and op.outside != self.outside:
                raise VerifyException("the loops that choose a piece are those that choose the panel")


@irdl_op_definition
class PieceOp(IRDLOperation):
    """Inside a ``tile.epilogue``: the part of a tensor that belongs to the current panel.

    ``outside`` is the panel's.  ``axes`` are those of the tensor, which may have the panel's words in other dimensions; only the axes
    outside say anything.  Where these choose a part of a dimension, the tensor may also be of extent 1 and the same for all panels.
    """

    name = "tile.piece"
    axes = prop_def(StringAttr)
    outside = prop_def(StringAttr)
    input = operand_def(MemRef)
    result = result_def(MemRef)
    assembly_format = "$input $axes `by` $outside attr-dict `:` type($input) `to` type($result)"

    def __init__(self, input: SSAValue, axes: str, outside: str, panel: Sequence[int]) -> None:
        type = memref_of(input)
        shape = part_of(type.get_shape(), axes, outside, panel)
        super().__init__(
            operands=[input],
            properties={"axes": StringAttr(axes), "outside": StringAttr(outside)},
            result_types=[memref(shape, type.element_type, DRAM if in_dram(input) else SPAD)],
        )

    def verify_(self) -> None:
        whole, part = memref_of(self.input).get_shape(), memref_of(self.result).get_shape()
        if not len(whole) == len(part) == len(parse_axes(self.axes.data)):
            raise VerifyException(f"axes {self.axes.data!r} do not fit {whole} and {part}")
        for dimension, (own, size) in enumerate(zip(part, whole, strict=True)):
            chosen = dimension in chosen_dimensions(self.axes.data, self.outside.data)
            if own != size and (not chosen or size % own):
                raise VerifyException(f"{own} of dimension {dimension} are no part of {whole} that loops over {self.outside.data!r} choose")

    def moves(self, strides: Sequence[int]) -> dict[str, int]:
        """How far one entry of each axis moves it, given the tensor's strides."""
        found: dict[str, int] = {}
        for terms, size, stride in zip(parse_axes(self.axes.data), memref_of(self.input).get_shape(), strides, strict=True):
            for axis, factor in terms:
                if axis in self.outside.data and size > 1:
                    found[axis] = found.get(axis, 0) + factor * stride
        return found


def chosen_dimensions(axes: str, outside: str) -> list[int]:
    """The dimensions of which a panel has only what the loops choose."""
    return [i for i, terms in enumerate(parse_axes(axes)) if any(axis in outside for axis, _ in terms)]


def part_of(shape: Sequence[int], axes: str, outside: str, panel: Sequence[int]) -> tuple[int, ...]:
    """Shape of the piece of a tensor that belongs to a panel."""
    chosen = chosen_dimensions(axes, outside)
    return tuple(panel[i] if i in chosen and n > 1 else n for i, n in enumerate(shape))
