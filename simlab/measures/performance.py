"""What a policy does in a scenario: how often it cries wolf, how soon it stops a harm, and how many were hurt by then."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from simlab.guardrails.look import Floats
from simlab.measures.estimates import CONFIDENCE, Estimate, mean, proportion, quantile, ratio
from simlab.measures.outcomes import HARMED_STATUSES, TWIN_STATUSES, Outcomes, ticks_to_minutes
from simlab.ticks import WEEK


@dataclass(frozen=True)
class Incidence:
    """Cumulative incidence of detection: it plateaus at the probability of detection.

    Attributes
    ----------
    minutes : tuple of float
        Time since the onset.
    value, low, high : tuple of float
        Probability of a first action by then, among lanes at risk that were followed to the limit, pointwise 95 %.
    n : int
        Lanes.
    """

    minutes: tuple[float, ...]
    value: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    n: int


@dataclass(frozen=True)
class Performance:
    """The measures of one policy in one scenario.

    Attributes
    ----------
    scenario, policy : str
        Names.
    reference : bool
        Reported, never gated.
    lanes : int
        Lanes run.
    limit_minutes : float
        Time after the onset to which detection is followed and delays are restricted.
    statuses : dict of str to int
        Harmed lanes by how they ended.
    twin_statuses : dict of str to int
        Harmless twins by how they ended.
    looks : dict of str to int
        Looks in harmed lanes and twins together: all, unknown, skipped as too thin, retired for want of a control.
    estimates : dict of str to Estimate
        By the name of the measure.
    incidence : Incidence or None
        None if no lane was at risk.
    """

    scenario: str
    policy: str
    reference: bool
    lanes: int
    limit_minutes: float
    statuses: dict[str, int]
    twin_statuses: dict[str, int]
    looks: dict[str, int]
    estimates: dict[str, Estimate]
    incidence: Incidence | None


@dataclass(frozen=True)
class Difference:
    """A paired difference between two policies on the same lanes, first minus second.

    Attributes
    ----------
    scenario, first, second : str
        Names.
    estimates : dict of str to Estimate
        By the name of the measure.
    """

    scenario: str
    first: str
    second: str
    estimates: dict[str, Estimate]


def performance(outcomes: Outcomes, *, scenario: str, reference: bool) -> Performance:
    """Return every measure of a policy in a scenario."""
    to_minutes = ticks_to_minutes(outcomes.clock)
    estimates = _on_the_twin(outcomes)
    incidence = None
    if outcomes.limit:
        estimates |= _detection(outcomes) | _harm(outcomes)
        incidence = _incidence(outcomes)
    names = ("looks", "unknown", "skipped", "retired")
    return Performance(
        scenario=scenario,
        policy=outcomes.policy,
        reference=reference,
        lanes=outcomes.lanes,
        limit_minutes=outcomes.limit * to_minutes,
        statuses={status: int((outcomes.status == status).sum()) for status in HARMED_STATUSES},
        twin_statuses={status: int((outcomes.twin_status == status).sum()) for status in TWIN_STATUSES},
        looks={name: int(outcomes.harmed[name].sum() + outcomes.twin[name].sum()) for name in names},
        estimates=estimates,
        incidence=incidence,
    )


def _on_the_twin(outcomes: Outcomes) -> dict[str, Estimate]:
    """Return what is measured where nobody is harmed."""
    twin, to_minutes = outcomes.twin, ticks_to_minutes(outcomes.clock)
    weeks = twin["watched"] * (outcomes.clock.tick / WEEK)
    return {
        "false_alarms": proportion(int(outcomes.twin_acted.sum()), outcomes.lanes),
        "false_alarms_per_week": ratio(twin["episodes"].astype(float), weeks, unit="per week"),
        "ramp_time_lost": mean(
            twin["behind"] * to_minutes / 60, unit="h", support=(0.0, outcomes.clock.horizon * to_minutes / 60)
        ),
    }


def _detection(outcomes: Outcomes) -> dict[str, Estimate]:
    limit, to_minutes = outcomes.limit, ticks_to_minutes(outcomes.clock)
    followed = outcomes.followed(limit)
    delay = outcomes.delay[followed]
    detected = delay <= limit
    n = int(followed.sum())
    reached = np.where(detected, delay, np.inf) * to_minutes
    by_luck = proportion(int(outcomes.twin_acted.sum()), outcomes.lanes)
    return {
        "acted_before_onset": proportion(int(outcomes.acted_before.sum()), outcomes.lanes),
        "detected": proportion(int(detected.sum()), n),
        "detected_of_all_lanes": proportion(int((outcomes.delay <= limit).sum()), outcomes.lanes),
        "twin_alarm_in_the_same_window": proportion(int(outcomes.twin_acted_within(limit)[followed].sum()), n),
        "detected_at_random": at_random(by_luck, outcomes.clock.horizon, limit),
        "delay_restricted_mean": mean(np.minimum(delay, limit) * to_minutes, unit="min", support=(0.0, limit * to_minutes)),
        "delay_p50": quantile(reached, 0.5, unit="min"),
        "delay_p90": quantile(reached, 0.9, unit="min"),
    }


def at_random(false_alarms: Estimate, horizon: int, window: int) -> Estimate:
    """Return the detection probability of alarms at random with the same PFA.

    An alarm at random comes at each tick with the same probability q, with 1 - (1 - q)^horizon the PFA; given none before the
    onset, it falls in the window with probability 1 - (1 - q)^window = 1 - (1 - PFA)^(window / horizon).

    Parameters
    ----------
    false_alarms : Estimate
        The PFA to be matched.
    horizon, window : int
        Ticks.
    """

    def matched(pfa: float) -> float:
        return float(1 - (1 - pfa) ** (window / horizon))

    values = (matched(false_alarms.value), matched(false_alarms.low), matched(false_alarms.high))
    return replace(false_alarms, value=values[0], low=values[1], high=values[2], method="computed at the same PFA")


def _harm(outcomes: Outcomes) -> dict[str, Estimate]:
    harmed, at_risk, to_minutes = outcomes.harmed, outcomes.at_risk, ticks_to_minutes(outcomes.clock)
    followed = outcomes.followed(outcomes.limit)
    containment = outcomes.containment[followed]
    estimates = {
        "contained": proportion(int((containment <= outcomes.limit).sum()), int(followed.sum())),
        "containment_restricted_mean": mean(
            np.minimum(containment, outcomes.limit) * to_minutes, unit="min", support=(0.0, outcomes.limit * to_minutes)
        ),
        "users_exposed": mean(harmed["users_exposed"][at_risk], unit="users"),
        "users_harmed": mean(harmed["users_harmed"][at_risk], unit="users"),
        "users_harmed_p50": quantile(harmed["users_harmed"][at_risk], 0.5, unit="users"),
        "users_harmed_p90": quantile(harmed["users_harmed"][at_risk], 0.9, unit="users"),
        "users_harmed_of_all_lanes": mean(harmed["users_harmed"], unit="users"),
    }
    for column in harmed:
        if column.startswith("harm_units."):
            estimates[column] = mean(harmed[column][at_risk], unit="events or seconds")
    return estimates


def _incidence(outcomes: Outcomes) -> Incidence | None:
    followed = outcomes.followed(outcomes.limit)
    n = int(followed.sum())
    if n == 0:
        return None
    delay = outcomes.delay[followed]
    # Every tick of the first hours, where the curve rises, then wider steps.
    grid = np.unique(np.concatenate([np.arange(min(outcomes.limit, 48) + 1), np.linspace(0, outcomes.limit, 73).round()]))
    points = [proportion(int((delay <= ticks).sum()), n) for ticks in grid]
    return Incidence(
        tuple((grid * ticks_to_minutes(outcomes.clock)).tolist()),
        tuple(point.value for point in points),
        tuple(point.low for point in points),
        tuple(point.high for point in points),
        n,
    )


def difference(first: Outcomes, second: Outcomes, *, scenario: str, confidence: float = CONFIDENCE) -> Difference:
    """Return the paired differences of two policies, on lanes where both were at risk and followed."""
    to_minutes, limit = ticks_to_minutes(first.clock), first.limit
    both = first.followed(limit) & second.followed(limit) if limit else np.zeros(first.lanes, dtype=bool)

    def paired(of: Callable[[Outcomes], Floats], lanes: np.ndarray, unit: str, most: float | None = None) -> Estimate:
        support = None if most is None else (-most, most)
        found = mean(of(first)[lanes] - of(second)[lanes], unit=unit, confidence=confidence, support=support)
        return replace(found, method=f"paired, {found.method}")

    everywhere = np.ones(first.lanes, dtype=bool)
    estimates = {"false_alarms": paired(lambda each: each.twin_acted.astype(float), everywhere, "probability", 1.0)}
    if limit:
        estimates["delay_restricted_mean"] = paired(
            lambda each: np.minimum(each.delay, limit) * to_minutes, both, "min", limit * to_minutes
        )
        estimates["users_harmed"] = paired(lambda each: each.harmed["users_harmed"], both, "users")
    return Difference(scenario, first.policy, second.policy, estimates)
