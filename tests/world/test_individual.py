"""The individual world: what it counts, what moves it and what does not, and its agreement with the aggregate one."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simlab.engine import Block, World, simulate
from simlab.guardrails.look import Floats
from simlab.ladders import QuietRun, quiet_plan, quiet_runs
from simlab.world import individual
from simlab.world.aggregate import AggregateWorld, Increments, Watched
from simlab.world.harms import Exposure
from simlab.world.individual import IndividualPath, IndividualWorld
from simlab.world.visits import Visits
from tests.worlds import CUSUM, SCENARIO, changed, plan, scenario

Z = 5.0  # standard errors; two-sided error 6e-7 for each comparison
USERS: dict[str, Any] = {
    "count": 500, "detail": "individual", "activity": {"gamma": 0.7}, "segments": {"web": "70%", "app": "30%"}
}  # fmt: skip
EVERY_KIND: dict[str, Any] = {
    "errors": {"kind": "proportion", "per": "request", "normal": "5%", "personal_cv": 1.0},
    "latency": {"kind": "duration", "per": "request", "median": "200ms", "p99": "2s", "harmed_above": "1s"},
    "clicks": {"kind": "count", "per": "session", "mean": 2.0, "worse": "down", "personal_cv": 0.5},
    "conversion": {"kind": "proportion", "per": "user", "normal": "20%", "worse": "down"},
    "revenue": {"kind": "amount", "per": "request", "some": "10%", "median": 20, "p99": 200, "cap": 150},
}
ALL = Watched(frozenset(EVERY_KIND), True, frozenset(EVERY_KIND), frozenset({"latency"}))


def world(lanes: int = 8, *, first: int = 0, seed: int = 3, watched: Watched = ALL, **changes: Any) -> IndividualWorld:
    settings_of = {
        "users": USERS,
        "traffic": {"requests": "100/m"},
        "metrics": EVERY_KIND,
        "horizon": "2h",
        "harms": [],
        **changes,
    }
    return IndividualWorld(scenario(**settings_of), np.arange(first, first + lanes), seed=seed, watched=watched)


def at(position: int, lanes: int) -> Exposure:
    return Exposure(np.full(lanes, position), np.full(lanes, position))


def run(
    made: IndividualWorld, positions: list[int], *, harmed: bool = False
) -> tuple[IndividualPath, list[Visits], list[Increments]]:
    path, lanes = made.begin(harmed=harmed), len(made.lanes)
    noise = [made.draw(tick) for tick in range(len(positions))]
    return path, noise, [path.advance(each, at(position, lanes)) for each, position in zip(noise, positions, strict=True)]


def lane_of(visits: Visits) -> np.ndarray:
    return np.repeat(np.arange(len(visits.begins) - 1), np.diff(visits.begins))


def assert_same(one: Increments, other: Increments, index: slice = slice(None)) -> None:
    for name, sums in one.sums.items():
        for mine, theirs in zip(sums, other.sums[name], strict=True):
            np.testing.assert_array_equal(mine[..., index], theirs)
    for name, users in one.users.items():
        np.testing.assert_array_equal(users[..., index], other.users[name])
    for name, counts in one.buckets.items():
        np.testing.assert_array_equal(counts[..., index], other.buckets[name])
    assert one.first_seen is not None
    assert other.first_seen is not None
    np.testing.assert_array_equal(one.first_seen[..., index], other.first_seen)


def test_a_lane_does_not_depend_on_its_block_nor_on_what_else_is_watched() -> None:
    positions = [1, 1, 2, 2, 3]
    whole = run(world(), positions)[2]
    part = run(world(3, first=4), positions)[2]
    few = run(world(watched=Watched(frozenset({"errors"}), False)), positions)[2]
    for one, other, alone in zip(whole, part, few, strict=True):
        assert_same(one, other, slice(4, 7))
        for mine, theirs in zip(one.sums["errors"], alone.sums["errors"], strict=True):
            np.testing.assert_array_equal(mine, theirs)
        assert set(alone.sums) == {"errors"}
    assert any(each.sums["errors"].total.any() for each in whole)


def test_what_is_drawn_does_not_depend_on_exposure_nor_on_the_order_of_ticks() -> None:
    made = world()
    before = made.draw(3)
    path = made.begin(harmed=True)
    for tick in range(5):
        path.advance(made.draw(tick), at(1 + tick % 3, 8))
    again = made.draw(3)
    for name, values in before.values.items():
        np.testing.assert_array_equal(values, again.values[name])
    np.testing.assert_array_equal(before.seat, again.seat)
    assert not np.array_equal(before.request, made.draw(4).request[: len(before.request)])


def test_buckets_stick_change_with_the_salt_and_fill_strata_by_chance() -> None:
    made, salted = world(40), world(40, rollout={**SCENARIO["rollout"], "salt": "another"})
    visits = [made.draw(tick) for tick in range(24)]
    homes: dict[tuple[int, int], set[int]] = {}
    for each in visits:
        for lane, seat, stratum in zip(lane_of(each), each.seat, each.stratum, strict=True):
            homes.setdefault((lane, seat), set()).add(int(stratum))
    assert all(len(strata) == 1 for strata in homes.values())
    counts = np.zeros((40, made.strata.count))
    for (lane, _), strata in homes.items():
        counts[lane, next(iter(strata))] += 1
    expected = counts.sum(axis=1, keepdims=True) * made.strata.widths
    squared = (counts - expected) ** 2 / (expected * (1 - made.strata.widths))
    assert abs(squared.mean() - 1) < Z * squared.std() / np.sqrt(squared.size)
    one, other = made.draw(0), salted.draw(0)
    np.testing.assert_array_equal(one.seat, other.seat)
    # Independent buckets: the same stratum as often as chance has it, sum of w^2.
    chance = (made.strata.widths**2).sum()
    assert abs((one.stratum == other.stratum).mean() - chance) < Z * np.sqrt(chance / len(one.seat)) + 0.05


def test_different_users_are_counted() -> None:
    made = world(users={**USERS, "stay": "30m"})
    path, noise, increments = run(made, [1, 1, 2, 3, 3, 3])
    for lane in range(8):
        exposed: set[tuple[int, int]] = set()
        assigned: set[tuple[int, int]] = set()
        for tick, position in enumerate([1, 1, 2, 3, 3, 3]):
            here = lane_of(noise[tick]) == lane
            rows = zip(noise[tick].seat[here], noise[tick].life[here], noise[tick].stratum[here], strict=True)
            new = 0
            for seat, life, stratum in rows:
                treated = stratum < made.strata.treated[position]
                if treated:
                    exposed.add((seat, life))
                if (treated or stratum >= made.strata.control_from[position]) and (seat, life) not in assigned:
                    assigned.add((seat, life))
                    new += 1
            seen = increments[tick].first_seen
            assert seen is not None
            assert seen[..., lane].sum() == new
            assert increments[tick].sums["conversion"].observations[..., lane].sum() == new
        assert path.users_exposed()[lane] == len(exposed)


def test_sums_are_those_of_the_visits_and_sums_over_users_those_of_the_users() -> None:
    made = world(2, users={**USERS, "pages": 3})
    positions = [1, 1, 2, 3, 3]  # 10 %, then one half; everybody from the fourth tick on, which takes users from control
    _, noise, increments = run(made, positions)
    users: dict[str, dict[tuple[Any, ...], list[float]]] = {name: {} for name in EVERY_KIND}
    terms = {name: np.zeros((6, 2, 2, 2)) for name in EVERY_KIND}
    for tick, position in enumerate(positions):
        visits = noise[tick]
        if tick and made.strata.allocation[position] != made.strata.allocation[positions[tick - 1]]:
            users = {name: {} for name in EVERY_KIND}
            terms = {name: np.zeros((6, 2, 2, 2)) for name in EVERY_KIND}
        arms = np.where(
            visits.stratum < made.strata.treated[position],
            0,
            np.where(visits.stratum >= made.strata.control_from[position], 1, 2),
        )
        for name, metric in EVERY_KIND.items():
            sums = increments[tick].sums[name]
            if metric["per"] != "user":
                units = visits.opens if metric["per"] == "session" else np.ones(len(arms), dtype=bool)
                for arm in range(3):
                    chosen = visits.values[name][units & (arms == arm)]
                    assert sums.observations[:, arm].sum() == len(chosen)
                    np.testing.assert_allclose(sums.total[:, arm].sum(), chosen.sum())
                    np.testing.assert_allclose(sums.squares[:, arm].sum(), (chosen**2).sum())
                rows = zip(
                    lane_of(visits)[units],
                    visits.seat[units],
                    visits.segment[units],
                    arms[units],
                    visits.values[name][units],
                    strict=True,
                )
                for lane, seat, segment, arm, value in rows:
                    if arm < 2:
                        row = users[name].setdefault((lane, seat, segment, arm), [0.0, 0.0])
                        row[0] += value
                        row[1] += 1
            terms[name] += increments[tick].users[name]
    for name in set(EVERY_KIND) - {"conversion"}:
        np.testing.assert_allclose(terms[name], terms_of(users[name]), err_msg=name)
        assert terms[name][0, :, 0].sum() > 100


def terms_of(users: dict[tuple[Any, ...], list[float]]) -> Floats:
    """Return the sums over users [terms, segments, arms, lanes] of their totals and units."""
    expected = np.zeros((6, 2, 2, 2))
    for (lane, _, segment, arm), (y, n) in users.items():
        expected[:, segment, arm, lane] += [1, y, n, y * y, n * n, y * n]
    return expected


def test_pages_make_sessions_and_leave_the_traffic() -> None:
    lanes, ticks = 60, 6
    found = {}
    for pages in (1, 4):
        noise = run(world(lanes, users={**USERS, "pages": pages}, watched=Watched(frozenset(), False)), [1] * ticks)[1]
        requests = np.array([np.diff(each.begins) for each in noise]).mean(axis=0)
        found[pages] = requests
        assert abs(requests.mean() - 500) < Z * requests.std() / np.sqrt(lanes)
        sessions = np.concatenate([each.opens for each in noise])
        error = np.sqrt(1 / sessions.sum())
        assert abs(sessions.mean() * pages - 1) < Z * error + (pages == 1)
    # Of sessions with 1 + Poisson(3) pages the variance is E(pages^2) / E(pages) = 19 / 4 times that of requests by themselves.
    assert found[4].var() > found[1].var()


HARM: dict[str, Any] = {"name": "h", "shape": "step", "onset": {"at": "1h"}}


@pytest.mark.parametrize(
    ("metric", "effect", "sign"),
    [
        ("errors", {"add": "20pp"}, 1),
        ("latency", {"times": "x2"}, 1),
        ("clicks", {"times": "x0.5"}, -1),
        ("conversion", {"add": "15pp"}, -1),
        ("revenue", {"times": "x0.6"}, -1),
    ],
)
def test_a_harm_makes_each_kind_worse_for_the_exposed_and_only_from_its_onset(
    metric: str, effect: dict[str, Any], sign: int
) -> None:
    made = world(40, harms=[{**HARM, **effect, "metric": metric, "segment": "app"}])
    positions = [2] * 24
    path, _, increments = run(made, positions, harmed=True)
    twin_path, _, twin = run(made, positions)
    change = np.zeros(40)
    for tick, (one, other) in enumerate(zip(increments, twin, strict=True)):
        if tick < 12:
            assert_same(one, other)
        np.testing.assert_array_equal(one.sums[metric].observations, other.sums[metric].observations)
        difference = one.sums[metric].total - other.sums[metric].total
        assert (sign * difference >= 0).all()
        # Segments by name: app, web; nothing in the web, nothing in control.
        assert not difference[1].any()
        assert not difference[0, 1].any()
        change += difference[0, 0]
    assert (path.onset == 12).all()
    np.testing.assert_allclose(path.harm_units[metric], np.abs(change))
    assert change.any()
    assert (path.users_harmed() > 0).any()
    assert (path.users_harmed() <= path.users_exposed()).all()
    assert not twin_path.users_harmed().any()
    assert not twin_path.harm_units[metric].any()


def test_effects_of_harms_are_as_large_as_stated() -> None:
    lanes = 200
    harms = [
        {**HARM, "name": "a", "metric": "errors", "add": "10pp", "onset": {"at": "0m"}},
        {**HARM, "name": "b", "metric": "conversion", "add": "8pp", "onset": {"at": "0m"}},
        {**HARM, "name": "c", "metric": "clicks", "times": "x0.7", "onset": {"at": "0m"}},
    ]
    increments = run(world(lanes, harms=harms), [2] * 6, harmed=True)[2]
    twin = run(world(lanes, harms=harms), [2] * 6)[2]
    for name, expected in (("errors", 0.10), ("conversion", -0.08)):
        units = sum(each.sums[name].observations[:, 0].sum(axis=0) for each in increments)
        added = sum((a.sums[name].total - b.sums[name].total)[:, 0].sum(axis=0) for a, b in zip(increments, twin, strict=True))
        effect = added / units
        assert abs(effect.mean() - expected) < Z * effect.std() / np.sqrt(lanes), name
    left, all_ = (sum(each.sums["clicks"].total[:, 0].sum(axis=0) for each in one) for one in (increments, twin))
    ratio = left / all_
    assert abs(ratio.mean() - 0.7) < Z * ratio.std() / np.sqrt(lanes)


def test_lost_requests_are_lost_to_every_metric_and_to_no_user() -> None:
    lossless, lossy = world(40), world(40, telemetry={"lost": "30%"})
    paths = [run(each, [2] * 6) for each in (lossless, lossy)]
    seen, all_ = (sum(each.sums["errors"].observations.sum(axis=(0, 1)) for each in found[2]) for found in reversed(paths))
    share = seen / all_
    assert abs(share.mean() - 0.7) < Z * share.std() / np.sqrt(40)
    for one in paths[1][2]:
        np.testing.assert_array_equal(one.sums["errors"].observations, one.sums["latency"].observations)
    np.testing.assert_array_equal(paths[0][0].users_exposed(), paths[1][0].users_exposed())


# -- in the engine ---------------------------------------------------------------------------------------------------------


BY_USER = {**CUSUM, "unit": "user", "every": "15m", "rule": {"repeated_z": {}}, "respond": "alert"}
TAIL = {
    "watch": "latency",
    "compare": "difference",
    "quantile": "95%",
    "rule": {"repeated_z": {}},
    "every": "30m",
    "respond": "alert",
}
SMALL = changed(
    SCENARIO,
    users=USERS,
    traffic={"requests": "100/m"},
    horizon="8h",
    telemetry={"delay": "1m-12m", "lost": "1%", "missing_looks": "2%"},
    harms=[{**SCENARIO["harms"][0], "add": "30pp"}],
)


def rows_of(made: Any, *, first: int = 0, lanes: int = 20) -> dict[str, np.ndarray]:
    rows = simulate(made, Block(0, first, lanes)).rows
    mine = rows["policy"] == "cusum"
    return {name: values[mine] for name, values in rows.items()}


def test_a_block_in_pieces_leaves_the_same_ladders(monkeypatch: pytest.MonkeyPatch) -> None:
    made = plan(scenarios=[SMALL], policies=[{"name": "cusum", "guardrails": [CUSUM]}])

    def ladders() -> tuple[QuietRun, ...]:
        return quiet_runs(made.settings[0].policies, [simulate(quiet_plan(made), Block(0, 0, 20))])

    (whole,) = ladders()
    monkeypatch.setattr(individual, "LANES_TIMES_USERS", 3 * USERS["count"])
    (in_pieces,) = ladders()
    for one, other in zip((*whole.harmed, *whole.twin), (*in_pieces.harmed, *in_pieces.twin), strict=True):
        assert one is not None
        assert other is not None
        assert one.lanes == other.lanes == 20
        for name in ("starts", "times", "ends", "statistics", "worse"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


def test_other_policies_blocks_and_pieces_of_blocks_do_not_change_a_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    watching = [{"name": "cusum", "guardrails": [CUSUM, BY_USER, TAIL]}]
    made = plan(scenarios=[SMALL], policies=watching)
    whole = rows_of(made)
    more = plan(scenarios=[SMALL], policies=[{"name": "other", "guardrails": [{**CUSUM, "respond": "pause"}]}, *watching])
    parts = [rows_of(made, first=0, lanes=7), rows_of(made, first=7, lanes=13)]
    joined = {
        name: np.concatenate(
            [np.concatenate([part[name][part["harmed"] == harmed] for part in parts]) for harmed in (True, False)]
        )
        for name in whole
    }
    traces = simulate(made, Block(0, 0, 20)).traces
    among_others = rows_of(more)
    monkeypatch.setattr(individual, "LANES_TIMES_USERS", 3 * USERS["count"])
    in_pieces = rows_of(made)
    for name, values in whole.items():
        np.testing.assert_array_equal(values, joined[name], err_msg=name)
        np.testing.assert_array_equal(values, among_others[name], err_msg=name)
        np.testing.assert_array_equal(values, in_pieces[name], err_msg=f"{name} in pieces")
    for one, other in zip(traces, simulate(made, Block(0, 0, 20)).traces, strict=True):
        np.testing.assert_array_equal(one.lanes, other.lanes)
        for mine, theirs in zip(one.statistics, other.statistics, strict=True):
            np.testing.assert_array_equal(mine, theirs)
    harmed = whole["harmed"].astype(bool)
    stopped = whole["action_time"][harmed] >= 0
    assert stopped.mean() > 0.5
    before = stopped & (whole["action_time"][harmed] <= whole["onset"][harmed])
    for name in ("action_time", "action"):
        np.testing.assert_array_equal(whole[name][harmed][before], whole[name][~harmed][before])


# -- agreement with the aggregate world ----------------------------------------------------------------------------------------


def totals(made: World, ticks: int) -> dict[str, Floats]:
    """Return requests, errors, errors in treatment's share, and first-seen users [ticks, lanes] at everybody exposed, and users."""
    path = made.begin(harmed=True)
    lanes = len(path.onset)
    increments = [path.advance(made.draw(tick), at(1, lanes)) for tick in range(ticks)]
    return {
        "requests": np.array([each.sums["errors"].observations.sum(axis=(0, 1)) for each in increments]),
        "errors": np.array([each.sums["errors"].total.sum(axis=(0, 1)) for each in increments]),
        "seen": np.array([each.first_seen.sum(axis=(0, 1, 2)) for each in increments if each.first_seen is not None]),
        "exposed": path.users_exposed()[None],
        "harmed": path.users_harmed()[None],
    }


def moments(values: Floats) -> dict[str, Floats]:
    """Return per-lane numbers whose means are the mean, the variance and the covariance at lags 1 and 5."""
    centred = values - values.mean(axis=1, keepdims=True)
    found = {"mean": values[-1], "variance": centred[-1] ** 2}
    return found | {f"lag {lag}": centred[0] * centred[lag] for lag in (1, 5) if lag < len(values)}


WORLDS = st.fixed_dictionaries(
    {
        "count": st.integers(100, 250),
        "gamma": st.floats(0.3, 3.0),
        "cv": st.sampled_from([0.0, 1e-9, 0.7, 1.5]),
        "normal": st.floats(0.01, 0.08),
        "per_user": st.floats(0.1, 0.6),
        "web": st.integers(30, 90),
    }
)


@settings(max_examples=8, deadline=None, derandomize=True)
@given(WORLDS)
def test_both_details_agree_in_mean_variance_and_autocorrelation(drawn: dict[str, Any]) -> None:
    lanes, ticks = 1000, 8
    users = {
        "count": drawn["count"],
        "activity": {"gamma": drawn["gamma"]},
        "segments": {"web": f"{drawn['web']}%", "app": f"{100 - drawn['web']}%"},
    }
    made: dict[str, Any] = {
        "users": users,
        "traffic": {"requests": f"{drawn['count'] * drawn['per_user'] / 5:.6f}/m"},
        "metrics": {"errors": {"kind": "proportion", "per": "request", "normal": drawn["normal"], "personal_cv": drawn["cv"]}},
        "rollout": {"steps": [{"expose": "100%", "soak": "rest"}]},
        "harms": [{**HARM, "metric": "errors", "add": "5pp", "onset": {"at": "15m"}}],
    }
    watched = Watched(frozenset({"errors"}), first_seen=True)
    cells = totals(AggregateWorld(scenario(**made), np.arange(lanes), seed=3, watched=watched), ticks)
    made["users"] = {**users, "detail": "individual"}
    people = totals(IndividualWorld(scenario(**made), np.arange(lanes), seed=3, watched=watched), ticks)
    for what, values in cells.items():
        for name, one in moments(values).items():
            # Cells let users first seen be Poisson, since how many there are in a stratum is chance; all users together are not.
            if what == "seen" and name != "mean":
                continue
            other = moments(people[what])[name]
            error = np.sqrt(one.var() / lanes + other.var() / lanes)
            assert abs(one.mean() - other.mean()) <= Z * error, (what, name, one.mean(), other.mean(), error)


@settings(max_examples=6, deadline=None, derandomize=True)
@given(WORLDS)
def test_both_details_agree_in_alarm_rates(drawn: dict[str, Any]) -> None:
    lanes = 200
    made = changed(
        SCENARIO,
        users={"count": drawn["count"], "activity": {"gamma": drawn["gamma"]}, "segments": {"all": "100%"}},
        traffic={"requests": f"{drawn['count'] * drawn['per_user'] / 5:.6f}/m"},
        metrics={"errors": {"kind": "proportion", "per": "request", "normal": drawn["normal"], "personal_cv": drawn["cv"]}},
        rollout={"control": "the_rest", "steps": [{"expose": "30%", "soak": "1h"}, {"expose": "50%", "soak": "rest"}]},
        horizon="3h",
        harms=[{**HARM, "metric": "errors", "add": "3pp"}],
    )
    z = {"watch": "errors", "compare": "difference", "rule": {"repeated_z": {"alpha": "5%"}}, "every": "15m", "respond": "alert"}
    shares = {"compare": "shares", "rule": {"srm_chi2": {"alpha": "5%"}}, "every": "15m", "respond": "alert"}
    policies = [{"name": "z", "guardrails": [z]}, {"name": "shares", "guardrails": [shares]}]
    rates = []
    for detail in ("aggregate", "individual"):
        here = copy.deepcopy(made)
        here["users"]["detail"] = detail
        rows = simulate(plan(scenarios=[here], policies=policies), Block(0, 0, lanes)).rows
        alarmed = rows["action_time"] >= 0
        rates.append(
            {
                (name, harmed): alarmed[(rows["policy"] == name) & (rows["harmed"] == harmed)].mean()
                for name in ("z", "shares")
                for harmed in (True, False)
            }
        )
    for which, one in rates[0].items():
        other, mean = rates[1][which], (one + rates[1][which]) / 2
        assert abs(one - other) <= Z * np.sqrt(2 * mean * (1 - mean) / lanes) + 1e-9, (which, one, other)
    assert 0 < rates[0]["z", False] < 1
