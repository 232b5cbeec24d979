"""From visits to sums by arm and to sums over users: what one path's exposure makes of a tick, compiled.

Loops go lane by lane and visit by visit, in the order in which visits were drawn, so that a lane's sums do not depend on others.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from simlab.compiled import compiled
from simlab.guardrails.look import BUCKETS, CONTROL, LOWEST, OUTSIDE, PER_DECADE, TREATMENT, USER_TERMS, Bools, Floats, Integers
from simlab.inverse import poisson_quantile
from simlab.streams import word_uniform
from simlab.world.people import Seats, Words, effect_of

Small = NDArray[np.int8]
Bits = NDArray[np.uint8]

ASSIGNED, SEEN, EXPOSED, HARMED = np.uint8(1), np.uint8(2), np.uint8(4), np.uint8(8)
"""What has happened to a user on one path: came after being assigned, was reported after that, was exposed, was harmed."""


@compiled
def arms_of(begins: Integers, stratum: Small, treated: Integers, control_from: Integers, arm: Small) -> None:
    """Fill `arm` [requests] from each lane's own allocation."""
    # Added up without a branch, which no processor could foretell.
    for lane in range(len(begins) - 1):
        for at in range(begins[lane], begins[lane + 1]):
            untreated, in_control = stratum[at] >= treated[lane], stratum[at] >= control_from[lane]
            arm[at] = TREATMENT + untreated * (OUTSIDE - TREATMENT) + (untreated & in_control) * (CONTROL - OUTSIDE)


@compiled
def meet(begins: Integers, seat: Seats, life: Seats, arm: Small, bits: Bits, lives: Seats, exposed: Floats, first: Bools) -> None:
    """Fill `first` [requests]: the first of a user since a step assigned them; mark and count the newly exposed."""
    stays = lives.shape[1] > 0
    for lane in range(len(begins) - 1):
        for at in range(begins[lane], begins[lane + 1]):
            who = seat[at]
            if stays and lives[lane, who] != life[at]:
                lives[lane, who] = life[at]
                bits[lane, who] = 0
            first[at] = arm[at] != OUTSIDE and not bits[lane, who] & ASSIGNED
            if first[at]:
                bits[lane, who] |= ASSIGNED
            newly = (arm[at] == TREATMENT) & (bits[lane, who] & EXPOSED == 0)
            bits[lane, who] |= newly * EXPOSED
            exposed[lane] += newly


@compiled
def report(begins: Integers, seat: Seats, arm: Small, weight: Bits, bits: Bits, first: Bools) -> None:
    """Fill `first` [requests]: the first one of a user that is reported since a step assigned them."""
    for lane in range(len(begins) - 1):
        for at in range(begins[lane], begins[lane + 1]):
            first[at] = weight[at] > 0 and arm[at] != OUTSIDE and not bits[lane, seat[at]] & SEEN
            if first[at]:
                bits[lane, seat[at]] |= SEEN


@compiled
def count_first(
    begins: Integers, first: Integers, segment: Small, stratum: Small, arm: Small, cohort: Integers, out: Floats
) -> None:  # fmt: skip
    """Add the users of the requests `first` to `out` [steps, segments, arms, lanes], by the step that assigned them."""
    lane = 0
    for at in first:
        while at >= begins[lane + 1]:
            lane += 1
        out[cohort[stratum[at]], segment[at], arm[at], lane] += 1.0


@compiled
def doses_of(begins: Integers, segment: Small, stratum: Small, dose: Floats, only: int, out: Floats) -> None:
    """Fill `out` [requests] with `dose` [strata, lanes], in the segment `only` or in all of them if that is -1."""
    for lane in range(len(begins) - 1):
        for at in range(begins[lane], begins[lane + 1]):
            out[at] = dose[stratum[at], lane] if only < 0 or segment[at] == only else 0.0


@compiled
def count_harmed(
    begins: Integers, seat: Seats, stratum: Small, treated: Integers, counted: Bools, worse: Bools, gained: Floats,
    bits: Bits, users: Floats, units: Floats,
) -> None:  # fmt: skip
    """Mark and count the users of treated strata with a unit that is worse than under control, and add up what it costs."""
    for lane in range(len(begins) - 1):
        for at in range(begins[lane], begins[lane + 1]):
            if stratum[at] >= treated[lane] or not counted[at]:
                continue
            units[lane] += gained[at]
            if worse[at] and not bits[lane, seat[at]] & HARMED:
                bits[lane, seat[at]] |= HARMED
                users[lane] += 1.0


@compiled
def more_events(key: np.uint64, chance: float, unit: Words, dose: Floats, value: Floats) -> None:
    """Turn units without an event into events with probability `chance` times the dose."""
    for at in range(len(value)):
        if dose[at] > 0.0 and value[at] == 0.0 and word_uniform(unit[at], key) < chance * dose[at]:
            value[at] = 1.0


@compiled
def fewer_events(key: np.uint64, chance: float, unit: Words, dose: Floats, value: Floats) -> None:
    """Take each single event, or each of a number of events, away with probability `chance` times the dose."""
    for at in range(len(value)):
        if dose[at] > 0.0:
            for event in range(int(value[at])):
                if word_uniform(unit[at] + np.uint64(event) * np.uint64(0xD1342543DE82EF95), key) < chance * dose[at]:
                    value[at] -= 1.0


@compiled
def more_counts(
    key: np.uint64, effect: np.uint64, mean: float, cv: float, unit: Words, person: Words, dose: Floats, value: Floats
) -> None:
    """Add Poisson numbers around `mean` times the personal effect and the dose."""
    for at in range(len(value)):
        if dose[at] > 0.0:
            rate = mean * effect_of(person[at], effect, cv) * dose[at]
            value[at] += poisson_quantile(word_uniform(unit[at], key), rate)


@compiled
def lose(keys: tuple[np.uint64, np.uint64], loss: Floats, twice: float, request: Words, arm: Small, weight: Bits) -> None:
    """Set the `weight` [requests] of what telemetry loses, with probability `loss` [arms], to 0, and of what comes twice to 2."""
    for at in range(len(weight)):
        if word_uniform(request[at], keys[0]) < loss[arm[at]]:
            weight[at] = 0
        elif word_uniform(request[at], keys[1]) < twice:
            weight[at] = 2


@compiled
def drop(key: np.uint64, effect: np.uint64, share: float, cv: float, person: Words, dose: Floats, arm: Small) -> None:
    """Take people out of the data of treatment, each with probability `share` times the personal effect and the dose."""
    for at in range(len(arm)):
        chance = 0.0
        if arm[at] == TREATMENT and dose[at] > 0.0:
            chance = share * dose[at] * effect_of(person[at], effect, cv)
        if word_uniform(person[at], key) < chance:
            arm[at] = OUTSIDE


@compiled
def swap(key: np.uint64, share: float, request: Words, arm: Small) -> None:
    """Tell requests of the other arm with probability `share`."""
    for at in range(len(arm)):
        if arm[at] != OUTSIDE and word_uniform(request[at], key) < share:
            arm[at] = CONTROL if arm[at] == TREATMENT else TREATMENT


@compiled
def tally_units(begins: Integers, segment: Small, arm: Small, counted: Bools, weight: Bits, observations: Floats) -> None:
    """Add the units that are reported to `observations` [segments, arms, lanes]."""
    for lane in range(len(begins) - 1):
        for at in range(begins[lane], begins[lane + 1]):
            if counted[at]:
                observations[segment[at], arm[at], lane] += float(weight[at])


@compiled
def tally(
    begins: Integers, segment: Small, arm: Small, counted: Bools, weight: Bits, value: Floats, total: Floats, squares: Floats
) -> None:  # fmt: skip
    """Add the values of what is reported to `total` [segments, arms, lanes], and squares to `squares` unless it is empty."""
    squared = squares.size > 0
    for lane in range(len(begins) - 1):
        for at in range(begins[lane], begins[lane + 1]):
            if counted[at] and value[at] != 0.0:
                each = weight[at] * value[at]
                total[segment[at], arm[at], lane] += each
                if squared:
                    squares[segment[at], arm[at], lane] += each * value[at]


@compiled
def tally_users(
    begins: Integers, seat: Seats, life: Seats, segment: Small, arm: Small, counted: Bools, weight: Bits, value: Floats,
    allocation: Integers, since: Seats, held: Floats, before: Floats, out: Floats,
) -> None:  # fmt: skip
    """Add to `out` [terms, segments, 2, lanes] by how much the sums over users of 1, Y, N, Y^2, N^2 and YN grow.

    Y and N are a user's total and number of units in the lane's allocation; `held` [2, lanes, seats] has them, and
    `since` [lanes, seats] for which life and allocation. With as many terms, also those of X, X^2, XY and XN: X is what a user's
    total `before` [2, lanes, seats] was beyond what was usual for as many units.
    """
    covariate = out.shape[0] > USER_TERMS
    for lane in range(len(begins) - 1):
        usual = 0.0
        if covariate and before[1, lane].sum() > 0.0:
            usual = before[0, lane].sum() / before[1, lane].sum()
        for at in range(begins[lane], begins[lane + 1]):
            which = arm[at]
            if which == OUTSIDE or not counted[at] or weight[at] == 0:
                continue
            who, where = seat[at], segment[at]
            begun = life[at] * 64 + allocation[lane] + 1
            if since[lane, who] != begun:
                since[lane, who] = begun
                held[0, lane, who] = 0.0
                held[1, lane, who] = 0.0
                out[0, where, which, lane] += 1.0
                if covariate:
                    x = before[0, lane, who] - usual * before[1, lane, who]
                    out[6, where, which, lane] += x
                    out[7, where, which, lane] += x * x
            y, n = held[0, lane, who], held[1, lane, who]
            more_y, more_n = weight[at] * value[at], float(weight[at])
            out[1, where, which, lane] += more_y
            out[2, where, which, lane] += more_n
            out[3, where, which, lane] += more_y * (2.0 * y + more_y)
            out[4, where, which, lane] += more_n * (2.0 * n + more_n)
            out[5, where, which, lane] += (y + more_y) * (n + more_n) - y * n
            if covariate:
                x = before[0, lane, who] - usual * before[1, lane, who]
                out[8, where, which, lane] += x * more_y
                out[9, where, which, lane] += x * more_n
            held[0, lane, who] = y + more_y
            held[1, lane, who] = n + more_n


@compiled
def tally_before(
    begins: Integers, seat: Seats, counted: Bools, weight: Bits, value: Floats, begun: Bools, before: Floats
) -> None:  # fmt: skip
    """Add a user's total and units to `before` [2, lanes, seats] in lanes whose rollout has not `begun`."""
    for lane in range(len(begins) - 1):
        if begun[lane]:
            continue
        for at in range(begins[lane], begins[lane + 1]):
            if counted[at]:
                before[0, lane, seat[at]] += weight[at] * value[at]
                before[1, lane, seat[at]] += float(weight[at])


@compiled
def tally_buckets(begins: Integers, segment: Small, arm: Small, weight: Bits, value: Floats, out: Floats) -> None:
    """Add what is reported to `out` [buckets, segments, arms, lanes] by fixed logarithmic buckets."""
    for lane in range(len(begins) - 1):
        for at in range(begins[lane], begins[lane + 1]):
            if weight[at] > 0:
                bucket = 0
                if value[at] > LOWEST:
                    bucket = min(BUCKETS - 1, 1 + int(math.log10(value[at] / LOWEST) * PER_DECADE))
                out[bucket, segment[at], arm[at], lane] += float(weight[at])
