"""Treatment against control over the parts of a look: additive terms of a comparison, and what a rule is given, compiled.

See `simlab.guardrails.signal` for the formulas.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from simlab.compiled import inlined, vectorised
from simlab.guardrails.look import CONTROL, TREATMENT, Bools, Floats, Sums

TREATMENT_SUM, CONTROL_SUM, VARIANCE, WEIGHT, SMALLER = range(5)
TERMS = 5

_ROUNDING = 1e-12  # relative to the sum of squares: what a difference of equal values leaves


class Compared(NamedTuple):
    """What a comparison gives a rule that takes standardised values.

    Attributes
    ----------
    value, information : float64[streams, lanes]
        (treatment - expected) / standard error, larger is worse, and 1 / SE^2 of the difference; NaN where not valid.
    valid : bool[streams, lanes]
        Where data were taken, and they varied.
    even : bool[streams, lanes]
        Where data were taken that did not.
    skipped : bool[streams, lanes]
        Where nothing is judged for want of data or of variation.
    """

    value: Floats
    information: Floats
    valid: Bools
    even: Bools
    skipped: Bools


@inlined
def _variance(n: float, total: float, squares: float) -> float:
    """Return the variance with n - 1 in the denominator; what rounding leaves of equal values is none."""
    distances = squares - total * total / n
    return distances / max(n - 1.0, 1.0) if distances > _ROUNDING * squares else 0.0


@vectorised
def _contrast(observations: Floats, total: Floats, squares: Floats, null_ratio: float, together: bool, out: Floats) -> None:
    parts, streams, _, lanes = observations.shape
    smaller = np.empty((2, lanes))
    for stream in range(streams):
        smaller[:] = 0.0
        for part in range(parts):
            for lane in range(lanes):
                of_treated, of_control = observations[part, stream, TREATMENT, lane], observations[part, stream, CONTROL, lane]
                # What cannot be compared does not count, nor towards the minimum; one in place of none divides by something.
                both = (of_treated > 0.0) & (of_control > 0.0)
                treated, control = of_treated if both else 1.0, of_control if both else 1.0
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
                # A difference of what is no number, or of infinities, is none either, and 0 of all others.
                whole = treated_squares + control_squares
                out[TREATMENT_SUM, stream, lane] += weight * (treated_sum / treated) if both else treated_sum - treated_sum
                out[CONTROL_SUM, stream, lane] += weight * (control_sum / control) if both else control_sum - control_sum
                out[VARIANCE, stream, lane] += (weight * weight * variance if both else 0.0) + (whole - whole)
                out[WEIGHT, stream, lane] += weight if both else (of_treated + of_control) - (of_treated + of_control)
                smaller[TREATMENT, lane] += treated if both else 0.0
                smaller[CONTROL, lane] += control if both else 0.0
        for lane in range(lanes):
            out[SMALLER, stream, lane] = min(smaller[TREATMENT, lane], smaller[CONTROL, lane])


def contrast(sums: Sums, *, null_ratio: float, together: bool) -> Floats:
    """Return the terms of a comparison, float64[terms, streams, lanes]; not all are numbers where the sums are not.

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


@vectorised
def _standardise(
    terms: Floats, taken: Bools, thin: Bools, of_control: float, of_weight: float, sign: Floats,
    value: Floats, information: Floats, valid: Bools, even: Bools, skipped: Bools,
) -> None:  # fmt: skip
    _, streams, lanes = terms.shape
    for stream in range(streams):
        direction = sign[min(stream, len(sign) - 1), 0]
        for lane in range(lanes):
            variance, weight = terms[VARIANCE, stream, lane], terms[WEIGHT, stream, lane]
            expected = of_control * terms[CONTROL_SUM, stream, lane] + of_weight * weight
            x = (terms[TREATMENT_SUM, stream, lane] - expected) / math.sqrt(max(variance, 0.0))
            judged = taken[stream, lane] & (variance > 0.0)
            value[stream, lane] = direction * x if judged else math.nan
            information[stream, lane] = weight * weight / variance if judged else math.nan
        for lane in range(lanes):
            judged = taken[stream, lane] & (terms[VARIANCE, stream, lane] > 0.0)
            valid[stream, lane] = judged
            even[stream, lane] = taken[stream, lane] & (not judged)
            skipped[stream, lane] = thin[stream, lane] | (taken[stream, lane] & (not judged))


def standardise(terms: Floats, *, taken: Bools, thin: Bools, of_control: float, of_weight: float, sign: Floats) -> Compared:
    """Return what a comparison gives a rule: ``sign * (treated - of_control * control - of_weight * weight) / sqrt(variance)``.

    Parameters
    ----------
    terms : float64[terms, streams, lanes]
        From `contrast`.
    taken, thin : bool[streams, lanes]
        Where data are taken, and where they wait.
    of_control, of_weight : float
        The null: its ratio and 0, or 1 and its difference.
    sign : float64[streams or 1, 1]
        1 where more is worse, -1 where less is.
    """
    shape = terms.shape[1:]
    compared = Compared(np.empty(shape), np.empty(shape), *(np.empty(shape, dtype=np.bool_) for _ in range(3)))
    _standardise(terms, taken, thin, of_control, of_weight, sign, *compared)
    return compared
