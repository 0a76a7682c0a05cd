"""How a window slides over the spatial dimensions of a tensor [batch, channel, …]: the attributes that convolutions and pooling share."""

from dataclasses import dataclass

from xdsl.ir import SSAValue

from compiler.decompose.table import Lowering
from compiler.dialects.train import shape_of


@dataclass(frozen=True, slots=True)
class Sliding:
    """Per spatial dimension: extent and steps of the window, padding before and behind the input, positions of the window.

    ``behind`` pads as far as the last position reaches, be it by the attributes or by ceil_mode.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    before: tuple[int, ...]
    behind: tuple[int, ...]
    positions: tuple[int, ...]

    def pad(self, b: Lowering, x: SSAValue, value: float) -> SSAValue:
        """``x`` amid as much of ``value`` as the window meets."""
        batch, channels, *sizes = shape_of(x)
        shape = [p + n + q for p, n, q in zip(self.before, sizes, self.behind, strict=True)]
        return b.place(x, [0, 0, *self.before], [batch, channels, *shape], value)


def sliding(b: Lowering, kernel: tuple[int, ...]) -> Sliding:
    """How the node's window slides over its first input; the number of positions is known from the node's output."""
    sizes, positions = shape_of(b.x)[2:], b.shape[2:]
    strides, dilations = steps(b, "strides", len(kernel)), steps(b, "dilations", len(kernel))
    reach = [(n - 1) * s + d * (k - 1) + 1 for n, s, d, k in zip(positions, strides, dilations, kernel, strict=True)]
    missing = [max(0, r - n) for r, n in zip(reach, sizes, strict=True)]
    match b.node.get("auto_pad"):
        case "SAME_UPPER":
            before = [m // 2 for m in missing]
        case "SAME_LOWER":
            before = [m - m // 2 for m in missing]
        case "NOTSET":
            before = list(b.node.get("pads") or [0] * len(kernel))[: len(kernel)]
        case _:
            before = [0] * len(kernel)
    behind = [max(0, r - n - p) for r, n, p in zip(reach, sizes, before, strict=True)]
    return Sliding(kernel, strides, dilations, tuple(before), tuple(behind), positions)


def steps(b: Lowering, attribute: str, count: int) -> tuple[int, ...]:
    """Strides or dilations: 1 where the node has none."""
    return tuple(b.node.get(attribute) or [1] * count)
