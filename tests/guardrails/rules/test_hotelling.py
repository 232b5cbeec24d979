"""Hotelling's T^2: its distribution for known and for learnt moments, and several metrics in one guardrail."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import pytest
from scipy.stats import chi2, f, ncx2

from simlab.errors import UnitError
from simlab.guardrails.guardrail import Guardrail
from simlab.guardrails.look import Code, Look, Sums
from simlab.guardrails.policy import Policy
from simlab.guardrails.rules.hotelling import Hotelling, squared_distance
from simlab.guardrails.signal import Signal
from simlab.run_lengths import run_length
from tests.guardrails.rules.vectors import assert_vector_contract, equicorrelated, run_vectors
from tests.looks import MINUTE, by_arm, codes, events, make_look, run, values


@pytest.mark.parametrize("metrics", [1, 2, 5])
@pytest.mark.parametrize("correlation", [0.0, 0.3, 0.95])
def test_the_distance_is_that_of_the_full_matrix(metrics: int, correlation: float) -> None:
    z = np.random.default_rng(1).normal(size=(metrics, 50))
    matrix = np.full((metrics, metrics), correlation) + (1 - correlation) * np.eye(metrics)
    expected = np.einsum("il,ij,jl->l", z, np.linalg.inv(matrix), z)
    np.testing.assert_allclose(squared_distance(z, correlation), expected, rtol=1e-11)


# Upper 0.5 % points of chi-square, as tables of control limits print them.
@pytest.mark.parametrize(("metrics", "limit"), [(2, 10.597), (3, 12.838), (4, 14.860), (10, 25.188)])
def test_it_alarms_at_the_limit_of_chi_square(metrics: int, limit: float) -> None:
    z = np.zeros((1, metrics, 2))
    z[0, 0] = np.sqrt([limit - 1e-3, limit + 1e-3])
    found = run_vectors(Hotelling(alpha=0.005), z)[0, 0]
    assert (found >= Hotelling(alpha=0.005).threshold).tolist() == [False, True]


def test_the_statistic_is_the_log_of_the_tail() -> None:
    z = np.random.default_rng(2).normal(size=(1, 3, 40))
    distance = (z[0] ** 2).sum(axis=0)
    np.testing.assert_allclose(run_vectors(Hotelling(), z)[0, 0], -chi2.logsf(distance, 3), rtol=1e-10)
    m, p = 20, 3
    scaled = distance * m * (m - p) / (p * (m + 1) * (m - 1))
    np.testing.assert_allclose(run_vectors(Hotelling(learnt_from=m), z)[0, 0], -f.logsf(scaled, p, m - p), rtol=1e-10)


@pytest.mark.parametrize("correlation", [0.0, 0.6])
@pytest.mark.parametrize("shift", [0.0, 1.0, 2.0])
def test_the_run_length_is_geometric(correlation: float, shift: float) -> None:
    metrics, alpha = 2, 0.005
    made = Hotelling(alpha=alpha, correlation=correlation)

    def sample(rng: np.random.Generator, lanes: int) -> np.ndarray:
        drawn = equicorrelated(rng, metrics, lanes, correlation=correlation)
        drawn[0] += shift
        return drawn

    found = run_length(made, sample, lanes=5_000, horizon=10**5, seed=3)
    length = squared_distance(np.array([[shift], [0.0]]), correlation)[0]
    limit = chi2.isf(alpha, metrics)
    exact = 1 / (ncx2.sf(limit, metrics, length) if shift else alpha)
    assert found.mean is not None
    # A two-sided error of 6e-5 for each.
    assert abs(found.mean.value - exact) < 4 * (found.mean.high - found.mean.value) / 1.96


def test_learnt_moments_need_the_wider_limit() -> None:
    generator, lanes, looks, alpha = np.random.default_rng(4), 40_000, 8, 0.01
    learnt = generator.normal(size=(looks, 1, lanes))
    z = (generator.normal(size=(1, 1, lanes)) - learnt.mean(axis=0)) / learnt.std(axis=0, ddof=1)
    share = {m: (run_vectors(Hotelling(alpha=alpha, learnt_from=m), z) >= -math.log(alpha)).mean() for m in (0, looks)}
    # An error of 6e-5; taken for known they alarm far more often.
    assert abs(share[looks] - alpha) < 4 * math.sqrt(alpha * (1 - alpha) / lanes)
    assert share[0] > 3 * alpha


def test_more_looks_are_learnt_from_than_there_are_metrics() -> None:
    assert Hotelling(learnt_from=3).initial(2, 1, every=MINUTE).shape == (2, 1)
    with pytest.raises(UnitError, match="learnt_from 3 must be above the number of metrics, 3"):
        Hotelling(learnt_from=3).initial(3, 1, every=MINUTE)


def test_it_keeps_the_contract_of_several_metrics() -> None:
    assert_vector_contract(Hotelling(correlation=0.4))
    assert_vector_contract(Hotelling(learnt_from=9))


# -- a guardrail over several metrics ------------------------------------------------------------------------------------

BOTH = ("m", "x")


def looks(shift: float, *, count: int = 4, seed: int = 5) -> list[Look]:
    """Return looks in which events and values are worse in treatment by `shift` standard errors or so each."""
    generator = np.random.default_rng(seed)
    made = []
    for time in range(1, count + 1):
        treated, control = 1_000 * 0.1 + shift * 13, generator.binomial(1_000, 0.1)
        durations = generator.normal(size=(2, 500)) + np.array([[shift * 0.063], [0.0]])
        made.append(make_look({"m": events((1_000, treated), (1_000, control)), "x": values(*durations)}, time=time))
    return made


def test_each_metric_is_turned_in_its_own_direction() -> None:
    found = {}
    directions: list[tuple[Literal["up", "down"], Literal["up", "down"]]] = [("up", "up"), ("up", "down"), ("down", "down")]
    for worse in directions:
        signal = Signal(watch=BOTH, compare="difference", worse=worse)
        state = signal.initial(1, 1, every=MINUTE)
        guardrail = Guardrail(signal, Hotelling(), MINUTE)
        found[worse] = guardrail.observe(guardrail.initial(1, 1), looks(2.0)[0]).seen.value[:, 0]
        assert state.waiting.shape[1:] == (2, 1)
    up = found["up", "up"]
    assert (up > 0).all()
    np.testing.assert_array_equal(found["up", "down"], up * [1, -1])
    np.testing.assert_array_equal(found["down", "down"], -up)


def test_several_metrics_are_the_single_ones_side_by_side() -> None:
    look = looks(1.0)[0]
    both = Guardrail(Signal(watch=BOTH, compare="difference"), Hotelling(), MINUTE)
    together = both.observe(both.initial(1, 1), look).seen
    for index, name in enumerate(BOTH):
        signal = Signal(watch=name, compare="difference")
        alone = Guardrail(signal, Hotelling(), MINUTE)
        seen = alone.observe(alone.initial(1, 1), look).seen
        assert (seen.value[0, 0], seen.information[0, 0]) == (together.value[index, 0], together.information[index, 0])


def test_harm_in_both_alarms_and_says_so() -> None:
    guardrail = Guardrail(Signal(watch=BOTH, compare="difference"), Hotelling(alpha=1e-3), MINUTE)
    assert codes(run(guardrail, looks(0.0))) == [[Code.OK]] * 4
    decisions = run(guardrail, looks(4.0))
    assert codes(decisions) == [[Code.ALARM]] * 4
    assert all(decision.worse[0] for decision in decisions)
    better = Guardrail(Signal(watch=BOTH, compare="difference", worse=("down", "down")), Hotelling(alpha=1e-3), MINUTE)
    assert not any(decision.worse[0] for decision in run(better, looks(4.0)))


def test_a_thin_metric_makes_the_others_wait() -> None:
    signal = Signal(watch=BOTH, compare="difference", min_count=600)
    guardrail = Guardrail(signal, Hotelling(), MINUTE)
    one, two = looks(1.0, count=2)
    state = guardrail.initial(1, 1)
    first = guardrail.observe(state, one)
    assert (first.seen.valid.any(), first.skipped.all()) == (False, True)
    second = signal.observe(first.state, two, takes=Hotelling.takes, elapsed=2 * MINUTE)
    assert second.seen.valid.all()
    # Nothing was lost: the second look is judged on the data of both.
    windowed = Signal(watch="m", compare="difference", over=2 * MINUTE)
    alone = Guardrail(windowed, Hotelling(), MINUTE)
    after = alone.observe(alone.initial(1, 1)._replace(signal=alone.observe(alone.initial(1, 1), one).state), two)
    assert second.seen.value[0, 0] == pytest.approx(after.seen.value[0, 0], rel=1e-12)


@pytest.mark.parametrize(
    ("odd", "code", "skipped"),
    [
        (events((1_000, 0), (1_000, 0)), Code.OK, True),
        (events((0, 0), (0, 0)), Code.UNKNOWN, False),
        (events((1_000, 5), (0, 0)), Code.UNKNOWN, False),
        (Sums(by_arm(1_000, 1_000), *[by_arm(np.nan, 1)] * 2), Code.UNKNOWN, False),
        (Sums(by_arm(1_000, 1_000), *[by_arm(np.inf, 1)] * 2), Code.UNKNOWN, False),
    ],
    ids=["no event", "no data", "no control", "NaN", "infinity"],
)
@pytest.mark.filterwarnings("ignore:invalid value")
def test_what_one_metric_lacks_no_other_makes_up_for(odd: object, code: Code, skipped: bool) -> None:
    guardrail = Guardrail(Signal(watch=BOTH, compare="difference"), Hotelling(), MINUTE)
    good, other = looks(0.0, count=2)
    broken = make_look({"m": odd, "x": other.sums["x"]}, time=2)  # type: ignore[dict-item]
    decisions = run(guardrail, [good, broken])
    assert (decisions[1].code[0], decisions[1].skipped[0]) == (code, skipped)
    assert decisions[1].statistic[0] == decisions[0].statistic[0]


def test_it_stands_in_a_policy_beside_others() -> None:
    guardrail = Guardrail(Signal(watch=BOTH, compare="difference"), Hotelling(alpha=1e-3), MINUTE)
    policy = Policy("p", (guardrail, guardrail))
    state = policy.initial(2, 1)
    decisions = policy.step(state, {1: looks(4.0)[0]}).decisions
    assert [decision.code[0] for decision in decisions if decision is not None] == [Code.ALARM] * 2
