"""What each detail of users cannot do is told at its place, and what both can do is taken."""

from __future__ import annotations

from typing import Any

import pytest

from simlab.errors import FileErrors
from tests.worlds import CUSUM, SCENARIO, changed, plan

COUNT = {"kind": "count", "per": "request", "mean": 1.5}
PER_USER = {"kind": "proportion", "per": "user", "normal": "5%", "worse": "down"}
AMOUNT = {"kind": "amount", "per": "request", "some": "5%", "median": 20, "p99": 10}


def told(made: dict[str, Any], guardrail: dict[str, Any] = CUSUM) -> str:
    with pytest.raises(FileErrors) as caught:
        plan(scenarios=[made], policies=[{"name": "p", "guardrails": [guardrail]}])
    return caught.value.render()


def users(**changes: Any) -> dict[str, Any]:
    return changed(SCENARIO, users={**SCENARIO["users"], **changes})


def with_metric(metric: dict[str, Any], **of_users: Any) -> dict[str, Any]:
    return changed(users(**of_users), metrics={**SCENARIO["metrics"], "more": metric})


@pytest.mark.parametrize(
    ("made", "place"),
    [
        (with_metric(COUNT), "error[detail]: metrics.more.kind: a count needs users one by one"),
        (with_metric(AMOUNT), "error[detail]: metrics.more.kind: an amount needs users one by one"),
        (with_metric(PER_USER), "error[detail]: metrics.more.per: a user as unit needs users one by one"),
        (users(pages=3), "error[detail]: users.pages: needs users one by one"),
        (users(stay="1w"), "error[detail]: users.stay: needs users one by one"),
        (users(detail="individual", count=6_000_000), "error[detail]: users.count: at most 5,000,000 users"),
        (changed(users(detail="individual"), traffic={"requests": "2000000/m"}), "error[detail]: traffic.requests: at most 5,000,000 requests"),
        (with_metric(AMOUNT, detail="individual"), "error[order]: metrics.more.p99: must be greater than the median"),
    ],
)  # fmt: skip
def test_what_a_detail_cannot_do_is_told_at_its_place(made: dict[str, Any], place: str) -> None:
    assert place in told(made)


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"unit": "user"}, "error[detail]: policies[0].guardrails[0].unit: scenario small has no users one by one"),
        (
            {"watch": "latency", "quantile": "95%"},
            "error[detail]: policies[0].guardrails[0].quantile: scenario small has no users",
        ),
        ({"unit": "user", "over": "10m"}, "error[signal]: policies[0].guardrails[0].over: cusum adds up all"),
    ],
)
def test_signals_that_need_users_one_by_one(changes: dict[str, Any], place: str) -> None:
    assert place in told(SCENARIO, {**CUSUM, **changes})
    if "over" not in changes:
        plan(scenarios=[users(detail="individual")], policies=[{"name": "p", "guardrails": [{**CUSUM, **changes}]}])


def test_a_quantile_is_of_durations() -> None:
    problem = "policies[0].guardrails[0].quantile: is taken of durations only, not of a proportion"
    assert problem in told(users(detail="individual"), {**CUSUM, "quantile": "95%"})


@pytest.mark.parametrize(
    ("metric", "effect", "problem"),
    [
        ({"worse": "up"}, {"times": "x0.5"}, "harms[0].times: must be more than x1, since more is worse"),
        ({"worse": "down"}, {"times": "x2"}, "harms[0].times: must be less than x1, since less is worse"),
        ({"worse": "down"}, {"add": "3pp"}, "harms[0].add: makes the probability -0.01, under 0"),
    ],
)
def test_a_harm_makes_its_metric_worse(metric: dict[str, Any], effect: dict[str, Any], problem: str) -> None:
    harm = {key: value for key, value in SCENARIO["harms"][0].items() if key != "add"} | effect
    metrics = {**SCENARIO["metrics"], "errors": {**SCENARIO["metrics"]["errors"], **metric}}
    assert problem in told(changed(SCENARIO, harms=[harm], metrics=metrics))


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"silent": "50%"}, "error[detail]: harms[0].silent: needs users one by one"),
        ({"turns_away": "5%"}, "error[detail]: harms[0].turns_away: needs users one by one"),
        ({"drops_users": "5%"}, "error[detail]: harms[0].drops_users: needs users one by one"),
        (
            {"flatters": {"metric": "eros", "times": "x2"}},
            "error[unknown-metric]: harms[0].flatters.metric: there is no metric 'eros'",
        ),
        ({"shape": "latent"}, "error[missing-key]: harms[0]"),
        ({"shape": "learning", "per_day": 0}, "error[bound]: harms[0]"),
        ({"shape": "cliff", "above": "100%"}, "error[bound]: harms[0]"),
        ({"fades": "0m"}, "error[bound]: harms[0]"),
    ],
)
def test_mistakes_in_harms(changes: dict[str, Any], place: str) -> None:
    assert place in told(changed(SCENARIO, harms=[{**SCENARIO["harms"][0], **changes}]))


@pytest.mark.parametrize(
    ("drift", "place"),
    [
        (
            {"shape": "novelty", "metric": "errors", "times": "x2", "fades": "1d"},
            "error[detail]: drift[0].shape: novelty in one arm",
        ),
        (
            {"shape": "warm-up", "metric": "errors", "times": "x2", "for": "5m"},
            "error[detail]: drift[0].shape: warm-up in one arm",
        ),
        ({"shape": "weekly", "metric": "eros", "days": {"fri": "x2"}}, "error[unknown-metric]: drift[0].metric"),
        (
            {"shape": "weekly", "metric": "errors", "days": {"fri": "x80"}},
            "error[probability]: drift[0]: makes a probability over 1",
        ),
        ({"shape": "weekly", "metric": "errors", "days": {"friday": "x2"}}, "error["),
    ],
)
def test_mistakes_in_drift(drift: dict[str, Any], place: str) -> None:
    assert place in told(changed(SCENARIO, drift=[{"name": "d", **drift}]))
