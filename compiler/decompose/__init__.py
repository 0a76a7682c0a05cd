"""How each ONNX operator is built from ``train`` primitives: one file a family, one function an operator."""

from compiler.decompose import convolution, elementwise, linear, losses, normalization, pooling, reductions, regions, resize, shapes
from compiler.decompose.table import DECOMPOSITIONS, Lowering

__all__ = [
    "DECOMPOSITIONS", "Lowering",
    "convolution", "elementwise", "linear", "losses", "normalization", "pooling", "reductions", "regions", "resize", "shapes",
]  # fmt: skip
