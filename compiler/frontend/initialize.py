"""New initial values for a model's weights: some models come with none worth having."""

from collections.abc import Callable, Mapping
from math import prod, sqrt

import numpy as np
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import SSAValue

from compiler.dialects.dense import Array
from compiler.dialects.onnx import NodeOp, ParamOp
from compiler.dialects.train import shape_of
from isa.errors import UserError

KINDS = ("he",)
"""Ways to draw weights: He-normal, of variance 2 by fan-in (He et al., ICCV 2015)."""

_SHAPES_ONLY = ("Identity", "Cast", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Expand")

_FAN_IN: dict[tuple[str, int], Callable[[NodeOp, tuple[int, ...]], int]] = {
    ("Conv", 1): lambda node, shape: prod(shape[1:]),
    ("ConvTranspose", 1): lambda node, shape: shape[0] * prod(shape[2:]) // node.get("group"),
    ("Gemm", 0): lambda node, shape: shape[0 if node.get("transA") else 1],
    ("Gemm", 1): lambda node, shape: shape[1 if node.get("transB") else 0],
    ("MatMul", 0): lambda node, shape: shape[-1],
    ("MatMul", 1): lambda node, shape: shape[-2] if len(shape) > 1 else shape[0],
}
"""How many products each sum has, by the operator and the input that the weight is."""

_FILLED = {
    ("Conv", 2): 0.0, ("ConvTranspose", 2): 0.0, ("Gemm", 2): 0.0,
    ("BatchNormalization", 1): 1.0, ("BatchNormalization", 2): 0.0, ("BatchNormalization", 3): 0.0, ("BatchNormalization", 4): 1.0,
    ("InstanceNormalization", 1): 1.0, ("InstanceNormalization", 2): 0.0, ("LayerNormalization", 1): 1.0, ("LayerNormalization", 2): 0.0,
    ("Add", 0): 0.0, ("Add", 1): 0.0, ("Sub", 1): 0.0, ("Mul", 0): 1.0, ("Mul", 1): 1.0, ("Div", 1): 1.0, ("PRelu", 1): 0.25,
}  # fmt: skip
"""Weights that begin as what changes nothing."""


def reinitialize(module: ModuleOp, weights: Mapping[str, Array], kind: str, seed: int) -> dict[str, Array]:
    """Weights of an ``onnx``-level module drawn anew: products by ``kind``, scales 1, offsets 0; any other keeps its value.

    Raises:
        UserError: there is no such kind.
    """
    if kind not in KINDS:
        raise UserError("--init", f"unknown way to draw weights {kind!r}; there is {', '.join(KINDS)}")
    generator = np.random.default_rng(seed)
    values = dict(weights)
    for param in module.walk():
        if isinstance(param, ParamOp) and (found := _use(param.result)) is not None:
            node, index, shape = found
            old = weights[param.tensor.data]
            if fan_in := _FAN_IN.get((node.operator.name, index)):
                drawn = np.asarray(generator.standard_normal(old.shape, np.float32))
                drawn *= np.float32(sqrt(2 / fan_in(node, shape)))
                values[param.tensor.data] = drawn.astype(old.dtype, copy=False)
            elif (fill := _FILLED.get((node.operator.name, index))) is not None:
                values[param.tensor.data] = np.full(old.shape, fill, old.dtype)
    return values


def _use(value: SSAValue) -> tuple[NodeOp, int, tuple[int, ...]] | None:
    """The first node that computes with a weight, which of its inputs that is, and the shape in which it gets there."""
    use = value.first_use
    if use is None or not isinstance(use.operation, NodeOp):
        return None
    if use.operation.operator.name in _SHAPES_ONLY:
        return _use(use.operation.outs[0])
    return use.operation, use.index, shape_of(value)
