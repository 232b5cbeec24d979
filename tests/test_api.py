"""What Python code calls, and that every public name is documented."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import simlab
from simlab.errors import FileErrors
from simlab.shipped import scenarios_folder
from tests.worlds import plan


def test_every_public_name_is_there_and_documented() -> None:
    readme = (Path(__file__).resolve().parents[1] / "README.md").read_text()
    for name in simlab.__all__:
        thing = getattr(simlab, name)
        assert name == "__version__" or thing.__doc__
        if not name.startswith("_") and name[0].islower():
            assert f"simlab.{name}(" in readme
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = simlab.nonsense


def test_importing_simlab_costs_nothing() -> None:
    code = "import sys, simlab; print(sorted({'numpy', 'pandas', 'scipy', 'numba', 'pydantic'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_load_and_run() -> None:
    loaded = simlab.load(scenarios_folder() / "studies" / "peeking.yaml", overrides=["lanes.start=20", "lanes.cap=20"])
    result = simlab.run(loaded)
    assert result.plan.digest == loaded.digest
    assert repr(result).startswith(f"<Result peeking: {result.status}, 20 lanes")
    table = result.to_pandas()
    assert len(table) == 3 * 2 * 20
    assert set(table["action"]) <= {"none", "alert", "pause", "rollback"}
    with pytest.raises(FileErrors, match="there is no such file"):
        simlab.load("nowhere.yaml")


def test_the_plan_decides_the_digest() -> None:
    assert plan().digest == plan().digest
    assert plan(seed=8).digest != plan().digest
