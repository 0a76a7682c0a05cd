"""Operations of the ``train`` dialect that rearrange words: none of them computes anything."""

from collections.abc import Sequence

import numpy as np
from xdsl.dialects.builtin import I64, ArrayAttr, Float64Type, FloatAttr, IntegerAttr, StringAttr, TensorType, f64
from xdsl.ir import SSAValue
from xdsl.irdl import irdl_op_definition, operand_def, prop_def, result_def, traits_def, var_operand_def
from xdsl.traits import Pure
from xdsl.utils.exceptions import VerifyException

from compiler.dialects.integers import integer
from compiler.dialects.train_base import Tensor, TrainOp, element_of, ints, shape_of, to_ints, within


@irdl_op_definition
class ReshapeOp(TrainOp):
    """The same words under another shape; no data moves."""

    name = "train.reshape"
    input = operand_def(Tensor)
    result = result_def(Tensor)
    traits = traits_def(Pure())
    assembly_format = "$input `layer` $layer `role` $role attr-dict `:` functional-type($input, $result)"

    def __init__(self, input: SSAValue, shape: Sequence[int], layer: str, role: str) -> None:
        super().__init__(
            operands=[input],
            properties={"layer": StringAttr(layer), "role": StringAttr(role)},
            result_types=[TensorType(element_of(input), shape)],
        )

    def verify_(self) -> None:
        TrainOp.verify_(self)
        if np.prod(shape_of(self.input), dtype=int) != np.prod(shape_of(self.result), dtype=int):
            raise VerifyException(f"{shape_of(self.input)} does not reshape to {shape_of(self.result)}")


@irdl_op_definition
class TransposeOp(TrainOp):
    """Dimensions permuted: result dimension i is input dimension perm[i]."""

    name = "train.transpose"
    perm = prop_def(ArrayAttr[IntegerAttr])
    input = operand_def(Tensor)
    result = result_def(Tensor)
    traits = traits_def(Pure())
    assembly_format = "$input `perm` $perm `layer` $layer `role` $role attr-dict `:` functional-type($input, $result)"

    def __init__(self, input: SSAValue, perm: Sequence[int], layer: str, role: str) -> None:
        shape = shape_of(input)
        super().__init__(
            operands=[input],
            properties={"perm": ints(perm), "layer": StringAttr(layer), "role": StringAttr(role)},
            result_types=[TensorType(element_of(input), [shape[p] for p in perm])],
        )

    def verify_(self) -> None:
        TrainOp.verify_(self)
        perm, shape = to_ints(self.perm), shape_of(self.input)
        if sorted(perm) != list(range(len(shape))):
            raise VerifyException(f"{perm} is no permutation of {len(shape)} dimensions")
        if tuple(shape[p] for p in perm) != shape_of(self.result):
            raise VerifyException("the result's shape is the permuted one")


@irdl_op_definition
class BroadcastOp(TrainOp):
    """The tensor repeated to a larger shape, NumPy's rules."""

    name = "train.broadcast"
    input = operand_def(Tensor)
    result = result_def(Tensor)
    traits = traits_def(Pure())
    assembly_format = "$input `layer` $layer `role` $role attr-dict `:` functional-type($input, $result)"

    def __init__(self, input: SSAValue, shape: Sequence[int], layer: str, role: str) -> None:
        super().__init__(
            operands=[input],
            properties={"layer": StringAttr(layer), "role": StringAttr(role)},
            result_types=[TensorType(element_of(input), shape)],
        )

    def verify_(self) -> None:
        TrainOp.verify_(self)
        target = shape_of(self.result)
        try:
            shape = np.broadcast_shapes(shape_of(self.input), target)
        except ValueError as error:
            raise VerifyException(str(error)) from error
        if shape != target:
            raise VerifyException(f"{shape_of(self.input)} does not broadcast to {target}")


@irdl_op_definition
class SliceOp(TrainOp):
    """In each dimension ``size`` entries from ``start`` on, ``step`` apart, backwards if negative; the result's shape has the sizes."""

    name = "train.slice"
    starts = prop_def(ArrayAttr[IntegerAttr])
    steps = prop_def(ArrayAttr[IntegerAttr])
    input = operand_def(Tensor)
    result = result_def(Tensor)
    traits = traits_def(Pure())
    assembly_format = "$input `from` $starts `by` $steps `layer` $layer `role` $role attr-dict `:` functional-type($input, $result)"

    def __init__(
        self, input: SSAValue, starts: Sequence[int], sizes: Sequence[int], steps: Sequence[int], layer: str, role: str
    ) -> None:
        super().__init__(
            operands=[input],
            properties={"starts": ints(starts), "steps": ints(steps), "layer": StringAttr(layer), "role": StringAttr(role)},
            result_types=[TensorType(element_of(input), sizes)],
        )

    def verify_(self) -> None:
        TrainOp.verify_(self)
        _verify_region(self.starts, self.steps, shape_of(self.result), shape_of(self.input))


@irdl_op_definition
class PlaceOp(TrainOp):
    """A tensor full of ``value`` with the input at ``starts``, its entries ``steps`` apart: padding, and the gradient of a slice."""

    name = "train.place"
    starts = prop_def(ArrayAttr[IntegerAttr])
    steps = prop_def(ArrayAttr[IntegerAttr])
    value = prop_def(FloatAttr[Float64Type])
    input = operand_def(Tensor)
    result = result_def(Tensor)
    traits = traits_def(Pure())
    assembly_format = (
        "$input `at` $starts `by` $steps `in` $value `layer` $layer `role` $role attr-dict `:` functional-type($input, $result)"
    )

    def __init__(
        self, input: SSAValue, starts: Sequence[int], steps: Sequence[int], shape: Sequence[int], value: float, layer: str, role: str
    ) -> None:
        super().__init__(
            operands=[input],
            properties={
                "starts": ints(starts), "steps": ints(steps), "value": FloatAttr(value, f64),
                "layer": StringAttr(layer), "role": StringAttr(role),
            },
            result_types=[TensorType(element_of(input), shape)],
        )  # fmt: skip

    def verify_(self) -> None:
        TrainOp.verify_(self)
        _verify_region(self.starts, self.steps, shape_of(self.input), shape_of(self.result))


def _verify_region(starts: ArrayAttr[IntegerAttr], steps: ArrayAttr[IntegerAttr], part: Sequence[int], whole: Sequence[int]) -> None:
    """Entries of ``part``, ``steps`` apart from ``starts`` on, lie within ``whole``."""
    first, step = to_ints(starts), to_ints(steps)
    if not len(first) == len(step) == len(part) == len(whole):
        raise VerifyException("starts, steps and both shapes have one entry for each dimension")
    for s, by, n, size in zip(first, step, part, whole, strict=True):
        if not within(s, by, n, size):
            raise VerifyException(f"{n} entries from {s} by {by} are not within {size}")


@irdl_op_definition
class ConcatOp(TrainOp):
    """Tensors one after the other along an axis."""

    name = "train.concat"
    axis = prop_def(IntegerAttr[I64])
    inputs = var_operand_def(Tensor)
    result = result_def(Tensor)
    traits = traits_def(Pure())
    assembly_format = "`(` $inputs `)` `axis` $axis `layer` $layer `role` $role attr-dict `:` functional-type($inputs, $result)"

    def __init__(self, inputs: Sequence[SSAValue], axis: int, layer: str, role: str) -> None:
        shape = list(shape_of(inputs[0]))
        shape[axis] = sum(shape_of(v)[axis] for v in inputs)
        super().__init__(
            operands=[list(inputs)],
            properties={"axis": integer(axis), "layer": StringAttr(layer), "role": StringAttr(role)},
            result_types=[TensorType(element_of(inputs[0]), shape)],
        )

    def verify_(self) -> None:
        TrainOp.verify_(self)
        axis = self.axis.value.data
        shape = list(shape_of(self.result))
        if not 0 <= axis < len(shape):
            raise VerifyException(f"axis {axis} is no dimension of {shape}")
        if sum(shape_of(v)[axis] for v in self.inputs) != shape[axis]:
            raise VerifyException("the sizes along the axis do not add up")
        for value in self.inputs:
            if [*shape_of(value)[:axis], *shape_of(value)[axis + 1 :]] != [*shape[:axis], *shape[axis + 1 :]]:
                raise VerifyException("the other dimensions differ")
