"""Treatment against control over the parts of a look: the additive terms of a comparison, compiled.

See `simlab.guardrails.signal` for the formulas.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from simlab.guardrails.look import CONTROL, TREATMENT, Floats, Sums

TREATMENT_SUM, CONTROL_SUM, VARIANCE, WEIGHT, SMALLER = range(5)
TERMS = 5

_ROUNDING = 1e-12  # relative to the sum of squares: what a difference of equal values leaves


@njit(cache=True, inline="always")
def _variance(n: float, total: float, squares: float) -> float:
    """Return the variance with n - 1 in the denominator; what rounding leaves of equal values is none."""
    distances = squares - total * total / n
    return distances / max(n - 1.0, 1.0) if distances > _ROUNDING * squares else 0.0


@njit(cache=True)
def _contrast(observations: Floats, total: Floats, squares: Floats, null_ratio: float, together: bool, out: Floats) -> None:
    parts, streams, _, lanes = observations.shape
    for part in range(parts):
        for stream in range(streams):
            for lane in range(lanes):
                treated, control = observations[part, stream, TREATMENT, lane], observations[part, stream, CONTROL, lane]
                if treated <= 0 or control <= 0:
                    continue
                n = treated + control
                weight = treated * control / n
                treated_sum, control_sum = total[part, stream, TREATMENT, lane], total[part, stream, CONTROL, lane]
                treated_squares = squares[part, stream, TREATMENT, lane]
                control_squares = squares[part, stream, CONTROL, lane]
                if together:
                    pooled = _variance(n, treated_sum + control_sum, treated_squares + control_squares)
                    variance = pooled * (1 / treated + 1 / control)
                else:
                    variance = _variance(treated, treated_sum, treated_squares) / treated
                    variance += null_ratio**2 * _variance(control, control_sum, control_squares) / control
                out[TREATMENT_SUM, stream, lane] += weight * (treated_sum / treated)
                out[CONTROL_SUM, stream, lane] += weight * (control_sum / control)
                out[VARIANCE, stream, lane] += weight * weight * variance
                out[WEIGHT, stream, lane] += weight
    for stream in range(streams):
        for lane in range(lanes):
            of_treatment, of_control = 0.0, 0.0
            for part in range(parts):
                treated, control = observations[part, stream, TREATMENT, lane], observations[part, stream, CONTROL, lane]
                # What cannot be compared does not count towards the minimum.
                if treated > 0 and control > 0:
                    of_treatment += treated
                    of_control += control
            out[SMALLER, stream, lane] = min(of_treatment, of_control)


def contrast(sums: Sums, *, null_ratio: float, together: bool) -> Floats:
    """Return the terms of a comparison, float64[terms, streams, lanes].

    Parameters
    ----------
    sums : Sums
        float64[parts, streams, arms, lanes].
    null_ratio : float
        Factor on control's standard error where the variances are taken apart: the null ratio, or 1 for a difference.
    together : bool
        Take the variance of both arms together: the null is equality.
    """
    out = np.zeros((TERMS, sums.observations.shape[1], sums.observations.shape[3]))
    _contrast(sums.observations, sums.total, sums.squares, null_ratio, together, out)
    return out
