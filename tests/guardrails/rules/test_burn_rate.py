"""Burn rate: the published times to fire, exact fractions, windows in time, and what a signal hands over."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import ArrayLike

from simlab.errors import UnitError
from simlab.guardrails.guardrail import Guardrail
from simlab.guardrails.look import Code, Floats, Sums
from simlab.guardrails.rule import Observation
from simlab.guardrails.rules.burn_rate import BurnRate
from simlab.guardrails.signal import Signal
from simlab.rule_from import rule
from tests.guardrails.rules.contract import assert_contract, run_all, seen_counts
from tests.looks import MINUTE, by_arm, codes, events, make_look, run, segments, values

SECOND, HOUR, DAY = 1_000, 60 * MINUTE, 24 * 60 * MINUTE
N = 10_000


def look(bad: ArrayLike, observations: ArrayLike = N, *, elapsed: int) -> Observation:
    """Return what the rule sees of one stream, one number a lane, at a look."""
    counts, exposures = (
        array[None, None, None] for array in np.broadcast_arrays(np.atleast_1d(bad), np.atleast_1d(observations))
    )
    return replace(seen_counts(counts, exposures=exposures), elapsed=elapsed)


def burns(made: BurnRate, looks: Sequence[Observation], *, every: int) -> list[float]:
    """Return the statistic of one lane at each look."""
    state, found = made.initial(1, 1, every=every), []
    with np.errstate(divide="ignore", invalid="ignore"):
        for each in looks:
            state, statistic, _ = made.update(state, each)
            found.append(float(statistic[0, 0]))
    return found


def looks_to_fire(made: BurnRate, *, share: float, every: int) -> int:
    """Return how many looks with a share of errors it takes to fire, after a long window of healthy traffic."""
    healthy = made.long // every
    limit = 2 * healthy
    series = [look(0.0 if index < healthy else share * N, elapsed=(index + 1) * every) for index in range(healthy + limit)]
    fired = np.array(burns(made, series, every=every)) >= made.threshold
    assert not fired[:healthy].any()
    return int(fired.argmax()) - healthy + 1


# Site Reliability Workbook, ch. 5, for an objective of 99.9 %: time to fire = (1 - SLO) / errors x window x burn.
@pytest.mark.parametrize(
    ("burn", "long", "every", "share", "published"),
    [
        (14.4, HOUR, 10 * SECOND, 1.0, 51.84 * SECOND),
        (14.4, HOUR, 10 * SECOND, 0.1, 8.64 * MINUTE),
        (14.4, HOUR, 10 * SECOND, 0.0144, 60 * MINUTE),
        (6, 6 * HOUR, MINUTE, 1.0, 2.16 * MINUTE),
        (6, 6 * HOUR, MINUTE, 0.1, 21.6 * MINUTE),
        (6, 6 * HOUR, MINUTE, 0.01, 216 * MINUTE),
        (1, 3 * DAY, 6 * MINUTE, 1.0, 4.32 * MINUTE),
        (1, 3 * DAY, 6 * MINUTE, 0.1, 43.2 * MINUTE),
        (1, 3 * DAY, 6 * MINUTE, 0.01, 432 * MINUTE),
    ],
)
def test_the_published_time_to_fire(burn: float, long: int, every: int, share: float, published: float) -> None:
    # It can fire only at a look, and the last of each three fires when the burn is equal to the threshold.
    assert looks_to_fire(BurnRate(burn=burn, long=long), share=share, every=every) == math.ceil(published / every)


def test_less_than_the_burn_never_fires() -> None:
    series = [look(143.0, elapsed=(index + 1) * MINUTE) for index in range(300)]
    assert max(burns(BurnRate(), series, every=MINUTE)) == pytest.approx(14.3)


def test_equal_as_a_decimal_is_reached() -> None:
    assert 0.0144 / (1 - 0.999) < 14.4
    assert burns(BurnRate(), [look(144.0, elapsed=MINUTE)], every=MINUTE) == [14.4]


@given(
    slo=st.integers(1, 99_999),
    burn=st.integers(1, 1_000_000),
    bad=st.integers(0, 10**9),
    others=st.integers(0, 10**9),
    equal=st.booleans(),
)
def test_it_fires_where_the_exact_ratio_does(slo: int, burn: int, bad: int, others: int, equal: bool) -> None:
    # Decimals of five and four places; equality, the hard case, is made on purpose in half of the examples.
    budget, threshold = 1 - Fraction(slo, 10**5), Fraction(burn, 10**4)
    observations = bad + others
    if equal:
        share = threshold * budget
        assume(share <= 1)
        bad, observations = share.numerator, share.denominator
    assume(observations > 0)
    made = rule({"burn_rate": {"slo": f"{slo // 1000}.{slo % 1000:03}%", "burn": burn / 10**4}})
    assert isinstance(made, BurnRate)
    statistic = burns(made, [look(float(bad), float(observations), elapsed=MINUTE)], every=MINUTE)[0]
    assert (statistic >= made.threshold) == (Fraction(bad, observations) / budget >= threshold)


@given(st.lists(st.one_of(st.none(), st.tuples(st.integers(0, 20), st.integers(1, 50))), min_size=1, max_size=40))
def test_windows_hold_the_looks_of_their_time(series: list[tuple[int, int] | None]) -> None:
    made = BurnRate(slo=0.9, long=6 * MINUTE, short=2 * MINUTE)
    came = {index + 1: each for index, each in enumerate(series) if each is not None}
    found = burns(made, [look(*came[time], elapsed=time * MINUTE) for time in came], every=MINUTE)
    for time, statistic in zip(came, found, strict=True):
        windows = [[each for at, each in came.items() if time - length < at <= time] for length in (6, 2)]
        exact = min(Fraction(sum(bad for bad, _ in each), sum(n for _, n in each)) / Fraction(1, 10) for each in windows)
        assert statistic == pytest.approx(float(exact), rel=1e-15)


def test_the_short_window_ends_the_alarm() -> None:
    errors = [N if index < 10 else 0 for index in range(20)]
    found = burns(BurnRate(), [look(bad, elapsed=(index + 1) * MINUTE) for index, bad in enumerate(errors)], every=MINUTE)
    fired = [burn >= 14.4 for burn in found]
    # Five minutes after the last error there is none in the short window.
    assert fired == [True] * 14 + [False] * 6
    assert BurnRate(long=12 * HOUR)._short == HOUR


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"long": HOUR, "short": 2 * HOUR}, "short 2h must be at most long, 1h"),
        ({"slo": 1 - 1e-14}, "leaves no budget in 12 decimals"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UnitError, match=message):
        BurnRate(**settings)


@pytest.mark.parametrize(("every", "name"), [(7 * MINUTE, "short 5m"), (10 * MINUTE, "short 5m")])
def test_windows_are_whole_numbers_of_looks(every: int, name: str) -> None:
    with pytest.raises(UnitError, match=f"{name} must be a whole number of looks, each of "):
        BurnRate().initial(1, 1, every=every)


def level(bad: float, observations: float) -> Any:
    return events((observations, bad))


def test_a_guardrail_counts_bad_events_of_whom_it_watches() -> None:
    up = Guardrail(Signal(watch="m", of="treatment"), BurnRate(), MINUTE)
    looks = [make_look(events((1000, [14, 15]), (1000, [900, 900])), time=1)]
    assert codes(run(up, looks)) == [[Code.OK, Code.ALARM]]
    # Where fewer events are worse, those without are the bad ones.
    down = Guardrail(Signal(watch="m", of="treatment", worse="down"), BurnRate(), MINUTE)
    assert codes(run(down, [make_look(events((1000, [986, 985])), time=1)])) == [[Code.OK, Code.ALARM]]


def test_what_cannot_be_judged_is_unknown_and_leaves_the_windows_alone() -> None:
    guardrail = Guardrail(Signal(watch="m", of="everyone"), BurnRate(), MINUTE)
    looks = [
        make_look(level(10, 1000), time=1),
        make_look(level(0, 0), time=2),
        make_look(level(10, 1000), time=3, missing=True),
        make_look(values([0.5, 2.0]), time=4),
        make_look(Sums(by_arm(1000), by_arm(np.nan), by_arm(np.nan)), time=5),
        make_look(Sums(by_arm(np.inf), by_arm(np.inf), by_arm(np.inf)), time=6),
        make_look(level(0, 1000), time=7),
        make_look(level(0, 1000), time=8),
    ]
    decisions = run(guardrail, looks)
    assert codes(decisions) == [[Code.OK]] + [[Code.UNKNOWN]] * 5 + [[Code.OK]] * 2
    # The first look has left the short window of five minutes by then.
    assert [decision.statistic[0] for decision in decisions] == [10.0] * 6 + [0.0, 0.0]


def test_by_segment_each_has_its_windows() -> None:
    sums = segments([events((1000, 5)), events((1000, 20))])
    guardrail = Guardrail(Signal(watch="m", of="everyone", by="segment"), BurnRate(), MINUTE)
    decision = run(guardrail, [make_look(sums)])[0]
    assert (decision.code[0], decision.statistic[0]) == (Code.ALARM, 20.0)


def test_it_keeps_the_contract() -> None:
    generator = np.random.default_rng(1)
    looks = []
    for time in range(1, 15):
        exposures: Floats = generator.choice([0, 20, 100], (1, 1, 2, 5)).astype(float)
        counts = generator.binomial(exposures.astype(int), 0.1).astype(float)
        observed = replace(seen_counts(counts, exposures=exposures), elapsed=time * MINUTE, valid=exposures[0, 0] > 0)
        looks.append(observed)
    made = BurnRate(slo=0.9, long=6 * MINUTE, short=3 * MINUTE)
    assert_contract(made, looks)
    assert np.isfinite(run_all(made, looks)).any()
