"""The ONNX operators that are supported: one row each.

The ``onnx`` dialect's operations, their verifier and the importer's messages come from these rows.  A new operator is one row here and
one decomposition in ``compiler/decompose``.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from compiler.dialects.dense import Array

Value = int | float | str | tuple[int, ...]
"""What an attribute of a node holds."""

FLOAT = ("f32",)
FLOATS = ("f32", "f16", "bf16")
INTEGERS = ("i64", "i32")
ANY = ("f32", *INTEGERS)


@dataclass(frozen=True, slots=True)
class Input:
    """One input: ``elements`` it may hold (any, where it must be a constant), and whether it may be missing."""

    name: str
    elements: tuple[str, ...]
    optional: bool
    constant: bool


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a node: shapes and constant values by the input's name in the table, attributes with their defaults."""

    shapes: Mapping[str, tuple[int, ...]]
    constants: Mapping[str, Array]
    attributes: Mapping[str, Any]


Check = Callable[[Facts], str | None]


@dataclass(frozen=True, slots=True)
class Operator:
    """One supported ONNX operator.

    ``attributes`` maps each known attribute to its default (a type: there is none), or to the list of supported values, default first.
    ``check`` says what is wrong with a node or not supported, beyond what ONNX's own shape inference sees.
    """

    name: str
    inputs: tuple[Input, ...]
    outputs: int
    attributes: Mapping[str, Any]
    check: Check | None

    @property
    def required(self) -> int:
        """How many inputs must be there."""
        return sum(not slot.optional for slot in self.inputs)

    def choices(self, attribute: str) -> tuple[Value, ...]:
        """The supported values of an attribute; empty: all."""
        spec = self.attributes[attribute]
        return tuple(spec) if isinstance(spec, list) else ()

    def default(self, attribute: str) -> Value | None:
        """What a missing attribute means; None: there is no default."""
        spec = self.attributes[attribute]
        if isinstance(spec, list):
            spec = spec[0]
        return None if isinstance(spec, type) else spec

    def kind(self, attribute: str) -> type:
        """int, float, str, or tuple (of integers)."""
        spec = self.attributes[attribute]
        return spec if isinstance(spec, type) else type(spec[0] if isinstance(spec, list) else spec)


OPERATORS: dict[str, Operator] = {}


def _operator(
    name: str,
    inputs: str,
    elements: tuple[str, ...] = FLOAT,
    outputs: int = 1,
    check: Check | None = None,
    **attributes: Any,
) -> None:
    """Add a row.  In ``inputs``, ``?`` marks the optional, ``!`` those that must be constants, ``#`` class labels."""
    slots = []
    for word in inputs.split():
        slot = word.rstrip("?!#")
        slots.append(Input(slot, INTEGERS if "#" in word else elements, "?" in word, "!" in word))
    OPERATORS[name] = Operator(name, tuple(slots), outputs, attributes, check)


def _dropout_rests(facts: Facts) -> str | None:
    training, ratio = facts.constants.get("training_mode"), facts.constants.get("ratio")
    if training is not None and training.any() and (ratio is None or ratio.any()):
        return "training_mode true not supported; supported: false (dropout is compiled as in inference)"
    return None


def _gemm_fits(facts: Facts) -> str | None:
    a, b, c = (facts.shapes.get(name) for name in "ABC")
    if a is None or b is None or len(a) != 2 or len(b) != 2:
        return None
    rows, inner = reversed(a) if facts.attributes["transA"] else a
    depth, columns = reversed(b) if facts.attributes["transB"] else b
    if inner != depth:
        return f"A sums over {inner} elements, B over {depth}"
    if c is not None and not _broadcasts(c, (rows, columns)):
        return f"C {list(c)} does not broadcast to {[rows, columns]}"
    return None


def _bounds_are_scalars(facts: Facts) -> str | None:
    shapes = {name: facts.shapes[name] for name in ("min", "max") if name in facts.shapes}
    wrong = [f"{name} {list(shape)}" for name, shape in shapes.items() if not _broadcasts(shape, (1,))]
    return f"bounds are scalars, not {' and '.join(wrong)}" if wrong else None


def _reshape_fits(facts: Facts) -> str | None:
    data, shape = facts.shapes.get("data"), facts.constants.get("shape")
    if data is None or shape is None:
        return None
    copies = not facts.attributes["allowzero"]
    sizes = [data[i] if size == 0 and copies and i < len(data) else int(size) for i, size in enumerate(shape)]
    total, known = math.prod(data), math.prod(size for size in sizes if size != -1)
    if (total % known if known else total) if -1 in sizes else total != known:
        return f"{list(data)} does not reshape to {shape.tolist()}"
    return None


def _labels_fit(facts: Facts) -> str | None:
    scores, labels, weights = (facts.shapes.get(name) for name in ("scores", "labels", "weights"))
    if scores is None or labels is None:
        return None
    if len(scores) < 2 or labels != (scores[0], *scores[2:]):
        return f"labels {list(labels)} do not fit scores {list(scores)}; expected: the scores' shape without the classes (axis 1)"
    if weights is not None and weights != scores[1:2]:
        return f"weights {list(weights)} do not fit {scores[1]} classes"
    return None


def _broadcasts(shape: tuple[int, ...], target: tuple[int, ...]) -> bool:
    """Whether NumPy broadcasts ``shape`` to ``target``."""
    try:
        return np.broadcast_shapes(shape, target) == target
    except ValueError:
        return False


_operator("Gemm", "A B C?", check=_gemm_fits, alpha=1.0, beta=1.0, transA=0, transB=0)
_operator("MatMul", "A B")
for _name in ("Add", "Sub", "Mul", "Div"):
    _operator(_name, "A B")
_operator("Pow", "X Y!")
for _name in ("Relu", "Sigmoid", "Tanh", "Exp", "Log", "Sqrt", "Neg"):
    _operator(_name, "X")
_operator("LeakyRelu", "X", alpha=0.01)
_operator("Clip", "input min? max?", check=_bounds_are_scalars)
_operator("Softmax", "input", axis=-1)
_operator("LogSoftmax", "input", axis=-1)
for _name in ("ReduceSum", "ReduceMean"):
    _operator(_name, "data axes!?", keepdims=1, noop_with_empty_axes=0)
_operator("Reshape", "data shape!", ANY, check=_reshape_fits, allowzero=0)
_operator("Flatten", "input", ANY, axis=1)
_operator("Transpose", "data", ANY, perm=tuple)
_operator("Squeeze", "data axes!?", ANY)
_operator("Unsqueeze", "data axes!", ANY)
_operator("Identity", "input", ANY)
_operator("Cast", "input", FLOATS, to=[1, 10, 16], saturate=1)
_operator("Dropout", "data ratio!? training_mode!?", check=_dropout_rests, seed=int)
for _name, _outputs in (("SoftmaxCrossEntropyLoss", 2), ("NegativeLogLikelihoodLoss", 1)):
    _operator(
        _name,
        "scores labels# weights?",
        outputs=_outputs,
        check=_labels_fit,
        reduction=["mean", "sum", "none"],
        ignore_index=int,
    )
