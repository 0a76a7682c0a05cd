"""What is wrong with a node or not supported, beyond what ONNX's own shape inference sees: the ``check`` of the operators' rows."""

import math

import numpy as np

from compiler.dialects.onnx_row import Facts


def dropout_rests(facts: Facts) -> str | None:
    training, ratio = facts.constants.get("training_mode"), facts.constants.get("ratio")
    if training is not None and training.any() and (ratio is None or ratio.any()):
        return "training_mode true not supported; supported: false (dropout is compiled as in inference)"
    return None


def gemm_fits(facts: Facts) -> str | None:
    a, b, c = (facts.shapes.get(name) for name in "ABC")
    if a is None or b is None or len(a) != 2 or len(b) != 2:
        return None
    rows, inner = reversed(a) if facts.attributes["transA"] else a
    depth, columns = reversed(b) if facts.attributes["transB"] else b
    if inner != depth:
        return f"A sums over {inner} elements, B over {depth}"
    if c is not None and not broadcasts(c, (rows, columns)):
        return f"C {list(c)} does not broadcast to {[rows, columns]}"
    return None


def bounds_are_scalars(facts: Facts) -> str | None:
    shapes = {name: facts.shapes[name] for name in ("min", "max") if name in facts.shapes}
    wrong = [f"{name} {list(shape)}" for name, shape in shapes.items() if not broadcasts(shape, (1,))]
    return f"bounds are scalars, not {' and '.join(wrong)}" if wrong else None


def reshape_fits(facts: Facts) -> str | None:
    data, shape = facts.shapes.get("data"), facts.constants.get("shape")
    if data is None or shape is None:
        return None
    copies = not facts.attributes["allowzero"]
    sizes = [data[i] if size == 0 and copies and i < len(data) else int(size) for i, size in enumerate(shape)]
    total, known = math.prod(data), math.prod(size for size in sizes if size != -1)
    if (total % known if known else total) if -1 in sizes else total != known:
        return f"{list(data)} does not reshape to {shape.tolist()}"
    return None


def labels_fit(facts: Facts) -> str | None:
    scores, labels, weights = (facts.shapes.get(name) for name in ("scores", "labels", "weights"))
    if scores is None or labels is None:
        return None
    if len(scores) < 2 or labels != (scores[0], *scores[2:]):
        return f"labels {list(labels)} do not fit scores {list(scores)}; expected: the scores' shape without the classes (axis 1)"
    if weights is not None and weights != scores[1:2]:
        return f"weights {list(weights)} do not fit {scores[1]} classes"
    return None


def conv_fits(facts: Facts) -> str | None:
    return _filters_fit(facts, depth=1, filters=0)


def conv_transpose_fits(facts: Facts) -> str | None:
    """Filters are stored input channels first, and hold the output channels of one group."""
    x, wanted = facts.shapes.get("X", ()), facts.attributes["output_shape"]
    if wanted and (len(wanted) != len(x) - 2 or any(size < n for size, n in zip(wanted, x[2:], strict=True))):
        return f"output_shape {list(wanted)} for X {list(x)} not supported; supported: no fewer pixels than X"
    return _filters_fit(facts, depth=0, filters=1)


def _filters_fit(facts: Facts, depth: int, filters: int) -> str | None:
    """``depth``, ``filters``: dimension of W with the input and the output channels; the former or the latter of one group."""
    x, w, bias = (facts.shapes.get(name) for name in "XWB")
    if x is None or w is None:
        return None
    if len(x) not in (3, 4):
        return f"X of rank {len(x)} not supported; supported: 3 (1-D convolution) and 4 (2-D)"
    if len(w) != len(x):
        return f"W {list(w)} does not fit X {list(x)}"
    groups = facts.attributes["group"]
    channels, outputs = (w[depth] * groups, w[filters]) if depth else (w[depth], w[filters] * groups)
    if x[1] != channels or channels % groups or outputs % groups:
        return f"X has {x[1]} channels, W {list(w)} in {groups} group{'s' if groups != 1 else ''} expects {channels}"
    if facts.attributes["kernel_shape"] not in (None, w[2:]):
        return f"kernel_shape {list(facts.attributes['kernel_shape'])} is not that of W {list(w)}"
    if bias is not None and bias != (outputs,):
        return f"B {list(bias)} does not fit {outputs} output channels"
    return None


def slope_fits(facts: Facts) -> str | None:
    x, slope = facts.shapes.get("X"), facts.shapes.get("slope")
    if x is None or slope is None or broadcasts(slope, x):
        return None
    return f"slope {list(slope)} does not broadcast to X {list(x)}"


def channels_fit(facts: Facts) -> str | None:
    data = facts.shapes.get("input", ())
    wrong = [f"{name} {list(facts.shapes[name])}" for name in ("scale", "B") if facts.shapes.get(name, data[1:2]) != data[1:2]]
    return f"{' and '.join(wrong)} do not fit {data[1]} channels" if len(data) > 1 and wrong else None


def steps_are_positive(facts: Facts) -> str | None:
    steps = facts.constants.get("steps")
    return None if steps is None or (steps > 0).all() else f"steps {steps.tolist()} not supported; supported: positive steps"


def indices_fit(facts: Facts) -> str | None:
    data, indices = facts.shapes.get("data"), facts.constants.get("indices")
    if data is None or indices is None or not data:
        return None
    size = data[facts.attributes["axis"]]
    outside = indices[(indices < -size) | (indices >= size)]
    return f"index {outside.flat[0]} is outside a dimension of {size}" if outside.size else None


def broadcasts(shape: tuple[int, ...], target: tuple[int, ...]) -> bool:
    """Whether NumPy broadcasts ``shape`` to ``target``."""
    try:
        return np.broadcast_shapes(shape, target) == target
    except ValueError:
        return False
