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

With a covariate X, what a user had been like before anybody was exposed, which no treatment can have changed, the residuals are
taken around their regression on X: the difference stays what it was on average, and its variance shrinks by the squared
correlation (Deng, Xu, Kohavi & Walker 2013, "Improving the sensitivity of online controlled experiments by utilizing
pre-experiment data").
"""

from __future__ import annotations

import numpy as np

from simlab.compiled import compiled, inlined
from simlab.guardrails.contrast import CONTROL_SUM, SMALLER, TERMS, TREATMENT_SUM, VARIANCE, WEIGHT
from simlab.guardrails.look import CONTROL, TREATMENT, Floats, UserSums

_USERS, _TOTAL, _UNITS, _TOTAL_2, _UNITS_2, _CROSS, _X, _X_2, _X_TOTAL, _X_UNITS = range(10)
LEAST_GROWTH = 0.1
"""A look waits until the information has grown by this share of it: what is less is mostly the noise of its estimate."""

_ROUNDING = 1e-12  # relative to the sums of squares: what residuals of equal values leave


@inlined
def _residuals(arm: Floats, ratio: float) -> float:
    """Return the sum over users of (Y - R N)^2."""
    squares = arm[_TOTAL_2] + ratio * ratio * arm[_UNITS_2]
    found = squares - 2.0 * ratio * arm[_CROSS]
    return found if found > _ROUNDING * squares else 0.0


@inlined
def _slope(treated: Floats, control: Floats, of_treated: float, of_control: float, together: bool) -> tuple[float, float]:
    """Return the slope of residuals on the covariate, over both arms or within them, and the sum of squares it leaves out."""
    along = treated[_X_TOTAL] - of_treated * treated[_X_UNITS] + control[_X_TOTAL] - of_control * control[_X_UNITS]
    across = treated[_X_2] + control[_X_2]
    if together:
        across -= (treated[_X] + control[_X]) ** 2 / (treated[_USERS] + control[_USERS])
    else:
        across -= treated[_X] ** 2 / treated[_USERS] + control[_X] ** 2 / control[_USERS]
    if across <= _ROUNDING * (treated[_X_2] + control[_X_2]):
        return 0.0, 0.0
    return along / across, along * along / across


@compiled
def _compared(treated: Floats, control: Floats, null_ratio: float, together: bool, adjusted: bool) -> tuple[float, float, float]:
    """Return 1 / Var(R_T - R_C), 0 where there is none yet, and both ratios, adjusted for the covariate if that is asked for."""
    if treated[_USERS] < 2.0 or control[_USERS] < 2.0 or treated[_UNITS] <= 0.0 or control[_UNITS] <= 0.0:
        return 0.0, 0.0, 0.0
    of_treated, of_control = treated[_TOTAL] / treated[_UNITS], control[_TOTAL] / control[_UNITS]
    per_treated = treated[_USERS] / (treated[_UNITS] * treated[_UNITS])
    per_control = control[_USERS] / (control[_UNITS] * control[_UNITS])
    users = treated[_USERS] + control[_USERS]
    slope = 0.0
    if together:
        ratio = (treated[_TOTAL] + control[_TOTAL]) / (treated[_UNITS] + control[_UNITS])
        squares, left = _residuals(treated, ratio) + _residuals(control, ratio), users - 1.0
        if adjusted:
            slope, less = _slope(treated, control, ratio, ratio, together)
            squares, left = max(0.0, squares - less), users - 2.0
        variance = squares / left * (per_treated + per_control)
    else:
        in_treated, in_control = _residuals(treated, of_treated), _residuals(control, of_control)
        if adjusted:
            slope, _ = _slope(treated, control, of_treated, of_control, together)
            in_treated += _adjusted(treated, of_treated, slope)
            in_control += _adjusted(control, of_control, slope)
        variance = in_treated / (treated[_USERS] - 1.0) * per_treated
        variance += null_ratio**2 * in_control / (control[_USERS] - 1.0) * per_control
    if adjusted:
        mean = (treated[_X] + control[_X]) / users
        of_treated -= slope * (treated[_X] - mean * treated[_USERS]) / treated[_UNITS]
        of_control -= slope * (control[_X] - mean * control[_USERS]) / control[_UNITS]
    return (1.0 / variance if variance > 0.0 else 0.0), of_treated, of_control


@inlined
def _adjusted(arm: Floats, ratio: float, slope: float) -> float:
    """Return by how much the sum of squares of residuals of an arm changes when `slope` times the covariate is taken out."""
    around = arm[_X_2] - arm[_X] ** 2 / arm[_USERS]
    return float(slope * (slope * around - 2.0 * (arm[_X_TOTAL] - ratio * arm[_X_UNITS])))


@compiled
def _add(sums: Floats, sign: float, null_ratio: float, together: bool, adjusted: bool, out: Floats) -> None:
    _, parts, streams, _, lanes = sums.shape
    for part in range(parts):
        for stream in range(streams):
            for lane in range(lanes):
                treated, control = sums[:, part, stream, TREATMENT, lane], sums[:, part, stream, CONTROL, lane]
                information, of_treated, of_control = _compared(treated, control, null_ratio, together, adjusted)
                if information > 0.0:
                    out[TREATMENT_SUM, stream, lane] += sign * information * of_treated
                    out[CONTROL_SUM, stream, lane] += sign * information * of_control
                    out[VARIANCE, stream, lane] += sign * information
                    out[WEIGHT, stream, lane] += sign * information


def contrast_by_user(sums: UserSums, *, null_ratio: float, together: bool, adjusted: bool = False) -> Floats:
    """Return the terms of a comparison as `simlab.guardrails.contrast.contrast` does, float64[terms, streams, lanes].

    Parameters
    ----------
    sums : UserSums
        float64[terms, parts, streams, 2, lanes].
    null_ratio : float
        Factor on control's standard error where the variances are taken apart: the null ratio, or 1 for a difference.
    together : bool
        Take residuals and variance of both arms together: the null is equality.
    adjusted : bool
        For the covariate, whose terms the sums then have.
    """
    out = np.zeros((TERMS, sums.after.shape[2], sums.after.shape[4]))
    _add(sums.after, 1.0, null_ratio, together, adjusted, out)
    _add(sums.before, -1.0, null_ratio, together, adjusted, out)
    out[SMALLER] = (sums.after[_UNITS] - sums.before[_UNITS]).sum(axis=0).min(axis=1)
    return out
