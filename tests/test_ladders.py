"""First actions read off from one quiet run are those of a run with the threshold in question, to the bit; no error rate."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from simlab.engine import Block, BlockResult, simulate
from simlab.guardrails.guardrail import Guardrail
from simlab.guardrails.look import Floats
from simlab.guardrails.policy import Joined, Policy
from simlab.guardrails.registry import rules
from simlab.guardrails.rule import Rule, Takes
from simlab.guardrails.rules.cusum import Cusum
from simlab.guardrails.rules.limits import Above
from simlab.guardrails.rules.sample_ratio import SampleRatio
from simlab.guardrails.signal import Signal
from simlab.ladders import QuietRun, first_actions, placed, quiet_plan, quiet_runs, why_rerun
from simlab.measures.outcomes import outcomes_of
from simlab.plan import Plan
from tests.guardrails.test_registry import with_required
from tests.worlds import SCENARIO, changed, plan

LANES = 16
TICK = 300_000
TELEMETRY = {"delay": "1m-12m", "lost": "1%"}
COLUMNS = ("action_time", "evidence", "action", "guardrail", "worse")
# Another table than that of tests/guardrails/rules, as the metrics are those of the small scenario.
SIGNALS = {
    Takes.STANDARDISED: Signal(watch="errors", compare="difference", by="segment"),
    Takes.LEVEL: Signal(watch="errors", of="treatment", by="segment"),
    Takes.EVENTS: Signal(watch="errors", of="treatment"),
    Takes.ARRIVALS: Signal(watch="errors", of="treatment"),
    Takes.EVENT_COUNTS: Signal(watch="errors", compare="difference", by="segment"),
    Takes.ARM_COUNTS: Signal(compare="shares"),
    Takes.VECTOR: Signal(watch=("errors", "latency"), compare="difference"),
    Takes.NOTHING: Signal(),
}


def watching(rule: Rule, *, every: int = 1, respond: Any = "rollback", **how: Any) -> Guardrail:
    return Guardrail(SIGNALS[rule.takes], rule, every * TICK, respond, tick=TICK, **how)


def studied(*policies: Policy) -> Plan:
    """Return a plan in which policies watch the small scenario, with delays and losses."""
    made = plan(scenarios=[changed(SCENARIO, telemetry=TELEMETRY, horizon="8h")])
    guards = tuple(guardrail for policy in policies for guardrail in policy.guardrails)
    assert guards
    return replace(made, settings=(replace(made.settings[0], policies=policies),), traced=0)


def quiet(made: Plan) -> tuple[tuple[QuietRun, ...], list[BlockResult]]:
    """Return what a plan's policies leave, run in two blocks."""
    blocks = [simulate(quiet_plan(made), Block(0, first, LANES // 2)) for first in (LANES // 2, 0)]
    return quiet_runs(made.settings[0].policies, blocks), blocks


def asked_of(run: QuietRun) -> Floats:
    """Return settings of the thresholds, [settings, guardrails]: maxima that some lane just reaches, a hair above, and between."""
    generator = np.random.default_rng(len(run.policy.name))
    columns = []
    for guardrail, harmed, twin in zip(run.policy.guardrails, run.harmed, run.twin, strict=True):
        if harmed is None or twin is None:
            columns.append(np.full(4, guardrail.threshold))
            continue
        records = np.concatenate([harmed.statistics, twin.maxima])
        records = records[np.isfinite(records)]
        if not len(records):
            records = np.array([guardrail.threshold])
        drawn = generator.choice(records, size=2)
        columns.append(np.array([*drawn, np.nextafter(drawn[0], np.inf), records.max() + 1.0]))
    return np.stack(columns, axis=1)


def assert_same_as_rerun(made: Plan, run: QuietRun) -> int:
    """Fail unless first actions read off equal those of runs with the thresholds; return how many lanes acted."""
    thresholds = asked_of(run)
    found = {harmed: first_actions(run.policy, run.harmed if harmed else run.twin, thresholds) for harmed in (True, False)}
    acted = 0
    variants = tuple(replace(placed(run.policy, row), name=str(index)) for index, row in enumerate(thresholds))
    again = replace(made, settings=(replace(made.settings[0], policies=variants),))
    rows = simulate(again, Block(0, 0, LANES)).rows
    for index in range(len(thresholds)):
        for harmed, actions in found.items():
            mine = (rows["policy"] == str(index)) & (rows["harmed"] == harmed)
            for name, read in actions.columns(index).items():
                np.testing.assert_array_equal(read, rows[name][mine], err_msg=f"{run.policy.name}: {name}")
            acted += int((rows["action_time"][mine] >= 0).sum())
    return acted


KEYS = [key for key, rule in rules().items() if rule.ladder != "none"]
SHORT: dict[str, dict[str, Any]] = {
    # Shorter than their defaults, so that they judge something within twelve hours.
    "page_hinkley": {"min_looks": 5},
    "fixed_horizon": {"looks": 20},
    "seasonal": {"period": 12 * TICK, "phase": 6 * TICK, "periods": 2},
}


@pytest.mark.parametrize("key", KEYS)
def test_every_rule_with_a_coordinate_reads_off_what_a_rerun_gives(key: str) -> None:
    made: Any = with_required(rules()[key])
    if getattr(made, "extra", "") and importlib.util.find_spec(made.extra) is None:
        pytest.skip(f"{made.extra} is not installed")
    rule = replace(made, **SHORT.get(key, {}))
    study = studied(Policy(key, (watching(rule),)))
    (run,), _ = quiet(study)
    acted = assert_same_as_rerun(study, run)
    assert acted > 0


def several() -> Policy:
    """Return guardrails that differ in cadence and response, one that waits (`for`) and one that only holds the ramp."""
    return Policy(
        "several",
        (
            watching(Cusum(h=3.0, sides=2), every=3, respond="pause"),
            watching(Above(limit=0.03, for_=2 * TICK), respond="alert"),
            watching(Cusum(k=0.25, h=6.0), every=2, respond="rollback"),
            watching(SampleRatio(), respond="alert", on_unknown="ignore"),
            watching(Cusum(h=1.5), every=4, respond="hold"),
        ),
    )


def test_several_guardrails_under_any_read_off_whose_alarm_was_first() -> None:
    study = studied(several())
    (run,), _ = quiet(study)
    assert [ladder is None for ladder in run.harmed] == [False, False, False, False, True]
    assert assert_same_as_rerun(study, run) > 0
    actions = first_actions(run.policy, run.harmed, asked_of(run))
    assert len(np.unique(actions.guardrail)) > 2


def test_measures_of_detection_are_those_of_a_rerun() -> None:
    """The onset is that of the quiet path: where the harm begins after the first action it counts as acted before, either way."""
    study = studied(Policy("cusum", (watching(Cusum(h=4.0)),)))
    (run,), blocks = quiet(study)
    clock = study.settings[0].scenario.clock
    rows = {name: np.concatenate([block.rows[name] for block in reversed(blocks)]) for name in blocks[0].rows}
    for h in (0.8, 2.0, 6.0):
        rerun = replace(study, settings=(replace(study.settings[0], policies=(placed(run.policy, [h]),)),))
        (expected,) = outcomes_of(simulate(rerun, Block(0, 0, LANES)).rows, clock=clock, limit=40)
        order = np.lexsort([rows["lane"], ~rows["harmed"]])
        read = {name: values[order] for name, values in rows.items()}
        thresholds = np.array([[h]])
        for harmed, ladders in ((True, run.harmed), (False, run.twin)):
            for name, column in first_actions(run.policy, ladders, thresholds).columns(0).items():
                read[name] = read[name].copy()
                read[name][read["harmed"] == harmed] = column
        (found,) = outcomes_of(read, clock=clock, limit=40)
        for name in ("acted_before", "at_risk", "delay", "twin_acted"):
            np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
        np.testing.assert_array_equal(found.followed(40), expected.followed(40))
        followed = expected.followed(40)
        np.testing.assert_array_equal(found.twin_acted_within(40)[followed], expected.twin_acted_within(40)[followed])
    assert expected.at_risk.any()


def test_ladders_do_not_depend_on_blocks_or_on_other_policies() -> None:
    alone = studied(Policy("cusum", (watching(Cusum(h=4.0)),)))
    beside = studied(several(), Policy("cusum", (watching(Cusum(h=9.0)),)))
    (run,), _ = quiet(alone)
    block = simulate(quiet_plan(beside), Block(0, 0, LANES))
    other = next(each for each in quiet_runs(beside.settings[0].policies, [block]) if each.policy.name == "cusum")
    for one, two in ((run.harmed, other.harmed), (run.twin, other.twin)):
        for name in ("starts", "times", "ends", "statistics", "worse"):
            np.testing.assert_array_equal(getattr(one[0], name), getattr(two[0], name))


def test_says_why_a_policy_is_rerun() -> None:
    cusum = watching(Cusum())
    assert why_rerun(Policy("fine", (cusum,))) == ""
    never = watching(with_required(rules()["never"]))
    assert "no ladder coordinate" in why_rerun(Policy("never", (cusum, never)))
    assert "same look" in why_rerun(Policy("joined", (cusum, cusum), Joined(k_of_n=2)))
    assert "unknown" in why_rerun(Policy("unknown", (replace(cusum, on_unknown="alarm"),)))
    assert "acts" in why_rerun(Policy("holds", (replace(cusum, respond="hold"),)))
    e_value = watching(with_required(rules()["msprt"]))
    assert "merges" in why_rerun(Policy("merged", (e_value,), budget=0.05, share="mean_e"))


def test_a_threshold_must_be_finite() -> None:
    (run,), _ = quiet(studied(Policy("cusum", (watching(Cusum()),))))
    with pytest.raises(ValueError, match="finite"):
        first_actions(run.policy, run.harmed, np.array([[-np.inf]]))
