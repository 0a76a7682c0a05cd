"""The ONNX operators that are supported: one row each.

The ``onnx`` dialect's operations, their verifier and the importer's messages come from these rows.  A new operator is one row here and
one decomposition in ``compiler/decompose``.
"""

from typing import Any

from compiler.dialects import onnx_checks as checks
from compiler.dialects.onnx_row import ANY, FLOAT, FLOATS, INTEGERS, Check, Input, Operator

OPERATORS: dict[str, Operator] = {}


def _operator(
    name: str,
    inputs: str,
    elements: tuple[str, ...] = FLOAT,
    outputs: int = 1,
    check: Check | None = None,
    **attributes: Any,
) -> None:
    """Add a row.

    In ``inputs``, ``?`` marks the optional, ``!`` those that must be constants, ``#`` class labels, ``~`` running statistics, ``+`` one or
    more.
    """
    slots = []
    for word in inputs.split():
        kinds = INTEGERS if "#" in word else elements
        slots.append(Input(word.rstrip("?!#~+"), kinds, "?" in word, "!" in word, "~" in word, "+" in word))
    OPERATORS[name] = Operator(name, tuple(slots), outputs, attributes, check)


_operator("Gemm", "A B C?", check=checks.gemm_fits, alpha=1.0, beta=1.0, transA=0, transB=0)
_operator("MatMul", "A B")
for _name in ("Add", "Sub", "Mul", "Div"):
    _operator(_name, "A B")
_operator("Pow", "X Y!")
for _name in ("Relu", "Sigmoid", "Tanh", "Exp", "Log", "Sqrt", "Neg", "Abs", "Reciprocal", "Erf"):
    _operator(_name, "X")
_operator("LeakyRelu", "X", alpha=0.01)
_operator("Clip", "input min? max?", check=checks.bounds_are_scalars)
_operator("Softmax", "input", axis=-1)
_operator("LogSoftmax", "input", axis=-1)
for _name in ("ReduceSum", "ReduceMean"):
    _operator(_name, "data axes!?", keepdims=1, noop_with_empty_axes=0)
_operator("Reshape", "data shape!", ANY, check=checks.reshape_fits, allowzero=0)
_operator("Flatten", "input", ANY, axis=1)
_operator("Transpose", "data", ANY, perm=tuple)
_operator("Squeeze", "data axes!?", ANY)
_operator("Unsqueeze", "data axes!", ANY)
_operator("Identity", "input", ANY)
_operator("Cast", "input", FLOATS, to=[1, 10, 16], saturate=1)
_operator("Dropout", "data ratio!? training_mode!?", check=checks.dropout_rests, seed=int)
for _name, _outputs in (("SoftmaxCrossEntropyLoss", 2), ("NegativeLogLikelihoodLoss", 1)):
    _operator(
        _name,
        "scores labels# weights?",
        outputs=_outputs,
        check=checks.labels_fit,
        reduction=["mean", "sum", "none"],
        ignore_index=int,
    )

_WINDOW: dict[str, Any] = {"auto_pad": ["NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"], "pads": tuple, "strides": tuple, "dilations": tuple}
_operator("Conv", "X W B?", check=checks.conv_fits, **_WINDOW, group=1, kernel_shape=tuple)
_operator(
    "ConvTranspose", "X W B?", check=checks.conv_transpose_fits, **_WINDOW, group=1, kernel_shape=tuple, output_padding=tuple,
    output_shape=tuple,
)  # fmt: skip
_operator("MaxPool", "X", **_WINDOW, kernel_shape=tuple, ceil_mode=0, storage_order=0)
_operator("AveragePool", "X", **_WINDOW, kernel_shape=tuple, ceil_mode=0, count_include_pad=0)
for _name in ("GlobalMaxPool", "GlobalAveragePool"):
    _operator(_name, "X")
_operator(
    "BatchNormalization", "X scale B input_mean~ input_var~", outputs=3, epsilon=1e-5, momentum=0.9,
    training_mode=0,
)  # fmt: skip
_operator("InstanceNormalization", "input scale B", check=checks.channels_fit, epsilon=1e-5)
_operator("LayerNormalization", "X Scale B?", outputs=3, axis=-1, epsilon=1e-5, stash_type=[1])
_operator("LRN", "X", alpha=1e-4, beta=0.75, bias=1.0, size=int)

_operator("Concat", "inputs+", axis=int)
_operator("Split", "input split!?", outputs=1 << 16, axis=0, num_outputs=int)
_operator("Slice", "data starts! ends! axes!? steps!?", check=checks.steps_are_positive)
_operator("Pad", "data pads! constant_value!? axes!?", mode=["constant", "edge", "reflect", "wrap"])
_operator("Expand", "input shape!")
_operator("Tile", "input repeats!")
_operator("Gather", "data indices!", check=checks.indices_fit, axis=0)
_operator(
    "Resize", "X roi!? scales!? sizes!?", mode=["nearest"], antialias=[0], axes=tuple, cubic_coeff_a=-0.75, exclude_outside=0,
    coordinate_transformation_mode=["half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric"],
    extrapolation_value=0.0, keep_aspect_ratio_policy=["stretch", "not_larger", "not_smaller"],
    nearest_mode=["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"],
)  # fmt: skip

for _name in ("Sum", "Mean", "Max", "Min"):
    _operator(_name, "inputs+")
_operator("PRelu", "X slope", check=checks.slope_fits)
_operator("HardSigmoid", "X", alpha=0.2, beta=0.5)
_operator("HardSwish", "X")
_operator("Elu", "X", alpha=1.0)
_operator("Selu", "X", alpha=1.67326319217681884765625, gamma=1.05070102214813232421875)
_operator("Softplus", "X")
_operator("Gelu", "X", approximate=["none", "tanh"])
