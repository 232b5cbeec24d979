"""Exact inverse CDFs: one uniform in, one draw out, never decreasing in the uniform nor in the parameter.

A draw is the smallest k with F(k) >= u. Nothing but u is random, so two lanes that share a uniform share its
noise, however their parameters differ, and a larger rate never gives a smaller count. Three roads lead to k:

1. small variance: add up the probabilities from zero;
2. otherwise: a Cornish-Fisher expansion, taken where its error bound cannot change the integer (nearly always);
3. where either leaves a doubt: compare u with the CDF at k, summed over its smaller tail.

The third road is the definition. The others are short cuts that step aside near a step of F, so that the order
in u does not depend on the road. The order in the mean, n or p holds for values whose CDFs differ by more than
their rounding: relative to the smaller tail, 1e-13 plus 2e-16 standard deviations.

The scalar kernels are for compiled loops; `normal_quantiles`, `poisson_quantiles` and `binomial_quantiles` are
the same as NumPy ufuncs. `binomial_count` and `binomial_cdf` are for one number now and then, and compile nothing.

References
----------
Cornish & Fisher (1938), "Moments and cumulants in the specification of distributions".
Esseen (1945), "Fourier analysis of distribution functions", Acta Mathematica 77, 1-125.
Giles (2016), "Algorithm 955: approximation of the inverse Poisson cumulative distribution function", ACM TOMS 42.
Loader (2000), "Fast and accurate computation of binomial probabilities".
Wichura (1988), "Algorithm AS 241: the percentage points of the normal distribution", Applied Statistics 37.
"""

from __future__ import annotations

import math

from simlab.compiled import elementwise, part

# A compiled caller in another file keeps these kernels in its own cache: clear __pycache__ after a change here.

LARGEST = 2**34  # of a mean or n; a limit of `_binomial_pmf`

EXPANSION_FROM = 5.0  # variance under which adding up from zero is the faster road
_SEARCH_BLOCK = 6  # probabilities added between two looks at the sum: a branch the processor can foresee
_SEARCH_MARGIN = 1e-13  # far above the rounding of a sum of some fifty probabilities
_SEARCH_END = 1e-17  # a probability that no longer moves the sum
_TAIL_END = 1e-20  # relative to the sum: what follows is under 1e-15 of it even where thousands of terms are alike
EXPANSION_REACH = 5.0  # |w| beyond which no bound on the expansion's error is claimed

# Wichura (1988), PPND16: numerators and denominators, lowest power first.
CENTRE_TOP = (
    3.3871328727963666080e0, 1.3314166789178437745e2, 1.9715909503065514427e3, 1.3731693765509461125e4,
    4.5921953931549871457e4, 6.7265770927008700853e4, 3.3430575583588128105e4, 2.5090809287301226727e3,
)  # fmt: skip
CENTRE_BOTTOM = (
    1.0, 4.2313330701600911252e1, 6.8718700749205790830e2, 5.3941960214247511077e3,
    2.1213794301586595867e4, 3.9307895800092710610e4, 2.8729085735721942674e4, 5.2264952788528545610e3,
)  # fmt: skip
SHOULDER_TOP = (
    1.42343711074968357734e0, 4.63033784615654529590e0, 5.76949722146069140550e0, 3.64784832476320460504e0,
    1.27045825245236838258e0, 2.41780725177450611770e-1, 2.27238449892691845833e-2, 7.74545014278341407640e-4,
)  # fmt: skip
SHOULDER_BOTTOM = (
    1.0, 2.05319162663775882187e0, 1.67638483018380384940e0, 6.89767334985100004550e-1,
    1.48103976427480074590e-1, 1.51986665636164571966e-2, 5.47593808499534494600e-4, 1.05075007164441684324e-9,
)  # fmt: skip
_TAIL_TOP = (
    6.65790464350110377720e0, 5.46378491116411436990e0, 1.78482653991729133580e0, 2.96560571828504891230e-1,
    2.65321895265761230930e-2, 1.24266094738807843860e-3, 2.71155556874348757815e-5, 2.01033439929228813265e-7,
)  # fmt: skip
_TAIL_BOTTOM = (
    1.0, 5.99832206555887937690e-1, 1.36929880922735805310e-1, 1.48753612908506148525e-2,
    7.86869131145613259100e-4, 1.84631831751005468180e-5, 1.42151175831644588870e-7, 2.04426310338993978564e-15,
)  # fmt: skip

# log(k!) - log(sqrt(2 pi k) (k/e)^k) for k = 1 to 15, where the series is too short; entry 0 is never read.
_STIRLING_ERROR = (
    0.0, 0.08106146679532726, 0.0413406959554093, 0.02767792568499834, 0.020790672103765093, 0.016644691189821193,
    0.013876128823070748, 0.01189670994589177, 0.010411265261972096, 0.009255462182712733, 0.00833056343336287,
    0.007573675487951841, 0.00694284010720953, 0.006408994188004207, 0.005951370112758848, 0.005554733551962801,
)  # fmt: skip


@part
def polynomial(x: float, c: tuple[float, ...]) -> float:
    """Return sum of c[i] x^i, i to 7, in Estrin's order: its short chains suit the processor better than Horner's."""
    s = x * x
    low = (c[0] + c[1] * x) + (c[2] + c[3] * x) * s
    high = (c[4] + c[5] * x) + (c[6] + c[7] * x) * s
    return low + high * (s * s)


@part
def normal_quantile(u: float) -> float:
    """Return the standard normal w with Phi(w) = u, to about 1e-16 relative (Wichura 1988, PPND16).

    Raises
    ------
    ValueError
        If `u` is not between 0 and 1.
    """
    if not 0.0 < u < 1.0:
        raise ValueError("a uniform lies between 0 and 1, both left out")
    from_centre = u - 0.5
    if abs(from_centre) <= 0.425:
        x = 0.180625 - from_centre * from_centre
        return from_centre * polynomial(x, CENTRE_TOP) / polynomial(x, CENTRE_BOTTOM)
    x = math.sqrt(-math.log(min(u, 1.0 - u)))
    if x <= 5.0:
        w = polynomial(x - 1.6, SHOULDER_TOP) / polynomial(x - 1.6, SHOULDER_BOTTOM)
    else:
        w = polynomial(x - 5.0, _TAIL_TOP) / polynomial(x - 5.0, _TAIL_BOTTOM)
    return math.copysign(w, from_centre)


@part
def expansion(w: float, mean: float, k2: float, k3: float, k4: float, k5: float) -> tuple[float, float]:
    """Return x, and a bound on its error, such that a lattice variable is floor(x) where the normal one is `w`.

    Cornish-Fisher through the fifth cumulant, here by powers of w. The sum over a lattice up to k is the integral
    up to k + 1/2 of the smooth function whose transform is the lattice variable's times (t/2)/sin(t/2) (Esseen
    1945), which takes 1/12 from the second cumulant and adds 1/120 to the fourth. For Poisson, with one more
    order, this is Q_N2 of Giles (2016).

    The bound is measured, not proven: at the steps of F with |w| <= 5, for Poisson and for binomial with p <= 1/2,
    at variances from 5 to 1e9, the error stays under a seventh of it. Its last part is rounding.
    """
    k2 -= 1 / 12
    inverse = 1.0 / k2
    sigma = math.sqrt(k2)
    a = k3 * inverse
    b = (k4 + 1 / 120) * inverse
    c = k5 * inverse
    power0 = c * (1 / 40) - a * b * (1 / 12) + a * a * a * (17 / 324)
    power1 = a * a * (5 / 36) - b * (1 / 8)
    power2 = a * b * (5 / 24) - c * (1 / 20) - a * a * a * (53 / 324)
    power3 = b * (1 / 24) - a * a * (1 / 18)
    power4 = c * (1 / 120) - a * b * (1 / 24) + a * a * a * (1 / 27)
    s = w * w
    even = (power0 * inverse - a * (1 / 6)) + s * ((power2 * inverse + a * (1 / 6)) + s * (power4 * inverse))
    odd = (sigma + power1 * (sigma * inverse)) + s * (power3 * (sigma * inverse))
    error = (0.1 + 0.005 * s * s * s) * (sigma * inverse * inverse) + 1e-15 * mean
    return mean + 0.5 + (even + w * odd), error


@part
def _stirling_error(k: float) -> float:
    """Return log(k!) - log(sqrt(2 pi k) (k/e)^k) for a whole number k >= 1 (Loader 2000, section 2)."""
    if k < 15.5:
        return _STIRLING_ERROR[int(k)]
    s = 1.0 / (k * k)
    return (1 / 12 - s * (1 / 360 - s * (1 / 1260 - s * (1 / 1680 - s / 1188)))) / k


@part
def _deviance(k: float, mean: float, excess: float) -> float:
    """Return k log(k / mean) - excess, where excess = k - mean (Loader 2000, bd0)."""
    v = excess / (k + mean)
    if abs(v) > 0.2:
        return k * math.log(k / mean) - excess
    total = excess * v
    power = 2.0 * k * v
    odd = 1.0
    before = math.inf
    while total != before:
        before = total
        power *= v * v
        odd += 2.0
        total += power / odd
    return total


@part
def _poisson_pmf(k: float, mean: float) -> float:
    if k == 0.0:
        return math.exp(-mean)
    exponent = -_stirling_error(k) - _deviance(k, mean, k - mean)
    return math.exp(exponent) / math.sqrt(2.0 * math.pi * k)


@part
def _binomial_pmf(k: float, n: float, p: float) -> float:
    """Return P(X = k) for p <= 1/2 (Loader 2000, equation 5)."""
    if k == 0.0:
        return math.exp(n * math.log1p(-p))
    if k == n:
        return math.exp(n * math.log(p))
    scaled = p * (LARGEST + 1)
    high = scaled - (scaled - p)  # the first 19 bits of p, so that n * high is exact for n <= 2**34
    excess = (k - n * high) - n * (p - high)
    exponent = (
        _stirling_error(n)
        - _stirling_error(k)
        - _stirling_error(n - k)
        - _deviance(k, n * p, excess)
        - _deviance(n - k, n * (1.0 - p), -excess)
    )
    return math.exp(exponent) * math.sqrt(n / (2.0 * math.pi * k * (n - k)))


@part
def _poisson_reached(k: int, u: float, mean: float) -> bool:
    """Return whether P(X <= k) >= u, from the tail that does not hold the mean."""
    if k + 1 <= mean:
        at = float(k)
        term = _poisson_pmf(at, mean)
        total = term
        while term > total * _TAIL_END:
            term *= at / mean
            at -= 1.0
            total += term
        return total >= u
    at = k + 1.0
    term = _poisson_pmf(at, mean)
    total = term
    while term > total * _TAIL_END:
        at += 1.0
        term *= mean / at
        total += term
    return total <= 1.0 - u


@part
def _binomial_reached(k: int, lower: float, upper: float, n: float, p: float, strictly: bool) -> bool:
    """Return whether P(X <= k) >= `lower`, or > if `strictly`, for p <= 1/2 and k < n; `upper` is 1 - `lower`."""
    odds = p / (1.0 - p)
    if k + 1 <= n * p:
        at = float(k)
        term = _binomial_pmf(at, n, p)
        total = term
        while term > total * _TAIL_END:
            term *= at / ((n - at + 1.0) * odds)
            at -= 1.0
            total += term
        return total > lower if strictly else total >= lower
    at = k + 1.0
    term = _binomial_pmf(at, n, p)
    total = term
    while term > total * _TAIL_END:
        at += 1.0
        term *= (n - at + 1.0) * odds / at
        total += term
    return total < upper if strictly else total <= upper


@part
def _poisson_search(u: float, mean: float) -> tuple[int, int]:
    """Return the quantiles of `u` less and plus a margin, by adding up from zero."""
    term = math.exp(-mean)
    total = term
    at = 0.0
    low = 0
    high = 0
    while True:
        for _ in range(_SEARCH_BLOCK):
            low += total < u - _SEARCH_MARGIN
            high += total < u + _SEARCH_MARGIN
            at += 1.0
            term *= mean / at
            total += term
        if total >= u + _SEARCH_MARGIN or term < _SEARCH_END:
            return low, high


@part
def _binomial_search(u: float, n: float, p: float) -> tuple[int, int]:
    """Return the quantiles of `u` less and plus a margin, by adding up from zero."""
    odds = p / (1.0 - p)
    term = math.exp(n * math.log1p(-p))
    total = term
    at = 0.0
    low = 0
    high = 0
    while True:
        for _ in range(_SEARCH_BLOCK):
            low += total < u - _SEARCH_MARGIN
            high += total < u + _SEARCH_MARGIN
            term *= (n - at) * odds / (at + 1.0)
            at += 1.0
            total += term
        if total >= u + _SEARCH_MARGIN or term < _SEARCH_END:
            return low, high


@part
def poisson_quantile(u: float, mean: float) -> int:
    """Return the smallest k with P(X <= k) >= u, X Poisson.

    Parameters
    ----------
    u : float
        Uniform in the open interval (0, 1).
    mean : float
        From 0 to `LARGEST`.

    Raises
    ------
    ValueError
        If an argument is out of its range or not a number.
    """
    if not (0.0 < u < 1.0 and 0.0 <= mean <= LARGEST):
        raise ValueError("u lies between 0 and 1, both left out, and a mean between 0 and 2**34")
    if mean < 1.0 - u:
        return 0  # P(X > 0) is less than the mean
    if mean < EXPANSION_FROM:
        low, high = _poisson_search(u, mean)
    else:
        w = normal_quantile(u)
        x, error = expansion(w, mean, mean, mean, mean, mean)
        low = int(x - error) if abs(w) <= EXPANSION_REACH else -1
        high = int(x + error)
    if low == high and low >= 0:
        return low
    k = max(high, 0)
    while not _poisson_reached(k, u, mean):
        k += 1
    while k > 0 and _poisson_reached(k - 1, u, mean):
        k -= 1
    return k


@part
def _smaller_half_quantile(u: float, n: float, p: float, mirrored: bool) -> int:
    """Return the smallest k with P(X <= k) >= u, or, `mirrored`, with P(X > k) < u; X binomial and p <= 1/2.

    `n` is a whole number, kept as a float: the square of a large integer would overflow.
    """
    lower, upper = (1.0 - u, u) if mirrored else (u, 1.0 - u)
    if n * p < upper:
        return 0  # P(X > 0) is not more than the mean
    q = 1.0 - p
    variance = n * p * q
    if variance < EXPANSION_FROM:
        low, high = _binomial_search(lower, n, p)
    else:
        w = -normal_quantile(u) if mirrored else normal_quantile(u)
        k3 = variance * (q - p)
        k4 = variance * (1.0 - 6.0 * p * q)
        k5 = k3 * (1.0 - 12.0 * p * q)
        x, error = expansion(w, n * p, variance, k3, k4, k5)
        low = int(x - error) if abs(w) <= EXPANSION_REACH else -1
        high = int(x + error)
    if low == high and 0 <= low <= n:
        return low
    k = min(max(high, 0), int(n))
    while k < n and not _binomial_reached(k, lower, upper, n, p, mirrored):
        k += 1
    while k > 0 and _binomial_reached(k - 1, lower, upper, n, p, mirrored):
        k -= 1
    return k


@part
def binomial_quantile(u: float, n: int, p: float) -> int:
    """Return the smallest k with P(X <= k) >= u, X binomial.

    Above p = 1/2 the failures Y = n - X are counted: P(X <= k) >= u holds where P(Y > m) < u with m = n - k - 1
    does not, so that k is n less the smallest m with P(Y > m) < u.

    Parameters
    ----------
    u : float
        Uniform in the open interval (0, 1).
    n : int
        Trials, from 0 to `LARGEST`.
    p : float
        Probability of each, from 0 to 1.

    Raises
    ------
    ValueError
        If an argument is out of its range or not a number.
    """
    if not (0.0 < u < 1.0 and 0 <= n <= LARGEST and 0.0 <= p <= 1.0):
        raise ValueError("u lies between 0 and 1, both left out, n between 0 and 2**34, and p between 0 and 1")
    mirrored = p > 0.5
    found = _smaller_half_quantile(u, float(n), 1.0 - p if mirrored else p, mirrored)
    return n - found if mirrored else found


@elementwise
def normal_quantiles(u: float) -> float:
    """`normal_quantile` over arrays of any shape."""
    return normal_quantile(u)


@elementwise
def poisson_quantiles(u: float, mean: float) -> int:
    """`poisson_quantile` over arrays that broadcast; int64."""
    return poisson_quantile(u, mean)


@elementwise
def binomial_quantiles(u: float, n: int, p: float) -> int:
    """`binomial_quantile` over arrays that broadcast; int64."""
    return binomial_quantile(u, n, p)


def binomial_count(share: float, n: int, p: float) -> int:
    """Return the smallest k with P(Binomial(n, p) <= k) >= share, for a few at a time: nothing is compiled.

    Of SciPy's special functions, because its distributions take long to import.

    Parameters
    ----------
    share, p : float
        Strictly between 0 and 1.
    n : int
        Trials, at least 1.

    Examples
    --------
    >>> binomial_count(0.025, 2000, 0.05), binomial_count(0.5, 1, 0.5)
    (81, 0)
    """
    from scipy.special import bdtrik

    # The root of the continued CDF may be off in its last digits, and so be a step too high.
    k = max(0, math.ceil(bdtrik(share, n, p)) - 1)
    while binomial_cdf(k, n, p) < share:
        k += 1
    return k


def binomial_cdf(k: int, n: int, p: float) -> float:
    """Return P(Binomial(n, p) <= k), k from 0: as a beta probability, of SciPy's ways the most exact to the last digit."""
    from scipy.special import betaincc

    return float(betaincc(k + 1, n - k, p)) if k < n else 1.0
