"""The laxest threshold that keeps a false-alarm budget with a stated confidence, from the maxima of independent harmless lanes.

Let n lanes have the maxima M_1..M_n, and let k be the largest number for which a binomial count of n lanes at the budget a is at
most k with probability at most d. Then a threshold just above the (k + 1)-th largest maximum breaks the budget in at most the
share d of all repeats: it does so only where at most k maxima lie beyond the point that a share a of all lanes goes beyond
(Wilks, "Determination of sample sizes for setting tolerance limits", Ann. Math. Stat. 1941). Ties make it stricter. The lanes
must be others than those on which anything else about the rule was chosen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from simlab.errors import UnitError
from simlab.guardrails.look import Floats
from simlab.inverse import binomial_cdf, binomial_count


@dataclass(frozen=True)
class Calibrated:
    """A threshold with what vouches for it.

    Attributes
    ----------
    threshold : float
        The laxest one allowed; infinite where the lanes are too few to vouch for any, -inf where any at all keeps the budget.
    allowed : int
        Most lanes that may reach it, k; -1 where the lanes are too few.
    lanes : int
        Harmless lanes, n.
    """

    threshold: float
    allowed: int
    lanes: int


def allowed_alarms(lanes: int, *, budget: float, error: float) -> int:
    """Return the largest k with P(Binomial(lanes, budget) <= k) <= error; -1 if there is none.

    Raises
    ------
    UnitError
        If the budget or the error is not a probability strictly between 0 and 1.

    Examples
    --------
    >>> allowed_alarms(2000, budget=0.05, error=0.05), allowed_alarms(50, budget=0.05, error=0.05)
    (83, -1)
    """
    if not (0 < budget < 1 and 0 < error < 1):
        raise UnitError(f"a budget and an error must be between 0 and 1, not {budget:g} and {error:g}")
    # The smallest k whose probability is at least the error: one less is the largest below it, unless it is met exactly.
    most = binomial_count(error, lanes, budget)
    return most if binomial_cdf(most, lanes, budget) <= error else most - 1


def lanes_needed(*, budget: float, error: float) -> int:
    """Return the fewest lanes that vouch for any threshold: if none of them alarms, the budget is kept but for the error.

    Examples
    --------
    >>> lanes_needed(budget=0.05, error=0.05)
    59
    """
    return math.ceil(math.log(error) / math.log1p(-budget))


def just_above(maximum: float) -> float:
    """Return the least threshold that a maximum does not reach; -inf where nothing was ever reached, so that any will do."""
    return float(np.nextafter(maximum, np.inf)) if maximum > -np.inf else -np.inf


def calibrate(maxima: Floats, *, budget: float, error: float) -> Calibrated:
    """Return the laxest threshold that keeps the budget, except with probability `error`.

    Parameters
    ----------
    maxima : float64[lanes]
        Of a statistic by the horizon, in harmless lanes; -inf where it was never reached anything.
    budget : float
        Largest probability of a false alarm by the horizon.
    error : float
        Probability, over such calibrations, of a threshold that breaks the budget.
    """
    allowed = allowed_alarms(len(maxima), budget=budget, error=error)
    if allowed < 0:
        return Calibrated(np.inf, -1, len(maxima))
    above = np.sort(maxima)[::-1][allowed]
    return Calibrated(just_above(above), allowed, len(maxima))
