"""What each harm and each benign change does, and that a lane and its twin are equal to the bit before the onset."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from simlab.guardrails.look import Floats
from simlab.world.aggregate import AggregateWorld, Increments, Watched
from simlab.world.harms import Exposure
from simlab.world.individual import IndividualWorld
from simlab.world.rates import rates_of
from tests.worlds import scenario

Z, LANES = 5.0, 60
EVERY = Watched(frozenset({"errors", "clicks"}), first_seen=True, by_user=frozenset({"errors"}))
PEOPLE: dict[str, Any] = {
    "users": {"count": 400, "detail": "individual", "segments": {"all": "100%"}},
    "traffic": {"requests": "200/m"},
    "metrics": {
        "errors": {"kind": "proportion", "per": "request", "normal": "10%", "personal_cv": 1.0},
        "clicks": {"kind": "count", "per": "request", "mean": 2.0, "worse": "down"},
    },
    "horizon": "4h",
    "rollout": {"steps": [{"expose": "20%", "soak": "1h"}, {"expose": "50%", "soak": "rest"}]},
}
CELLS = PEOPLE | {"users": {"count": 400, "segments": {"all": "100%"}}, "metrics": {"errors": PEOPLE["metrics"]["errors"]}}
HARM: dict[str, Any] = {"name": "h", "shape": "step", "metric": "errors", "add": "20pp", "onset": {"at": "1h"}}
RAMP = [1] * 12 + [2] * 24  # half an hour longer than an hour at each step; the harm begins at tick 12


class Both:
    """A harmed path and its twin over the same noise."""

    def __init__(self, ramp: list[int], **changes: Any) -> None:
        individual = changes.pop("individual", True)
        base = PEOPLE if individual else CELLS
        made = scenario(**(base | {"harms": []} | changes))
        watched = EVERY if individual else Watched(frozenset({"errors"}), first_seen=True)
        kind: Any = IndividualWorld if individual else AggregateWorld
        self.world = kind(made, np.arange(LANES), seed=5, watched=watched)
        self.path, self.twin = (self.world.begin(harmed=harmed) for harmed in (True, False))
        self.increments: list[Increments] = []
        self.of_twin: list[Increments] = []
        highest = 0
        for tick, position in enumerate(ramp):
            highest = max(highest, position)
            noise, exposure = self.world.draw(tick), Exposure(np.full(LANES, position), np.full(LANES, highest))
            for path, found in ((self.path, self.increments), (self.twin, self.of_twin)):
                found.append(path.advance(noise, exposure))

    def rate(self, ticks: slice, *, arm: int = 0, twin: bool = False, metric: str = "errors") -> Floats:
        """Return total over observations of an arm by lane."""
        each = (self.of_twin if twin else self.increments)[ticks]
        total, observations = (sum(one.sums[metric][index][:, arm].sum(axis=0) for one in each) for index in (1, 0))
        return np.asarray(total / np.maximum(observations, 1))

    def gap(self, ticks: slice, **of: Any) -> Floats:
        return self.rate(ticks, **of) - self.rate(ticks, twin=True, **of)


def same(one: Increments, other: Increments) -> bool:
    pairs = [(mine, theirs) for name in one.sums for mine, theirs in zip(one.sums[name], other.sums[name], strict=True)]
    pairs += [(users, other.users[name]) for name, users in one.users.items()]
    assert one.first_seen is not None
    assert other.first_seen is not None
    return all(np.array_equal(mine, theirs) for mine, theirs in [*pairs, (one.first_seen, other.first_seen)])


def near(values: Floats, expected: float) -> bool:
    return bool(abs(values.mean() - expected) < Z * values.std() / np.sqrt(values.size) + 1e-12)


ALL: dict[str, dict[str, Any]] = {
    "delayed": {"onset": {"at": "1h", "wait": "30m"}},
    "latent": {"shape": "latent", "dormant": "30m-1h"},
    "learning": {"shape": "learning", "per_day": 12.0},
    "cliff": {"shape": "cliff", "above": "30%", "onset": {"at": "0m"}},
    "traffic loss": {"turns_away": "30%"},
    "inverted proxy": {"flatters": {"metric": "clicks", "times": "x1.5"}},
    "sample-ratio mismatch": {"drops_users": "20%"},
    "telemetry loss": {"silent": "50%"},
    "carry-over": {"survives_rollback": "80%", "fades": "30m"},
}


@pytest.mark.parametrize("name", ALL)
def test_a_twin_is_equal_to_the_bit_before_the_onset_and_not_after(name: str) -> None:
    both = Both(RAMP, harms=[{**HARM, **ALL[name]}])
    for tick, (one, other) in enumerate(zip(both.increments, both.of_twin, strict=True)):
        if tick < both.path.onset.min():
            assert same(one, other)
    assert both.path.onset.min() >= 12
    assert not all(same(one, other) for one, other in zip(both.increments, both.of_twin, strict=True))
    assert (both.path.users_harmed() <= both.path.users_exposed()).all()
    assert not both.twin.users_harmed().any()


@pytest.mark.parametrize("individual", [True, False])
def test_delayed_and_latent_harms_wait(individual: bool) -> None:
    delayed = Both(RAMP, harms=[{**HARM, **ALL["delayed"]}], individual=individual)
    assert (delayed.path.onset == 18).all()
    latent = Both(RAMP, harms=[{**HARM, **ALL["latent"]}], individual=individual)
    # 30 to 60 minutes in ticks of five, rounded.
    assert set(latent.path.onset.tolist()) == set(range(18, 25))
    assert near(latent.gap(slice(25, 36)), 0.2)


@pytest.mark.parametrize("individual", [True, False])
def test_what_is_learnt_comes_slowly(individual: bool) -> None:
    both = Both(RAMP, harms=[{**HARM, **ALL["learning"]}], individual=individual)
    for tick in (12, 20, 35):
        learnt = 0.2 * (1 - np.exp(-12 * (tick - 12 + 1) * 5 / 1440))
        assert near(both.gap(slice(tick, tick + 1)), learnt)


@pytest.mark.parametrize("individual", [True, False])
def test_a_cliff_is_fallen_from_above_an_exposure(individual: bool) -> None:
    both = Both(RAMP, harms=[{**HARM, **ALL["cliff"]}], individual=individual)
    assert (both.path.onset == 12).all()
    assert near(both.gap(slice(12, 36)), 0.2)


@pytest.mark.parametrize("individual", [True, False])
def test_carry_over_fades_after_a_rollback(individual: bool) -> None:
    both = Both([2] * 18 + [0] * 18, harms=[{**HARM, **ALL["carry-over"]}], individual=individual)
    units = both.path.harm_units["errors"]
    assert units.any()
    for tick, age in ((18, 0), (24, 6), (30, 12)):
        left = 0.2 * 0.8 * 0.5 ** (age / 6)
        # After the rollback half of the users, once exposed, still have it; both halves are outside now.
        assert near(both.gap(slice(tick, tick + 1), arm=2), left / 2)


def test_traffic_is_lost_with_those_turned_away() -> None:
    harm = {key: value for key, value in HARM.items() if key != "add"} | {"turns_away": "30%"}
    both = Both(RAMP, harms=[harm])
    left, all_ = (
        sum(one.sums["clicks"].observations[:, 0].sum(axis=0) for one in each[12:]) for each in (both.increments, both.of_twin)
    )
    assert near(left / all_, 0.7)
    np.testing.assert_array_equal(both.path.harm_units["errors"], all_ - left)
    assert near(both.gap(slice(12, 36)), 0.0)


def test_an_inverted_proxy_looks_better() -> None:
    both = Both(RAMP, harms=[{**HARM, **ALL["inverted proxy"]}])
    assert near(both.gap(slice(12, 36), metric="clicks"), 1.0)
    assert near(both.gap(slice(12, 36)), 0.2)
    assert not both.gap(slice(12, 36), metric="clicks", arm=1).any()


def test_a_second_hash_takes_the_unlucky_out_of_treatment() -> None:
    harm = {key: value for key, value in HARM.items() if key != "add"} | {"drops_users": "20%"}
    both = Both(RAMP, harms=[harm])
    seen, expected = (
        sum(one.first_seen[:, :, 0].sum(axis=(0, 1)) for one in each[12:] if one.first_seen is not None)
        for each in (both.increments, both.of_twin)
    )
    assert (seen - expected).mean() < -Z * (seen - expected).std() / np.sqrt(LANES)
    # Who errs more is dropped more often, so that treatment looks better than it is.
    gap = both.gap(slice(12, 36))
    assert gap.mean() < -Z * gap.std() / np.sqrt(LANES)
    assert not both.path.users_harmed().any()


def test_harmed_requests_that_report_nothing_make_the_dashboard_look_better() -> None:
    loud, quiet = (Both(RAMP, harms=[{**HARM, "silent": silent}]) for silent in ("0%", "100%"))
    np.testing.assert_array_equal(loud.path.users_harmed(), quiet.path.users_harmed())
    gap = quiet.gap(slice(12, 36))
    # What went well before and errs now is not reported, so that no error is added; the errors of before weigh as much as ever.
    assert near(gap, 0.1 / (1 - 0.2) - 0.1)
    assert gap.mean() < loud.gap(slice(12, 36)).mean() / 4


def test_novelty_wears_off_in_treatment_alone_and_is_no_harm() -> None:
    drift = [{"name": "new", "shape": "novelty", "metric": "clicks", "times": "x1.5", "fades": "30m"}]
    both, plain = Both(RAMP, drift=drift), Both(RAMP)
    for tick in (0, 6, 24):
        lift = both.rate(slice(tick, tick + 1), metric="clicks") - plain.rate(slice(tick, tick + 1), metric="clicks")
        assert near(lift, 2.0 * 0.5 * 0.5 ** (tick / 6))
    np.testing.assert_array_equal(
        both.rate(slice(0, 36), arm=1, metric="clicks"), plain.rate(slice(0, 36), arm=1, metric="clicks")
    )
    assert not both.path.users_harmed().any()
    assert all(same(one, other) for one, other in zip(both.increments, both.of_twin, strict=True))


def test_caches_are_cold_after_each_step() -> None:
    drift = [{"name": "cold", "shape": "warm-up", "metric": "errors", "times": "x2", "for": "15m"}]
    both, plain = Both(RAMP, drift=drift), Both(RAMP)
    for tick in range(36):
        lift = both.rate(slice(tick, tick + 1)) - plain.rate(slice(tick, tick + 1))
        assert near(lift, 0.1) if tick in {0, 1, 2, 12, 13, 14} else not lift.any()


@pytest.mark.parametrize("individual", [True, False])
def test_an_upstream_outage_hits_both_arms(individual: bool) -> None:
    outage = [
        {"name": "fewer", "shape": "spike", "traffic": "x0.45", "at": "1h", "for": "1h"},
        {"name": "errors", "shape": "spike", "metric": "errors", "times": "x3", "at": "1h", "for": "1h"},
    ]
    both, plain = (Both(RAMP, drift=drift, individual=individual) for drift in (outage, []))
    for arm in (0, 1):
        assert near(both.rate(slice(12, 24), arm=arm) / plain.rate(slice(12, 24), arm=arm).mean(), 3.0)
    requests = [sum(one.sums["errors"].observations.sum(axis=(0, 1)) for one in each.increments[12:24]) for each in (both, plain)]
    assert near(requests[0] / requests[1].mean(), 0.45)
    for one, other in zip(both.increments[:12], plain.increments[:12], strict=True):
        assert same(one, other)


def test_a_holiday_a_campaign_and_a_weekly_mix_move_what_is_expected() -> None:
    drift = [
        {"name": "holiday", "shape": "spike", "traffic": "x0.4", "at": "1d", "for": "1d"},
        {"name": "campaign", "shape": "spike", "traffic": "x5", "at": "3d", "for": "2h"},
        {"name": "week", "shape": "weekly", "metric": "errors", "days": {"fri": "x2.02", "sat": "x1"}},
    ]
    made = scenario(horizon="7d", tick="1h", harms=[], drift=drift)
    rates = rates_of(made)
    traffic = rates.requests.sum(axis=0) / rates.requests.sum(axis=0)[0]
    expected = np.ones(168)
    expected[24:48], expected[72:74] = 0.4, 5.0
    np.testing.assert_allclose(traffic, expected)
    # 2 March 2026 is a Monday: the fifth day is Friday.
    np.testing.assert_allclose(rates.factors["errors"], np.where(np.arange(168) // 24 == 4, 2.02, 1.0))


def test_simpson_s_table_comes_out_to_its_digits() -> None:
    # Crook et al. (2009), table 1: Friday 1 % of a million users in treatment, Saturday one half; converted and all, by arm.
    friday, saturday = np.array([[230, 10_000], [20_000, 990_000]]), np.array([[6_000, 500_000], [5_000, 500_000]])
    # A "harm" raises what is worse up: here it stands for the treatment's better conversion, 0.28 and 0.20 points.
    better = {"shape": "step", "metric": "converted"}
    made = scenario(
        starts="2026-03-06T00:00:00Z",
        tick="6h",
        horizon="2d",
        users={"count": 20_000_000, "segments": {"all": "100%"}},
        traffic={"requests": "100000000/d"},
        metrics={"converted": {"kind": "proportion", "per": "request", "normal": "1%"}},
        rollout={"control": "the_rest", "steps": [{"expose": "1%", "soak": "1d"}, {"expose": "50%", "soak": "rest"}]},
        drift=[{"name": "week", "shape": "weekly", "metric": "converted", "days": {"fri": "x2.02"}}],
        harms=[
            {**better, "name": "friday", "onset": {"at": "0m"}, "lasts": "1d", "add": "0.28pp"},
            {**better, "name": "saturday", "onset": {"at": "1d"}, "add": "0.2pp"},
        ],
    )
    world = AggregateWorld(made, np.arange(200), seed=1, watched=Watched(frozenset({"converted"}), first_seen=False))
    path = world.begin(harmed=True)
    counts = np.zeros((2, 2, 2))
    for tick in range(8):
        position = np.full(200, 1 + tick // 4)
        sums = path.advance(world.draw(tick), Exposure(position, position)).sums["converted"]
        counts[tick // 4] += np.stack([values[0, :2].sum(axis=1) for values in (sums.total, sums.observations)], axis=1)
    # 200 lanes of 100 million a day: the least cell has 2e8 requests, a standard error of 0.001 points.
    for found, published in ((counts[0], friday), (counts[1], saturday), (counts.sum(axis=0), friday + saturday)):
        np.testing.assert_array_equal(*(np.round(100 * each[:, 0] / each[:, 1], 2) for each in (found, published)))
    # Better on each day, worse together.
    pooled = counts.sum(axis=0)
    np.testing.assert_array_equal(np.round(100 * pooled[:, 0] / pooled[:, 1], 2), [1.22, 1.68])
