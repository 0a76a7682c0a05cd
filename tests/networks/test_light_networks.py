"""A training step of the nine networks that ONNX brings along against JAX in float64: every gradient; weights drawn by a seed.

``pytest -m slow tests/networks/test_light_networks.py -s`` runs all of them, and prints how near each comes and how long it takes.
"""

import time

import emulated
import interpreted
import numpy as np
import pytest
from jax_oracle import oracle
from light_models import drawn, light_model, settled
from network_check import Execute, difference, mismatches
from random_networks import Options

SIZES = {
    "squeezenet": 224, "shufflenet": 224, "resnet50": 224,
    "bvlc_alexnet": 51, "densenet121": 29, "vgg19": 32, "zfnet512": 59, "inception_v1": 221, "inception_v2": 223,
}  # fmt: skip
"""Three in full, the others cut to the smallest input on which every window still fits."""

SETTLED = ("resnet50", "inception_v1", "inception_v2")
"""Networks in which, drawn at random, float32 takes a Relu's other side somewhere: JAX in float32 is as far from JAX in float64."""

SEED = 1


CASES = [
    pytest.param("squeezenet", 31, id="squeezenet-31"),
    *(pytest.param(name, size, marks=pytest.mark.slow, id=f"{name}-{size}") for name, size in SIZES.items()),
]
"""All networks at these sizes are slow; a small one is not."""


def check_light(name: str, size: int, execute: Execute, tolerance: float) -> None:
    """One training step with a loss; the gradient of the image is asked for too."""
    model = drawn(light_model(name, size), SEED)
    generator = np.random.default_rng(SEED)
    stored = {tensor.name for tensor in model.graph.initializer}
    (image,) = (value.name for value in model.graph.input if value.name not in stored)
    pixels = generator.normal(size=(1, 3, size, size)).astype(np.float32)
    inputs = {image: pixels, "labels": generator.integers(0, 1000, 1, np.int32)}
    if name in SETTLED:
        model = settled(model, pixels, SEED)
    options = Options(rows=32, cols=32, loss="softmax-cross-entropy", input_grads=(image,))
    start = time.perf_counter()
    expected = oracle(model, inputs, options.loss, None, options.input_grads, large=True).values
    middle = time.perf_counter()
    got = execute(model, inputs, options)
    end = time.perf_counter()
    worst = max(expected, key=lambda n: difference(np.asarray(got[n]), expected[n]) if n in got else np.inf)
    error = difference(np.asarray(got[worst]), expected[worst]) if worst in got else np.inf
    print(f"{name} {size}: {len(expected)} values, worst {error:.1e} ({worst}); JAX {middle - start:.1f} s, here {end - middle:.1f} s")
    assert not mismatches(expected, got, tolerance)


@pytest.mark.parametrize(("name", "size"), CASES)
def test_train_level(name: str, size: int) -> None:
    check_light(name, size, interpreted.execute_simplified, 1e-6)


@pytest.mark.parametrize(("name", "size"), CASES)
def test_emulated(name: str, size: int) -> None:
    check_light(name, size, emulated.execute, 1e-4)
