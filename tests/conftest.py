"""Settings of the whole test suite: property tests that repeat to the bit, and where the shared recordings are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# The same examples in every run, so that a failure seen in CI is the failure seen at the desk. HYPOTHESIS_PROFILE=search
# looks for new ones; CI never does.
settings.register_profile("ci", derandomize=True, deadline=None)
settings.register_profile("search", deadline=None, max_examples=1000)
settings.load_profile("ci" if os.environ.get("CI") else os.environ.get("HYPOTHESIS_PROFILE", "ci"))

pytest_plugins = ["pytester"]

PROJECT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of the public recordings: SIMLAB_DATA, or `shared/data` beside the project."""
    named = os.environ.get("SIMLAB_DATA")
    folder = Path(named) if named else PROJECT.parent / "shared" / "data"
    if folder.is_dir():
        return folder
    reason = f"the recordings are not at {folder}; set SIMLAB_DATA to their folder"
    if os.environ.get("SIMLAB_REQUIRE_DATA") == "1":
        pytest.fail(reason)
    pytest.skip(reason)
