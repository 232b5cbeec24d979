"""The pytest plugin: settings of error-rate claims, their summary, and their places in JUnit reports.

It is loaded wherever simlab is installed, so it imports nothing but what it needs to say which options there are.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from simlab.testing.recording import session

_PROPERTY = "simlab"
_MARKER = "simlab(lanes=..., seed=...): most lanes and seed of the error-rate claims of this test"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("simlab", "error-rate claims about stopping rules")
    group.addoption(
        "--simlab-lanes",
        type=int,
        metavar="N",
        help="most lanes of one claim; fewer than it needs cost power and never raise its flake rate",
    )
    group.addoption("--simlab-seed", type=int, default=0, metavar="N", help="seed of claims that state none (default 0)")


def pytest_configure(config: pytest.Config) -> None:
    """Name the markers and take over the options."""
    config.addinivalue_line("markers", _MARKER)
    config.pluginmanager.register(_Summary(), "simlab-summary")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Give a test its settings, and note what it claimed whether it passed or not."""
    marker = item.get_closest_marker("simlab")
    wanted = marker.kwargs if marker is not None else {}
    session.lanes = wanted.get("lanes", item.config.getoption("--simlab-lanes"))
    session.seed = wanted.get("seed", item.config.getoption("--simlab-seed"))
    session.claims = []
    try:
        return (yield)
    finally:
        # Properties of an item travel with its report, to JUnit files and from the workers of pytest-xdist.
        item.user_properties.extend((_PROPERTY, str(claim)) for claim in session.claims)
        item.user_properties.extend(
            (f"{_PROPERTY}.{number}.{name}", value)
            for number, claim in enumerate(session.claims)
            for name, value in claim.to_dict().items()
        )
        session.claims, session.lanes, session.seed = [], None, 0


class _Summary:
    """Gathers the claims of all tests, wherever they ran, and tells them at the end."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Gather the claims of one test."""
        if report.when == "call":
            self.told.extend((report.outcome, str(value)) for name, value in report.user_properties if name == _PROPERTY)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Tell every claim with its interval."""
        if not self.told:
            return
        terminalreporter.section("error-rate claims")
        for outcome, words in self.told:
            terminalreporter.write_line(words if outcome == "passed" else f"FAILED {words}")
