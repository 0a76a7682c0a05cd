"""A training step of the nine networks that ONNX brings along against JAX in float64: every gradient; weights drawn by a seed.

``pytest -m "slow or not slow" tests/networks/test_light_networks.py -s`` runs all of them, and prints how near each comes and how long it
takes.
"""

import time
from collections.abc import Mapping

import emulated
import interpreted
import numpy as np
import onnx
import pytest
from jax_oracle import oracle
from light_models import drawn, light_model
from network_check import difference, mismatches
from random_networks import Options
from visited import PREFIX

SIZES = {
    "squeezenet": 224, "shufflenet": 224, "resnet50": 224,
    "bvlc_alexnet": 51, "densenet121": 29, "vgg19": 32, "zfnet512": 59, "inception_v1": 221, "inception_v2": 223,
}  # fmt: skip
"""Three in full, the others cut to the smallest input on which every window still fits."""

SEED = 1


CASES = [
    pytest.param(name, size, marks=[] if name == "squeezenet" else pytest.mark.slow, id=f"{name}-{size}") for name, size in SIZES.items()
]
"""One of them, in full, is in the default run: there are faults that only show in networks of this size."""


@pytest.mark.parametrize(("name", "size"), CASES)
def test_train_level(name: str, size: int) -> None:
    model, inputs, options = training(name, size)
    expected = oracle(model, inputs, options.loss, None, options.input_grads, large=True).values
    compare(f"{name} {size}", expected, interpreted.execute_simplified(model, inputs, options), 1e-6)


@pytest.mark.parametrize(("name", "size"), CASES)
def test_emulated(name: str, size: int) -> None:
    """JAX goes on with what went into each Relu and MaxPool of the machine, after that has been compared: see ``oracle``."""
    model, inputs, options = training(name, size)
    start = time.perf_counter()
    got = emulated.execute(model, inputs, options, watched=True)
    print(f"compiled and emulated in {time.perf_counter() - start:.1f} s")
    visited = {key.removeprefix(PREFIX): got.pop(key) for key in list(got) if key.startswith(PREFIX)}
    assert visited
    expected = oracle(model, inputs, options.loss, None, options.input_grads, large=True, visited=visited)
    print(f"{len(visited)} values visited, at most {expected.stray:.1e} astray")
    assert expected.stray < 1e-5
    compare(f"{name} {size}", expected.values, got, 1e-5)


def training(name: str, size: int) -> tuple[onnx.ModelProto, dict[str, np.ndarray], Options]:
    """A training step with a loss; the gradient of the image is asked for too."""
    model = drawn(light_model(name, size), SEED)
    generator = np.random.default_rng(SEED)
    stored = {tensor.name for tensor in model.graph.initializer}
    (image,) = (value.name for value in model.graph.input if value.name not in stored)
    pixels = generator.normal(size=(1, 3, size, size)).astype(np.float32)
    inputs = {image: pixels, "labels": generator.integers(0, 1000, 1, np.int32)}
    return model, inputs, Options(rows=32, cols=32, loss="softmax-cross-entropy", input_grads=(image,))


def compare(case: str, expected: Mapping[str, np.ndarray], got: Mapping[str, np.ndarray], tolerance: float) -> None:
    """All values."""
    worst = max(expected, key=lambda n: difference(np.asarray(got[n]), expected[n]) if n in got else np.inf)
    error = difference(np.asarray(got[worst]), expected[worst]) if worst in got else np.inf
    print(f"{case}: {len(expected)} values, worst {error:.1e} ({worst})")
    assert not mismatches(expected, got, tolerance)
