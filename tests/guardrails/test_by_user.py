"""Comparisons user by user: the delta method against a table of users, and what a rule is given of a growing one."""

from __future__ import annotations

import numpy as np
import pytest

from simlab.guardrails.by_user import LEAST_GROWTH, contrast_by_user
from simlab.guardrails.contrast import CONTROL_SUM, SMALLER, TREATMENT_SUM, VARIANCE
from simlab.guardrails.look import Floats, Look, UserSums
from simlab.guardrails.rule import Takes
from simlab.guardrails.signal import Signal
from tests.looks import MINUTE, make_look

BY_USER = Signal(watch="m", compare="difference", unit="user")


def terms_of(y: Floats, n: Floats) -> Floats:
    """Return the sums over the users of one arm."""
    seen = n > 0
    return np.array([seen.sum(), y.sum(), n.sum(), (y**2).sum(), (n**2).sum(), (y * n).sum()])


def sums_of(arms: list[tuple[Floats, Floats]]) -> Floats:
    """Return [terms, 1 part, 1 segment, 2 arms, 1 lane]."""
    return np.stack([terms_of(*arm) for arm in arms], axis=-1)[:, None, None, :, None]


def table(seed: int, users: int, *, lift: float = 0.0) -> tuple[Floats, Floats]:
    """Return totals and units of the first of 1,000 users, the same ones for every number of them."""
    rng = np.random.default_rng(seed)
    n = 1.0 + rng.poisson(5 * rng.gamma(0.7, 1 / 0.7, 1000))
    return rng.poisson(n * rng.gamma(2.0, 0.5, 1000) * (0.3 + lift)).astype(np.float64)[:users], n[:users].astype(np.float64)


def look_of(before: Floats, after: Floats, *, time: int = 1) -> Look:
    made = make_look({}, time=time)
    return Look(**{**vars(made), "users": {"m": UserSums(before, after)}})


def test_the_terms_are_those_of_the_delta_method() -> None:
    treated, control = table(1, 300), table(2, 500)
    sums = sums_of([treated, control])
    terms = contrast_by_user(UserSums(np.zeros_like(sums), sums), null_ratio=1.0, together=False)[:, 0, 0]
    means, variance = [], 0.0
    for y, n in (treated, control):
        ratio = y.sum() / n.sum()
        means.append(ratio)
        # Deng, Knoblich & Lu (2018), equation 3, by its means, variances and covariance.
        covariance = np.cov(y, n)
        delta = covariance[0, 0] - 2 * ratio * covariance[0, 1] + ratio**2 * covariance[1, 1]
        variance += delta / (len(y) * n.mean() ** 2)
    np.testing.assert_allclose(terms[VARIANCE], 1 / variance)
    np.testing.assert_allclose(terms[TREATMENT_SUM], means[0] / variance)
    np.testing.assert_allclose(terms[CONTROL_SUM], means[1] / variance)
    assert terms[SMALLER] == treated[1].sum()


def test_with_one_unit_a_user_it_is_the_comparison_of_requests() -> None:
    rng = np.random.default_rng(3)
    arms = [((rng.random(users) < 0.1).astype(float), np.ones(users)) for users in (200, 300)]
    sums = sums_of(arms)
    x = BY_USER.observe(
        BY_USER.initial(1, 1, every=MINUTE), look_of(np.zeros_like(sums), sums), takes=Takes.STANDARDISED, elapsed=MINUTE
    )
    y = np.concatenate([arm[0] for arm in arms])
    expected = (arms[0][0].mean() - arms[1][0].mean()) / np.sqrt(y.var(ddof=1) * (1 / 200 + 1 / 300))
    np.testing.assert_allclose(x.seen.value[0, 0], expected)


def test_over_looks_the_rule_is_given_the_cumulative_z() -> None:
    growing = [[table(seed, 100 * (look + 1), lift=0.05 * (seed == 1)) for seed in (1, 2)] for look in range(5)]
    state, before, score, information = BY_USER.initial(1, 1, every=MINUTE), np.zeros((6, 1, 1, 2, 1)), 0.0, 0.0
    for time, arms in enumerate(growing, start=1):
        after = sums_of(arms)
        answer = BY_USER.observe(state, look_of(before, after, time=time), takes=Takes.STANDARDISED, elapsed=time * MINUTE)
        state, before = answer.state, after
        assert answer.seen.valid.all()
        score += answer.seen.value[0, 0] * np.sqrt(answer.seen.information[0, 0])
        information += answer.seen.information[0, 0]
        whole = contrast_by_user(UserSums(np.zeros_like(after), after), null_ratio=1.0, together=True)[:, 0, 0]
        np.testing.assert_allclose(information, whole[VARIANCE])
        np.testing.assert_allclose(score, whole[TREATMENT_SUM] - whole[CONTROL_SUM])


def test_a_look_that_adds_little_waits_and_nothing_of_it_is_lost() -> None:
    first, more = [table(1, 400), table(2, 400)], [table(1, 404), table(2, 404)]
    much = [table(1, 600), table(2, 600)]
    state = BY_USER.initial(1, 1, every=MINUTE)
    answers, before = [], np.zeros((6, 1, 1, 2, 1))
    for time, arms in enumerate((first, more, much), start=1):
        after = sums_of(arms)
        answers.append(BY_USER.observe(state, look_of(before, after, time=time), takes=Takes.STANDARDISED, elapsed=time * MINUTE))
        state, before = answers[-1].state, after
    assert [bool(answer.seen.valid[0, 0]) for answer in answers] == [True, False, True]
    assert answers[1].skipped.all()
    held, grown = (
        contrast_by_user(UserSums(np.zeros_like(s), s), null_ratio=1.0, together=True)[VARIANCE, 0, 0]
        for s in map(sums_of, (first, much))
    )
    assert grown > held * (1 + LEAST_GROWTH)
    np.testing.assert_allclose(answers[2].seen.information[0, 0], grown - held)


@pytest.mark.parametrize("takes", [Takes.EVENT_COUNTS, Takes.ARM_COUNTS])
def test_it_gives_no_counts(takes: Takes) -> None:
    assert not BY_USER.gives(takes)
    assert BY_USER.gives(Takes.STANDARDISED)
    assert not Signal(watch="m", of="everyone", unit="user", target=0.0, spread=1.0).gives(Takes.STANDARDISED)


def with_covariate(y: Floats, n: Floats, x: Floats) -> Floats:
    """Return the sums over the users of one arm, those of the covariate last."""
    return np.concatenate([terms_of(y, n), [x.sum(), (x**2).sum(), (x * y).sum(), (x * n).sum()]])


@pytest.mark.parametrize("together", [True, False])
def test_adjusted_for_a_covariate_it_is_a_regression_of_the_residuals(together: bool) -> None:
    arms = [table(1, 300), table(2, 500)]
    before = [0.5 * y + np.random.default_rng(seed).normal(size=len(y)) for seed, (y, _) in enumerate(arms)]
    sums = np.stack([with_covariate(*arm, x) for arm, x in zip(arms, before, strict=True)], axis=-1)[:, None, None, :, None]
    none = UserSums(np.zeros_like(sums), sums)
    terms = contrast_by_user(none, null_ratio=1.0, together=together, adjusted=True)[:, 0, 0]
    plain = contrast_by_user(none, null_ratio=1.0, together=together)[:, 0, 0]
    (y1, n1), (y2, n2) = arms
    ratios = [(y1.sum() + y2.sum()) / (n1.sum() + n2.sum())] * 2 if together else [y1.sum() / n1.sum(), y2.sum() / n2.sum()]
    residuals = [y - ratio * n for (y, n), ratio in zip(arms, ratios, strict=True)]
    x, r = np.concatenate(before), np.concatenate(residuals)
    centred = x - x.mean() if together else np.concatenate([each - each.mean() for each in before])
    slope = (centred @ r) / (centred @ centred)
    left = r - slope * centred
    spread = [left @ left / 798] * 2 if together else [left[:300] @ left[:300] / 299, left[300:] @ left[300:] / 499]
    variance = sum(s * len(n) / n.sum() ** 2 for s, (_, n) in zip(spread, arms, strict=True))
    means = [y.sum() / n.sum() - slope * (each.mean() - x.mean()) / n.mean() for (y, n), each in zip(arms, before, strict=True)]
    np.testing.assert_allclose(terms[VARIANCE], 1 / variance, rtol=1e-9)
    np.testing.assert_allclose(terms[TREATMENT_SUM], means[0] / variance, rtol=1e-9)
    np.testing.assert_allclose(terms[CONTROL_SUM], means[1] / variance, rtol=1e-9)
    assert terms[VARIANCE] > plain[VARIANCE]


def test_a_covariate_that_says_nothing_changes_nothing() -> None:
    arms = [table(1, 300), table(2, 500)]
    sums = np.stack([with_covariate(*arm, np.zeros(len(arm[0]))) for arm in arms], axis=-1)[:, None, None, :, None]
    none = UserSums(np.zeros_like(sums), sums)
    adjusted = contrast_by_user(none, null_ratio=1.0, together=False, adjusted=True)
    np.testing.assert_array_equal(adjusted, contrast_by_user(none, null_ratio=1.0, together=False))
