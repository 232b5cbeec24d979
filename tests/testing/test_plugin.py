"""The pytest plugin: options, marker, summary, JUnit properties, with and without pytest-xdist, and light to load."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest

SUITE = """
import pytest
from simlab.testing import assert_false_alarms

RULE = {"repeated_z": {"looks": 10}}


def test_passes():
    assert_false_alarms(RULE, at_most=0.05, horizon=10)


@pytest.mark.simlab(lanes=64, seed=11)
def test_marked():
    found = assert_false_alarms(RULE, at_most=0.05, horizon=10)
    assert found.lanes <= 64
    assert found.seed == 11


def test_fails():
    assert_false_alarms({"repeated_z": {}}, at_most=0.05, horizon=10)


def test_claims_nothing():
    pass
"""


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makepyfile(test_suite=SUITE)
    return pytester


@pytest.mark.parametrize("workers", [[], ["-n", "2"]], ids=["alone", "xdist"])
def test_claims_are_told_at_the_end_and_stand_in_junit(suite: pytest.Pytester, workers: list[str]) -> None:
    done = suite.runpytest_subprocess("--simlab-seed=5", "--junitxml=junit.xml", "-p", "no:cacheprovider", *workers)
    done.assert_outcomes(passed=3, failed=1)
    told = done.stdout.str().rpartition("error-rate claims")[2].partition("short test summary")[0]
    lines = [line for line in told.splitlines() if "repeated_z" in line]
    assert len(lines) == 3
    assert (
        sum(line.startswith("FAILED repeated_z: false alarms within 10 looks: claimed at most 0.05, found ") for line in lines)
        == 1
    )
    assert sum("seed 5." in line for line in lines) == 2
    assert sum("seed 11." in line for line in lines) == 1
    cases = {case.get("name"): case for case in ET.parse(suite.path / "junit.xml").iter("testcase")}
    values = {each.get("name"): each.get("value") for each in cases["test_passes"].iter("property")}
    assert values["simlab.0.rule"] == "repeated_z"
    assert float(values["simlab.0.low"]) <= float(values["simlab.0.value"]) <= float(values["simlab.0.high"]) < 0.05
    assert float(values["simlab.0.flake"]) <= 1e-6
    assert values["simlab.0.holds"] == "True"
    assert {each.get("name"): each.get("value") for each in cases["test_fails"].iter("property")}["simlab.0.holds"] == "False"
    assert not list(cases["test_claims_nothing"].iter("property"))


def test_lanes_can_be_limited_for_a_whole_run(suite: pytest.Pytester) -> None:
    done = suite.runpytest_subprocess("--simlab-lanes=40", "-k", "passes", "-p", "no:cacheprovider")
    done.assert_outcomes(passed=1, deselected=3)
    (line,) = [line for line in done.stdout.str().splitlines() if "repeated_z: false alarms" in line]
    lanes = int(line.partition(" lanes,")[0].rpartition(" ")[2])
    assert lanes <= 40


def test_the_marker_is_known(suite: pytest.Pytester) -> None:
    done = suite.runpytest_subprocess("--markers", "-p", "no:cacheprovider")
    done.stdout.fnmatch_lines(["@pytest.mark.simlab(lanes=..., seed=...)*"])


def test_loading_the_plugin_imports_nothing_heavy() -> None:
    code = (
        "import sys, pytest, simlab.testing, simlab.testing.plugin;"
        "heavy = {'numpy', 'scipy', 'pandas', 'numba', 'hypothesis', 'pydantic'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_without_a_claim_nothing_is_told(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_nothing(): pass")
    done = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    assert "error-rate claims" not in done.stdout.str()
