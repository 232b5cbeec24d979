"""Assertions about error rates: false alarms, mean run length, detection.

Each decides by a sequential test with an indifference zone, `simlab.testing.sequential`: a rule that keeps its claim fails with
at most a stated probability, one beyond the zone is caught with at least a stated one, easy cases end early. Lanes are stepped
by `simlab.run_length`, as always.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from simlab.guardrails.look import Bools, Floats
from simlab.guardrails.rule import Observation
from simlab.run_lengths import RunLength
from simlab.streams import stream_key, uniforms
from simlab.testing.deciding import USUAL, Effort, Lanes, Measured, Sample, decide, tail_of, tails_of, words
from simlab.testing.recording import ErrorRate
from simlab.testing.subjects import Subject, subject

Noise = Callable[[np.random.Generator, int], Floats]
"""From a generator and a number of lanes to one latent number for each: 0 is usual, 1 one standard deviation worse."""


def standard_normal(generator: np.random.Generator, lanes: int) -> Floats:
    """Return what is seen when all is well: independent standard normal numbers."""
    return generator.standard_normal(lanes)


def assert_false_alarms(
    rule: Any,
    *,
    horizon: int,
    at_most: float | None = None,
    between: tuple[float, float] | None = None,
    sample: Noise = standard_normal,
    effort: Effort = USUAL,
    **how: Any,
) -> ErrorRate:
    """Assert the probability that a rule alarms by the horizon while all is well.

    Parameters
    ----------
    rule : Rule, mapping, class or callable
        As in `simlab.testing.subject`, whose other arguments may follow.
    horizon : int
        Looks.
    at_most : float, optional
        Claimed greatest probability; beyond ``at_most * (1 + zone)`` a rule is caught.
    between : (float, float), optional
        Instead of it, both ends; below ``low * (1 - zone)`` a rule is caught too.
    sample : callable
        ``sample(rng, lanes)`` gives latent numbers, independent from look to look; standard normal unless it says otherwise.
    effort : Effort
        Zone, error rates of the assertion itself, lanes, seed.

    Raises
    ------
    ErrorRateBrokenError
        If the claim does not hold.
    UnitError
        If the claim leaves no room for an indifference zone.

    Examples
    --------
    >>> found = assert_false_alarms({"repeated_z": {"looks": 10}}, at_most=0.05, horizon=10)
    >>> found.holds, found.flake <= 1e-6
    (True, True)
    """
    tried = subject(rule, **how)

    def alarmed(found: RunLength, _: int) -> Bools:
        return found.alarmed

    tails = tails_of("the probability", at_most, None, between, effort.zone)
    measured = Measured(f"false alarms within {horizon:,} looks", words(at_most, None, between), "probability", 1.0)
    return decide(tried, measured, tails, Lanes(tried, _healthy(tried, sample), horizon, alarmed, effort.drawn_from), effort)


def assert_arl0(
    rule: Any,
    *,
    at_least: float | None = None,
    between: tuple[float, float] | None = None,
    horizon: int | None = None,
    sample: Noise = standard_normal,
    effort: Effort = USUAL,
    **how: Any,
) -> ErrorRate:
    """Assert the mean run length while all is well, restricted to a horizon: E[min(T, H)] in looks.

    A lane counts whether the rule is still silent at a look drawn at random from the first H; the probability of that is
    E[min(T, H)] / H exactly, so that the test is one of a probability. With H ten times the claim the restriction costs a
    geometric run length less than 0.01 % of its mean.

    Parameters
    ----------
    rule, sample, effort, **how
        As in `assert_false_alarms`.
    at_least : float, optional
        Claimed least mean, in looks; below ``at_least * (1 - zone)`` a rule is caught.
    between : (float, float), optional
        Instead of it, both ends; above ``high * (1 + zone)`` a rule is caught too.
    horizon : int, optional
        H; ten times the claim if not given.

    Raises
    ------
    ErrorRateBrokenError
        If the claim does not hold.
    UnitError
        If the horizon leaves no room for an indifference zone.

    Examples
    --------
    >>> assert_arl0({"cusum": {"k": 0.5, "h": 4}}, at_least=330, effort=Effort(zone=0.3)).holds
    True
    """
    tried = subject(rule, **how)
    claim = between[1] if between is not None else (at_least or 0.0)
    most = horizon if horizon is not None else round(10 * claim)
    seed = effort.drawn_from

    def silent(found: RunLength, first: int) -> Bools:
        drawn = uniforms(stream_key(seed, "testing.look"), 0, np.arange(first, first + found.lanes))
        return found.looks > np.floor(drawn * most)

    scaled = None if between is None else (between[0] / most, between[1] / most)
    tails = tails_of("the mean", None, None if at_least is None else at_least / most, scaled, effort.zone)
    measured = Measured(f"E[min(T, {most:,})] when all is well", words(None, at_least, between), "looks", float(most))
    return decide(tried, measured, tails, Lanes(tried, _healthy(tried, sample), most, silent, seed), effort)


def assert_detects(
    rule: Any,
    shift: float,
    *,
    within: int,
    at_least: float,
    onset: int = 0,
    sample: Noise = standard_normal,
    effort: Effort = USUAL,
    **how: Any,
) -> ErrorRate:
    """Assert the probability that a rule alarms soon after harm began, among lanes without an alarm before.

    Parameters
    ----------
    rule, sample, effort, **how
        As in `assert_false_alarms`.
    shift : float
        The harm, in standard deviations of a look.
    within : int
        Looks from the onset on.
    at_least : float
        Claimed least probability. The zone is taken of what may be missed: at 0.9 and a zone of half, a rule that misses 0.15 is
        caught.
    onset : int
        Looks before the harm.

    Raises
    ------
    ErrorRateBrokenError
        If the claim does not hold.

    Examples
    --------
    >>> assert_detects({"cusum": {"k": 0.5, "h": 4}}, 1.0, within=20, at_least=0.9).holds
    True
    """
    tried = subject(rule, **how)

    def missed(found: RunLength, _: int) -> Bools:
        return (~found.alarmed)[(found.looks > onset) | ~found.alarmed]

    def harmed() -> Sample:
        looked = 0

        def draw(generator: np.random.Generator, lanes: int) -> Observation:
            nonlocal looked
            looked += 1
            return tried.lens.observation(sample(generator, lanes) + shift * (looked > onset))

        return draw

    miss = 1.0 - at_least
    tails = [tail_of(miss, miss * (1.0 + effort.zone), opposite=False, limit=1.0 - miss * (1.0 + effort.zone))]
    measured = Measured(
        f"detection of a shift of {shift:g} within {within:,} looks",
        words(None, at_least, None),
        "probability",
        1.0,
        complement=True,
    )
    return decide(tried, measured, tails, Lanes(tried, harmed, onset + within, missed, effort.drawn_from), effort)


def _healthy(tried: Subject, sample: Noise) -> Callable[[], Sample]:
    return lambda: lambda generator, lanes: tried.lens.observation(sample(generator, lanes))
