"""Random networks on the emulated machine against JAX in float64."""

from collections.abc import Callable

from emulated import execute, execute_both
from network_check import check_networks


def test_training_steps_agree_with_jax(network_count: int, tell: Callable[[str], None]) -> None:
    check_networks(network_count, execute)
    tell(f"{network_count:6,} random networks on the emulated machine agree with JAX")


def test_engines_agree(network_count: int, tell: Callable[[str], None]) -> None:
    check_networks(network_count // 10, execute_both)
    tell(f"{network_count // 10:6,} random networks: both engines agree, and with JAX")
