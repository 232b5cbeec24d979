"""Scenarios read from files: whether what they say makes sense, beyond its form."""

from __future__ import annotations

from collections.abc import Iterator

from simlab.documents import Document, did_you_mean
from simlab.errors import FileErrors, Mistake
from simlab.happenings import (
    BotsDrift,
    CycleDrift,
    Drift,
    Harm,
    InTreatment,
    MixDrift,
    Onset,
    SpikeDrift,
    TrendDrift,
    WeeklyDrift,
)
from simlab.metrics import AmountMetric, CountMetric, DurationMetric, Metric, Proportion
from simlab.scenario import MAX_STEPS, MAX_TICKS, MAX_USERS, Experiment, Rollout, Scenario
from simlab.schemas import Path, read_settings
from simlab.ticks import Name, format_duration


def read_scenario(document: Document) -> Scenario:
    """Return the scenario that a document holds.

    Raises
    ------
    FileErrors
        With every mistake: of form first; where the form is right, of sense.
    """
    scenario = read_settings(document, Scenario)
    mistakes = list(_mistakes(scenario, document))
    if mistakes:
        raise FileErrors((document.file, mistake) for mistake in mistakes)
    return scenario


def _mistakes(scenario: Scenario, document: Document) -> Iterator[Mistake]:
    """Yield what is well-formed but makes no sense."""
    ticks = scenario.horizon // scenario.tick
    if ticks > MAX_TICKS:
        horizon = format_duration(scenario.horizon)
        yield document.mistake(
            ("tick",), "time", f"a horizon of {horizon} has {ticks:,} such ticks; at most {MAX_TICKS:,} are run"
        )
    if scenario.horizon % scenario.tick:
        yield document.mistake(("horizon",), "time", "must be a whole number of ticks")
    yield from _mistakes_in_shares(scenario, document)
    yield from _mistakes_in_metrics(scenario, document)
    yield from _mistakes_in_detail(scenario, document)
    yield from _mistakes_in_rollout(scenario, scenario.rollout, document, ("rollout",))
    yield from _mistakes_in_telemetry(scenario, document)
    yield from _mistakes_in_names(scenario, document)
    for index, harm in enumerate(scenario.harms):
        yield from _mistakes_in_harm(scenario, harm, document, ("harms", index))
    for index, drift in enumerate(scenario.drift):
        yield from _mistakes_in_drift(scenario, drift, document, ("drift", index))
    for index, experiment in enumerate(scenario.experiments):
        yield from _mistakes_in_experiment(scenario, experiment, document, ("experiments", index))


def _mistakes_in_shares(scenario: Scenario, document: Document) -> Iterator[Mistake]:
    mixes: list[tuple[Path, dict[Name, float]]] = [(("users", "segments"), scenario.users.segments)]
    mixes += [(("drift", i, "to"), d.to) for i, d in enumerate(scenario.drift) if isinstance(d, MixDrift)]
    for path, shares in mixes:
        if abs(sum(shares.values()) - 1) > 1e-9:
            yield document.mistake(path, "shares", f"must add up to 100 %, not {100 * sum(shares.values()):.6g} %")
    known = set(scenario.users.segments)
    for path, shares in mixes[1:]:
        if set(shares) != known:
            yield document.mistake(path, "segment", f"must name every segment: {', '.join(sorted(known))}")


def _mistakes_in_metrics(scenario: Scenario, document: Document) -> Iterator[Mistake]:
    for name, metric in scenario.metrics.items():
        if isinstance(metric, DurationMetric | AmountMetric) and metric.p99 <= metric.median:
            yield document.mistake(("metrics", name, "p99"), "order", "must be greater than the median")


def _mistakes_in_detail(scenario: Scenario, document: Document) -> Iterator[Mistake]:
    """Yield what the chosen detail of users cannot do."""
    users = scenario.users
    if users.detail == "aggregate":
        for path, problem in _needs_users(scenario):
            yield document.mistake(path, "detail", problem, "write users.detail: individual")
        return
    hint = "write detail: aggregate"
    if users.count > MAX_USERS:
        yield document.mistake(("users", "count"), "detail", f"at most {MAX_USERS:,} users are simulated one by one", hint)
    if scenario.traffic.requests * scenario.tick > MAX_USERS:
        problem = f"at most {MAX_USERS:,} requests a tick are simulated one by one"
        yield document.mistake(("traffic", "requests"), "detail", problem, f"{hint}, or a shorter tick")
    if len(scenario.rollout.steps) > MAX_STEPS:
        yield document.mistake(("rollout", "steps"), "detail", f"at most {MAX_STEPS} steps with users one by one", hint)


def _needs_users(scenario: Scenario) -> Iterator[tuple[Path, str]]:
    """Yield where a scenario asks for what only users one by one have, and why."""
    users, plainly = scenario.users, "needs users one by one"
    of_users = {"pages": users.pages != 1, "stay": users.stay is not None}
    yield from ((("users", key), plainly) for key, given in of_users.items() if given)
    for index, harm in enumerate(scenario.harms):
        asked = [key for key in ("turns_away", "drops_users", "silent", "flatters", "among") if getattr(harm, key)]
        yield from ((("harms", index, key), plainly) for key in asked)
    for index, drift in enumerate(scenario.drift):
        if isinstance(drift, InTreatment):
            yield ("drift", index, "shape"), f"{drift.shape} in one arm {plainly}"
        elif isinstance(drift, BotsDrift):
            yield ("drift", index, "shape"), plainly
    if scenario.experiments:
        yield ("experiments",), plainly
    if scenario.telemetry.misassigned:
        yield ("telemetry", "misassigned"), plainly
    for name, metric in scenario.metrics.items():
        if isinstance(metric, CountMetric | AmountMetric):
            article = "an" if metric.kind == "amount" else "a"
            problem = f"{article} {metric.kind} {plainly}: sums over cells do not say how unequal its values are"
            yield ("metrics", name, "kind"), problem
        elif metric.per != "request":
            yield ("metrics", name, "per"), f"a {metric.per} as unit {plainly}"


def _mistakes_in_rollout(scenario: Scenario, rollout: Rollout | Experiment, document: Document, path: Path) -> Iterator[Mistake]:
    steps = rollout.steps
    for index in range(1, len(steps)):
        if steps[index].expose <= steps[index - 1].expose:
            problem = f"the ramp goes down or stands still: {steps[index - 1].expose:.6g} to {steps[index].expose:.6g}"
            yield document.mistake((*path, "steps", index, "expose"), "ramp", problem)
        if steps[index - 1].soak == "rest":
            place = (*path, "steps", index - 1, "soak")
            yield document.mistake(place, "ramp", "only the last step may soak for the rest")
    if rollout.begins >= scenario.horizon:
        yield document.mistake((*path, "begins"), "time", "the rollout begins after the horizon")


def _mistakes_in_experiment(scenario: Scenario, experiment: Experiment, document: Document, path: Path) -> Iterator[Mistake]:
    yield from _mistakes_in_rollout(scenario, experiment, document, path)
    if (experiment.metric is None) != (experiment.times is None):
        yield document.mistake(path, "experiment", "metric and times go together")
    metric = scenario.metrics.get(experiment.metric or "")
    if experiment.metric is not None and metric is None:
        yield _unknown(document, (*path, "metric"), "metric", experiment.metric, dict(scenario.metrics))
    if isinstance(metric, Proportion) and metric.normal * (experiment.times or 1) > 1:
        yield document.mistake((*path, "times"), "probability", "makes a probability over 1")


def _mistakes_in_telemetry(scenario: Scenario, document: Document) -> Iterator[Mistake]:
    times: list[tuple[Path, int]] = [(("dead", index, "at"), dead.at) for index, dead in enumerate(scenario.telemetry.dead)]
    skews = [(("clock_skew", arm), skew) for arm, skew in (scenario.telemetry.clock_skew or {}).items()]
    for path, time in [(("watermark",), scenario.telemetry.watermark), *times, *skews]:
        if time >= scenario.horizon:
            yield document.mistake(("telemetry", *path), "time", "is after the horizon")


def _mistakes_in_names(scenario: Scenario, document: Document) -> Iterator[Mistake]:
    for key, entries in (("harms", scenario.harms), ("drift", scenario.drift), ("experiments", scenario.experiments)):
        names = [entry.name for entry in entries]
        for index, name in enumerate(names):
            if name in names[:index]:
                yield document.mistake((key, index, "name"), "name", f"{name!r} is taken by another entry")


def _unknown(document: Document, path: Path, what: str, name: str, known: Iterator[str] | dict[str, object]) -> Mistake:
    choices = sorted(known)
    hint = did_you_mean(name, choices) or f"known here: {', '.join(choices)}"
    return document.mistake(path, f"unknown-{what}", f"there is no {what} {name!r}", hint)


def _mistakes_in_harm(scenario: Scenario, harm: Harm, document: Document, path: Path) -> Iterator[Mistake]:
    metric = scenario.metrics.get(harm.metric)
    if metric is None:
        yield _unknown(document, (*path, "metric"), "metric", harm.metric, dict(scenario.metrics))
    if harm.segment is not None and harm.segment not in scenario.users.segments:
        yield _unknown(document, (*path, "segment"), "segment", harm.segment, dict(scenario.users.segments))
    if harm.among is not None and harm.among not in (known := {each.name: each for each in scenario.experiments}):
        yield _unknown(document, (*path, "among"), "experiment", harm.among, dict(known))
    if harm.flatters is not None and harm.flatters.metric not in scenario.metrics:
        place = (*path, "flatters", "metric")
        yield _unknown(document, place, "metric", harm.flatters.metric, dict(scenario.metrics))
    without = (harm.turns_away or harm.drops_users) and harm.add is None and harm.times is None
    if (harm.add is None) == (harm.times is None) and not without:
        yield document.mistake(path, "harm", "must say either add or times")
    elif metric is not None:
        yield from _mistakes_in_effect(harm, metric, document, path)
    yield from _mistakes_in_onset(scenario, harm.onset, document, (*path, "onset"))


def _mistakes_in_effect(harm: Harm, metric: Metric, document: Document, path: Path) -> Iterator[Mistake]:
    if harm.add is not None and harm.add.kind != metric.kind:
        yield document.mistake((*path, "add"), "unit", f"does not fit a {metric.kind}")
        return
    if harm.times is not None and (harm.times <= 1 if metric.worse == "up" else harm.times >= 1):
        right = "more than x1, since more is worse" if metric.worse == "up" else "less than x1, since less is worse"
        yield document.mistake((*path, "times"), "harm", f"must be {right}")
        return
    if isinstance(metric, Proportion):
        sign = 1 if metric.worse == "up" else -1
        harmed = metric.normal * (harm.times or 1.0) + sign * (harm.add.value if harm.add else 0.0)
        if not 0 <= harmed <= 1:
            key = "add" if harm.add else "times"
            which = "over 1" if harmed > 1 else "under 0"
            yield document.mistake((*path, key), "probability", f"makes the probability {harmed:.6g}, {which}")


def _mistakes_in_onset(scenario: Scenario, onset: Onset, document: Document, path: Path) -> Iterator[Mistake]:
    if (onset.at is None) == (onset.after is None):
        yield document.mistake(path, "onset", "must say either at or after")
        return
    exposures = [step.expose for step in scenario.rollout.steps]
    if onset.step is not None and not any(abs(onset.step - expose) < 1e-12 for expose in exposures):
        known = ", ".join(f"step {100 * expose:.6g}%" for expose in exposures)
        yield document.mistake((*path, "after"), "unknown-step", f"there is no {onset.after!r}", f"known here: {known}")
    elif planned_onset(scenario, onset) >= scenario.horizon:
        yield document.mistake(path, "time", "the onset is after the horizon")


def _mistakes_in_drift(scenario: Scenario, drift: Drift, document: Document, path: Path) -> Iterator[Mistake]:
    if isinstance(drift, BotsDrift):
        yield from _mistakes_in_bots(scenario, drift, document, path)
    elif isinstance(drift, WeeklyDrift | InTreatment):
        known = scenario.metrics.get(drift.metric)
        if known is None:
            yield _unknown(document, (*path, "metric"), "metric", drift.metric, dict(scenario.metrics))
        largest = max(drift.days.values()) if isinstance(drift, WeeklyDrift) else drift.times
        if isinstance(known, Proportion) and known.normal * largest > 1:
            yield document.mistake(path, "probability", "makes a probability over 1")
    elif not isinstance(drift, MixDrift):
        yield from _mistakes_in_factor(scenario, drift, document, path)


def _mistakes_in_factor(
    scenario: Scenario, drift: CycleDrift | TrendDrift | SpikeDrift, document: Document, path: Path
) -> Iterator[Mistake]:
    if (drift.traffic is None) == (drift.metric is None):
        yield document.mistake(path, "drift", "must say either traffic, or metric and times")
    if (drift.metric is None) != (drift.times is None):
        yield document.mistake(path, "drift", "metric and times go together")
    metric = scenario.metrics.get(drift.metric or "")
    if drift.metric is not None and metric is None:
        yield _unknown(document, (*path, "metric"), "metric", drift.metric, dict(scenario.metrics))
    if isinstance(metric, Proportion) and metric.normal * (drift.times or 1) > 1:
        yield document.mistake((*path, "times"), "probability", "makes a probability over 1")
    if isinstance(drift, CycleDrift) and (drift.traffic or drift.times or 1.0) > 2:
        yield document.mistake(path, "drift", "a cycle that swings by more than x2 would go below zero")


def _mistakes_in_bots(scenario: Scenario, bots: BotsDrift, document: Document, path: Path) -> Iterator[Mistake]:
    shares = scenario.users.shares
    if bots.segment is not None and bots.segment not in shares:
        yield _unknown(document, (*path, "segment"), "segment", bots.segment, dict(shares))
        return
    there = scenario.users.count * shares[bots.segment or next(iter(shares))]
    if bots.users > there:
        yield document.mistake((*path, "users"), "drift", f"there are {there:,.0f} users in that segment")
    if bots.requests * scenario.tick > MAX_USERS:
        yield document.mistake((*path, "requests"), "detail", f"at most {MAX_USERS:,} requests a tick are simulated one by one")


def planned_onset(scenario: Scenario, onset: Onset) -> int:
    """Return when a harm begins if nothing stops the ramp, in milliseconds and without jitter."""
    if onset.at is not None:
        return onset.at + onset.wait
    start = scenario.rollout.begins
    for step in scenario.rollout.steps:
        if onset.step is None or abs(step.expose - onset.step) < 1e-12 or step.soak == "rest":
            break
        start += step.soak
    return start + onset.wait
