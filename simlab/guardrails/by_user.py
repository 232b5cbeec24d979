"""Treatment against control user by user: the additive terms of a comparison where users return, compiled.

Requests of one user are alike, so their number is not the number of independent values. Here the user is the unit of analysis:
with Y the total of a user and N the number of units (requests, sessions), an arm's mean is the ratio of sums R = sum Y / sum N,
and by the delta method its variance is n s^2 / (sum N)^2, s^2 being the variance over the n users of the residuals Y - R N (Deng,
Knoblich & Lu 2018, "Applying the delta method in metric analytics"). If the null is equality, R and s^2 are those of both arms.

The sums are cumulative while the ramp takes nobody from control, so that a user who returns counts once. A rule is given what a
look adds: with the information I = 1 / Var(R_T - R_C), the score S = I (R_T - R_C) has nearly independent increments whose
variance is that of I (Jennison & Turnbull 2000, chapter 3), so x = (S_after - S_before) / sqrt(I_after - I_before), and the sum
over looks of x sqrt(dI), divided by sqrt(I), is the cumulative z. Where the sums begin anew, returning users link what follows
with what was before.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from simlab.guardrails.contrast import CONTROL_SUM, SMALLER, TERMS, TREATMENT_SUM, VARIANCE, WEIGHT
from simlab.guardrails.look import CONTROL, TREATMENT, Floats, UserSums

_USERS, _TOTAL, _UNITS, _TOTAL_2, _UNITS_2, _CROSS = range(6)
LEAST_GROWTH = 0.1
"""A look waits until the information has grown by this share of it: what is less is mostly the noise of its estimate."""

_ROUNDING = 1e-12  # relative to the sums of squares: what residuals of equal values leave


@njit(cache=True, inline="always")
def _residuals(arm: Floats, ratio: float) -> float:
    """Return the sum over users of (Y - R N)^2."""
    squares = arm[_TOTAL_2] + ratio * ratio * arm[_UNITS_2]
    found = squares - 2.0 * ratio * arm[_CROSS]
    return found if found > _ROUNDING * squares else 0.0


@njit(cache=True)
def _information(treated: Floats, control: Floats, null_ratio: float, together: bool) -> float:
    """Return 1 / Var(R_T - R_C) from the terms of the two arms; 0 where there is none yet."""
    if treated[_USERS] < 2.0 or control[_USERS] < 2.0 or treated[_UNITS] <= 0.0 or control[_UNITS] <= 0.0:
        return 0.0
    per_treated = treated[_USERS] / (treated[_UNITS] * treated[_UNITS])
    per_control = control[_USERS] / (control[_UNITS] * control[_UNITS])
    if together:
        ratio = (treated[_TOTAL] + control[_TOTAL]) / (treated[_UNITS] + control[_UNITS])
        squares = _residuals(treated, ratio) + _residuals(control, ratio)
        variance = squares / (treated[_USERS] + control[_USERS] - 1.0) * (per_treated + per_control)
    else:
        of_treated = _residuals(treated, treated[_TOTAL] / treated[_UNITS]) / (treated[_USERS] - 1.0)
        of_control = _residuals(control, control[_TOTAL] / control[_UNITS]) / (control[_USERS] - 1.0)
        variance = of_treated * per_treated + null_ratio**2 * of_control * per_control
    return 1.0 / variance if variance > 0.0 else 0.0


@njit(cache=True)
def _add(sums: Floats, sign: float, null_ratio: float, together: bool, out: Floats) -> None:
    _, parts, streams, _, lanes = sums.shape
    for part in range(parts):
        for stream in range(streams):
            for lane in range(lanes):
                treated, control = sums[:, part, stream, TREATMENT, lane], sums[:, part, stream, CONTROL, lane]
                information = _information(treated, control, null_ratio, together)
                if information > 0.0:
                    out[TREATMENT_SUM, stream, lane] += sign * information * treated[_TOTAL] / treated[_UNITS]
                    out[CONTROL_SUM, stream, lane] += sign * information * control[_TOTAL] / control[_UNITS]
                    out[VARIANCE, stream, lane] += sign * information
                    out[WEIGHT, stream, lane] += sign * information


def contrast_by_user(sums: UserSums, *, null_ratio: float, together: bool) -> Floats:
    """Return the terms of a comparison as `simlab.guardrails.contrast.contrast` does, float64[terms, streams, lanes].

    Parameters
    ----------
    sums : UserSums
        float64[terms, parts, streams, 2, lanes].
    null_ratio : float
        Factor on control's standard error where the variances are taken apart: the null ratio, or 1 for a difference.
    together : bool
        Take residuals and variance of both arms together: the null is equality.
    """
    out = np.zeros((TERMS, sums.after.shape[2], sums.after.shape[4]))
    _add(sums.after, 1.0, null_ratio, together, out)
    _add(sums.before, -1.0, null_ratio, together, out)
    out[SMALLER] = (sums.after[_UNITS] - sums.before[_UNITS]).sum(axis=0).min(axis=1)
    return out
