"""From a threshold in a rule's ladder coordinate to the settings that a file would hold for it.

Only rules whose statistic stays the same when that setting moves are here: for them alone does a threshold read off from a ladder
mean the rule with that setting. An SPRT moves its lower bound with alpha, a spending function bends its boundary, a test of
Haybittle & Peto keeps its early bounds. Those have a ladder at their settings as they are, and no setting that follows it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any

from scipy.optimize import brentq

from simlab.guardrails.rule import Rule
from simlab.guardrails.rules.group_sequential import PlannedLooks
from simlab.guardrails.rules.mixture import tuned_r

_DIGITS = 4
_LARGEST_ALPHA, _LARGEST_PROBABILITY = 0.4999, 0.9999
"""Files take no larger ones, of tests and of others; a stricter threshold than asked for is then the laxest there is."""


@dataclass(frozen=True)
class Setting:
    """The setting of a rule that places its threshold.

    Attributes
    ----------
    name : str
        The field.
    at : callable
        Its value from the rule and the ladder coordinate.
    rises : bool
        Whether the threshold rises with it.
    """

    name: str
    at: Callable[[Any, float], float]
    rises: bool = True


def _identity(_: Any, threshold: float) -> float:
    return threshold


def _alpha(at: Callable[[Any, float], float], *, most: float = _LARGEST_ALPHA) -> Setting:
    return Setting("alpha", lambda rule, threshold: min(at(rule, threshold), most), rises=False)


def _tail(threshold: float) -> float:
    """Return the probability of a standard normal value above a threshold."""
    return NormalDist().cdf(-threshold)


def _planned_alpha(rule: PlannedLooks, threshold: float) -> float:
    """Return the error probability whose last critical value is the threshold."""
    low, high = -23.0, math.log(_LARGEST_ALPHA)

    def excess(log_alpha: float) -> float:
        return rule.with_alpha(math.exp(log_alpha)).threshold - threshold

    if excess(high) >= 0:
        return _LARGEST_ALPHA
    return math.exp(brentq(excess, low, high, xtol=1e-10)) if excess(low) > 0 else 0.0


_E_VALUE = _alpha(lambda _, threshold: math.exp(-threshold))
_E_DETECTOR = _alpha(lambda _, threshold: math.exp(-threshold), most=_LARGEST_PROBABILITY)
SETTINGS: dict[str, Setting] = {
    "cusum": Setting("h", _identity),
    "ewma": Setting("L", _identity),
    "mewma": Setting("h", _identity),
    "heartbeat": Setting("h", _identity),
    "shewhart": Setting("sigmas", _identity),
    "page_hinkley": Setting("lambda_", _identity),
    "glr": Setting("threshold", _identity),
    "focus": Setting("threshold", _identity),
    "bocpd": Setting("threshold", _identity),
    "seasonal": Setting("threshold", _identity),
    "burn_rate": Setting("burn", _identity),
    "above": Setting("limit", _identity),
    "below": Setting("limit", lambda _, threshold: -threshold, rises=False),
    "shiryaev_roberts": Setting("A", lambda _, threshold: math.exp(threshold)),
    **dict.fromkeys(("msprt", "normal_mixture", "asymptotic_cs", "betting", "canary_counts"), _E_VALUE),
    **dict.fromkeys(("e_sr", "e_cusum", "srm", "hotelling"), _E_DETECTOR),
    "srm_chi2": _alpha(lambda _, threshold: 2 * _tail(math.sqrt(threshold))),
    "repeated_z": _alpha(lambda rule, threshold: rule.looks * rule.sides * _tail(threshold)),
    "fixed_horizon": _alpha(lambda rule, threshold: rule.sides * _tail(threshold)),
    "pocock": _alpha(_planned_alpha),
    "obrien_fleming": _alpha(_planned_alpha),
}


def settings_at(rule: Rule, threshold: float) -> Mapping[str, float] | None:
    """Return the settings that put a rule's threshold at a value or just above, its statistic unchanged.

    The setting is rounded to four digits, to the stricter side.

    Parameters
    ----------
    rule : Rule
        With all its other settings.
    threshold : float
        In the rule's ladder coordinate.

    Returns
    -------
    mapping of str to float, or None
        By field. None if no setting moves the threshold alone, or none that a file may hold reaches this threshold.

    Examples
    --------
    >>> from simlab.guardrails.rules.cusum import Cusum
    >>> settings_at(Cusum(k=0.5), 7.00061)
    {'h': 7.001}
    """
    setting = SETTINGS.get(rule.key)
    if setting is None or not math.isfinite(threshold):
        return None
    try:
        exact = setting.at(rule, threshold)
        rounded = _rounded(exact, up=setting.rises)
        found = {setting.name: rounded, **_frozen(rule)}
        held: Any = rule
        strict = replace(held, **found).threshold >= threshold
    except (ValueError, OverflowError, ArithmeticError):
        return None
    positive = rounded > 0 or rule.key in {"above", "below"}
    return found if strict and positive else None


def _rounded(value: float, *, up: bool) -> float:
    """Return a number with four digits at or above another one, or at or below it."""
    if value == 0:
        return 0.0
    unit = 10.0 ** (math.floor(math.log10(abs(value))) - _DIGITS + 1)
    # One part in a billion more than asked for covers the rounding of the way there and back.
    slack = 1e-9 * abs(value)
    steps = math.ceil((value + slack) / unit) if up else math.floor((value - slack) / unit)
    return float(f"{steps * unit:.{_DIGITS}g}")


def _frozen(rule: Any) -> dict[str, float]:
    """Return settings that would follow alpha if they were not set: the mixture that a confidence sequence is tuned for."""
    if rule.key == "normal_mixture" and rule.r is None:
        return {"r": tuned_r(rule.v_opt, alpha=rule.alpha, sides=rule.sides)}
    if rule.key == "asymptotic_cs" and rule.r is None:
        raise ValueError("its mixture follows alpha, and r is not set")
    return {}
