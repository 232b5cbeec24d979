"""Thresholds from an error rate, for rules whose run lengths have an exact answer."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from scipy.optimize import brentq

from simlab.arguments import is_number, is_share, is_whole
from simlab.chains import Solved
from simlab.errors import SimlabError, UnitError
from simlab.exact_run_lengths import solve
from simlab.guardrails.rule import Rule
from simlab.guardrails.rules.cusum import Cusum
from simlab.guardrails.rules.e_detectors import ECusum, ESr
from simlab.guardrails.rules.ewma import Ewma
from simlab.guardrails.rules.shewhart import Shewhart
from simlab.guardrails.rules.shiryaev_roberts import ShiryaevRoberts
from simlab.guardrails.rules.sprt import Sprt
from simlab.placing import SETTINGS, Setting
from simlab.rule_from import rule as read_rule

LONGEST = 1e7
"""The longest mean run length that is inverted; beyond it the equations lose too many digits."""

RAREST = 1e-9
"""The smallest alarm probability that is inverted; one minus less than that has too few digits."""


# The lower bound of an sprt moves with alpha too, which its exact run length knows.
_SPRT = Setting("alpha", lambda rule, threshold: (1 - rule.beta) * math.exp(-threshold), rises=False)
_EXACT: dict[type[Any], Setting] = {
    **{rule: SETTINGS[rule.key] for rule in (Cusum, Ewma, Shewhart, ShiryaevRoberts, ESr, ECusum)},
    Sprt: _SPRT,
}


def threshold_for(
    rule: Rule | Mapping[str, Any], *, arl0: float | None = None, pfa: float | None = None, looks: int | None = None
) -> float:
    """Return the setting at which a rule has a given mean run length, or alarm probability, on standard normal looks.

    Parameters
    ----------
    rule : Rule or mapping
        As in `exact_run_length`; its own threshold is not used.
    arl0 : float, optional
        Mean run length in looks.
    pfa, looks : float and int, optional
        Instead of it, the probability of an alarm by look `looks`.

    Returns
    -------
    float
        In the unit of the rule's own setting: h of cusum, L of ewma, sigmas of shewhart, A of shiryaev_roberts, alpha of an
        e-detector or sprt.

    Raises
    ------
    SimlabError
        If there is no exact answer for this rule, or no threshold that attains it.
    UnitError
        Unless either `arl0`, or `pfa` and `looks`, are given and in range.

    Examples
    --------
    >>> round(threshold_for({"ewma": {"lambda": 0.1}}, arl0=500), 5)
    2.81431
    """
    chosen = read_rule(rule)
    strictness = _strictness(arl0, pfa, looks)
    if type(chosen) not in _EXACT:
        raise SimlabError(f"{chosen.key} has no exact run length; calibrate it by simulation")
    if isinstance(chosen, Sprt) and arl0 is not None:
        raise SimlabError("an sprt may end without an alarm, so it has no mean run length; give pfa and looks")
    setting = _EXACT[type(chosen)]
    settings: Any = chosen

    def excess(coordinate: float) -> float:
        placed: Rule = replace(settings, **{setting.name: setting.at(chosen, coordinate)})
        return strictness(solve(placed, 0.0))

    low = _lowest(chosen) + 1e-6
    if excess(low) > 0:
        raise SimlabError(f"{chosen.key} does not alarm as often as that at any threshold")
    width = 0.5
    while excess(low + width) < 0:
        width *= 1.5
    return setting.at(chosen, float(brentq(excess, low, low + width, xtol=1e-12, rtol=1e-12)))


def _lowest(rule: Rule) -> float:
    """Return the coordinate above which thresholds are looked for."""
    if not isinstance(rule, Cusum):
        return 0.0
    # Two sides have an exact answer for head starts up to h / 2 + k.
    return max(rule.head_start, 2.0 * (rule.head_start - rule.k) if rule.sides == 2 else 0.0)


def _strictness(arl0: float | None, pfa: float | None, looks: int | None) -> Callable[[Solved], float]:
    """Return a function that rises with the threshold and is 0 where it is as asked."""
    if arl0 is not None and pfa is None and looks is None:
        if not (is_number(arl0) and 1 < arl0 <= LONGEST):
            raise UnitError(f"arl0 must be above 1 look and at most {LONGEST:g}, not {arl0!r}")
        return lambda solved: math.log(solved.mean() / arl0)
    if arl0 is None and pfa is not None and looks is not None:
        if not is_share(pfa) or pfa < RAREST or not is_whole(looks, least=1):
            raise UnitError(
                f"pfa must be from {RAREST:g} to below 1 and looks a whole number of at least 1, not {pfa!r} and {looks!r}"
            )
        return lambda solved: float(solved.survival(looks)[-1]) - (1.0 - pfa)
    raise UnitError("give either arl0, or pfa and looks")
