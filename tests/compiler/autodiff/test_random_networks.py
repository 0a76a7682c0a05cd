"""Gradients of random networks against JAX, both in float64."""

from interpreted import execute, execute_simplified
from network_check import check_networks


def test_gradients_of_random_networks_are_those_of_jax(network_count: int) -> None:
    check_networks(network_count // 5, execute, tolerance=1e-9)


def test_simplified_networks_compute_the_same(network_count: int) -> None:
    check_networks(network_count // 5, execute_simplified, tolerance=1e-6)
