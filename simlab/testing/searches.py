"""Strategies for streams and cases, and the search for a case that breaks a property.

Numbers are eighths, so that sums are exact and a shrunk case reads easily; what a search finds is the smallest it can.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from simlab.testing.claims import Claim, Claims
from simlab.testing.properties import PropertyBrokenError, check
from simlab.testing.shown import IDLE, LOST, Case, Stream
from simlab.testing.subjects import Subject, subject

LONGEST = 12
"""Looks of a stream, at most, where nothing else is said."""
EXAMPLES = 100
"""Cases tried for a smaller one that breaks a property."""


def numbers(limit: int) -> st.SearchStrategy[float]:
    """Return eighths from -limit to limit."""
    return st.integers(-8 * limit, 8 * limit).map(lambda number: number / 8)


def null(looks: int) -> st.SearchStrategy[tuple[float, ...]]:
    """Return streams of plain noise."""
    return st.tuples(*[numbers(3)] * looks)


@st.composite
def shifted(draw: st.DrawFn, looks: int) -> Stream:
    """Return streams whose mean jumps at some look."""
    at, by = draw(st.integers(0, looks)), draw(numbers(6))
    return tuple(x + by * (look >= at) for look, x in enumerate(draw(null(looks))))


@st.composite
def drifting(draw: st.DrawFn, looks: int) -> Stream:
    """Return streams whose mean moves by the same amount at every look."""
    slope = draw(numbers(1))
    return tuple(x + slope * look for look, x in enumerate(draw(null(looks))))


def heavy_tailed(looks: int) -> st.SearchStrategy[Stream]:
    """Return streams with rare large values."""
    return st.tuples(*[st.one_of(numbers(2), numbers(1000))] * looks)


@st.composite
def autocorrelated(draw: st.DrawFn, looks: int) -> Stream:
    """Return streams in which each value keeps half of the one before."""
    found: list[float] = []
    for x in draw(null(looks)):
        found.append(x + (0.5 * found[-1] if found else 0.0))
    return tuple(found)


def with_gaps(looks: int) -> st.SearchStrategy[Stream]:
    """Return streams with looks that are lost or empty."""
    return st.tuples(*[st.one_of(numbers(4), st.sampled_from([LOST, IDLE]))] * looks)


def with_nan(looks: int) -> st.SearchStrategy[Stream]:
    """Return streams with values that are not numbers, or not finite."""
    return st.tuples(*[st.one_of(numbers(4), st.sampled_from([float("nan"), float("inf"), -float("inf")]))] * looks)


def with_ties(looks: int) -> st.SearchStrategy[Stream]:
    """Return streams of few different values, which meet thresholds exactly."""
    return st.tuples(*[st.integers(-3, 5).map(float)] * looks)


def zero_counts(looks: int) -> st.SearchStrategy[Stream]:
    """Return streams whose values are so extreme that one arm has no events at all."""
    return st.tuples(*[st.sampled_from([0.0, 9.0, -9.0])] * looks)


def extremes(looks: int) -> st.SearchStrategy[Stream]:
    """Return streams that reach far beyond anything usual."""
    return st.tuples(*[st.one_of(numbers(2), st.sampled_from([1e6, -1e6, 1e-9, 1e3]))] * looks)


KINDS = {
    "null": null,
    "shifted": shifted,
    "drifting": drifting,
    "heavy-tailed": heavy_tailed,
    "autocorrelated": autocorrelated,
    "gaps": with_gaps,
    "nan": with_nan,
    "ties": with_ties,
    "zero counts": zero_counts,
    "extremes": extremes,
}


@st.composite
def streams(draw: st.DrawFn, *, looks: int | None = None, kinds: Iterable[str] = tuple(KINDS)) -> Stream:
    """Return a strategy for streams of every kind.

    Parameters
    ----------
    looks : int, optional
        How many; up to `LONGEST` if not given.
    kinds : iterable of str
        Names from `KINDS`.
    """
    count = draw(st.integers(1, LONGEST)) if looks is None else looks
    made: Stream = draw(st.one_of([KINDS[kind](count) for kind in kinds]))
    return made


@st.composite
def cases(
    draw: st.DrawFn, *, lanes: int = 2, longest: int = LONGEST, shortest: int = 1, kinds: Iterable[str] = tuple(KINDS)
) -> Case:
    """Return a strategy for cases: lanes, as many others, and a look in the middle."""
    looks = draw(st.integers(shortest, longest))
    chosen = tuple(kinds)
    both: list[Stream] = [draw(streams(looks=looks, kinds=chosen)) for _ in range(2 * lanes)]
    return Case(tuple(both[:lanes]), tuple(both[lanes:]), draw(st.integers(0, looks)))


_BY_LANE = frozenset({Claim.UNITS, Claim.MONOTONE_IN_THRESHOLD, Claim.MONOTONE_IN_HARM})
"""Properties that judge each lane by itself, so that they are tried on a grid of many as well."""
_REPEATABLE: dict[str, Any] = {
    "derandomize": True,
    "database": None,
    "deadline": None,
    "report_multiple_bugs": False,
    "print_blob": False,
    "phases": (Phase.explicit, Phase.generate, Phase.shrink),
    "suppress_health_check": list(HealthCheck),
}


@cache
def pool(looks: int, *, lanes: int = 3, count: int = 6) -> tuple[Case, ...]:
    """Return the cases on which every property is tried first: drawn once, the same in every process.

    Parameters
    ----------
    looks : int
        Of each stream.
    lanes : int
        Of each case.
    count : int
        How many cases.
    """
    found: list[Case] = []

    @settings(max_examples=count, **_REPEATABLE)
    @given(cases(lanes=lanes, longest=looks, shortest=looks))
    def collect(shown: Case) -> None:
        found.append(shown)

    collect()
    return tuple(found)


@cache
def grid(looks: int) -> Case:
    """Return a case of many lanes: quarters from 0 to 8 and less of what is better, all along; and single looks far off."""
    levels = [-8.0, -4.0, -2.0, *(number / 4 for number in range(33))]
    lanes = tuple((x,) * looks for x in levels) + tuple((*[0.0] * (looks - 1), x) for x in (-8.0, -4.0, 2.0, 4.0, 6.0, 8.0))
    return Case(lanes, tuple((1.0,) * looks for _ in lanes), looks // 2)


def search(given_rule: Any, claim: Claim, *, examples: int = EXAMPLES, claims: Claims | None = None, **how: Any) -> None:
    """Look for a case that breaks a property of a rule; the same cases every time.

    Every rule is tried on the same pool of cases. Where one of them breaks the property, Hypothesis looks for a smaller one.

    Parameters
    ----------
    given_rule : Subject, Rule, mapping, class or callable
        As in `simlab.testing.subject`.
    claim : Claim
        Which property.
    examples : int
        Cases that are tried for a smaller one, before shrinking.
    claims, **how
        As in `simlab.testing.subject`.

    Raises
    ------
    PropertyBrokenError
        With the smallest case found.
    """
    tried = subject(given_rule, claims=claims, **how)
    broken = first_broken(tried, claim)
    if broken is not None:
        _smaller(tried, claim, _longest(tried), examples)
        raise broken


def first_broken(tried: Subject, claim: Claim) -> PropertyBrokenError | None:
    """Return what the first case of the pool that breaks a property has to say; None if none does."""
    for shown in pool(_longest(tried)):
        broken = _broken(tried, claim, shown)
        if broken is not None:
            return broken
    if claim not in _BY_LANE or _broken(tried, claim, whole := grid(_longest(tried))) is None:
        return None
    alone = (
        _broken(tried, claim, Case((stream,), (other,), whole.cut))
        for stream, other in zip(whole.streams, whole.others, strict=True)
    )
    return next((each for each in alone if each is not None), _broken(tried, claim, whole))


def _broken(tried: Subject, claim: Claim, shown: Case) -> PropertyBrokenError | None:
    try:
        check(tried, claim, shown)
    except PropertyBrokenError as broken:
        return broken
    return None


def _longest(tried: Subject) -> int:
    return LONGEST + tried.claims.minimum_looks - 1


def _smaller(tried: Subject, claim: Claim, longest: int, examples: int) -> None:
    """Fail on a case as small as can be found, if one of that many breaks the property."""

    @settings(max_examples=examples, **_REPEATABLE)
    @given(cases(longest=longest))
    def holds(shown: Case) -> None:
        check(tried, claim, shown)

    holds()
