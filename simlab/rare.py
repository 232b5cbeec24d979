"""Rare false alarms: the probability of one in a million horizons, from lanes in which alarms are made common and weighed back.

Looks are drawn as if a shift had come at a random time, and each lane that alarms counts with the likelihood ratio of what it
really is, standard normal looks, at the moment of its alarm. The shift comes before any of the H looks of the horizon with the
same probability, but w times more before the first, for the rules that end by themselves and would not see a later one. With
either direction as likely, and a share e of lanes without any shift, the ratio at look n is

    1 / (e + (1 - e) (R+_n / 2 + R-_n / 2 + H - n) / (H + w)),   R_n = (1 + R_{n-1}) exp(theta x_n - theta^2 / 2),   R_0 = w,

with Shiryaev's and Roberts's statistics R of the two directions: the sum over all times that the shift can have come. The mean
over lanes is the probability without bias, whatever the rule and theta (Siegmund, "Importance sampling in the Monte Carlo study
of sequential tests", Ann. Stat. 4, 1976, for a shift from the first look on). No weight is above 1 / e. A pilot chooses theta,
a second one how many lanes are needed; both are fixed before the lanes that count are drawn.

Without bias is not enough: where alarms come in other ways than by a shift, such as a fall and then a rise, hardly any lane
shows them, and the few that do would have to count for all. No pilot can see what it does not meet. So only rules are taken of
which it is known that a shift makes them alarm, and what was not reached as precisely as asked for is no result.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from simlab.arguments import is_share, is_whole
from simlab.errors import SimlabError, UnitError
from simlab.guardrails.look import Floats, Integers
from simlab.guardrails.rule import Rule
from simlab.measures.estimates import CONFIDENCE, Estimate, mean
from simlab.rule_from import rule as read_rule
from simlab.run_lengths import run_length_on

SHIFTS = (0.125, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)
"""Sizes of shift that the pilot tries, in standard deviations of a look."""

BY_SHIFT = frozenset({"above", "below", "shewhart", "cusum", "ewma", "shiryaev_roberts", "e_sr", "e_cusum", "sprt"})
"""Rules that alarm by a shift of a size of their own. Those that seek its size, or judge against the past, alarm in many ways;
of a planned test the probability is known."""

_WITHOUT_SHIFT = 0.05
_AT_FIRST = 0.25  # w over the horizon
_PILOT = 8000
_ENOUGH = 100
_AT_ONCE = 20_000  # lanes
_LARGEST = 1e200
_LEAST = 1e-100  # probability, since a ratio is followed up to _LARGEST and its square must be a number
_SPARE = 2.0  # more lanes than the pilot asks for, since it knows the variance roughly
_MOST_LANES = 5_000_000


@dataclass(frozen=True)
class RareAlarms:
    """How rarely a rule alarms when all is well.

    Attributes
    ----------
    probability : Estimate
        Of an alarm by the horizon.
    relative_error : float
        Standard error over the probability.
    shift : float
        The shift that made alarms common, in standard deviations of a look.
    alarmed : int
        Lanes that alarmed under it.
    horizon, seed : int
        As given.
    """

    probability: Estimate
    relative_error: float
    shift: float
    alarmed: int
    horizon: int
    seed: int


def rare_alarm_probability(
    rule: Rule | Mapping[str, Any],
    *,
    horizon: int,
    relative_error: float = 0.03,
    seed: int = 0,
    confidence: float = CONFIDENCE,
) -> RareAlarms:
    """Return the probability that a rule alarms within a horizon of independent standard normal looks.

    Lanes of a world cannot be weighed like that: users who return link their looks, and so do cycles and drift. For those a
    probability this small is not claimed.

    Parameters
    ----------
    rule : Rule or mapping
        As in `simlab.run_length`; one of `BY_SHIFT`.
    horizon : int
        Looks.
    relative_error : float
        Standard error to be reached, over the probability.
    seed : int
        Of the generator.
    confidence : float
        Two-sided coverage of the interval.

    Raises
    ------
    UnitError
        If horizon or seed are no such numbers, error or confidence not between 0 and 1, or it is another rule.
    SimlabError
        If no shift that is tried makes alarms common, too many lanes would be needed, or the error asked for was not reached.

    Examples
    --------
    >>> found = rare_alarm_probability({"shewhart": {"sigmas": 5}}, horizon=10, relative_error=0.1)
    >>> bool(found.probability.low < 2.9e-6 < found.probability.high)  # 10 looks, each 2.87e-7
    True
    """
    chosen = read_rule(rule)
    if not is_whole(horizon, least=1):
        raise UnitError(f"the horizon must be a positive whole number of looks, not {horizon!r}")
    if not is_whole(seed, least=0):
        raise UnitError(f"the seed must be a whole number of at least 0, not {seed!r}")
    if not (is_share(relative_error) and is_share(confidence)):
        raise UnitError(
            f"the relative error and the confidence must be between 0 and 1, not {relative_error!r} and {confidence!r}"
        )
    if chosen.key not in BY_SHIFT:
        raise UnitError(f"rare alarms are measured of rules that a shift drives to alarm: {', '.join(sorted(BY_SHIFT))}")
    pilot, counted = np.random.SeedSequence(seed).spawn(2)
    generator = np.random.default_rng(pilot)
    tried = {shift: _weights(chosen, horizon, shift, lanes=_PILOT, generator=generator) for shift in SHIFTS}
    alarming = {shift: weights for shift, weights in tried.items() if (weights > 0).sum() >= _ENOUGH}
    if not alarming:
        raise SimlabError(f"{chosen.key} hardly alarms within {horizon} looks, whatever the shift")
    common = {shift: _relative_variance(weights) for shift, weights in alarming.items() if weights.mean() > _LEAST}
    if not common:
        raise SimlabError(f"{chosen.key} alarms in less than {_LEAST:g} of horizons, and nothing rarer is measured")
    shift = min(common, key=lambda each: common[each])
    # The least of several variances is likely to be one that was measured too small: once more, on other lanes.
    variance = _relative_variance(_weights(chosen, horizon, shift, lanes=4 * _PILOT, generator=generator))
    lanes = max(_PILOT, math.ceil(_SPARE * variance / relative_error**2))
    if lanes > _MOST_LANES:
        raise SimlabError(f"{lanes:,} lanes would be needed for a relative error of {relative_error:g}: ask for less")
    weights = _weights(chosen, horizon, shift, lanes=lanes, generator=np.random.default_rng(counted))
    reached = math.sqrt(_relative_variance(weights) / lanes)
    if reached > relative_error:
        raise SimlabError(
            f"inconclusive: the relative error came to {reached:.2g}, and {relative_error:g} was asked for; "
            f"a few lanes count for most, so that {chosen.key} alarms in other ways than by a shift"
        )
    found = mean(weights, unit="probability", confidence=confidence, support=(0.0, 1.0))
    # Where alarms are certain, weights of a mean of 1 may come to a little more.
    estimate = replace(found, value=min(1.0, found.value), method="importance sampling over the time of a shift")
    return RareAlarms(estimate, reached, shift, int((weights > 0).sum()), horizon, seed)


def _relative_variance(weights: Floats) -> float:
    return float(weights.var(ddof=1) / weights.mean() ** 2)


def _weights(rule: Rule, horizon: int, shift: float, *, lanes: int, generator: np.random.Generator) -> Floats:
    """Return what each lane counts, float64[lanes]: the likelihood ratio at its alarm, and 0 without one."""
    weights = np.zeros(lanes)
    for first in range(0, lanes, _AT_ONCE):
        mine = weights[first : first + _AT_ONCE]
        ratio = np.empty(len(mine))

        def weigh(alarming: Integers, mine: Floats = mine, ratio: Floats = ratio) -> None:
            mine[alarming] = ratio[alarming]

        run_length_on(rule, _looks(ratio, horizon, shift, generator), lanes=len(mine), at_alarm=weigh)
    return weights


def _looks(ratio: Floats, horizon: int, shift: float, generator: np.random.Generator) -> Iterator[Floats]:
    """Yield looks that shift at a time of each lane's own; at each of them `ratio` [lanes] is the likelihood ratio so far."""
    lanes = len(ratio)
    head = round(_AT_FIRST * horizon)
    shifted = np.maximum(generator.integers(-head, horizon, lanes), 0)
    begins = np.where(generator.random(lanes) < _WITHOUT_SHIFT, horizon, shifted)
    towards = np.where(generator.random(lanes) < 0.5, shift, -shift)
    up, down = np.full((2, lanes), float(head))
    for look in range(horizon):
        x = generator.standard_normal(lanes) + np.where(look >= begins, towards, 0.0)
        # After its alarm a lane's ratio is not used, and may grow to no end.
        up = np.minimum((1 + up) * np.exp(shift * x - shift**2 / 2), _LARGEST)
        down = np.minimum((1 + down) * np.exp(-shift * x - shift**2 / 2), _LARGEST)
        mixed = ((up + down) / 2 + horizon - look - 1) / (horizon + head)
        ratio[:] = 1 / (_WITHOUT_SHIFT + (1 - _WITHOUT_SHIFT) * mixed)
        yield x
