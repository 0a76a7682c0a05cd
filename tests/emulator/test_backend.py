"""Products computed by another library of the array API standard.

They are array-api-strict, which has nothing but the standard, and PyTorch where it is installed.
"""

from pathlib import Path

import numpy as np
import pytest

import gradweave
from emulator import Emulator, draw_inputs
from emulator.backend import matmul_of
from isa.errors import UserError
from isa.machine import load_machine

PROGRAMS = Path(__file__).parents[2] / "programs"
STRICT = "array_api_strict"


@pytest.fixture(params=[STRICT, "torch", "torch:cpu"])
def backend(request: pytest.FixtureRequest) -> str:
    """One that is installed."""
    name: str = request.param
    pytest.importorskip(name.partition(":")[0])
    return name


@pytest.mark.parametrize("shapes", [((2, 3), (3, 4)), ((5, 2, 3), (5, 3, 4)), ((2, 0), (0, 4))])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_matmul(backend: str, shapes: tuple[tuple[int, ...], tuple[int, ...]], dtype: type) -> None:
    """Of views too, and of arrays that must not be written to."""
    rng = np.random.default_rng(0)
    a, b = (rng.integers(-9, 9, shape[::-1]).astype(dtype).T for shape in shapes)
    a.flags.writeable = False
    if a.ndim == 3:
        a, b = a.transpose(0, 1, 2), b.transpose(0, 1, 2)
    product = matmul_of(backend)(a, b)
    np.testing.assert_array_equal(product, np.matmul(a, b))
    assert product.dtype == dtype


@pytest.mark.parametrize(("model", "machine"), [("digits_mlp", "32x32"), ("digits_cnn", "16x64"), ("digits_mlp", "32x32-bf16")])
def test_a_training_step(backend: str, model: str, machine: str) -> None:
    """The same cycles and counts, and values equal to rounding."""
    program = gradweave.compile(
        PROGRAMS / f"{model}.onnxtxt", machine=load_machine(PROGRAMS / "machines" / f"{machine}.toml"), batch=8,
        loss="softmax-cross-entropy", optimizer="sgd",
    )  # fmt: skip
    inputs = draw_inputs(program, 0)
    ours, theirs = Emulator(program).run(inputs), Emulator(program, backend=backend).run(inputs)
    assert ours.report.to_dict() == theirs.report.to_dict()
    assert ours.outputs.keys() == theirs.outputs.keys()
    for name, value in ours.outputs.items():
        np.testing.assert_allclose(theirs.outputs[name], value, rtol=1e-5, atol=1e-6 * np.abs(value).max())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_library", "no no_such_library: pip install no-such-library"),
        ("math", "math has no arrays of the array API standard"),
        (f"{STRICT}:abacus", f"{STRICT}:abacus: its arrays cannot be used: Unsupported device 'abacus'"),
    ],
)
def test_what_is_no_backend(name: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        matmul_of(name)
    assert (caught.value.place, caught.value.message) == ("--backend", message)
