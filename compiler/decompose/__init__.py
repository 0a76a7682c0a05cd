"""How each ONNX operator is built from ``train`` primitives: one file a family, one function an operator."""

from compiler.decompose import elementwise, linear, losses, reductions, shapes
from compiler.decompose.table import DECOMPOSITIONS, Lowering

__all__ = ["DECOMPOSITIONS", "Lowering", "elementwise", "linear", "losses", "reductions", "shapes"]
