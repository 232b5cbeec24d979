"""Whole rows of draws at once: the inverse CDFs of `simlab.inverse`, in loops without a branch that compile to vectors.

Counts are the same to the bit. Each row takes one short cut for all of it, with a bound on its error; where that leaves a doubt
about the integer, and it does so in one draw of some thousands, the draw is made again by itself. Normals and exponentials agree
with those one by one to a few units in the last place.

`work` is room for what lies between, float64[`WORK`, n], overwritten; its rows are as long as what is filled.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from simlab.compiled import inlined, part
from simlab.inverse import (
    CENTRE_BOTTOM,
    CENTRE_TOP,
    EXPANSION_FROM,
    EXPANSION_REACH,
    LARGEST,
    SHOULDER_BOTTOM,
    SHOULDER_TOP,
    binomial_quantile,
    expansion,
    normal_quantile,
    poisson_quantile,
    polynomial,
)

Floats = NDArray[np.float64]
Single = np.float32
Singles = NDArray[np.float32]
_Sums = tuple[Single, Single, Single, Single]

WORK = 8
"""Rows of room that a fill needs."""

_LOG2_E = 1.4426950408889634
_LN2_HIGH, _LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10  # Cody & Waite: the first has 32 bits
_FRACTION = np.int64(0x000FFFFFFFFFFFFF)
_ONE = np.int64(0x3FF0000000000000)
_LEAST_EXPONENT, _LARGEST_EXPONENT = -708.0, 709.0
_HALF_LOG_2_PI = 0.9189385332046727
_STIRLING_FROM = 16.0  # from here on what the series leaves out is under its rounding
_TAIL = 1.4e-11  # beyond it `normal_quantile` has a third road

_SUMMED_BELOW = 12.0  # largest mean of a row that is added up from zero
_TOGETHER = 4  # probabilities added at one visit to a place in the row
_SMALL = 0.29  # largest chance whose logarithm needs no powers of two
_MARGIN = 2e-5  # twice the rounding of a sum of thirty probabilities in single precision, if all of it went one way
_MARGIN_OF_ONE = 1e-12  # far above that in double precision


@part
def fill_exponentials(x: Floats, out: Floats, work: Floats) -> None:
    """Fill `out` with exp(x), x kept between -708 and 709: a power of two times a Taylor sum over less than ln(2) / 2."""
    bits = work[0].view(np.int64)
    for at in range(len(out)):
        within = min(max(x[at], _LEAST_EXPONENT), _LARGEST_EXPONENT)
        power = math.floor(within * _LOG2_E + 0.5)
        r = (within - power * _LN2_HIGH) - power * _LN2_LOW
        s = r * r
        low = (1.0 + r) + s * (1 / 2 + r * (1 / 6))
        middle = (1 / 24 + r * (1 / 120)) + s * (1 / 720 + r * (1 / 5040))
        high = (1 / 40320 + r * (1 / 362880)) + s * (1 / 3628800 + r * (1 / 39916800))
        last = 1 / 479001600 + r * (1 / 6227020800)
        out[at] = low + s * s * (middle + s * s * (high + s * s * last))
        bits[at] = (np.int64(power) + 1023) << 52
    for at in range(len(out)):
        out[at] *= work[0, at]


@part
def _log_of_area(v: float) -> float:
    """Return 2 artanh(v), the log of (1 + v) / (1 - v), by its series for |v| to 0.172: 3 - 2 sqrt(2), that of half an octave."""
    s = v * v
    series = 1 / 17 + s * (1 / 19 + s * (1 / 21))
    series = 1 / 11 + s * (1 / 13 + s * (1 / 15 + s * series))
    series = 1 / 5 + s * (1 / 7 + s * (1 / 9 + s * series))
    return 2.0 * v * (1.0 + s * (1 / 3 + s * series))


@part
def fill_logarithms(x: Floats, out: Floats, work: Floats) -> None:
    """Fill `out` with log(x) of normal positive numbers: of the power of two, and of the rest as an area tangent."""
    of_x, bits = x.view(np.int64), work[0].view(np.int64)
    for at in range(len(out)):
        bits[at] = (of_x[at] & _FRACTION) | _ONE
    for at in range(len(out)):
        above = work[0, at] > math.sqrt(2.0)
        power = np.float64((of_x[at] >> 52) - 1023) + (1.0 if above else 0.0)
        rest = work[0, at] * (0.5 if above else 1.0)
        out[at] = power * _LN2_HIGH + (_log_of_area((rest - 1.0) / (rest + 1.0)) + power * _LN2_LOW)


@part
def fill_log_gammas(x: Floats, out: Floats, work: Floats) -> None:
    """Fill `out` with the log of the gamma function of normal positive numbers: from 16 on by Stirling's series."""
    fill_logarithms(x, out, work)
    least = math.inf
    for at in range(len(out)):
        least = min(least, x[at])
        inverse = 1.0 / x[at]
        s = inverse * inverse
        rest = inverse * (1 / 12 - s * (1 / 360 - s * (1 / 1260 - s * (1 / 1680 - s * (1 / 1188)))))
        out[at] = (x[at] - 0.5) * out[at] - x[at] + (_HALF_LOG_2_PI + rest)
    if least < _STIRLING_FROM:
        for at in range(len(out)):
            if x[at] < _STIRLING_FROM:
                out[at] = math.lgamma(x[at])


@part
def fill_normals(uniforms: Floats, out: Floats, work: Floats) -> None:
    """Fill `out` with `normal_quantile` of each: first as if all were in the centre, then one in seven once more."""
    for at in range(len(out)):
        from_centre = uniforms[at] - 0.5
        x = 0.180625 - from_centre * from_centre
        out[at] = from_centre * polynomial(x, CENTRE_TOP) / polynomial(x, CENTRE_BOTTOM)
    # The others' places are gathered without a branch too: no processor could foretell it.
    outside, count = work[1].view(np.int64), 0
    for at in range(len(out)):
        outside[count] = at
        count += abs(uniforms[at] - 0.5) > 0.425
    tail, found = work[2, :count], work[3, :count]
    for number in range(count):
        uniform = uniforms[outside[number]]
        tail[number] = min(uniform, 1.0 - uniform)
    fill_logarithms(tail, found, work)
    for number in range(count):
        x = math.sqrt(-found[number]) - 1.6
        found[number] = polynomial(x, SHOULDER_TOP) / polynomial(x, SHOULDER_BOTTOM)
    for number in range(count):
        at = outside[number]
        far = tail[number] < _TAIL
        out[at] = normal_quantile(uniforms[at]) if far else math.copysign(found[number], uniforms[at] - 0.5)


@inlined
def fill_poisson(uniforms: Floats, means: Floats, out: Floats, work: Floats) -> None:
    """Fill `out` with `poisson_quantile` of each uniform and mean.

    Raises
    ------
    ValueError
        As `poisson_quantile` does.
    """
    doubt, largest = work[4].view(np.int64), 0.0
    for at in range(len(out)):
        largest = max(largest, means[at])
    if largest < _SUMMED_BELOW:
        _sum_poisson(uniforms, means, out, work, _steps(largest))
    else:
        _expand_poisson(uniforms, means, out, work)
    for at in range(len(out)):
        if doubt[at]:
            out[at] = poisson_quantile(uniforms[at], means[at])


@part
def fill_one_poisson(uniforms: Floats, mean: float, out: Floats, work: Floats) -> None:
    """Fill `out` with `poisson_quantile` of each uniform and one mean: small ones share their sums of probabilities.

    Raises
    ------
    ValueError
        As `poisson_quantile` does.
    """
    if not 0.0 <= mean < _SUMMED_BELOW:
        means = work[7]
        means[:] = mean
        fill_poisson(uniforms, means, out, work)
        return
    doubt, steps = work[4].view(np.int64), _steps(mean)
    term = math.exp(-mean)
    total = term
    for at in range(len(out)):
        out[at], doubt[at] = 0.0, 0
    for first in range(0, steps, _TOGETHER):
        a = total
        term *= mean / (first + 1)
        b = a + term
        term *= mean / (first + 2)
        c = b + term
        term *= mean / (first + 3)
        d = c + term
        term *= mean / (first + 4)
        total = d + term
        for at in range(len(out)):
            u = uniforms[at]
            out[at] += (a < u) + (b < u) + (c < u) + (d < u)
            doubt[at] |= min(abs(a - u), abs(b - u), abs(c - u), abs(d - u)) < _MARGIN_OF_ONE
    for at in range(len(out)):
        if doubt[at] or out[at] == steps:
            out[at] = poisson_quantile(uniforms[at], mean)


@inlined
def fill_binomials(uniforms: Floats, trials: Floats, chances: Floats, out: Floats, work: Floats) -> None:
    """Fill `out` with `binomial_quantile` of each uniform, whole number of trials, and chance.

    Raises
    ------
    ValueError
        As `binomial_quantile` does.
    """
    doubt, largest = work[4].view(np.int64), 0.0
    for at in range(len(out)):
        largest = max(largest, trials[at] * chances[at])
    if largest < _SUMMED_BELOW:
        _sum_binomials(uniforms, trials, chances, out, work, _steps(largest))
    else:
        _expand_binomials(uniforms, trials, chances, out, work)
    for at in range(len(out)):
        if doubt[at]:
            out[at] = binomial_quantile(uniforms[at], int(trials[at]), chances[at])


@inlined
def _sum_poisson(uniforms: Floats, means: Floats, out: Floats, work: Floats, steps: int) -> None:
    """Add probabilities up from zero: each is the one before times mean / k."""
    log_none, none, slope, doubt = work[1], work[2], work[3], work[4].view(np.int64)
    for at in range(len(out)):
        log_none[at], slope[at] = -means[at], 0.0
    fill_exponentials(log_none, none, work)
    _sum_up(uniforms, none, means, slope, out, work, steps)
    for at in range(len(out)):
        doubt[at] |= not means[at] >= 0.0


@inlined
def _sum_binomials(uniforms: Floats, trials: Floats, chances: Floats, out: Floats, work: Floats, steps: int) -> None:
    """Add probabilities up from zero: each is the one before times odds (n - k + 1) / k."""
    log_none, none, slope, doubt, start = work[1], work[2], work[3], work[4].view(np.int64), work[5]
    for at in range(len(out)):
        # log(1 - p) as twice the area tangent of p / (p - 2).
        log_none[at] = trials[at] * _log_of_area(chances[at] / (chances[at] - 2.0))
        odds = chances[at] / (1.0 - chances[at])
        start[at], slope[at] = trials[at] * odds, -odds
    fill_exponentials(log_none, none, work)
    _sum_up(uniforms, none, start, slope, out, work, steps)
    for at in range(len(out)):
        doubt[at] |= (not 0.0 <= chances[at] <= _SMALL) | (not trials[at] <= LARGEST)


@part
def _sum_up(uniforms: Floats, none: Floats, start: Floats, slope: Floats, out: Floats, work: Floats, steps: int) -> None:
    """Fill `out` with how many sums of probabilities are below each uniform; mark those too near to tell in ``work[4]``.

    `none` is the probability of 0, and that of k + 1 is that of k times (`start` + k `slope`) / (k + 1). Single precision is
    enough, since what it leaves in doubt is drawn again.
    """
    doubt = work[4].view(np.int64)
    term, total = _halves(work[0])
    a, b = _halves(work[1])
    uniform, below = _halves(work[6])
    nearest, _ = _halves(work[7])
    for at in range(len(out)):
        a[at], b[at], uniform[at] = start[at], slope[at], uniforms[at]
        term[at], total[at], below[at], nearest[at] = none[at], none[at], 0.0, 1.0
    for first in range(0, steps, _TOGETHER):
        k = np.float32(first)
        one, two, three = np.float32(1.0), np.float32(2.0), np.float32(3.0)
        part, next_part = np.float32(1.0 / (first + 1)), np.float32(1.0 / (first + 2))
        third_part, last_part = np.float32(1.0 / (first + 3)), np.float32(1.0 / (first + 4))
        for at in range(len(out)):
            # By hand: an inner loop would keep the outer one from being made of vectors.
            sums = term[at], total[at], below[at], nearest[at]
            sums = _added(sums, uniform[at], (a[at] + k * b[at]) * part)
            sums = _added(sums, uniform[at], (a[at] + (k + one) * b[at]) * next_part)
            sums = _added(sums, uniform[at], (a[at] + (k + two) * b[at]) * third_part)
            sums = _added(sums, uniform[at], (a[at] + (k + three) * b[at]) * last_part)
            term[at], total[at], below[at], nearest[at] = sums
    for at in range(len(out)):
        out[at] = below[at]
        doubt[at] = (not nearest[at] > _MARGIN) | (out[at] == steps)


@inlined
def _expand_poisson(uniforms: Floats, means: Floats, out: Floats, work: Floats) -> None:
    """Take the expansion of `simlab.inverse`."""
    doubt = work[4].view(np.int64)
    fill_normals(uniforms, out, work)
    for at in range(len(out)):
        mean, w = means[at], out[at]
        x, error = expansion(w, mean, mean, mean, mean, mean)
        out[at] = math.floor(x - error)
        doubt[at] = (math.floor(x + error) != out[at]) | (abs(w) > EXPANSION_REACH) | (not EXPANSION_FROM <= mean <= LARGEST)


@inlined
def _expand_binomials(uniforms: Floats, trials: Floats, chances: Floats, out: Floats, work: Floats) -> None:
    """Take the expansion of `simlab.inverse`."""
    doubt = work[4].view(np.int64)
    fill_normals(uniforms, out, work)
    for at in range(len(out)):
        n, p, w = trials[at], chances[at], out[at]
        q = 1.0 - p
        variance = n * p * q
        k3 = variance * (q - p)
        x, error = expansion(w, n * p, variance, k3, variance * (1.0 - 6.0 * p * q), k3 * (1.0 - 12.0 * p * q))
        low = math.floor(x - error)
        doubt[at] = (math.floor(x + error) != low) | (low > n) | (abs(w) > EXPANSION_REACH)
        doubt[at] |= (not variance >= EXPANSION_FROM) | (not p <= 0.5) | (not n <= LARGEST)
        out[at] = low


@part
def _added(sums: _Sums, uniform: Single, factor: Single) -> _Sums:
    """Return the next probability, the CDF up to it, the steps of it under `uniform`, and how near the nearest one is."""
    term, total, below, nearest = sums
    term *= factor
    below += np.float32(1.0) if total < uniform else np.float32(0.0)
    return term, total + term, below, min(nearest, abs(total - uniform))


@part
def _halves(row: Floats) -> tuple[Singles, Singles]:
    """Return the room of a row as two rows of numbers in single precision."""
    numbers = row.view(np.float32)
    return numbers[: len(row)], numbers[len(row) :]


@part
def _steps(largest: float) -> int:
    """Return how many probabilities are added where the largest mean of a row is `largest`: under one draw in 500 wants more."""
    steps = int(largest + 3.0 * math.sqrt(largest) + 2.0)
    return steps + (-steps) % _TOGETHER
