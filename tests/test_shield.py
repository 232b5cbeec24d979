"""The shield hides small cells and adds discrete Laplace noise; what that costs each policy is a paired difference."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import chisquare

from simlab.errors import FileErrors
from simlab.guardrails.look import BUCKETS, CONTROL, OUTSIDE, TREATMENT, FirstSeen, Floats, Sums, UserSums
from simlab.measures.privacy import DELTA, spent
from simlab.report.html import render_html
from simlab.runner import Options, run_plan
from simlab.scenario import Shield
from simlab.shield import geometric, shielded
from simlab.streams import stream_key, uniforms
from tests.looks import make_look
from tests.worlds import CUSUM, SCENARIO, changed, plan

LANES, Z = 4000, 5.0


def counts(treatment: float, control: float, *, share: float = 0.25) -> Sums:
    """Return one part of two segments, the second ten times as large, float64[1, 2, 3, LANES]."""
    cell = np.array([treatment, control, 1000.0])
    observations = np.broadcast_to(np.stack([cell, 10 * cell])[None, :, :, None], (1, 2, 3, LANES)).copy()
    events = np.floor(share * observations)
    return Sums(observations, events, events)


def through(sums: Sums, shield: Shield, **more: Any) -> Any:
    look = replace(make_look({"errors": sums}, time=7), lanes=np.arange(LANES), seed=3, **more)
    return shielded(look, shield, every=5)


def test_a_segment_with_a_small_cell_is_withheld_whole() -> None:
    sums = counts(treatment=19, control=40)
    shown = through(sums, Shield(min_cell=20)).sums["errors"]
    assert not np.asarray(shown.observations)[:, 0].any()
    np.testing.assert_array_equal(shown.observations[:, 1], sums.observations[:, 1])
    np.testing.assert_array_equal(shown.total[:, 1], sums.total[:, 1])
    for least in (1, 19):
        np.testing.assert_array_equal(through(sums, Shield(min_cell=least)).sums["errors"].observations, sums.observations)
    nobody = counts(treatment=0, control=40)
    np.testing.assert_array_equal(through(nobody, Shield(min_cell=20)).sums["errors"].observations, nobody.observations)


def test_noise_is_discrete_laplace() -> None:
    epsilon, size = 0.7, 100_000
    one, other = (uniforms(stream_key(1, "x"), 0, np.arange(size), cell=cell) for cell in (0, 1))
    noise = geometric(one, epsilon) - geometric(other, epsilon)
    a = math.exp(-epsilon)
    values = np.arange(-8, 9)
    mass = (1 - a) / (1 + a) * a ** np.abs(values)
    observed = np.array([*((noise == value).sum() for value in values), (np.abs(noise) > 8).sum()])
    # Fails by chance once in a thousand; seeded, so always or never.
    assert chisquare(observed, size * np.append(mass, 1 - mass.sum())).pvalue > 0.001


def test_counts_have_noise_and_no_bias_where_they_are_large() -> None:
    sums, epsilon = counts(treatment=400, control=400), 0.5
    noisy = through(sums, Shield(epsilon=epsilon)).sums["errors"]
    assert noisy.squares is noisy.total
    a = math.exp(-epsilon)
    variance = 2 * a / (1 - a) ** 2
    for arm in (TREATMENT, CONTROL, OUTSIDE):
        events = noisy.total[0, 0, arm] - sums.total[0, 0, arm]
        others = noisy.observations[0, 0, arm] - sums.observations[0, 0, arm] - events
        for each in (events, others):
            assert (each % 1 == 0).all()
            assert abs(each.mean()) < Z * math.sqrt(variance / LANES)
            # The fourth central moment of discrete Laplace noise is about six times the squared variance.
            assert abs(each.var() / variance - 1) < Z * math.sqrt(5 / LANES)
        assert abs(np.corrcoef(events, others)[0, 1]) < Z / math.sqrt(LANES)
    again = through(sums, Shield(epsilon=epsilon)).sums["errors"]
    np.testing.assert_array_equal(noisy.total, again.total)
    look = replace(make_look({"errors": sums}, time=7), lanes=np.arange(LANES), seed=3)
    assert not np.array_equal(noisy.total, shielded(look, Shield(epsilon=epsilon), every=10).sums["errors"].total)


def test_nothing_is_shown_below_zero_or_where_nothing_was() -> None:
    noisy = through(counts(treatment=1, control=0), Shield(epsilon=0.1)).sums["errors"]
    assert (noisy.total >= 0).all()
    assert (noisy.observations >= noisy.total).all()
    assert not noisy.observations[:, :, CONTROL].any()


def test_durations_are_told_by_their_buckets_only() -> None:
    sums = counts(treatment=100, control=100)
    seconds = Sums(sums.observations, 0.3 * sums.observations, 0.2 * sums.observations)
    buckets = np.zeros((BUCKETS, *sums.observations.shape))
    buckets[30] = sums.observations
    plain = through(seconds, Shield(min_cell=5), buckets={"errors": buckets})
    np.testing.assert_array_equal(plain.buckets["errors"], buckets)
    np.testing.assert_array_equal(plain.sums["errors"].total, seconds.total)
    noisy = through(seconds, Shield(epsilon=1.0), buckets={"errors": buckets})
    assert not noisy.sums["errors"].total.any()
    np.testing.assert_array_equal(noisy.sums["errors"].observations, noisy.buckets["errors"].sum(axis=0))
    assert (noisy.buckets["errors"] != buckets).any(axis=(1, 2, 3, 4)).all()


def test_users_are_withheld_until_there_are_enough() -> None:
    after = np.zeros((6, 1, 1, 2, 3))
    after[0, 0, 0] = [[5, 20, 30], [50, 50, 50]]
    seen = FirstSeen(after[0], np.full((1, 2, 3), 0.5))
    look = replace(make_look({}, time=1), users={"errors": UserSums(after / 2, after)}, first_seen=seen)
    found = shielded(look, Shield(min_cell=20), every=1)
    assert found.users["errors"].after[0, 0, 0].tolist() == [[0, 20, 30], [0, 50, 50]]
    assert found.users["errors"].before[0, 0, 0].tolist() == [[0, 10, 15], [0, 25, 25]]
    assert found.first_seen is not None
    assert found.first_seen.users[0, 0].tolist() == [[0, 20, 30], [0, 50, 50]]


def test_what_noise_adds_up_to() -> None:
    (policy,) = plan().settings[0].policies[:1]
    clock = plan().settings[0].scenario.clock
    found = spent(policy, clock, 0.1)
    looks = 12 * 12  # every five minutes for twelve hours
    assert (found.signals, found.releases) == (1, looks)
    assert found.epsilon_of_a_record == 0.1
    assert found.epsilon_of_a_person == pytest.approx(14.4)
    rho = looks * 0.1**2 / 2
    assert found.epsilon_at_delta == pytest.approx(rho + 2 * math.sqrt(rho * math.log(1 / DELTA)))
    assert spent(policy, clock, 10.0).epsilon_at_delta == pytest.approx(1440)
    several = plan(policies=[{"name": "p", "guardrails": [CUSUM, {**CUSUM, "every": "10m"}, {**CUSUM, "watch": "latency"}]}])
    assert spent(several.settings[0].policies[0], clock, 0.1).releases == 2 * looks + looks // 2


SMALL = {"users": {**SCENARIO["users"], "count": 2000}, "traffic": {"requests": "60/m"}, "horizon": "6h"}


def result_of(**telemetry: Any) -> Any:
    made = changed(SCENARIO, telemetry=telemetry, **SMALL)
    guardrail = {**CUSUM, "rule": {"cusum": {"k": 0.25, "h": 6.0}}, "on_unknown": "ignore"}
    return run_plan(plan(scenarios=[made], policies=[{"name": "cusum", "guardrails": [guardrail]}], start=60, cap=60))


def test_the_price_is_the_difference_of_two_runs() -> None:
    priced, plain = result_of(shield={"epsilon": 0.3}), result_of()
    (price,) = priced.scenarios[0].prices
    tables = [each.to_pandas() for each in (priced, plain)]
    acted = [table[(table["policy"] == "cusum") & ~table["harmed"]]["action_time_minutes"].notna() for table in tables]
    expected = acted[0].to_numpy().mean() - acted[1].to_numpy().mean()
    assert price.difference.estimates["false_alarms"].value == pytest.approx(expected)
    assert expected > 0, "noise is taken for events"
    assert price.difference.second == "cusum, without the shield"
    assert price.spent is not None
    assert not plain.scenarios[0].prices
    page = render_html(priced)
    assert "What the shield costs" in page
    assert "What the shield costs" not in render_html(plain)
    held = priced.to_dict()["scenarios"][0]["shield"][0]
    assert held["spent"]["epsilon_of_a_record"] == 0.3


def test_a_shield_that_hides_nothing_costs_nothing_and_small_cells_cost_time() -> None:
    (free,) = result_of(shield={"min_cell": 1}).scenarios[0].prices
    assert {each.value for each in free.difference.estimates.values()} == {0.0}
    assert free.spent is None
    (dear,) = result_of(shield={"min_cell": 30}).scenarios[0].prices
    # At 10 % exposure app has some 9 requests of treatment in five minutes: it is only seen from the second step on.
    assert dear.difference.estimates["users_harmed"].low > 0


def test_workers_and_blocks_do_not_change_the_price() -> None:
    made = plan(scenarios=[changed(SCENARIO, telemetry={"shield": {"min_cell": 20, "epsilon": 1.0}}, **SMALL)], start=40, cap=40)
    one, other = run_plan(made), run_plan(made, Options(workers=2, block_lanes=7))
    assert one.scenarios[0].prices == other.scenarios[0].prices


def test_noise_falls_on_every_block_alike() -> None:
    sums = counts(treatment=100, control=100)
    whole = through(sums, Shield(epsilon=1.0)).sums["errors"].total
    half = Sums(*(each[..., 1000:] for each in sums))
    look = replace(make_look({"errors": half}, time=7), lanes=np.arange(1000, LANES), seed=3)
    part: Floats = shielded(look, Shield(epsilon=1.0), every=5).sums["errors"].total
    np.testing.assert_array_equal(part, whole[..., 1000:])


LATENCY = {**CUSUM, "watch": "latency"}


@pytest.mark.parametrize(
    ("shield", "guardrail", "problem"),
    [
        ({"min_cell": 0}, CUSUM, "telemetry.shield.min_cell"),
        ({"epsilon": 0}, CUSUM, "telemetry.shield.epsilon"),
        ({"epsilon": -1}, CUSUM, "telemetry.shield.epsilon"),
        ({"min_cells": 5}, CUSUM, "did you mean 'min_cell'"),
        ({"epsilon": 1.0}, LATENCY, "error[shield]: policies[0].guardrails[0].watch: scenario small shields with epsilon"),
        ({"epsilon": 1.0}, {**CUSUM, "unit": "user"}, "error[shield]: policies[0].guardrails[0].unit"),
    ],
)
def test_mistakes_are_told_at_their_place(shield: dict[str, Any], guardrail: dict[str, Any], problem: str) -> None:
    users = {**SCENARIO["users"], "count": 500, "detail": "individual"}
    made = changed(SCENARIO, telemetry={"shield": shield}, users=users)
    with pytest.raises(FileErrors) as caught:
        plan(scenarios=[made], policies=[{"name": "p", "guardrails": [guardrail]}])
    assert problem in caught.value.render()
