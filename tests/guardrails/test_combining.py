"""Whose alarms act: any, k of n, critical; and what a budget that is shared by merged evidence promises."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

from simlab.errors import UnitError
from simlab.guardrails.guardrail import Guardrail
from simlab.guardrails.look import Code, Decision, Floats, Look
from simlab.guardrails.policy import Combine, Joined, Policy, PolicyState, share_budget
from simlab.guardrails.rule import LOG_E_VALUE, Observation, Step, Takes, is_e_process
from simlab.guardrails.rules.asymptotic import AsymptoticCs
from simlab.guardrails.rules.betting import Betting
from simlab.guardrails.rules.canary_counts import CanaryCounts
from simlab.guardrails.rules.cusum import Cusum
from simlab.guardrails.rules.e_detectors import ECusum, ESr
from simlab.guardrails.rules.limits import Above
from simlab.guardrails.rules.mixture import MixtureSprt, NormalMixture
from simlab.guardrails.rules.sample_ratio import SampleRatio
from simlab.guardrails.rules.sprt import Sprt
from simlab.guardrails.signal import Signal
from simlab.settings import settings
from tests.looks import MINUTE, level, make_look

OK, ALARM, UNKNOWN = Code.OK, Code.ALARM, Code.UNKNOWN


def above(metric: str, **how: Any) -> Guardrail:
    """Return a guardrail that alarms while a level is at least 1."""
    every = how.pop("every", MINUTE)
    return Guardrail(Signal(watch=metric, of="everyone"), Above(limit=1.0), every, **how)


def look(time: int = 1, **levels: Any) -> Look:
    return make_look({name: level(value) for name, value in levels.items()}, time=time)


def steps(policy: Policy, *looks: Look | dict[int, Look]) -> list[tuple[Decision | None, ...]]:
    """Return the decisions of each step, one lane or more."""
    first = looks[0] if isinstance(looks[0], Look) else next(iter(looks[0].values()))
    state: PolicyState = policy.initial(1, len(first.lanes))
    found = []
    for each in looks:
        state, decisions = policy.step(state, each if isinstance(each, dict) else {1: each})
        found.append(decisions)
    return found


def answers(policy: Policy, *looks: Look | dict[int, Look]) -> list[list[int | None]]:
    """Return the code of each guardrail in lane 0, step by step."""
    return [[None if each is None else int(each.code[0]) for each in decisions] for decisions in steps(policy, *looks)]


def policy(*guardrails: Guardrail, combine: Combine = "any", **how: Any) -> Policy:
    return Policy("p", guardrails, combine, **how)


ABC = (above("a"), above("b"), above("c"))
BAD, GOOD = 2.0, 0.0


@pytest.mark.parametrize(
    ("combine", "levels", "expected"),
    [
        ("any", (BAD, GOOD, GOOD), [ALARM, OK, OK]),
        (Joined(k_of_n=1), (BAD, GOOD, GOOD), [ALARM, OK, OK]),
        (Joined(k_of_n=2), (BAD, GOOD, GOOD), [OK, OK, OK]),
        (Joined(k_of_n=2), (BAD, GOOD, BAD), [ALARM, OK, ALARM]),
        (Joined(k_of_n=3), (BAD, GOOD, BAD), [OK, OK, OK]),
        (Joined(k_of_n=3), (BAD, BAD, BAD), [ALARM, ALARM, ALARM]),
        # What is unknown is unknown whoever alarms, and is no alarm that joins.
        (Joined(k_of_n=2), (BAD, np.nan, GOOD), [OK, UNKNOWN, OK]),
        (Joined(k_of_n=2), (BAD, np.nan, BAD), [ALARM, UNKNOWN, ALARM]),
    ],
)
def test_k_of_n(combine: Combine, levels: tuple[float, ...], expected: list[int]) -> None:
    assert answers(policy(*ABC, combine=combine), look(**dict(zip("abc", levels, strict=True)))) == [expected]


@pytest.mark.parametrize(
    ("k", "levels", "expected"),
    [
        (2, (BAD, GOOD, GOOD), [ALARM, OK, OK]),  # the critical one alone
        (2, (GOOD, BAD, GOOD), [OK, OK, OK]),
        (2, (BAD, BAD, GOOD), [ALARM, OK, OK]),  # a critical alarm does not count for the others
        (2, (GOOD, BAD, BAD), [OK, ALARM, ALARM]),
        (1, (GOOD, BAD, GOOD), [OK, ALARM, OK]),
    ],
)
def test_critical(k: int, levels: tuple[float, ...], expected: list[int]) -> None:
    guardrails = (above("a", critical=True), above("b"), above("c"))
    assert answers(policy(*guardrails, combine=Joined(critical=k)), look(**dict(zip("abc", levels, strict=True)))) == [expected]


def test_the_last_verdict_of_those_who_do_not_look_counts() -> None:
    made = policy(above("a"), above("b", every=3 * MINUTE), combine=Joined(k_of_n=2))
    assert answers(
        made,
        {1: look(1, a=BAD, b=BAD)},  # b has not looked yet
        {1: look(3, a=GOOD, b=BAD), 3: look(3, a=GOOD, b=BAD)},  # b alarms, a does not
        {1: look(4, a=BAD, b=GOOD)},  # b still stands in alarm
        {1: look(5, a=GOOD, b=GOOD)},
        {1: look(6, a=BAD, b=GOOD), 3: look(6, a=BAD, b=GOOD)},  # b has withdrawn it
    ) == [[OK, None], [OK, OK], [ALARM, None], [OK, None], [OK, OK]]


def test_lanes_are_combined_apart_and_a_cleared_one_stands_in_no_alarm() -> None:
    made = policy(*ABC[:2], combine=Joined(k_of_n=2))
    state = initial = made.initial(1, 3)
    state, _ = made.step(state, {1: look(1, a=[BAD, BAD, GOOD], b=[GOOD, BAD, BAD])})
    assert state.alarming.tolist() == [[True, True, False], [False, True, True]]
    cleared = made.cleared(state, np.array([False, True, False]), initial=initial)
    assert cleared.alarming.tolist() == [[True, False, False], [False, False, True]]
    assert state.alarming[:, 1].all()  # the state before is not changed


def test_an_alarm_that_is_not_joined_keeps_its_statistic() -> None:
    ((decision, _, _),) = steps(policy(*ABC, combine=Joined(k_of_n=2)), look(a=BAD, b=GOOD, c=GOOD))
    assert decision is not None
    assert decision.statistic.tolist() == [BAD]


@pytest.mark.parametrize("given", [{}, {"k_of_n": 1, "critical": 1}])
def test_exactly_one_way_to_join(given: dict[str, int]) -> None:
    with pytest.raises(UnitError, match="either k_of_n or critical"):
        Joined(**given)


def test_only_exact_e_processes_say_so() -> None:
    for rule in (MixtureSprt(), NormalMixture(), Betting(m=0.1), CanaryCounts(), SampleRatio(), Sprt()):
        assert is_e_process(rule)
    # As samples grow; and detectors, whose statistic has a mean run length but starts anew.
    for rule in (AsymptoticCs(), ESr(), ECusum(), Cusum()):
        assert not is_e_process(rule)


@settings
class Given:
    """Takes a level as the log e-value itself."""

    alpha: float = 0.05

    key: ClassVar[str] = "given"
    takes: ClassVar[Takes] = Takes.LEVEL
    paper: ClassVar[str] = "none: a test"
    ladder: ClassVar[str] = "log e-value"
    evidence: ClassVar[str] = LOG_E_VALUE
    guarantee: ClassVar[None] = None

    @property
    def threshold(self) -> float:
        return -math.log(self.alpha)

    def with_alpha(self, alpha: float) -> Given:
        return Given(alpha=alpha)

    def initial(self, streams: int, lanes: int, *, every: int) -> Floats:  # noqa: ARG002
        return np.zeros((streams, lanes))

    def update(self, state: Floats, seen: Observation) -> Step:
        return Step(state, seen.value, worse=True)


def merging(share: Any, *metrics: str, budget: float = 0.05, rule: Any = None) -> Policy:
    rule = Given(alpha=budget) if rule is None else rule
    signals = [Signal(watch=name, of="everyone", target=0.0, spread=1.0) for name in metrics]
    guardrails = tuple(Guardrail(signal, rule, MINUTE) for signal in signals)
    return Policy("p", guardrails, budget=budget, share=share)


def given_e_values(**e_values: float) -> Look:
    return look(**{name: math.log(value) for name, value in e_values.items()})


@pytest.mark.parametrize(
    ("e_values", "expected"),
    [
        # m / a = 80: 100 >= 80, 45 >= 40, 30 >= 26.7, 1 < 20: k* = 3.
        ({"a": 100, "b": 45, "c": 30, "d": 1}, [ALARM, ALARM, ALARM, OK]),
        ({"a": 1, "b": 30, "c": 100, "d": 45}, [OK, ALARM, ALARM, ALARM]),
        # 79 < 80, but 39 < 40 and 27 >= 26.7: the third makes up for the two before it.
        ({"a": 79, "b": 39, "c": 27, "d": 1}, [ALARM, ALARM, ALARM, OK]),
        ({"a": 79, "b": 39, "c": 26, "d": 19}, [OK, OK, OK, OK]),
        ({"a": 20, "b": 20, "c": 20, "d": 20}, [ALARM, ALARM, ALARM, ALARM]),
        ({"a": 80, "b": 1, "c": 1, "d": 1}, [ALARM, OK, OK, OK]),
    ],
)
def test_e_bh_is_the_largest_k(e_values: dict[str, float], expected: list[int]) -> None:
    assert answers(merging("e_bh", *"abcd"), given_e_values(**e_values)) == [expected]


@pytest.mark.parametrize(
    ("e_values", "expected"),
    [
        ({"a": 79, "b": 0.9, "c": 0.05, "d": 0.04}, [OK, OK, OK, OK]),  # a mean of 19.997
        ({"a": 79, "b": 0.9, "c": 0.05, "d": 0.06}, [ALARM, OK, OK, OK]),  # of 20.0025
        ({"a": 60, "b": 25, "c": 0.1, "d": 0.1}, [ALARM, ALARM, OK, OK]),
        ({"a": 79, "b": 39, "c": 26, "d": 19}, [ALARM, ALARM, ALARM, OK]),  # where e-BH is silent
    ],
)
def test_mean_e_alarms_where_the_evidence_is(e_values: dict[str, float], expected: list[int]) -> None:
    assert answers(merging("mean_e", *"abcd"), given_e_values(**e_values)) == [expected]


@pytest.mark.parametrize("share", ["e_bh", "mean_e"])
def test_one_stream_alone_is_its_own_test(share: str) -> None:
    made = merging(share, "a")
    enough = made.guardrails[0].rule.threshold
    for value, expected in ((enough, ALARM), (np.nextafter(enough, 0), OK)):
        assert answers(made, look(a=value)) == [[expected]]


def test_a_stream_that_was_never_judged_counts_as_one() -> None:
    made = merging("mean_e", *"ab")
    state, _ = made.step(made.initial(1, 1), {1: look(a=math.log(39.0), b=np.nan)})
    assert made.log_e_value(state) == pytest.approx([math.log(20.0)])
    assert policy(*ABC).log_e_value(policy(*ABC).initial(1, 1)) is None


def test_what_cannot_be_merged_is_refused() -> None:
    with pytest.raises(TypeError, match="mean_e needs a budget"):
        Policy("p", ABC, share="mean_e")
    with pytest.raises(TypeError, match="'above' has no e-value that e_bh could merge"):
        Policy("p", ABC, share="e_bh", budget=0.05)
    shared = share_budget(merging("mean_e", *"ab").guardrails, budget=0.01, share="mean_e", segments=1)
    assert [each.rule.threshold for each in shared] == [pytest.approx(math.log(100))] * 2


LANES, LOOKS, BUDGET = 3000, 60, 0.1


def dependent(kind: str, generator: np.random.Generator, streams: int) -> NDArray[np.float64]:
    """Return standard normal values, float64[streams, lanes], that depend on one another across streams."""
    own, shared = generator.standard_normal((streams, LANES)), generator.standard_normal(LANES)
    if kind == "equal":
        return np.tile(shared, (streams, 1))
    if kind == "opposed":
        return np.sqrt(0.5) * own + np.sqrt(0.5) * shared * np.where(np.arange(streams) % 2, 1, -1)[:, None]
    return own


def first_alarms(made: Policy, values: Callable[[], NDArray[np.float64]]) -> NDArray[np.bool_]:
    """Return who alarms at the first look with an alarm, bool[guardrails, lanes]."""
    state = made.initial(1, LANES)
    found = np.zeros((len(made.guardrails), LANES), dtype=bool)
    for time in range(1, LOOKS + 1):
        seen = dict(zip("abcdefgh", values(), strict=False))
        state, decisions = made.step(state, {1: look(time, **seen)})
        alarms = np.array([each is not None and each.code == ALARM for each in decisions])
        found |= alarms & ~found.any(axis=0)
    return found


@pytest.mark.parametrize("kind", ["independent", "equal", "opposed"])
@pytest.mark.parametrize("share", ["mean_e", "e_bh"])
def test_merged_evidence_keeps_the_budget_under_any_dependence(share: str, kind: str) -> None:
    generator = np.random.default_rng(20)
    made = merging(share, *"abcdefgh", budget=BUDGET, rule=MixtureSprt(alpha=BUDGET))
    rate = first_alarms(made, lambda: dependent(kind, generator, 8)).any(axis=0).mean()
    # One-sided: a valid test fails by chance less than once in 1,000 (z = 3.1).
    assert rate <= BUDGET + 3.1 * math.sqrt(BUDGET * (1 - BUDGET) / LANES)
    assert rate > 0


def test_eight_tests_at_the_whole_budget_would_not_keep_it() -> None:
    generator = np.random.default_rng(20)
    made = Policy("p", merging("mean_e", *"abcdefgh", budget=BUDGET, rule=MixtureSprt(alpha=BUDGET)).guardrails)
    rate = first_alarms(made, lambda: dependent("independent", generator, 8)).any(axis=0).mean()
    assert rate > 2 * BUDGET


@pytest.mark.parametrize("kind", ["independent", "equal", "opposed"])
def test_e_bh_keeps_the_false_discovery_rate_of_dependent_streams(kind: str) -> None:
    generator = np.random.default_rng(21)
    harm = np.where(np.arange(8) < 2, 0.8, 0.0)[:, None]
    made = merging("e_bh", *"abcdefgh", budget=BUDGET, rule=MixtureSprt(alpha=BUDGET))
    found = first_alarms(made, lambda: dependent(kind, generator, 8) + harm)
    share = found[2:].sum(axis=0) / np.maximum(found.sum(axis=0), 1)
    assert found[:2].any(axis=0).mean() > 0.9  # it has power, so that the bound says something
    # One-sided, z = 3.1.
    assert share.mean() <= BUDGET + 3.1 * share.std(ddof=1) / math.sqrt(LANES)
