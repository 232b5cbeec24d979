"""Group-sequential boundaries by recursive numerical integration.

Armitage, McPherson & Rowe, JRSS A 132 (1969); Jennison & Turnbull, Group Sequential Methods (2000), ch. 19. The score
S = Z sqrt(t) has independent normal increments over the information fraction t. Its density over the paths that have not yet
crossed is carried from look to look,

    g_k(s) = integral of g_(k-1)(u) phi((s - u - drift dt) / sqrt(dt)) / sqrt(dt) du   over the continuation region,

by Gauss-Legendre panels that are narrow against the increments, so that probabilities are exact to about 1e-10. Any number of
looks, any information fractions, any spending function. One-sided boundaries are crossed upwards; two-sided ones are symmetric
and `spent` is what both sides spend together, half of it on each.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike

from simlab.guardrails.look import Floats

Sides = Literal[1, 2]

LEAST_SPENT = 1e-100
"""A look that spends less never alarms; its critical value would lie beyond 21 standard errors."""

_BEYOND = 22.0  # Standard errors above which no path is followed where nothing bounds it; see LEAST_SPENT.
_BELOW = 9.0  # The same below, for one side: such a path does not come back.
_REACH = 8.5  # Standard deviations of an increment beyond which its density does not matter.
_PANEL = 8.0  # Width of a panel in standard deviations of an increment.
_LEAST_STEP = 1e-6  # Of the information so far; finer looks would need too fine a grid.
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(16)


class Crossing(NamedTuple):
    """Where paths first cross a boundary.

    Attributes
    ----------
    upper, lower : float64[looks]
        Probability of first crossing the upper and the lower boundary at each look; zeros for the lower one of one side.
    """

    upper: Floats
    lower: Floats

    @property
    def total(self) -> float:
        """Probability of ever crossing."""
        return float(self.upper.sum() + self.lower.sum())


class _Paths(NamedTuple):
    """The paths that have not crossed: probability mass at the nodes of a grid over the score, at one information fraction."""

    fraction: float
    score: Floats
    mass: Floats


class _Walked(NamedTuple):
    """What has left upwards and downwards at each look, float64[looks, 2], and what goes on."""

    exits: Floats
    paths: _Paths


class _Region(NamedTuple):
    """Where paths go on, in the score."""

    low: float
    high: float


def group_sequential_bounds(fractions: ArrayLike, spent: ArrayLike, *, sides: Sides = 2) -> Floats:
    """Return the critical value of |Z| (of Z for one side) at each look.

    Parameters
    ----------
    fractions : float64[looks]
        Information at each look, increasing, in any unit.
    spent : float64[looks]
        Error probability spent up to each look, both sides together; not decreasing, from 0 to less than 1.
    sides : {1, 2}
        2 for the symmetric boundary; each side spends half.

    Returns
    -------
    float64[looks]
        Infinite where a look spends less than `LEAST_SPENT`.

    Raises
    ------
    ValueError
        If the information does not increase, by a millionth at least, or what is spent decreases or is no probability.

    Examples
    --------
    >>> group_sequential_bounds([0.5, 1.0], [0.025, 0.05]).round(4).tolist()
    [2.2414, 2.1251]
    """
    information = _checked(fractions)
    total = tuple(np.asarray(spent, dtype=float).tolist())
    steps = np.diff(total, prepend=0.0)
    if len(total) != len(information) or not (np.all(steps >= 0) and total[-1] < 1):
        raise ValueError(f"what {len(information)} looks have spent must be as many numbers, not decrease and stay below 1")
    return np.array(_bounds(information, total, sides))


def crossing_probability(bounds: ArrayLike, fractions: ArrayLike, *, sides: Sides = 2, drift: float = 0.0) -> Crossing:
    """Return the probability of first crossing at each look.

    Parameters
    ----------
    bounds : float64[looks]
        Critical values of |Z|, or of Z for one side; infinite where a look cannot alarm.
    fractions : float64[looks]
        Information at each look, increasing.
    sides : {1, 2}
        Whether crossing downwards counts too.
    drift : float
        Mean of Z at fraction 1; at t it is drift sqrt(t).

    Raises
    ------
    ValueError
        If the information does not increase, or the lengths differ.

    Examples
    --------
    >>> round(crossing_probability([1.959964] * 5, [1, 2, 3, 4, 5]).total, 5)
    0.14169
    """
    information = _checked(fractions)
    limits = tuple(np.asarray(bounds, dtype=float).tolist())
    least = 0.0 if sides == 2 else -math.inf
    if len(limits) != len(information) or not all(limit > least for limit in limits):
        raise ValueError(f"{len(information)} looks need as many bounds, positive for two sides")
    return _crossing(limits, information, sides, drift)


def boundary_constant(shape: ArrayLike, fractions: ArrayLike, *, alpha: float, sides: Sides = 2) -> float:
    """Return the constant C for which the boundary C shape_k is crossed with probability `alpha`.

    Parameters
    ----------
    shape : float64[looks]
        At least 1, and 1 at the last look.
    fractions : float64[looks]
        Information at each look, increasing.
    alpha : float
        Below 1/2; both sides together.
    sides : {1, 2}
        As in `group_sequential_bounds`.

    Raises
    ------
    ValueError
        If the shape or `alpha` is not as described.

    Examples
    --------
    >>> round(boundary_constant([1, 1], [1, 2], alpha=0.05), 5)
    2.17827
    """
    information = _checked(fractions)
    outline = tuple(np.asarray(shape, dtype=float).tolist())
    if len(outline) != len(information) or outline[-1] != 1 or not all(each >= 1 for each in outline) or not 0 < alpha < 0.5:
        raise ValueError("a shape has one number a look, at least 1 and 1 at the last look, and alpha lies below 1/2")
    return _constant(outline, information, alpha, sides)


def last_bound(earlier: ArrayLike, fractions: ArrayLike, *, alpha: float, sides: Sides = 2) -> float:
    """Return the critical value of the last look that makes `alpha` of the whole, given those before it.

    Parameters
    ----------
    earlier : float64[looks - 1]
        Critical values before the last look.
    fractions : float64[looks]
        Information at each look, increasing.
    alpha : float
        Error probability of all looks, both sides together.
    sides : {1, 2}
        As in `group_sequential_bounds`.

    Raises
    ------
    ValueError
        If the earlier looks spend `alpha` or more, or are not one fewer than all.
    """
    information = _checked(fractions)
    bounds = tuple(np.asarray(earlier, dtype=float).tolist())
    if len(bounds) != len(information) - 1:
        raise ValueError(f"{len(information)} looks have {len(information) - 1} bounds before the last, not {len(bounds)}")
    return _last(bounds, information, alpha, sides)


def _checked(fractions: ArrayLike) -> tuple[float, ...]:
    information = np.asarray(fractions, dtype=float)
    steps = np.diff(information, prepend=0.0)
    if information.ndim != 1 or not information.size or not np.all(steps > _LEAST_STEP * information):
        raise ValueError("information must increase from look to look, from above 0 and by a millionth at least")
    # The joint distribution of the Z depends on the ratios alone, but the drift does on the fractions as they are.
    return tuple(information.tolist())


@lru_cache(maxsize=256)
def _bounds(information: tuple[float, ...], spent: tuple[float, ...], sides: Sides) -> tuple[float, ...]:
    paths, found = _START, []
    for index, fraction in enumerate(information):
        increment = spent[index] - (spent[index - 1] if index else 0.0)
        bound = _bound_that_spends(increment, paths, fraction, sides)
        found.append(bound)
        paths = _carried(paths, bound, information[index : index + 2], sides, drift=0.0)
    return tuple(found)


@lru_cache(maxsize=256)
def _crossing(bounds: tuple[float, ...], information: tuple[float, ...], sides: Sides, drift: float) -> Crossing:
    upper, lower = _walk(bounds, information, sides, drift=drift).exits.T
    upper.flags.writeable = lower.flags.writeable = False
    return Crossing(upper, lower)


@lru_cache(maxsize=256)
def _constant(shape: tuple[float, ...], information: tuple[float, ...], alpha: float, sides: Sides) -> float:
    def excess(constant: float) -> float:
        bounds = [constant * each for each in shape]
        return float(_walk(bounds, information, sides, drift=0.0).exits.sum()) - alpha

    # One look alone crosses no more often than all, and all no more often than their sum (Bonferroni).
    return _root(excess, _critical(alpha / sides), _critical(alpha / sides / len(shape)))


@lru_cache(maxsize=256)
def _last(earlier: tuple[float, ...], information: tuple[float, ...], alpha: float, sides: Sides) -> float:
    exits, paths = _walk(earlier, information, sides, drift=0.0)
    spent = float(exits.sum())
    if alpha - spent < LEAST_SPENT:
        raise ValueError(f"the looks before the last spend {spent:.4g}, which leaves nothing of {alpha:g}")
    return _bound_that_spends(alpha - spent, paths, information[-1], sides)


def _walk(bounds: Sequence[float], information: Sequence[float], sides: Sides, *, drift: float) -> _Walked:
    """Return where paths have left at the looks that have a bound, and those that go on."""
    paths, exits = _START, np.zeros((len(bounds), 2))
    for index, bound in enumerate(bounds):
        exits[index] = _exits(paths, bound, information[index], sides, drift=drift)
        paths = _carried(paths, bound, information[index : index + 2], sides, drift=drift)
    return _Walked(exits, paths)


def _exits(paths: _Paths, bound: float, fraction: float, sides: Sides, *, drift: float) -> tuple[float, float]:
    """Return the probabilities of crossing upwards and downwards at the next look."""
    from scipy.special import ndtr

    deviation = math.sqrt(fraction - paths.fraction)
    limit = bound * math.sqrt(fraction)
    expected = paths.score + drift * (fraction - paths.fraction)
    upper = float(paths.mass @ ndtr((expected - limit) / deviation))
    lower = float(paths.mass @ ndtr((-limit - expected) / deviation)) if sides == 2 else 0.0
    return upper, lower


def _bound_that_spends(increment: float, paths: _Paths, fraction: float, sides: Sides) -> float:
    """Return the critical value that is crossed now with probability `increment`, both sides together."""
    if increment < LEAST_SPENT:
        return math.inf

    def excess(bound: float) -> float:
        # In logs, since a first look may spend 1e-50.
        return math.log(max(sum(_exits(paths, bound, fraction, sides, drift=0.0)), 1e-300) / increment)

    # Z alone is beyond the upper end with that probability; below the lower end lie all paths but some 1e-19.
    return _root(excess, 0.0 if sides == 2 else -_BELOW, _critical(increment / sides))


def _carried(paths: _Paths, bound: float, ahead: Sequence[float], sides: Sides, *, drift: float) -> _Paths:
    """Return the paths that go on after a look at ``ahead[0]``, on a grid fine enough for the next look at ``ahead[1]``."""
    if len(ahead) == 1:
        return paths
    fraction, following = ahead
    deviation = math.sqrt(fraction - paths.fraction)
    region = _region(bound, fraction, sides, drift=drift)
    score, weights = _grid(region, min(deviation, math.sqrt(following - fraction)))
    # A path on the boundary came there in steps of sqrt(dt): the last of them must be within reach.
    reach = _REACH + min(abs(bound), _BEYOND) * deviation / math.sqrt(fraction)
    density = _density(paths, score - drift * (fraction - paths.fraction), deviation, reach=reach)
    return _Paths(fraction, score, weights * density)


def _region(bound: float, fraction: float, sides: Sides, *, drift: float) -> _Region:
    scale, middle = math.sqrt(fraction), drift * fraction
    high = min(bound * scale, middle + _BEYOND * scale)
    low = max(-bound * scale, middle - _BEYOND * scale) if sides == 2 else min(middle, high) - _BELOW * scale
    return _Region(min(low, high), high)


def _grid(region: _Region, deviation: float) -> tuple[Floats, Floats]:
    """Return nodes and weights over a region, in panels that resolve increments of this standard deviation."""
    panels = max(1, math.ceil((region.high - region.low) / (_PANEL * deviation)))
    edges = np.linspace(region.low, region.high, panels + 1)
    half = (region.high - region.low) / panels / 2
    nodes = (edges[:-1, None] + half * (1 + _NODES)).ravel()
    return nodes, np.tile(half * _WEIGHTS, panels)


def _density(paths: _Paths, targets: Floats, deviation: float, *, reach: float) -> Floats:
    """Return the density at `targets` of the paths after one increment, from the sources within reach only."""
    first = np.searchsorted(paths.score, targets - reach * deviation)
    end = np.searchsorted(paths.score, targets + reach * deviation)
    width = max(1, int((end - first).max()))
    # Every window has the widest one's length: a few sources more do no harm.
    first = np.minimum(first, paths.score.size - width)
    distance = (targets[:, None] - sliding_window_view(paths.score, width)[first]) / deviation
    mass = sliding_window_view(paths.mass, width)[first]
    return np.asarray(np.einsum("ij,ij->i", mass, np.exp(-0.5 * distance**2)) / (deviation * math.sqrt(2 * math.pi)))


def _critical(tail: float) -> float:
    """Return the z that a standard normal exceeds with probability `tail`."""
    from scipy.special import ndtri

    return -float(ndtri(tail))


def _root(excess: Callable[[float], float], low: float, high: float) -> float:
    """Return where a falling function is zero; the ends may be roots but for rounding."""
    from scipy.optimize import brentq

    return float(brentq(excess, low - 1e-3, high + 1e-3, xtol=1e-8))


_START = _Paths(0.0, np.zeros(1), np.ones(1))
