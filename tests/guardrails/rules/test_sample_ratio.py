"""The sequential test of the sample ratio: published values, an exact martingale, and ramps."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logsumexp
from scipy.stats import binom

from simlab.guardrails.rule import SpendsError
from simlab.guardrails.rules.sample_ratio import SampleRatio, SampleRatioState, log_e_value
from tests.looks import MINUTE, observation

# A one-sided error of 3e-5.
Z = 4.0


def step(rule: SampleRatio, state: SampleRatioState, counts: object, shares: object) -> tuple[SampleRatioState, np.ndarray]:
    """Return the new state and the statistic [lanes] after one look of parts; counts are [parts, 2, lanes]."""
    counted = np.asarray(counts, dtype=float)
    planned = np.broadcast_to(np.asarray(shares, dtype=float)[:, :, None], counted.shape)
    state, statistic, _ = rule.update(state, observation(counts=counted[:, :, None, :], shares=planned))
    return state, statistic[0]


def log_e(rule: SampleRatio, looks: list[tuple[object, object]]) -> float:
    """Return the statistic of one lane after looks of (counts [parts, 2], shares [parts, 2])."""
    state = rule.initial(1, 1, every=MINUTE)
    for counts, shares in looks:
        state, statistic = step(rule, state, np.asarray(counts, dtype=float)[:, :, None], shares)
    return float(statistic[0])


# Lindon & Malek, NeurIPS 2022, eq. 5, at 50/50 and concentration 100; four decimals.
@pytest.mark.parametrize(("counts", "published"), [((60, 40), 0.6589), ((550, 450), 3.3547)])
def test_published_e_values(counts: tuple[int, int], published: float) -> None:
    found = log_e(SampleRatio(concentration=100.0), [([counts], [(0.5, 0.5)])])
    assert found == pytest.approx(published, abs=5e-5)


@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_the_e_value_has_mean_one_at_every_count(share: float) -> None:
    for users in (1, 7, 300):
        treated = np.arange(users + 1.0)
        shares = np.full(users + 1, share)
        log_values = log_e_value(treated, users - treated, share=shares, concentration=50.0)
        assert logsumexp(binom.logpmf(treated, users, share) + log_values) == pytest.approx(0.0, abs=1e-9)


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=12),
    st.sets(st.integers(1, 11)),
    st.sampled_from([(0.5, 0.5), (0.1, 0.1), (0.02, 0.98)]),
)
def test_batches_do_not_matter(counts: list[tuple[int, int]], cuts: set[int], shares: tuple[float, float]) -> None:
    rule = SampleRatio(concentration=100.0)
    singly = log_e(rule, [([each], [shares]) for each in counts])
    batches = np.split(np.array(counts), sorted(cut for cut in cuts if cut < len(counts)))
    assert log_e(rule, [([batch.sum(axis=0)], [shares]) for batch in batches]) == pytest.approx(singly, abs=1e-9, nan_ok=True)
    # As the parts of looks, too.
    assert log_e(rule, [(batch, [shares] * len(batch)) for batch in batches]) == pytest.approx(singly, abs=1e-9, nan_ok=True)


def test_only_the_ratio_of_the_two_arms_matters() -> None:
    rule = SampleRatio(concentration=100.0)
    assert log_e(rule, [([(60, 40)], [(0.1, 0.1)])]) == log_e(rule, [([(60, 40)], [(0.5, 0.5)])])


def test_steps_multiply() -> None:
    rule = SampleRatio(concentration=100.0)
    small, half = ([(5, 95)], [(0.02, 0.98)]), ([(60, 40)], [(0.5, 0.5)])
    expected = log_e(rule, [small]) + log_e(rule, [half])
    assert log_e(rule, [small, half]) == pytest.approx(expected, abs=1e-12)
    assert log_e(rule, [([(5, 95), (60, 40)], [(0.02, 0.98), (0.5, 0.5)])]) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("shares", [(1.0, 0.0), (0.0, 1.0), (0.0, 0.0)])
def test_a_part_without_both_arms_is_ignored(shares: tuple[float, float]) -> None:
    rule = SampleRatio(concentration=100.0)
    half = ([(60, 40)], [(0.5, 0.5)])
    unmoved = log_e(rule, [half])
    assert log_e(rule, [half, ([(500, 0)], [shares])]) == unmoved
    assert log_e(rule, [([(60, 40), (500, 0)], [(0.5, 0.5), shares])]) == unmoved


def test_nobody_cannot_be_judged() -> None:
    assert np.isnan(log_e(SampleRatio(), [([(0, 0)], [(0.5, 0.5)])]))


def test_a_harmless_ramp_keeps_the_error_and_a_constant_ratio_does_not() -> None:
    lanes, looks, users, alpha = 20_000, 20, 500, 0.05
    rule = SampleRatio(alpha=alpha, concentration=100.0)
    generator = np.random.default_rng(5)
    state = rule.initial(1, lanes, every=MINUTE)
    alarmed, pooled = np.zeros(lanes, dtype=bool), np.zeros((2, lanes))
    for share in (0.02, 0.5):
        for _ in range(looks):
            treated = generator.binomial(users, share, lanes)
            counts = np.stack([treated, users - treated])
            state, statistic = step(rule, state, counts[None], [(share, 1 - share)])
            alarmed |= statistic >= rule.threshold
            pooled += counts
    # Ville's inequality: at most alpha. The upper bound errs with probability 3e-5 if alpha is attained.
    assert alarmed.mean() <= alpha + Z * math.sqrt(alpha * (1 - alpha) / lanes)
    # Not because it cannot alarm at all: with 40 looks some lanes get there.
    assert alarmed.any()
    constant = log_e_value(pooled[0], pooled[1], share=np.full(lanes, 0.5), concentration=100.0)
    assert (constant >= rule.threshold).all()


@pytest.mark.parametrize("concentration", [10.0, 1000.0])
def test_many_looks_keep_the_error(concentration: float) -> None:
    lanes, alpha = 4_000, 0.1
    rule = SampleRatio(alpha=alpha, concentration=concentration)
    generator = np.random.default_rng(6)
    state = rule.initial(1, lanes, every=MINUTE)
    alarmed = np.zeros(lanes, dtype=bool)
    for _ in range(400):
        treated = generator.binomial(5, 0.5, lanes)
        state, statistic = step(rule, state, np.stack([treated, 5 - treated])[None], [(0.5, 0.5)])
        alarmed |= statistic >= rule.threshold
    # Ville's inequality; error rate 3e-5 if alpha is attained.
    assert 0 < alarmed.mean() <= alpha + Z * math.sqrt(alpha * (1 - alpha) / lanes)


def test_a_real_mismatch_is_found() -> None:
    lanes, users = 1_000, 40_000
    treated = np.random.default_rng(7).binomial(users, 0.48, lanes)
    rule = SampleRatio()
    _, statistic = step(rule, rule.initial(1, lanes, every=MINUTE), np.stack([treated, users - treated])[None], [(0.5, 0.5)])
    # The shares are 8 standard errors apart and the alarm needs less than 5, so that a lane misses with probability 1e-3 at
    # most; 20 misses of 1,000 are then rarer than 1e-15.
    assert (statistic < rule.threshold).sum() < 20


def test_it_alarms_at_one_over_alpha() -> None:
    assert SampleRatio(alpha=0.01).threshold == pytest.approx(math.log(100))


@given(st.integers(0, 2**32 - 1))
def test_lanes_together_are_lanes_alone(seed: int) -> None:
    generator = np.random.default_rng(seed)
    rule = SampleRatio(concentration=100.0)
    looks = generator.integers(0, 50, size=(6, 2, 2, 1, 3)).astype(float)
    shares = generator.choice([0.0, 0.1, 0.5], size=(6, 2, 2, 3))
    together, alone = rule.initial(1, 3, every=MINUTE), [rule.initial(1, 1, every=MINUTE) for _ in range(3)]
    for counts, planned in zip(looks, shares, strict=True):
        together, statistic, _ = rule.update(together, observation(counts=counts, shares=planned))
        for lane in range(3):
            seen = observation(counts=counts[..., [lane]], shares=planned[..., [lane]])
            alone[lane], single, _ = rule.update(alone[lane], seen)
            np.testing.assert_array_equal(single[:, 0], statistic[:, lane])


def test_the_state_is_not_changed() -> None:
    rule = SampleRatio()
    state = rule.initial(1, 1, every=MINUTE)
    for array in state:
        array.flags.writeable = False
    step(rule, state, [[[60], [40]], [[1], [99]]], [(0.5, 0.5), (0.02, 0.98)])


def test_its_error_can_be_set_by_a_budget() -> None:
    rule = SampleRatio(alpha=0.05, concentration=7.0)
    assert isinstance(rule, SpendsError)
    assert rule.with_alpha(0.01) == SampleRatio(alpha=0.01, concentration=7.0)
