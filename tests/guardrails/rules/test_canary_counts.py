"""The split of events between arms: an exact expectation of one, its error under a ramp, its power and its direction."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logsumexp
from scipy.stats import binom, hypergeom

from simlab.errors import UnitError
from simlab.guardrails.guardrail import Guardrail
from simlab.guardrails.look import Code, Floats
from simlab.guardrails.rule import Observation
from simlab.guardrails.rules.canary_counts import CanaryCounts
from simlab.guardrails.signal import Signal
from tests.guardrails.rules.contract import assert_contract, assert_spends, ever_alarmed, run_all, seen_counts
from tests.looks import MINUTE, codes, events, make_look, run

# A one-sided error of 3e-5 for each simulated probability, if alpha were attained.
Z = 4.0


def split(treated: Floats, events: float, *, exposures: tuple[float, float]) -> Observation:
    """Return one look in which `treated` of the events, one number a lane, came from treatment."""
    counts = np.stack([treated, events - treated])[None, :, None, :]
    return seen_counts(counts, exposures=np.array(exposures)[None, :, None, None])


@pytest.mark.parametrize("sides", [1, 2])
@pytest.mark.parametrize("exposures", [(100.0, 100.0), (30.0, 2970.0), (900.0, 100.0)])
def test_the_expectation_is_one_whatever_the_exposures(sides: int, exposures: tuple[float, float]) -> None:
    rule = CanaryCounts(sides=sides)  # type: ignore[arg-type]
    for count in (1, 9, 60):
        treated = np.arange(count + 1.0)
        log_e = run_all(rule, [split(treated, count, exposures=exposures)])[0, 0]
        chance = exposures[0] / sum(exposures)
        assert logsumexp(binom.logpmf(treated, count, chance) + log_e) == pytest.approx(0.0, abs=1e-10)


def test_common_events_make_it_smaller_still() -> None:
    # Of 50 and 30 observations 24 had an event: the split is hypergeometric, not binomial.
    treated = np.arange(25.0)
    log_e = run_all(CanaryCounts(), [split(treated, 24, exposures=(50, 30))])[0, 0]
    assert logsumexp(hypergeom.logpmf(treated, 80, 24, 50) + log_e) < 0.0


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30), st.integers(1, 500), st.integers(1, 500)), min_size=1, max_size=6),
    st.sampled_from([1, 2]),
)
def test_the_mixture_by_hand(looks: list[tuple[int, int, int, int]], sides: int) -> None:
    rule = CanaryCounts(sides=sides, smallest=1.2, largest=3.0)  # type: ignore[arg-type]
    logs = np.exp(np.linspace(math.log(math.log(1.2)), math.log(math.log(3.0)), 12))
    ratios = [0.0] * (12 * sides)
    for treated, control, shown, held in looks:
        for index, d in enumerate([*logs, *-logs][: 12 * sides]):
            odds = shown / held
            under, null = odds * math.exp(d) / (1 + odds * math.exp(d)), odds / (1 + odds)
            ratios[index] += treated * math.log(under / null) + control * math.log((1 - under) / (1 - null))
    expected = logsumexp(ratios) - math.log(12 * sides)
    observed = [split(np.array([float(t)]), float(t + c), exposures=(s, h)) for t, c, s, h in looks]
    assert run_all(rule, observed)[-1, 0, 0] == pytest.approx(expected, abs=1e-8)
    # The parts of one look count as looks do.
    merged = seen_counts(
        np.concatenate([each.counts for each in observed if each.counts is not None]),
        exposures=np.concatenate([each.exposures for each in observed if each.exposures is not None]),
    )
    assert run_all(rule, [merged])[0, 0, 0] == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize("sides", [1, 2])
def test_the_error_is_kept_under_a_ramp_and_a_daily_cycle(sides: int) -> None:
    lanes, rule = 5_000, CanaryCounts(alpha=0.1, sides=sides)  # type: ignore[arg-type]
    looks = 300
    times = iter(range(looks))

    def draw(generator: np.random.Generator, count: int) -> Observation:
        time = next(times)
        share = (0.01, 0.1, 0.5)[3 * time // looks]
        rate = 0.05 * (1 + 0.5 * math.sin(time / 20))
        exposures = generator.poisson([[2000 * share], [2000 * (1 - share)]], (2, count)).astype(float)
        counts = generator.binomial(exposures.astype(int), rate)
        return seen_counts(counts[None, :, None], exposures=exposures[None, :, None])

    found = ever_alarmed(rule, draw, looks=looks, lanes=lanes, seed=1).mean()
    assert 0.01 < found < 0.1 + Z * math.sqrt(0.1 * 0.9 / lanes)


@pytest.mark.parametrize("ratio", [1.04, 1.5, 20.0])
def test_harm_inside_and_outside_the_grid_is_found(ratio: float) -> None:
    rule, per_look = CanaryCounts(), 4000 if ratio < 1.1 else 40

    def draw(generator: np.random.Generator, count: int) -> Observation:
        counts = generator.poisson([[per_look * ratio], [per_look]], (2, count))
        return seen_counts(counts[None, :, None], exposures=np.full((1, 2, 1, count), 1e5))

    # At 100 looks the log-likelihood ratio of the nearest ratio of the grid is 6 standard deviations or more above its threshold.
    assert ever_alarmed(rule, draw, looks=100, lanes=500, seed=2).all()


def test_one_side_ignores_an_improvement_and_two_say_so() -> None:
    better = split(np.array([10.0, 90.0]), 100.0, exposures=(500.0, 500.0))
    one, two = CanaryCounts(), CanaryCounts(sides=2)
    assert (run_all(one, [better])[0, 0] >= one.threshold).tolist() == [False, True]
    step = two.update(two.initial(1, 2, every=MINUTE), better)
    assert (step.statistic >= two.threshold).all()
    np.testing.assert_array_equal(step.worse, [[False, True]])


def test_a_part_without_both_arms_is_no_evidence() -> None:
    rule = CanaryCounts()
    for exposures in ((0.0, 50.0), (50.0, 0.0), (0.0, 0.0)):
        assert run_all(rule, [split(np.array([5.0, 0.0]), 5.0, exposures=exposures)]).tolist() == [[[0.0, 0.0]]]


def test_no_events_are_no_evidence() -> None:
    assert run_all(CanaryCounts(), [split(np.array([0.0]), 0.0, exposures=(9.0, 7.0))])[0, 0, 0] == 0.0


@pytest.mark.parametrize(("smallest", "largest"), [(1.0, 2.0), (0.5, 2.0), (2.0, 2.0), (3.0, 2.0)])
def test_a_grid_that_is_none_is_refused(smallest: float, largest: float) -> None:
    with pytest.raises(UnitError, match="must be above 1 and in this order"):
        CanaryCounts(smallest=smallest, largest=largest)


def test_a_guardrail_counts_a_metric_s_events() -> None:
    guardrail = Guardrail(Signal(watch="m", compare="ratio"), CanaryCounts(), every=MINUTE)
    looks = [make_look(events((1000, [10, 40]), (1000, [10, 10])), time=time) for time in (1, 2)]
    decisions = run(guardrail, looks)
    assert codes(decisions) == [[Code.OK, Code.ALARM]] * 2
    expected = run_all(CanaryCounts(), [split(np.array([10.0, 40.0]), np.array([20.0, 50.0]), exposures=(1, 1))] * 2)  # type: ignore[arg-type]
    np.testing.assert_allclose([decision.statistic for decision in decisions], expected[:, 0])


def test_it_keeps_the_contract() -> None:
    generator = np.random.default_rng(3)
    looks = [
        seen_counts(generator.poisson(8, (2, 2, 2, 5)), exposures=generator.choice([0, 50, 100, 400], (2, 2, 2, 5)))
        for _ in range(10)
    ]
    assert_contract(CanaryCounts(), looks)
    assert_contract(CanaryCounts(sides=2), looks)
    assert_spends(CanaryCounts())
