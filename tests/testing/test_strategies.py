"""What strategies draw can be read, run and shrunk."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, find, given, settings

from simlab.engine import Block, simulate
from simlab.guardrails.guardrail import Guardrail
from simlab.guardrails.rules.cusum import Cusum
from simlab.testing import Drawn, Lens, harms, looks, policies, ramps, scenarios, streams
from simlab.testing.searches import KINDS
from simlab.testing.shown import MINUTE, Quiet
from simlab.testing.traces import trace

SMALL = settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@SMALL
@given(drawn=scenarios())
def test_a_drawn_scenario_is_read_and_has_its_policies(drawn: Drawn) -> None:
    plan = drawn.plan()
    assert {policy["name"] for policy in drawn.policies} <= {policy.name for policy in plan.settings[0].policies}


@settings(SMALL, max_examples=4)
@given(drawn=scenarios())
def test_blocks_of_a_drawn_scenario_do_not_depend_on_their_size(drawn: Drawn) -> None:
    plan = drawn.plan()
    whole, part = simulate(plan, Block(0, 0, 4)), simulate(plan, Block(0, 2, 2))
    chosen = np.isin(whole.rows["lane"], [2, 3])
    for name, column in part.rows.items():
        np.testing.assert_array_equal(whole.rows[name][chosen], column, err_msg=name)


def test_what_a_failing_test_prints_is_what_simlab_run_takes(tmp_path: Path) -> None:
    smallest = find(scenarios(), lambda drawn: drawn.scenario["harms"][0]["add"] >= "5pp", settings=settings(database=None))
    printed = repr(smallest)
    names = [line for line in printed.splitlines() if line.startswith("# ")]
    assert names[0] == "# drawn-world.yaml"
    # Copied from the page by hand, file by file.
    first, second = printed.split(names[1])
    (tmp_path / "studies").mkdir()
    (tmp_path / "drawn-world.yaml").write_text(first)
    (tmp_path / "studies" / "drawn.yaml").write_text(second)
    command = [sys.executable, "-m", "simlab", "run", "studies/drawn.yaml", "--workers", "1"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, env=os.environ)
    assert done.returncode in {0, 1, 3}, done.stderr
    assert len(printed.splitlines()) < 70


def test_a_failing_test_prints_yaml() -> None:
    @settings(max_examples=5, database=None, derandomize=True, print_blob=False)
    @given(drawn=scenarios())
    def fails(drawn: Drawn) -> None:
        raise LookupError

    with pytest.raises(LookupError) as failed:
        fails()
    assert "simlab run studies/drawn.yaml" in "".join(failed.value.__notes__)
    assert "scenario: drawn-world" in "".join(failed.value.__notes__)


def test_shrunk_cases_are_small() -> None:
    steps = find(ramps(), lambda found: len(found) > 1, settings=settings(database=None))
    assert steps == [{"expose": "1%", "soak": "10m"}, {"expose": "2%", "soak": "rest"}]
    assert find(harms(), lambda _: True, settings=settings(database=None))["add"] == "1pp"
    rising = find(streams(looks=2, kinds=["null"]), lambda found: max(found) > 2, settings=settings(database=None))
    assert sorted(rising) == [0.0, 2.125]
    assert len(find(policies(), lambda _: True, settings=settings(database=None))["guardrails"]) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_streams_of_every_kind_are_what_they_say(kind: str) -> None:
    wanted = {
        "gaps": lambda found: any(isinstance(x, Quiet) for x in found),
        "nan": lambda found: any(isinstance(x, float) and not np.isfinite(x) for x in found),
        "extremes": lambda found: any(abs(x) >= 1e3 for x in found),
        "heavy-tailed": lambda found: any(abs(x) > 100 for x in found),
        "zero counts": lambda found: any(abs(x) == 9 for x in found),
        "ties": lambda found: len(set(found)) < len(found),
        "shifted": lambda found: abs(found[-1]) > 6,
        "drifting": lambda found: abs(found[-1]) > 9,
        "autocorrelated": lambda found: abs(found[-1]) > 4,
        "null": lambda found: abs(found[-1]) == 3,
    }[kind]
    found = find(
        streams(looks=10, kinds=[kind]), wanted, settings=settings(database=None, max_examples=2000, phases=[Phase.generate])
    )
    assert len(found) == 10


@SMALL
@given(made=looks())
def test_looks_are_taken_by_a_guardrail(made: list) -> None:
    found = trace(Guardrail(Lens().signal(), Cusum(), MINUTE), made)
    assert found.codes.shape == (len(made), 2)
