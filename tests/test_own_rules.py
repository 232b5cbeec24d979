"""A user's own rule in a study, in worker processes and in a replay, by the name it is registered under."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import simlab
from simlab.engine import Block, simulate
from simlab.errors import FileErrors, OwnRuleError, RuleError
from simlab.runner import Options, run_plan
from tests.own_code import ObjectCusum, Sums, dividing, lanes_cusum, plain_level, stream_cusum
from tests.test_replay import POLICIES, replayed, write
from tests.worlds import CUSUM, plan


def policy(name: str, rule: dict[str, Any], **how: Any) -> dict[str, Any]:
    return {"name": name, "guardrails": [{**CUSUM, "rule": rule, **how}]}


def registered(**rules: Any) -> None:
    for name, rule in rules.items():
        simlab.register(name, rule)


THREE_WAYS = {
    "object": simlab.rule(ObjectCusum, threshold=5),
    "stream": simlab.rule(stream_cusum, threshold=5, start=0.0),
    "lanes": simlab.rule(lanes_cusum, threshold=5, over="lanes", start=Sums(0.0, 0.0)),  # type: ignore[arg-type]
}


def test_all_three_run_in_a_study_as_the_catalogues_does() -> None:
    registered(**THREE_WAYS)
    policies = [policy("ours", {"cusum": {"k": 0.5, "h": 5.0}}), *(policy(name, {"own": {"name": name}}) for name in THREE_WAYS)]
    rows = simulate(plan(policies=policies), Block(0, 0, 30)).rows
    ours = rows["policy"] == "ours"
    assert (rows["action_time"][ours] >= 0).any()
    for name in THREE_WAYS:
        for column in ("action_time", "users_harmed", "looks", "skipped", "unknown"):
            np.testing.assert_array_equal(rows[column][rows["policy"] == name], rows[column][ours], err_msg=f"{name} {column}")


def test_they_run_in_other_processes_to_the_same_numbers() -> None:
    registered(**THREE_WAYS)
    made = plan(policies=[policy(name, {"own": {"name": name}}) for name in THREE_WAYS], start=40, cap=40)
    tables = [run_plan(made, Options(workers=workers, block_lanes=20)).to_pandas() for workers in (1, 2)]
    np.testing.assert_array_equal(*(table.to_numpy(dtype=str) for table in tables))
    registered(typed=simlab.rule(lambda state, x: (state, x), threshold=9))
    unportable = plan(policies=[policy("typed", {"own": {"name": "typed"}})], start=4, cap=4)
    assert simlab.run(unportable).scenarios[0].lanes == 4
    with pytest.raises(OwnRuleError, match="cannot be given to another process"):
        simlab.run(unportable, workers=2)


def test_the_threshold_of_a_file_and_the_code_decide_the_plan() -> None:
    registered(mine=THREE_WAYS["stream"])
    at = [plan(policies=[policy("p", {"own": {"name": "mine", **given}})]) for given in ({}, {"threshold": 3}, {"threshold": 5})]
    assert [made.settings[0].policies[0].guardrails[0].rule.threshold for made in at] == [5, 3, 5]
    digests = {made.digest for made in at}
    registered(mine=THREE_WAYS["object"])
    digests.add(plan(policies=[policy("p", {"own": {"name": "mine"}})]).digest)
    assert len(digests) == 4
    assert json.loads(at[0].canonical)["own_rules"]["mine"].count("tests.own_code:stream_cusum") == 1
    assert "own_rules" not in json.loads(plan().canonical)


def test_a_name_that_nobody_has_registered_is_a_mistake_with_its_place() -> None:
    with pytest.raises(FileErrors, match=r"policies\[0\]\.guardrails\[0\]\.rule\.own: no rule is registered as 'nobodys'"):
        plan(policies=[policy("p", {"own": {"name": "nobodys"}})])
    with pytest.raises(FileErrors, match="no rule is registered as 'nobodys'"):
        simlab.rule({"own": {"name": "nobodys"}})


def test_it_is_refused_where_the_signal_gives_something_else() -> None:
    registered(mine=THREE_WAYS["stream"])
    with pytest.raises(FileErrors, match=r"stream_cusum takes standardised, and a level does not give that"):
        plan(policies=[policy("p", {"own": {"name": "mine"}}, compare=None, of="everyone", by=None)])


@pytest.mark.parametrize("workers", [1, 2])
def test_a_failure_in_a_study_names_policy_rule_and_tick(workers: int) -> None:
    registered(dividing=simlab.rule(dividing, threshold=9, start=0))
    made = plan(policies=[policy("mine", {"own": {"name": "dividing"}})], start=4, cap=4)
    with pytest.raises(RuleError, match=r"policy 'mine': the rule 'dividing' failed at tick \d+: ZeroDivisionError"):
        run_plan(made, Options(workers=workers, block_lanes=2))


def test_a_rule_of_ones_own_in_a_replay(tmp_path: Path) -> None:
    registered(level=simlab.rule(plain_level, threshold=3, takes="level"))
    write(tmp_path)
    ours = replayed(tmp_path).policies[0]
    write(tmp_path, policies=POLICIES.replace("above: {limit: 3}", "own: {name: level}"))
    own = replayed(tmp_path).policies[0]
    # What its ladder is called, and so its sweep, is its own.
    assert replace(own, ladder=ours.ladder, swept=ours.swept) == ours
    assert ours.alarms


def test_code_needs_a_threshold() -> None:
    with pytest.raises(OwnRuleError, match="needs a threshold"):
        simlab.rule(stream_cusum)
