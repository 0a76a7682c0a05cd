"""Random convolutional networks at the train level against JAX, both in float64; only constants are rounded to float32."""

from conv_networks import conv_networks
from interpreted import execute, execute_simplified
from network_check import check_networks


def test_gradients_are_those_of_jax(network_count: int) -> None:
    check_networks(network_count // 5, execute, 1e-6, conv_networks())


def test_simplified_networks_compute_the_same(network_count: int) -> None:
    check_networks(network_count // 10, execute_simplified, 1e-6, conv_networks())
