"""Operations of the ``train`` dialect that slide over tensors: matrix products and convolutions, and pooling."""

from collections.abc import Sequence
from math import prod

from xdsl.dialects.builtin import I64, ArrayAttr, IntegerAttr, StringAttr, TensorType
from xdsl.ir import SSAValue
from xdsl.irdl import irdl_op_definition, operand_def, opt_prop_def, prop_def, result_def, traits_def, var_operand_def
from xdsl.traits import Pure
from xdsl.utils.exceptions import VerifyException

from compiler.dialects.integers import integer
from compiler.dialects.train_base import Tensor, TrainOp, element_of, ints, shape_of, to_ints
from compiler.schedule.axes import ROLES, classes_of, parse_axes, sizes_of
from isa.vector import REDUCTIONS


@irdl_op_definition
class ProductOp(TrainOp):
    """One of a layer's three products, over the layer's named axes: a matrix product or a convolution.

    A layer is X[b,k], W[k,n], Y[b,n], each perhaps stored transposed, each perhaps with a batch or group axis g.  ``axes`` names the
    axes of both operands and the result as they are stored (see ``compiler.schedule.axes``): ``bk,nk->bn`` for the forward product with a
    transposed W, ``bk(2y+r)(2x+s),nkrs->bnyx`` for a convolution with stride 2 on an X that is padded already.
    Operands by role: fwd: X, W → Y;  dx: dY, W → dX;  dw: X, dY → dW.
    """

    name = "train.product"
    axes = prop_def(StringAttr)
    work = opt_prop_def(IntegerAttr[I64])
    """MACs of the graph's product, where zeros among the operands make more of them than that."""
    lhs = operand_def(Tensor)
    rhs = operand_def(Tensor)
    result = result_def(Tensor)
    traits = traits_def(Pure())
    assembly_format = (
        "$axes `(` $lhs `,` $rhs `)` (`work` $work^)? `layer` $layer `role` $role attr-dict `:` "
        "`(` type($lhs) `,` type($rhs) `)` `->` type($result)"
    )

    def __init__(
        self, axes: str, lhs: SSAValue, rhs: SSAValue, layer: str, role: str, shape: Sequence[int] | None = None, work: int | None = None
    ) -> None:
        """``shape`` of the result has to be given where a dimension of it is an expression of several axes."""
        names = axes.replace("->", ",").split(",")
        if shape is None:
            sizes = sizes_of([(names[0], shape_of(lhs)), (names[1], shape_of(rhs))])
            shape = [sizes[terms[0][0]] for terms in parse_axes(names[2])]
        super().__init__(
            operands=[lhs, rhs],
            properties={
                "axes": StringAttr(axes), "work": None if work is None else integer(work),
                "layer": StringAttr(layer), "role": StringAttr(role),
            },
            result_types=[TensorType(element_of(lhs), shape)],
        )  # fmt: skip

    @property
    def macs(self) -> int:
        """MACs of the graph's product."""
        return prod(self.sizes.values()) if self.work is None else self.work.value.data

    @property
    def sizes(self) -> dict[str, int]:
        """Extent of each named axis."""
        values = (self.lhs, self.rhs, self.result)
        return sizes_of([(text, shape_of(value)) for text, value in zip(self.stored, values, strict=True)])

    @property
    def stored(self) -> tuple[str, str, str]:
        """Axes of lhs, rhs and result as stored."""
        lhs, rhs, out = self.axes.data.replace("->", ",").split(",")
        return lhs, rhs, out

    @property
    def tensors(self) -> dict[str, str]:
        """Axes of the operands and the result by name: X, W, Y, dX, dW, dY."""
        return dict(zip(ROLES[self.role.data], self.stored, strict=True))

    @property
    def classes(self) -> dict[str, str]:
        """Class (b, k, n or g) of each axis."""
        return classes_of(self.tensors)

    @property
    def class_sizes(self) -> dict[str, int]:
        """Extent of each class of axes: the product, as a matrix product, has these sizes."""
        sizes, classes = self.sizes, self.classes
        return {name: prod(sizes[axis] for axis in sizes if classes[axis] == name) for name in sorted(set(classes.values()))}

    def verify_(self) -> None:
        TrainOp.verify_(self)
        if self.role.data not in ROLES:
            raise VerifyException("a product's role is fwd, dx or dw")
        if self.axes.data.count(",") != 1 or self.axes.data.count("->") != 1:
            raise VerifyException(f"axes {self.axes.data!r}: expected those of two operands and the result, like bk,kn->bn")
        try:
            classes, _ = self.classes, self.sizes
        except ValueError as error:
            raise VerifyException(str(error)) from error
        if set(classes.values()) - {"g"} != {"b", "k", "n"}:
            raise VerifyException(f"axes {self.axes.data!r} of a {self.role.data} product: one of b, k and n has no axis")


class _Windowed(TrainOp):
    """Something over a window of size ``kernel`` that slides by ``strides``, its entries ``dilations`` apart."""

    fn = prop_def(StringAttr)
    kernel = prop_def(ArrayAttr[IntegerAttr])
    strides = prop_def(ArrayAttr[IntegerAttr])
    dilations = prop_def(ArrayAttr[IntegerAttr])


@irdl_op_definition
class PoolOp(_Windowed):
    """Maximum or sum over a window in each dimension, sliding by ``strides``; the input is padded already."""

    name = "train.pool"
    input = operand_def(Tensor)
    result = result_def(Tensor)
    traits = traits_def(Pure())
    assembly_format = (
        "$fn $input `kernel` $kernel `strides` $strides `dilations` $dilations `layer` $layer `role` $role attr-dict `:` "
        "functional-type($input, $result)"
    )

    def __init__(
        self, fn: str, input: SSAValue, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int], layer: str, role: str
    ) -> None:
        shape = pooled(shape_of(input), kernel, strides, dilations)
        super().__init__(
            operands=[input],
            properties={
                "fn": StringAttr(fn), "kernel": ints(kernel), "strides": ints(strides), "dilations": ints(dilations),
                "layer": StringAttr(layer), "role": StringAttr(role),
            },
            result_types=[TensorType(element_of(input), shape)],
        )  # fmt: skip

    def verify_(self) -> None:
        TrainOp.verify_(self)
        _verify_pool(self.fn.data, self.kernel, self.strides, self.dilations, self.input, self.result)


@irdl_op_definition
class PoolGradOp(_Windowed):
    """Gradient of a pool's input: of a sum from dY; of a maximum from X, Y, dY, where the first of equal entries gets it all."""

    name = "train.pool_grad"
    inputs = var_operand_def(Tensor)
    result = result_def(Tensor)
    traits = traits_def(Pure())
    assembly_format = (
        "$fn `(` $inputs `)` `kernel` $kernel `strides` $strides `dilations` $dilations `layer` $layer `role` $role attr-dict `:` "
        "functional-type($inputs, $result)"
    )

    def __init__(self, pool: PoolOp, grad: SSAValue, layer: str, role: str) -> None:
        super().__init__(
            operands=[[pool.input, pool.result, grad] if pool.fn.data == "max" else [grad]],
            properties={
                "fn": pool.fn, "kernel": pool.kernel, "strides": pool.strides, "dilations": pool.dilations,
                "layer": StringAttr(layer), "role": StringAttr(role),
            },
            result_types=[pool.input.type],
        )  # fmt: skip

    def verify_(self) -> None:
        TrainOp.verify_(self)
        if len(self.inputs) != (3 if self.fn.data == "max" else 1):
            raise VerifyException("takes X, Y and dY for a maximum, dY for a sum")
        _verify_pool(self.fn.data, self.kernel, self.strides, self.dilations, self.result, self.inputs[-1])


def pooled(shape: Sequence[int], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]) -> list[int]:
    """Shape of a pool's result."""
    return [(n - d * (k - 1) - 1) // s + 1 for n, k, s, d in zip(shape, kernel, strides, dilations, strict=True)]


def _verify_pool(
    fn: str, kernel: ArrayAttr[IntegerAttr], strides: ArrayAttr[IntegerAttr], dilations: ArrayAttr[IntegerAttr],
    input: SSAValue, result: SSAValue,
) -> None:  # fmt: skip
    if fn not in REDUCTIONS:
        raise VerifyException(f"{fn!r} is none of {', '.join(REDUCTIONS)}")
    lists = to_ints(kernel), to_ints(strides), to_ints(dilations)
    if any(len(values) != len(shape_of(input)) or min(values, default=1) < 1 for values in lists):
        raise VerifyException("kernel, strides and dilations have one positive entry for each dimension")
    if tuple(pooled(shape_of(input), *lists)) != shape_of(result):
        raise VerifyException(f"the pooled shape is {pooled(shape_of(input), *lists)}")
