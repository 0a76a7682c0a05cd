"""Options of the test run, and figures that it tells at its end."""

from collections.abc import Callable, Iterator

import pytest

from compiler.schedule import estimates, plans

FIGURE = "figure"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--networks", type=int, default=300, help="number of random networks compared with JAX (default 300)")


@pytest.fixture
def network_count(pytestconfig: pytest.Config) -> int:
    """How many random networks to compare."""
    return int(pytestconfig.getoption("--networks"))


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Show a line in the summary of the test run: what was counted or measured."""
    return lambda line: record_property(FIGURE, line)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [report for group in ("passed", "failed") for report in terminalreporter.getreports(group)]
    lines = [(report.nodeid, line) for report in reports for name, line in report.user_properties if name == FIGURE]
    if lines:
        terminalreporter.section("figures")
        for _, line in sorted(lines):
            terminalreporter.line(line)


@pytest.fixture
def nothing_kept(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Plans with small panels and nothing that blocks share in the scratchpad: with tensors as small as in tests, the best have neither."""
    plans.cheapest.cache_clear()
    monkeypatch.setattr(estimates, "what_to_keep", lambda nest, blocks: [frozenset()])
    monkeypatch.setattr(estimates, "LOST", 0)
    yield
    plans.cheapest.cache_clear()
