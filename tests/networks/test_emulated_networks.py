"""Random networks on the emulated machine against JAX in float64."""

from emulated import execute, execute_both
from network_check import check_networks


def test_training_steps_agree_with_jax(network_count: int) -> None:
    check_networks(network_count, execute)


def test_engines_agree(network_count: int) -> None:
    check_networks(network_count // 10, execute_both)
