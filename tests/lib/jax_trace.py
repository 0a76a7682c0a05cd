"""What executing an ONNX graph in JAX needs besides its operators: attributes, disturbances, and the distance from kinks."""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import onnx
from onnx import helper

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_platforms", "cpu")


@dataclass
class Trace:
    """What one execution of the graph leaves besides its outputs."""

    noise: Any
    opset: int
    kinks: list[Any] = field(default_factory=list)
    visited: Mapping[str, Any] = field(default_factory=dict)
    """Values to go on with, by name."""
    strays: list[Any] = field(default_factory=list)
    """How far each of them lies from what was computed, relative to its largest entry."""

    def disturb(self, name: str, value: Any) -> Any:
        generator = np.random.default_rng(zlib.crc32(name.encode()))
        return value * (1 + self.noise * generator.uniform(-1, 1, value.shape))

    def visit(self, name: str, value: Any) -> Any:
        """The value, or the one to go on with in its place; the gradient is that of the computation."""
        if name not in self.visited:
            return value
        visited = self.visited[name]
        self.strays.append(jnp.max(jnp.abs(visited - value)) / jnp.max(jnp.abs(value)))
        return value + jax.lax.stop_gradient(visited - value)

    def kink(self, x: Any, *at: float, of: Any = None) -> None:
        """``x`` has kinks at these places; distances are relative to the largest entry of ``of``, or else of ``x``."""
        for place in at:
            distance = jnp.abs(x - place)
            scale = jnp.maximum(jnp.max(jnp.abs(x if of is None else of)), 1e-300)
            self.kinks.append(jnp.min(jnp.where(distance == 0, jnp.inf, distance / scale)))


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """The node's attributes as Python values."""
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}


def f32(default: float) -> float:
    """A default of an attribute, which is a float32."""
    return float(np.float32(default))


def wide(array: np.ndarray) -> np.ndarray:
    """Floats as float64."""
    return array.astype(np.float64) if array.dtype.kind in "fV" else array
