"""Claims that these tests make about claims are not told at the end of a run."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from simlab.testing.recording import session


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    try:
        return (yield)
    finally:
        session.claims.clear()
