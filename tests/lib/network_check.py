"""Whether something that executes networks agrees with the oracle."""

from collections.abc import Callable, Mapping

import numpy as np
import onnx
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis.strategies import SearchStrategy
from jax_oracle import DISTURBANCE, Expected, difference, oracle
from random_networks import Case, Options, networks

Execute = Callable[[onnx.ModelProto, Mapping[str, np.ndarray], Options], Mapping[str, np.ndarray]]

KINK = 1e-5
"""Entries nearer to a kink than this, relative to their tensor, may fall on its other side in float32."""

AMPLIFICATION = 32
"""How much a network may enlarge the disturbances of its nodes for a comparison in float32 to mean something."""


def well_conditioned(expected: Expected) -> bool:
    """Whether float32 can be expected to come near these values at all."""
    finite = all(np.all(np.isfinite(v)) for v in expected.values.values())
    return finite and expected.kink > KINK and max(expected.sensitivity.values()) < AMPLIFICATION * DISTURBANCE


def mismatches(expected: Mapping[str, np.ndarray], got: Mapping[str, np.ndarray], tolerance: float) -> list[str]:
    """What is missing, superfluous, of another shape, or further away than the tolerance, relative to its largest entry."""
    found = [f"{name} is missing" for name in expected if name not in got]
    found += [f"{name} is not expected" for name in got if name not in expected]
    for name in expected:
        if name in got:
            want, have = expected[name], np.asarray(got[name])
            if have.shape != want.shape:
                found.append(f"{name} has shape {have.shape}, not {want.shape}")
            elif not (error := difference(have, want)) <= tolerance:
                found.append(f"{name} differs by {error:.2e} of its largest entry")
    return found


def check_network(case: Case, execute: Execute, tolerance: float | None = None) -> None:
    """Executes one case and compares all its results; a badly conditioned case is passed over."""
    options = case.options
    expected = oracle(case.model, case.inputs, options.loss, options.optimizer, options.input_grads)
    assume(well_conditioned(expected))
    got = execute(case.model, case.inputs, options)
    # A weight that was updated inside the array leaves no gradient behind.
    unseen = {f"grad/{name.removeprefix('param/')}" for name in got if name.startswith("param/")} if options.fused_update else set()
    values = {name: value for name, value in expected.values.items() if name in got or name not in unseen}
    wrong = mismatches(values, got, tolerance or case.tolerance)
    assert not wrong, "\n".join([*wrong, repr(case)])


def check_networks(count: int, execute: Execute, tolerance: float | None = None, cases: SearchStrategy[Case] | None = None) -> None:
    """As many random networks (by default without convolutions), the same in every run; the first failure is shrunk and shown."""

    @settings(
        max_examples=count,
        deadline=None,
        derandomize=True,
        database=None,
        report_multiple_bugs=False,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(networks() if cases is None else cases)
    def check(case: Case) -> None:
        check_network(case, execute, tolerance)

    check()
