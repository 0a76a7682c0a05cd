"""What the vector unit can compute: one row a function.

The row's name is also the ``fn`` of ``train.map`` and ``train.reduce``, so a new elementwise function is one row here, one
NumPy line in ``emulator/vector.py`` and one gradient rule in ``compiler/autodiff/rules.py``.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class VectorFunction:
    """``arity`` operands (any of them may be the instruction's immediate), and what comes out."""

    name: str
    code: int
    arity: int
    meaning: str


_ROWS = [
    ("copy", 1, "a, converted to the destination's type"),
    ("neg", 1, "-a"),
    ("abs", 1, "|a|"),
    ("sign", 1, "-1, 0 or 1"),
    ("exp", 1, "e^a"),
    ("log", 1, "ln a"),
    ("sqrt", 1, "√a"),
    ("reciprocal", 1, "1/a"),
    ("tanh", 1, "tanh a"),
    ("sigmoid", 1, "1/(1+e^-a)"),
    ("erf", 1, "the error function of a"),
    ("relu", 1, "max(a, 0)"),
    ("add", 2, "a + b"),
    ("sub", 2, "a - b"),
    ("mul", 2, "a · b"),
    ("div", 2, "a / b"),
    ("max", 2, "the larger of a and b"),
    ("min", 2, "the smaller of a and b"),
    ("pow", 2, "a^b"),
    ("eq", 2, "1 where a = b, else 0"),
    ("lt", 2, "1 where a < b, else 0"),
    ("le", 2, "1 where a ≤ b, else 0"),
    ("leaky_relu", 2, "a where a ≥ 0, else b·a"),
    ("relu_grad", 2, "a where b > 0, else 0 (a: dY, b: X)"),
    ("tanh_grad", 2, "a·(1 - b²) (a: dY, b: Y)"),
    ("sigmoid_grad", 2, "a·b·(1 - b) (a: dY, b: Y)"),
    ("erf_grad", 2, "a·2/√π·e^-b² (a: dY, b: X)"),
    ("leaky_relu_grad", 3, "a where b ≥ 0, else c·a (a: dY, b: X)"),
    ("select", 3, "b where a ≠ 0, else c"),
    ("fma", 3, "a·b + c, each operation rounded"),
]

FUNCTIONS = {name: VectorFunction(name, code, arity, text) for code, (name, arity, text) in enumerate(_ROWS)}
BY_CODE = {f.code: f for f in FUNCTIONS.values()}

REDUCTIONS = {"sum": 0, "max": 1}
REDUCTIONS_BY_CODE = {code: name for name, code in REDUCTIONS.items()}
