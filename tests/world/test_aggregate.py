"""The aggregate world behaves as the users it stands for: checked against users simulated one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from simlab.metrics import DurationMetric
from simlab.telemetry import TelemetryNoise
from simlab.world import draws
from simlab.world.aggregate import AggregateWorld, Watched, log_normal
from simlab.world.harms import Exposure
from tests.worlds import SCENARIO, changed, scenario

LANES = 4000
USERS, GAMMA, CV, CHANCE, PER_USER, TICKS = 400, 0.7, 1.5, 0.05, 5.0, 12
Z = 5.0  # standard errors; two-sided error 6e-7 for each comparison


def one_cell_world(lanes: int = LANES, **changes: Any) -> AggregateWorld:
    """Return a world of one segment, everybody exposed from the start, PER_USER requests a user and tick."""
    made = scenario(
        users={"count": USERS, "activity": {"gamma": GAMMA}, "segments": {"all": "100%"}},
        traffic={"requests": f"{USERS * PER_USER / 5:g}/m"},
        metrics={"errors": {"kind": "proportion", "per": "request", "normal": CHANCE, "personal_cv": CV}},
        rollout={"steps": [{"expose": "100%", "soak": "rest"}]},
        horizon="1h",
        **{"harms": [], **changes},
    )
    watched = Watched(frozenset({"errors"}), first_seen=True)
    return AggregateWorld(made, np.arange(lanes), seed=3, watched=watched)


def individual_users(lanes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return requests and errors [ticks, lanes] and distinct users with an error [lanes], user by user."""
    rng = np.random.default_rng(5)
    activity = rng.gamma(GAMMA, 1 / GAMMA, (USERS, lanes))
    shape = 1 / CV**2
    effect = rng.gamma(shape, 1 / shape, (USERS, lanes))
    requests, errors = np.empty((TICKS, lanes)), np.empty((TICKS, lanes))
    hit = np.zeros((USERS, lanes), dtype=bool)
    for tick in range(TICKS):
        n = rng.poisson(PER_USER * activity)
        e = rng.binomial(n, np.minimum(1, CHANCE * effect))
        requests[tick], errors[tick] = n.sum(axis=0), e.sum(axis=0)
        hit |= e > 0
    return requests, errors, hit.sum(axis=0)


def drawn(world: AggregateWorld) -> tuple[np.ndarray, np.ndarray]:
    noise = [world.draw(tick) for tick in range(TICKS)]
    return (
        np.array([each.requests.sum(axis=(0, 1)) for each in noise]),
        np.array([each.sums["errors"].total.sum(axis=(0, 1)) for each in noise]),
    )


def moments(values: np.ndarray) -> dict[str, np.ndarray]:
    """Return per-lane numbers whose means are the mean, the variance and the lag-5 covariance."""
    centred = values - values.mean()
    return {"mean": values[0], "variance": centred[0] ** 2, "covariance": centred[0] * centred[5]}


def assert_same_mean(one: np.ndarray, other: np.ndarray, what: str) -> None:
    error = np.sqrt(one.var() / one.size + other.var() / other.size)
    assert abs(one.mean() - other.mean()) <= Z * error, (what, one.mean(), other.mean(), error)


def test_cells_have_the_moments_of_their_users() -> None:
    requests, errors = drawn(one_cell_world())
    by_user = individual_users(1500)
    for what, cells, users in (("requests", requests, by_user[0]), ("errors", errors, by_user[1])):
        for name, values in moments(cells).items():
            assert_same_mean(values, moments(users)[name], f"{what} {name}")
    # Without the lasting effects the covariance over time would be nil: the comparison above has power.
    covariance = moments(errors)["covariance"]
    assert covariance.mean() > Z * covariance.std() / np.sqrt(LANES)


def test_personal_effects_have_the_stated_variance() -> None:
    world = one_cell_world()
    for values, variance in ((world.activity, 1 / (GAMMA * USERS)), (world.effects["errors"], CV**2 * (1 + 1 / GAMMA) / USERS)):
        squared = (values.ravel() - 1) ** 2
        assert abs(values.mean() - 1) < Z * values.std() / np.sqrt(LANES)
        assert abs(squared.mean() - variance) < Z * squared.std() / np.sqrt(LANES)


def distinct(events: np.ndarray, *, users: float, gamma: float = GAMMA) -> np.ndarray:
    return draws.distinct_users(np.uint64(9), 0, events[None, None].astype(float), np.full((1, 1), users), gamma)


@pytest.mark.parametrize("gamma", [0.1, 0.7, 5.0])
@pytest.mark.parametrize(
    ("events", "users"), [(1, 40), (2, 3), (30, 40), (60, 40), (400, 40), (12, 300), (300, 300), (5, 20_000)]
)
def test_distinct_users_are_those_of_polya_s_urn(events: int, users: int, gamma: float) -> None:
    rng = np.random.default_rng(8)
    lanes = 20_000
    by_urn = np.zeros(lanes)
    for event in range(events):
        by_urn += rng.random(lanes) < gamma * (users - by_urn) / (gamma * users + event)
    found = distinct(np.full(lanes, events), users=users, gamma=gamma)
    assert ((found >= 1) & (found <= min(events, users))).all()
    assert_same_mean(found, by_urn, "mean")
    mean, variance = draws.occupancy(float(events), float(users), gamma)
    assert_same_mean((found - mean) ** 2, (by_urn - mean) ** 2, "variance")
    squared = (by_urn - mean) ** 2
    assert abs(squared.mean() - variance) <= Z * squared.std() / np.sqrt(lanes) + 1e-6


def test_distinct_users_of_many_follow_the_law_of_gamma_activity() -> None:
    # Of N users with Poisson events at gamma activity each is hit by itself: their number is binomial, though events are not.
    rng = np.random.default_rng(8)
    users, rate, lanes = 2_000_000, 3000.0, 20_000
    found = distinct(rng.poisson(rate * rng.gamma(GAMMA * users, 1 / (GAMMA * users), lanes)), users=users)
    chance = -np.expm1(-GAMMA * np.log1p(rate / (GAMMA * users)))
    for values, expected in ((found, users * chance), ((found - users * chance) ** 2, users * chance * (1 - chance))):
        assert abs(values.mean() - expected) < Z * values.std() / np.sqrt(lanes)


def test_one_more_event_hits_at_most_one_more_user() -> None:
    counts = [distinct(np.full(500, events), users=50.0) for events in range(1, 300)]
    steps = np.diff(np.array(counts), axis=0)
    # The law of each count is right by itself; from one to the next its quantile may step back by one user.
    assert steps.min() >= -1
    assert steps.max() <= 2
    assert (steps < 0).mean() < 0.01


def test_users_seen_for_the_first_time_add_up_to_the_users_who_came() -> None:
    world = one_cell_world()
    path = world.begin(harmed=False)
    everybody = Exposure(np.ones(LANES, dtype=np.int64), np.ones(LANES, dtype=np.int64))
    seen = np.zeros(LANES)
    for tick in range(TICKS):
        found = path.advance(world.draw(tick), everybody).first_seen
        assert found is not None
        seen += found.sum(axis=(0, 1, 2))
    expected = USERS * (1 - (1 + path.exposed.sum(axis=(0, 1)) / (GAMMA * USERS)) ** -GAMMA)
    assert_same_mean(seen, expected, "first seen")
    assert_same_mean(path.users_exposed(), seen, "exposed")


def duration_metric() -> DurationMetric:
    metric = scenario().metrics["latency"]
    assert isinstance(metric, DurationMetric)
    return metric


@pytest.mark.parametrize("n", [1, 7, 400])
def test_sums_of_durations_have_the_moments_of_their_requests(n: int) -> None:
    mu, sigma = log_normal(duration_metric(), factor=1.0)
    sigma = min(sigma, 0.5)  # at the shipped tail the square's variance has no useful Monte-Carlo error
    lanes = 200_000
    requests = np.full((1, lanes), float(n))
    total, squares = np.empty_like(requests), np.empty_like(requests)
    table = draws.duration_table(sigma, 100)
    draws.draw_durations((np.uint64(1), np.uint64(2)), 0, 0, mu, sigma, table, requests, total, squares)
    w, mean = np.exp(sigma**2), np.exp(mu + sigma**2 / 2)
    variance = mean**2 * (w - 1)
    skewness, kurtosis = mean**3 * (w - 1) ** 2 * (w + 2), mean**4 * (w - 1) ** 2 * (w**4 + 2 * w**3 + 3 * w**2 - 3)
    deviation = squares - total**2 / n
    around, beyond = total - n * mean, deviation - (n - 1) * variance
    moments = [(around, 0.0), (beyond, 0.0), (around**2, n * variance), (around * beyond, (n - 1) * skewness)]
    if n > 1:
        moments.append((beyond**2, (n - 1) ** 2 * (kurtosis - variance**2 * (n - 3) / (n - 1)) / n))
    for drawn, expected in moments:
        assert abs(drawn.mean() - expected) < Z * drawn.std() / np.sqrt(lanes) + 1e-12, (drawn.mean(), expected)
    if n == 1:
        np.testing.assert_allclose(squares, total**2, rtol=1e-12)
        # Kolmogorov-Smirnov at one in a million.
        assert stats.kstest(np.log(total.ravel()), "norm", args=(mu, sigma)).pvalue > 1e-6


def run(made: AggregateWorld, *, harmed: bool, position: int = 1) -> Any:
    path = made.begin(harmed=harmed)
    lanes = len(made.lanes)
    exposure = Exposure(np.full(lanes, position), np.full(lanes, position))
    return path, [path.advance(made.draw(tick), exposure) for tick in range(made.clock.horizon)]


def test_a_harm_adds_its_effect_and_counts_whom_it_hurt() -> None:
    harm = {"name": "h", "shape": "step", "metric": "errors", "onset": {"at": "30m"}, "add": "5pp"}
    world = one_cell_world(harms=[harm])
    path, increments = run(world, harmed=True)
    twin_path, twin = run(world, harmed=False)
    for tick, (one, other) in enumerate(zip(increments, twin, strict=True)):
        np.testing.assert_array_equal(one.sums["errors"].observations, other.sums["errors"].observations)
        added = one.sums["errors"].total - other.sums["errors"].total
        assert (added >= 0).all()
        if tick < 6:
            assert not added.any()
    errors = sum(each.sums["errors"].total for each in increments[6:]).sum(axis=(0, 1))
    requests = sum(each.sums["errors"].observations for each in increments[6:]).sum(axis=(0, 1))
    base = sum(each.sums["errors"].total for each in twin[6:]).sum(axis=(0, 1))
    effect = (errors - base) / requests
    # q = add / (1 - p) of the requests that went well; the personal effect keeps their mean share at 1 - p.
    assert abs(effect.mean() - 0.05) < Z * effect.std() / np.sqrt(LANES)
    np.testing.assert_array_equal(path.harm_units["errors"], errors - base)
    assert (path.onset == 6).all()
    assert (path.users_harmed() <= path.users_exposed()).all()
    assert not twin_path.users_harmed().any()


def test_a_slow_request_harms_who_would_have_been_served_in_time() -> None:
    harm = {"name": "h", "shape": "step", "metric": "latency", "onset": {"at": "0m"}, "times": "x2"}
    made = AggregateWorld(
        scenario(harms=[harm], horizon="1h"), np.arange(500), seed=1, watched=Watched(frozenset({"latency"}), first_seen=False)
    )
    path, increments = run(made, harmed=True)
    _, twin = run(made, harmed=False)
    treated, base = increments[0].sums["latency"], twin[0].sums["latency"]
    np.testing.assert_allclose(treated.total[:, 0], 2 * base.total[:, 0])
    np.testing.assert_allclose(treated.squares[:, 0], 4 * base.squares[:, 0])
    np.testing.assert_array_equal(treated.total[:, 1:], base.total[:, 1:])
    mu, sigma = log_normal(duration_metric(), factor=1.0)
    chance = stats.norm.cdf((np.log(2.0) - mu) / sigma) - stats.norm.cdf((np.log(1.0) - mu) / sigma)
    share = path.harmed.sum(axis=(0, 1)) / path.exposed.sum(axis=(0, 1))
    assert abs(share.mean() - chance) < Z * share.std() / np.sqrt(500)


def test_noise_does_not_depend_on_what_else_is_watched() -> None:
    made = scenario(**changed(SCENARIO))
    few = AggregateWorld(made, np.arange(50), seed=1, watched=Watched(frozenset({"errors"}), first_seen=False))
    many = AggregateWorld(made, np.arange(50), seed=1, watched=Watched(frozenset({"latency", "errors"}), first_seen=True))
    for one, other in zip(few.draw(3).sums["errors"], many.draw(3).sums["errors"], strict=True):
        np.testing.assert_array_equal(one, other)
    assert "latency" not in few.draw(3).sums


def test_users_seen_for_the_first_time_are_no_more_uneven_than_users_are() -> None:
    # Users come independently of each other, and how many there are in a stratum is chance: a Poisson number.
    world = one_cell_world()
    path = world.begin(harmed=False)
    everybody = Exposure(np.ones(LANES, dtype=np.int64), np.ones(LANES, dtype=np.int64))
    found = path.advance(world.draw(0), everybody).first_seen
    assert found is not None
    seen = found.sum(axis=(0, 1, 2))
    chance = 1 - (1 + PER_USER / GAMMA) ** -GAMMA
    assert abs(seen.mean() - USERS * chance) < Z * seen.std() / np.sqrt(LANES)
    squared = (seen - USERS * chance) ** 2
    assert abs(squared.mean() - USERS * chance) < Z * squared.std() / np.sqrt(LANES)


@pytest.mark.parametrize("control", ["same_size", "the_rest"])
@pytest.mark.parametrize("exposures", [(0.1, 0.8), (0.01, 0.1, 0.5, 0.8), (0.3, 0.6, 0.7), (0.75,)])
def test_users_are_first_seen_in_the_shares_of_the_step_that_assigned_them(exposures: tuple[float, ...], control: str) -> None:
    steps = [{"expose": f"{100 * expose:g}%", "soak": "rest" if expose == exposures[-1] else "15m"} for expose in exposures]
    made = scenario(rollout={"control": control, "steps": steps}, horizon="2h", traffic={"requests": "20000/m"}, harms=[])
    world = AggregateWorld(made, np.arange(2000), seed=3, watched=Watched(frozenset(), first_seen=True))
    path = world.begin(harmed=False)
    excess, variance = np.zeros((2, len(exposures), 2000))
    for tick in range(made.clock.horizon):
        position = np.full(2000, min(1 + tick // 3, len(exposures)))
        found = path.advance(world.draw(tick), Exposure(position, position)).first_seen
        assert found is not None
        treated, controls = found.sum(axis=1).swapaxes(0, 1)
        shares = world.strata.cohort_shares[position[0]]
        share = (shares[:, 0] / np.maximum(shares.sum(axis=1), 1e-9))[:, None]
        excess += treated - (treated + controls) * share
        variance += (treated + controls) * share * (1 - share)
    for cohort in np.flatnonzero(variance[:, 0] > 0):
        z = excess[cohort] / np.sqrt(variance[cohort].mean())
        assert abs(z.mean()) < Z / np.sqrt(2000)
        assert abs((z**2).mean() - 1) < Z * np.sqrt(2 / 2000)


@pytest.mark.parametrize("harmed", [True, False])
def test_events_and_their_squares_are_one_array_and_what_telemetry_leaves_of_them_are_events(harmed: bool) -> None:
    made = AggregateWorld(
        scenario(telemetry={"lost": "10%"}),
        np.arange(20),
        seed=1,
        watched=Watched(frozenset({"errors"}), first_seen=False),
    )
    path, exposure = made.begin(harmed=harmed), Exposure(*np.ones((2, 20), dtype=np.int64))
    noise = TelemetryNoise(made.scenario.telemetry, made.clock, made.lanes, seed=1)
    for tick in range(made.clock.horizon):
        increments = path.advance(made.draw(tick), exposure)
        assert increments.sums["errors"].squares is increments.sums["errors"].total
        left = noise.reported(tick, increments).sums["errors"]
        np.testing.assert_array_equal(left.total, left.total.round())
    assert not harmed or path.harm_units["errors"].sum() > 0
