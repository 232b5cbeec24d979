"""The draws of the world, compiled: the noise of one tick, thinning by a harm, and the sums over arms.

Each number comes from its own key (stream, tick, cell, lane) through an exact inverse CDF, so a lane's noise depends neither on
other lanes nor on what is watched. Cells are numbered segment by segment; lanes are the last axis.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from simlab.compiled import compiled, part, vectorised
from simlab.guardrails.look import CONTROL, OUTSIDE, TREATMENT, Floats, Integers
from simlab.inverse import binomial_quantile
from simlab.rows import WORK, fill_binomials, fill_exponentials, fill_normals, fill_one_poisson, fill_poisson
from simlab.streams import cell_key, fill_lane_uniforms, lane_uniform


@vectorised
def draw_requests(key: np.uint64, tick: int, first_lane: int, mean: Floats, activity: Floats, requests: Floats) -> None:
    """Fill `requests` [cells, lanes] with Poisson(`mean` [cells] times `activity` [cells, lanes])."""
    cells, lanes = requests.shape
    uniform, expected, work = np.empty(lanes), np.empty(lanes), np.empty((WORK, lanes))
    for cell in range(cells):
        fill_lane_uniforms(cell_key(key, tick, cell), first_lane, uniform)
        for lane in range(lanes):
            expected[lane] = mean[cell] * activity[cell, lane]
        fill_poisson(uniform, expected, requests[cell], work)


@part
def _pair_of(n: float, w: float) -> tuple[float, float, float, float]:
    """Return the log-scale parameters of (S, D) of `draw_durations` for n requests; `w` is exp(sigma^2)."""
    spread = w - 1
    of_total = math.sqrt(math.log1p(spread / n))
    if n < 2:
        return of_total, 0.0, 0.0, 0.0
    # Var(D) / E(D)^2 and Cov(S, D) / (E(S) E(D)) of a sample, from the moments of the log-normal.
    kurtosis = w**4 + 2 * w**3 + 3 * w**2 - 3
    of_deviation = math.log1p((kurtosis - (n - 3) / (n - 1)) / n)
    slope = math.log1p(spread * (w + 2) / n) / of_total
    return of_total, slope, math.sqrt(max(0.0, of_deviation - slope * slope)), of_deviation


@compiled
def duration_table(sigma: float, largest: int) -> Floats:
    """Return what `draw_durations` needs for each number of requests up to `largest`, float64[largest + 1, 4]."""
    table = np.zeros((largest + 1, 4))
    for n in range(1, largest + 1):
        table[n, 0], table[n, 1], table[n, 2], table[n, 3] = _pair_of(float(n), math.exp(sigma * sigma))
    return table


@part
def _tabled(table: Floats, row: int) -> tuple[float, float, float, float]:
    return table[row, 0], table[row, 1], table[row, 2], table[row, 3]


@compiled
def draw_durations(
    keys: tuple[np.uint64, np.uint64],
    tick: int,
    first_lane: int,
    mu: float,
    sigma: float,
    table: Floats,
    requests: Floats,
    total: Floats,
    squares: Floats,
) -> None:
    """Fill `total` and `squares` [cells, lanes] with the sums of X and X^2 over log-normal(mu, sigma) requests.

    S = sum X and D = sum (X - mean)^2 are drawn as a bivariate log-normal pair with their exact means, variances and covariance
    (Fenton 1960, for the pair), and sum X^2 = D + S^2 / n, so that no variance is ever negative. At one request it is exact.
    `table` is `duration_table`, for the numbers of requests that come often.
    """
    cells, lanes = requests.shape
    w = math.exp(sigma * sigma)
    mean = math.exp(mu) * math.sqrt(w)
    uniform, z, other, work = np.empty(lanes), np.empty(lanes), np.empty(lanes), np.empty((WORK, lanes))
    of_total, slope, rest, of_deviation = np.empty(lanes), np.empty(lanes), np.empty(lanes), np.empty(lanes)
    for cell in range(cells):
        for lane in range(lanes):
            row = int(requests[cell, lane])
            found = _tabled(table, row) if row < len(table) else _pair_of(requests[cell, lane], w)
            of_total[lane], slope[lane], rest[lane], of_deviation[lane] = found
        fill_lane_uniforms(cell_key(keys[0], tick, cell), first_lane, uniform)
        fill_normals(uniform, z, work)
        fill_lane_uniforms(cell_key(keys[1], tick, cell), first_lane, uniform)
        fill_normals(uniform, other, work)
        for lane in range(lanes):
            other[lane] = slope[lane] * z[lane] + rest[lane] * other[lane] - of_deviation[lane] / 2
            z[lane] = of_total[lane] * (z[lane] - of_total[lane] / 2)
        fill_exponentials(z, total[cell], work)
        fill_exponentials(other, squares[cell], work)
        for lane in range(lanes):
            n = requests[cell, lane]
            whole = n * mean * total[cell, lane]
            total[cell, lane] = whole
            # Of no request and of a single one there is no deviation.
            deviation = max(n - 1.0, 0.0) * mean * mean * (w - 1)
            squares[cell, lane] = whole * whole / max(n, 1.0) + deviation * squares[cell, lane]


@part
def _any_above_zero(row: Floats) -> bool:
    # Not NumPy's max or any, which take numba seconds to compile.
    found = False
    for each in row:
        found |= each > 0.0
    return found


@vectorised
def draw_binomials(
    key: np.uint64, tick: int, first_cell: int, first_lane: int, trials: Floats, chance: Floats, out: Floats
) -> None:
    """Fill `out` [cells, lanes] with Binomial(trials, `chance`), both [cells, lanes]; zero chance in all lanes costs nothing."""
    cells, lanes = trials.shape
    uniform, work = np.empty(lanes), np.empty((WORK, lanes))
    for cell in range(cells):
        if _any_above_zero(chance[cell]):
            fill_lane_uniforms(cell_key(key, tick, first_cell + cell), first_lane, uniform)
            fill_binomials(uniform, trials[cell], chance[cell], out[cell], work)
        else:
            out[cell] = 0.0


@part
def _one_value(row: Floats) -> bool:
    """Return whether all numbers of a row are the same."""
    found = True
    for each in row:
        found &= each == row[0]
    return found


@part
def _alike(treated: Integers, control_from: Integers) -> bool:
    """Return whether all lanes have the same allocation, as they have unless something acted in some."""
    found = True
    for lane in range(len(treated)):
        found &= (treated[lane] == treated[0]) & (control_from[lane] == control_from[0])
    return found


@compiled
def sum_arms(values: Floats, treated: Integers, control_from: Integers, out: Floats) -> None:
    """Add `values` [segments, strata, lanes] up to `out` [segments, arms, lanes], by each lane's own allocation."""
    segments, strata, lanes = values.shape
    out[:] = 0.0
    alike = _alike(treated, control_from)
    for segment in range(segments):
        for stratum in range(strata):
            if alike:
                arm = TREATMENT if stratum < treated[0] else CONTROL if stratum >= control_from[0] else OUTSIDE
                for lane in range(lanes):
                    out[segment, arm, lane] += values[segment, stratum, lane]
                continue
            for lane in range(lanes):
                here, there = stratum < treated[lane], stratum >= control_from[lane]
                value = values[segment, stratum, lane]
                out[segment, TREATMENT, lane] += value if here else 0.0
                out[segment, CONTROL, lane] += value if there & (not here) else 0.0
                out[segment, OUTSIDE, lane] += 0.0 if here | there else value


@compiled
def add_treated(values: Floats, treated: Integers, out: Floats) -> None:
    """Add `values` [segments, strata, lanes] of treated strata to `out` of the same shape."""
    segments, strata, lanes = values.shape
    for segment in range(segments):
        for stratum in range(strata):
            for lane in range(lanes):
                out[segment, stratum, lane] += values[segment, stratum, lane] if stratum < treated[lane] else 0.0


@compiled
def draw_first_seen(
    key: np.uint64,
    tick: int,
    first_lane: int,
    expected: Floats,
    users: Floats,
    gamma: float,
    treated: Integers,
    control_from: Integers,
    cohort: Integers,
    so_far: Floats,
    out: Floats,
) -> None:
    """Fill `out` [steps, segments, arms, lanes] with the users seen for the first time since a step assigned them.

    With gamma activity a user is unseen after m expected requests with probability (1 + m / gamma)^-gamma. The `expected`
    requests [segments, strata] count, not the drawn ones: those already hold the chance of who came. How many users a hash puts
    in a stratum is chance too, so the newly seen are Poisson numbers around `users` [segments, strata] times the probability, and
    their split over the arms is as free as that of users is. `cohort` [strata] is the step; `so_far` [segments, strata, lanes],
    the expected requests since assignment, moves on.
    """
    segments, strata, lanes = so_far.shape
    alike, new = _alike(treated, control_from), np.empty(lanes)
    out[:] = 0.0
    for segment in range(segments):
        for stratum in range(strata):
            users_here = _Cohort(users[segment, stratum], expected[segment, stratum], gamma)
            before, step = so_far[segment, stratum], cohort[stratum]
            base = cell_key(key, tick, segment * strata + stratum)
            if alike and _one_value(before):
                assigned = stratum < treated[0] or stratum >= control_from[0]
                some = assigned and _draw_new_alike(base, first_lane, users_here, before, new)
            else:
                some = _draw_new(base, first_lane, users_here, stratum, treated, control_from, before, new)
            if not some:
                continue
            if alike:
                arm = TREATMENT if stratum < treated[0] else CONTROL
                for lane in range(lanes):
                    out[step, segment, arm, lane] += new[lane]
                continue
            for lane in range(lanes):
                out[step, segment, TREATMENT if stratum < treated[lane] else CONTROL, lane] += new[lane]


class _Cohort(NamedTuple):
    """Users of a cell: how many, their expected requests of a tick, and the shape of their activity."""

    users: float
    coming: float
    gamma: float


@part
def _draw_new_alike(base: np.uint64, first_lane: int, cohort: _Cohort, so_far: Floats, new: Floats) -> bool:
    """Fill `new` [lanes] with users first seen where `so_far` is the same in all lanes; return whether there may be any."""
    mean = _seen_in(so_far[0], cohort)
    so_far += cohort.coming
    if not mean > 0.0:
        return False
    uniform, work = np.empty(len(new)), np.empty((WORK, len(new)))
    fill_lane_uniforms(base, first_lane, uniform)
    fill_one_poisson(uniform, mean, new, work)
    return True


@part
def _draw_new(
    base: np.uint64, first_lane: int, cohort: _Cohort, stratum: int, treated: Integers, control_from: Integers,
    so_far: Floats, new: Floats,
) -> bool:  # fmt: skip
    """Fill `new` [lanes] with users first seen in the lanes that have assigned them; return whether there may be any."""
    mean, known, here = np.zeros(len(new)), -1.0, 0.0
    for lane in range(len(new)):
        if stratum < treated[lane] or stratum >= control_from[lane]:
            # Lanes whose ramps have moved alike have the same mean.
            if so_far[lane] != known:
                known, here = so_far[lane], _seen_in(so_far[lane], cohort)
            so_far[lane] += cohort.coming
            mean[lane] = max(0.0, here)
    if not _any_above_zero(mean):
        return False
    uniform, work = np.empty(len(new)), np.empty((WORK, len(new)))
    fill_lane_uniforms(base, first_lane, uniform)
    fill_poisson(uniform, mean, new, work)
    return True


@part
def _seen_in(so_far: float, cohort: _Cohort) -> float:
    """Return how many users are expected to be seen first in a tick before which `so_far` requests were expected of them."""
    after = _seen_by(so_far + cohort.coming, cohort.users, cohort.gamma)
    return float(after - _seen_by(so_far, cohort.users, cohort.gamma))


@part
def _seen_by(expected: float, users: float, gamma: float) -> float:
    """Return how many users are to have been seen after so many expected requests."""
    return -users * math.expm1(-gamma * math.log1p(expected / (gamma * users)))


@part
def occupancy(events: float, users: float, gamma: float) -> tuple[float, float]:
    """Return mean and variance of how many of `users` have any of one or more `events`, falling on them by gamma activity.

    Given its number, events fall on users as in Polya's urn: each user's weight is gamma, plus one for every event so far. A user
    has none with probability G(W - gamma + H) G(W) / (G(W - gamma) G(W + H)), W = gamma N, which is close to (1 + H / W)^-gamma,
    and two users are rarely both without (Johnson & Kotz, Urn Models and Their Application, 1977, section 4.3).
    """
    weight = gamma * users
    if users <= 1:
        return 1.0, 0.0
    if weight < 1000.0:
        log_none = _log_unhit(weight, gamma, events)
        log_two = _log_unhit(weight, 2 * gamma, events) if users > 2 else -math.inf
    else:
        # Ratios of gamma functions to second order in 1 / W, where their difference would lose its digits.
        log_none = -gamma * math.log1p(events / (weight - (gamma + 1) / 2))
        after = weight - gamma - 0.5
        log_two = 2 * log_none - gamma * gamma * events / (after * (after + events))
    none = math.exp(log_none)
    both = none * none * math.expm1(log_two - 2 * log_none)
    return -users * math.expm1(log_none), max(0.0, users * (none - none * none) + users * (users - 1) * both)


@part
def _log_unhit(weight: float, part: float, events: float) -> float:
    """Return the log of the probability that a part of an urn's weight is not hit."""
    return math.lgamma(weight - part + events) - math.lgamma(weight - part) + math.lgamma(weight) - math.lgamma(weight + events)


@part
def _binomial_like(uniform: float, mean: float, variance: float, most: int) -> int:
    """Return the quantile of the binomial law on at most `most` with a mean and, where there is one, a variance."""
    if mean <= 0.0 or most <= 0:
        return 0
    trials = most
    if variance < mean:
        trials = min(most, max(math.ceil(mean), round(mean * mean / (mean - variance))))
    return binomial_quantile(uniform, trials, min(1.0, mean / trials))


@compiled
def distinct_users(key: np.uint64, first_lane: int, events: Floats, users: Floats, gamma: float) -> Floats:
    """Return how many different users the events fell on, float64[lanes].

    In each cell it is a binomial number with the mean and the variance of `occupancy`, whichever are fewer of two: events that
    hit a user again, or users without one. So it is never more than either, and no more uneven than users are. One uniform a cell
    and lane serves every path and every kind of event.
    """
    segments, strata, lanes = events.shape
    out = np.zeros(lanes)
    for segment in range(segments):
        for stratum in range(strata):
            base = cell_key(key, 0, segment * strata + stratum)
            count = users[segment, stratum]
            for lane in range(lanes):
                happened = events[segment, stratum, lane]
                if happened <= 0 or count <= 0:
                    continue
                mean, variance = occupancy(happened, count, gamma)
                few = min(happened, count)
                # An event always hits somebody, so the first of them is never a repeat.
                most = int(happened) - 1 if happened < count else int(count) - 1
                left = _binomial_like(1.0 - lane_uniform(base, first_lane + lane), few - mean, variance, most)
                out[lane] += few - left
    return out
