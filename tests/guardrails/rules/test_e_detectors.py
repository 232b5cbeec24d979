"""E-detectors: the published run lengths of the Bernoulli example, and what they are in other words."""

from __future__ import annotations

import math

import numpy as np
import pytest

from simlab.errors import FileErrors, UnitError
from simlab.guardrails.look import Floats
from simlab.guardrails.rule import Assumption, Takes
from simlab.guardrails.rules.cusum import Cusum
from simlab.guardrails.rules.e_detectors import ECusum, ESr
from simlab.guardrails.rules.shiryaev_roberts import ShiryaevRoberts
from simlab.rule_from import rule
from simlab.run_lengths import RunLength, Sample, run_length
from tests.looks import statistics

BERNOULLI = {"p0": 0.02, "p1": 0.04, "alpha": 0.001}


def events(probability: float) -> Sample:
    def sample(rng: np.random.Generator, lanes: int) -> Floats:
        return (rng.random(lanes) < probability).astype(float)

    return sample


def standard_error(found: RunLength) -> float:
    assert found.mean is not None
    return (found.mean.high - found.mean.value) / 1.96


# Published with a standard error of their own. The difference has an error of 6e-5.
@pytest.mark.parametrize(
    ("key", "probability", "published", "published_error"),
    [("e_sr", 0.02, 1281, 6), ("e_sr", 0.04, 244.8, 0.7), ("e_cusum", 0.04, 779.9, 2.2)],
)
def test_published_run_length(key: str, probability: float, published: float, published_error: float) -> None:
    found = run_length({key: BERNOULLI}, events(probability), lanes=20_000, horizon=1_000_000, seed=1)
    assert found.mean is not None
    assert abs(found.mean.value - published) < 4 * math.hypot(standard_error(found), published_error)


def test_the_cusum_e_detector_has_a_run_length_far_over_its_promise() -> None:
    found = run_length({"e_cusum": BERNOULLI}, events(0.02), lanes=400, horizon=30_000, seed=2, geometric_after=1_000)
    assert found.mean is not None
    assert found.mean.low > 52_000


def test_the_mean_run_length_is_the_mean_of_m_at_the_alarm() -> None:
    # M - t is a martingale, so that optional stopping ties the two. An error of 6e-5.
    lanes, made = 4_000, ESr(p0=0.02, p1=0.04, alpha=0.02)
    draws = (np.random.default_rng(3).random((3_000, lanes)) < 0.02).astype(float)
    found = statistics(made, draws)
    reached = found >= made.threshold
    assert reached.any(axis=0).all()
    first = reached.argmax(axis=0)
    gap = np.exp(found[first, np.arange(lanes)]) - (first + 1)
    assert abs(gap.mean()) < 4 * gap.std() / math.sqrt(lanes)


def test_on_standardised_looks_they_are_shiryaev_roberts_and_cusum() -> None:
    series = np.random.default_rng(4).normal(0.2, 1.0, size=(200, 3))
    log_r = statistics(ShiryaevRoberts(theta=0.8), series)
    np.testing.assert_allclose(statistics(ESr(theta=0.8), series), log_r, rtol=1e-13, atol=1e-15)
    log_m = statistics(ECusum(theta=0.8), series)
    np.testing.assert_allclose(np.maximum(log_m, 0) / 0.8, statistics(Cusum(k=0.4), series), atol=1e-12)


@pytest.mark.parametrize("kind", [ESr, ECusum])
def test_a_level_in_between_is_an_e_value(kind: type[ESr] | type[ECusum]) -> None:
    made = kind(p0=0.02, p1=0.04)
    # Against the line between the two ends, whose mean is 1 at a mean level of 0.02.
    levels = np.linspace(0, 1, 101)
    line = 1 + (levels - 0.02) * (2 - 0.96 / 0.98)
    assert (np.exp(made.log_e_value(levels)) <= line + 1e-12).all()


def test_a_level_that_is_none_is_no_number() -> None:
    assert np.isnan(statistics(ESr(p0=0.02, p1=0.04), np.array([[-0.1, 1.1, np.nan]]))).all()


def test_what_it_takes_and_rests_on_follows_the_likelihood() -> None:
    assert ESr().takes is Takes.STANDARDISED
    assert Assumption.NORMAL in ESr().guarantee.assumptions
    levels = rule({"e_sr": {"p0": "2%", "p1": "4%"}})
    assert levels.takes is Takes.LEVEL
    assert levels.guarantee is not None
    assert Assumption.BOUNDED in levels.guarantee.assumptions
    assert levels.guarantee.claim == "while the mean is at most 0.02 the mean run length is at least 1000 looks"
    assert ESr.takes is Takes.STANDARDISED


@pytest.mark.parametrize("given", [{"p0": 0.1}, {"p1": 0.1}, {"p0": 0.2, "p1": 0.1}, {"p0": 0.1, "p1": 0.1}])
def test_the_two_levels_go_together(given: dict[str, float]) -> None:
    with pytest.raises(UnitError, match="p0 and p1 go together, and p0 must be below p1"):
        ESr(**given)
    with pytest.raises(FileErrors, match="p0 and p1 go together, and p0 must be below p1"):
        rule({"e_cusum": given})


def test_the_threshold_is_the_log_of_one_over_alpha() -> None:
    assert ECusum(alpha=0.001).threshold == pytest.approx(math.log(1000))
