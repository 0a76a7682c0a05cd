"""Random convolutional networks on the emulated machine against JAX in float64."""

import pytest
from conv_networks import conv_networks
from emulated import execute, execute_both
from network_check import check_networks


def test_training_steps_agree_with_jax(network_count: int) -> None:
    check_networks(network_count // 6, execute, cases=conv_networks())


@pytest.mark.slow
def test_both_engines_agree_with_jax(network_count: int) -> None:
    check_networks(network_count, execute_both, cases=conv_networks())
