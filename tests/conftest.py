"""Options of the test run."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--networks", type=int, default=300, help="number of random networks compared with JAX (default 300)")


@pytest.fixture
def network_count(pytestconfig: pytest.Config) -> int:
    """How many random networks to compare."""
    return int(pytestconfig.getoption("--networks"))
