"""Random convolutional networks on the emulated machine against JAX in float64."""

from dataclasses import replace

import pytest
from conv_networks import conv_networks
from emulated import execute, execute_both
from network_check import check_networks


def test_training_steps_agree_with_jax(network_count: int) -> None:
    check_networks(network_count // 6, execute, cases=conv_networks())


def test_gathered_gradients_agree_with_jax(network_count: int) -> None:
    """With results in the array dX of a convolution is another product than elsewhere: both engines, on this schedule alone."""
    cases = conv_networks().map(lambda case: replace(case, options=replace(case.options, schedule="os")))
    check_networks(network_count // 20, execute_both, cases=cases)


@pytest.mark.slow
def test_both_engines_agree_with_jax(network_count: int) -> None:
    check_networks(network_count, execute_both, cases=conv_networks())
