"""Scenario: a file that says what the world is like. It knows no policy.

All times are milliseconds here; `simlab.ticks.Clock` makes the one conversion to ticks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Lt, MinLen
from pydantic import Discriminator

from simlab.documents import Document, did_you_mean
from simlab.errors import FileErrors, Mistake, UnitError
from simlab.metrics import AmountMetric, CountMetric, DurationMetric, Metric, Proportion
from simlab.schemas import Path, read_settings
from simlab.settings import settings
from simlab.ticks import (
    Clock,
    Duration,
    DurationSpan,
    Event,
    Factor,
    Instant,
    Name,
    Period,
    Rate,
    Real,
    Share,
    Span,
    Swing,
    TimeOfDay,
    Unit,
    format_duration,
    parse_points,
    parse_seconds,
)

Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
MAX_TICKS = 100_000
"""The longest horizon, in ticks: more than a day of seconds or two months of minutes."""

MAX_USERS = 5_000_000
"""The most users, and the most requests a tick, that are simulated one by one."""

MAX_STEPS = 60
"""The most steps of a ramp with users one by one, whose sums carry the step in six bits."""

WEEKDAYS: tuple[Weekday, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@settings
class Activity:
    """How unequal users are: requests per user are gamma with this shape and mean 1."""

    gamma: Annotated[float, Ge(0.01)] = 0.7


@settings
class Users:
    """The population: how many, how active, in which segments; one by one with ``detail: individual``.

    With `pages` a session holds more than one request on average; with `stay` everybody is replaced by somebody new after that
    time.
    """

    count: Annotated[int, Ge(1)]
    segments: Annotated[dict[Name, Share], MinLen(1)]
    detail: Literal["aggregate", "individual"] = "aggregate"
    activity: Activity = Activity()
    pages: Annotated[Real, Ge(1)] = 1.0
    stay: Period | None = None

    @property
    def shares(self) -> dict[str, float]:
        """Shares by segment, in the order of their names: the order of a mapping in a file never decides a number."""
        return dict(sorted(self.segments.items()))


@settings
class Daily:
    """A sinusoidal day: `swing` above and below the mean, highest at `peak` (UTC)."""

    swing: Share
    peak: TimeOfDay


@settings
class Traffic:
    """Poisson requests: mean rate, daily and weekly pattern, relative growth a week."""

    requests: Rate
    daily: Daily | None = None
    weekly: dict[Weekday, Swing] | None = None
    trend: Swing = 0.0


@settings
class RampStep:
    """Expose a share of users, then wait; ``rest`` lasts to the horizon."""

    expose: Annotated[Share, Gt(0)]
    soak: Period | Literal["rest"]


@settings
class Rollout:
    """The ramp and its control group; the first step begins at `begins`. Individual users are hashed to buckets with `salt`."""

    steps: Annotated[tuple[RampStep, ...], MinLen(1)]
    control: Literal["same_size", "the_rest"] = "same_size"
    begins: Duration = 0
    salt: Name = "rollout"


@dataclass(frozen=True)
class Amount:
    """An absolute effect: a difference of shares (``2pp``) or of durations in seconds (``300ms``)."""

    value: float
    kind: Literal["proportion", "duration"]


def parse_amount(value: object) -> Amount:
    """Return an amount from ``2pp`` or ``300ms``."""
    if isinstance(value, str) and value.endswith("pp"):
        amount = Amount(parse_points(value), "proportion")
    else:
        try:
            amount = Amount(parse_seconds(value), "duration")
        except UnitError:
            raise UnitError(f"{value!r} is not an amount; write for example 2pp, or 300ms for a duration") from None
    if amount.value <= 0:
        raise UnitError(f"{value!r} is no harm: an amount must be greater than 0")
    return amount


@settings
class Onset:
    """When a harm begins: `at` a time, or `after` the first exposure or a step, plus a wait; jittered by lane."""

    at: Duration | None = None
    after: Event | None = None
    wait: Duration = 0
    jitter: Duration = 0

    @property
    def step(self) -> float | None:
        """The exposure of the step that it waits for; None if it waits for none."""
        return None if self.after is None or self.after == "first exposure" else float(self.after[5:-1]) / 100


@settings
class Flattered:
    """Another metric that looks better while the harm is on: a proxy that points the wrong way."""

    metric: Name
    times: Factor


@settings
class _Harm:
    """What all harms have in common.

    What `survives_rollback` `fades` with that half-life. With users one by one it can do more, to the users whom it reaches: it
    `turns_away` a share of their requests, which never happen; `drops_users` from the data of treatment by a second hash, in
    proportion to their personal effect on the metric; leaves a share of those it made worse `silent`; and `flatters` a metric.
    """

    name: Name
    metric: Name
    onset: Onset
    segment: Name | None = None
    add: Annotated[Amount, Unit("amount", parse_amount, "2pp")] | None = None
    times: Factor | None = None
    lasts: Period | None = None
    spill_to_control: Share = 0.0
    survives_rollback: Share = 0.0
    fades: Period | None = None
    turns_away: Share = 0.0
    drops_users: Share = 0.0
    silent: Share = 0.0
    flatters: Flattered | None = None


@settings
class StepHarm(_Harm):
    """The whole effect from the onset on."""

    shape: Literal["step"]


@settings
class LeakHarm(_Harm):
    """An effect that grows linearly `over` a time, then stays."""

    shape: Literal["leak"]
    over: Period


@settings
class FlapHarm(_Harm):
    """An effect that is on in some periods: with probability `chance`, reached after `rises`."""

    shape: Literal["flap"]
    period: Period
    chance: Share = 0.5
    rises: Duration = 0


@settings
class LatentHarm(_Harm):
    """Nothing until it has been `dormant` for a time after its onset, uniform by lane; then the whole effect."""

    shape: Literal["latent"]
    dormant: DurationSpan


@settings
class LearningHarm(_Harm):
    """An effect that people learn: 1 - exp(-`per_day` times the days since the onset) of the whole."""

    shape: Literal["learning"]
    per_day: Annotated[Real, Gt(0)]


@settings
class CliffHarm(_Harm):
    """The whole effect while more than a share of users is exposed, as of a resource that runs out; none below."""

    shape: Literal["cliff"]
    above: Annotated[Share, Lt(1)]


Harm = Annotated[StepHarm | LeakHarm | FlapHarm | LatentHarm | LearningHarm | CliffHarm, Discriminator("shape")]


@settings
class _Drift:
    name: Name
    traffic: Factor | None = None
    metric: Name | None = None
    times: Factor | None = None


@settings
class CycleDrift(_Drift):
    """A sine of the given period that swings up to the factor and as far below 1."""

    shape: Literal["cycle"]
    period: Period
    phase: Duration = 0


@settings
class TrendDrift(_Drift):
    """A factor reached linearly `over` a time from `at` on, then kept."""

    shape: Literal["trend"]
    over: Period
    at: Duration = 0


@settings
class SpikeDrift(_Drift):
    """A factor from `at` on, `for` a time."""

    shape: Literal["spike"]
    at: Duration
    for_: Period


@settings
class MixDrift:
    """The shares of traffic by segment move `to` others, linearly `over` a time from `at` on."""

    shape: Literal["mix"]
    name: Name
    to: Annotated[dict[Name, Share], MinLen(1)]
    at: Duration = 0
    over: Duration = 0


@settings
class WeeklyDrift:
    """A metric that is different on some days of the week."""

    shape: Literal["weekly"]
    name: Name
    metric: Name
    days: Annotated[dict[Weekday, Factor], MinLen(1)]


@settings
class NoveltyDrift:
    """A new thing draws attention: a factor in treatment from the first exposure on, which fades with a half-life. No harm."""

    shape: Literal["novelty"]
    name: Name
    metric: Name
    times: Factor
    fades: Period


@settings
class WarmUpDrift:
    """Cold caches after a deploy: a factor in treatment, `for` a time after every step of the ramp. No harm."""

    shape: Literal["warm-up"]
    name: Name
    metric: Name
    times: Factor
    for_: Period


InTreatment = NoveltyDrift | WarmUpDrift
Drift = Annotated[
    CycleDrift | TrendDrift | SpikeDrift | MixDrift | WeeklyDrift | NoveltyDrift | WarmUpDrift, Discriminator("shape")
]


@settings
class LateRecords:
    """A `share` of records that comes out of order, each later than its tick's end `by` some time."""

    share: Share
    by: DurationSpan


@settings
class DeadTime:
    """A pipeline that is dead from `at` on, `for` a time; then all that it held back comes at once."""

    at: Duration
    for_: Period


@settings
class Telemetry:
    """What is seen of the world, and when.

    A tick's data are closed after `delay`, and not before the `watermark`; what is `late` by more is dropped. More may be lost in
    one arm (`lost_in`), and some records come twice (`duplicated`).
    """

    delay: DurationSpan = Span(0, 0)
    lost: Annotated[Share, Lt(1)] = 0.0
    missing_looks: Annotated[Share, Lt(1)] = 0.0
    lost_in: dict[Literal["treatment", "control"], Annotated[Share, Lt(1)]] | None = None
    late: LateRecords | None = None
    watermark: Duration = 0
    duplicated: Share = 0.0
    dead: tuple[DeadTime, ...] = ()

    @property
    def loss(self) -> tuple[float, float, float]:
        """Probability that a record never counts, in treatment, in control and elsewhere."""
        kept = 1.0 - self.lost
        if self.late is not None:
            low, high = self.late.by.low, self.late.by.high
            after = min(1.0, max(0.0, (high - self.watermark) / (high - low))) if high > low else float(high > self.watermark)
            kept *= 1.0 - self.late.share * after
        more = self.lost_in or {}
        treated, control = (1.0 - kept * (1.0 - more.get(arm, 0.0)) for arm in ("treatment", "control"))
        return treated, control, 1.0 - kept


@settings
class People:
    """Who answers a page: time to answer, time to diagnose, and how often the diagnosis is right."""

    answer: DurationSpan = Span(300_000, 1_800_000)
    diagnose: DurationSpan = Span(600_000, 600_000)
    right: Share = 0.95


@settings
class Rollback:
    """How long a rollback takes and how often it succeeds."""

    takes: DurationSpan = Span(120_000, 300_000)
    succeeds: Share = 0.99


@settings
class Response:
    """How the organisation answers, the same for every policy."""

    people: People = People()
    rollback: Rollback = Rollback()


@settings
class Scenario:
    """What the world is like."""

    scenario: Name
    starts: Instant
    tick: Period
    horizon: Period
    users: Users
    traffic: Traffic
    metrics: Annotated[dict[Name, Metric], MinLen(1)]
    rollout: Rollout
    about: str = ""
    harms: tuple[Harm, ...] = ()
    drift: tuple[Drift, ...] = ()
    telemetry: Telemetry = Telemetry()
    response: Response = Response()

    @property
    def clock(self) -> Clock:
        """The grid of ticks."""
        return Clock(self.starts, self.tick, self.horizon // self.tick)


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
    yield from _mistakes_in_rollout(scenario, document)
    yield from _mistakes_in_telemetry(scenario, document)
    yield from _mistakes_in_names(scenario, document)
    for index, harm in enumerate(scenario.harms):
        yield from _mistakes_in_harm(scenario, harm, document, ("harms", index))
    for index, drift in enumerate(scenario.drift):
        yield from _mistakes_in_drift(scenario, drift, document, ("drift", index))


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
        asked = [key for key in ("turns_away", "drops_users", "silent", "flatters") if getattr(harm, key)]
        yield from ((("harms", index, key), plainly) for key in asked)
    for index, drift in enumerate(scenario.drift):
        if isinstance(drift, InTreatment):
            yield ("drift", index, "shape"), f"{drift.shape} in one arm {plainly}"
    for name, metric in scenario.metrics.items():
        if isinstance(metric, CountMetric | AmountMetric):
            article = "an" if metric.kind == "amount" else "a"
            problem = f"{article} {metric.kind} {plainly}: sums over cells do not say how unequal its values are"
            yield ("metrics", name, "kind"), problem
        elif metric.per != "request":
            yield ("metrics", name, "per"), f"a {metric.per} as unit {plainly}"


def _mistakes_in_rollout(scenario: Scenario, document: Document) -> Iterator[Mistake]:
    steps = scenario.rollout.steps
    for index in range(1, len(steps)):
        if steps[index].expose <= steps[index - 1].expose:
            problem = f"the ramp goes down or stands still: {steps[index - 1].expose:.6g} to {steps[index].expose:.6g}"
            yield document.mistake(("rollout", "steps", index, "expose"), "ramp", problem)
        if steps[index - 1].soak == "rest":
            path: Path = ("rollout", "steps", index - 1, "soak")
            yield document.mistake(path, "ramp", "only the last step may soak for the rest")
    if scenario.rollout.begins >= scenario.horizon:
        yield document.mistake(("rollout", "begins"), "time", "the rollout begins after the horizon")


def _mistakes_in_telemetry(scenario: Scenario, document: Document) -> Iterator[Mistake]:
    times: list[tuple[Path, int]] = [(("dead", index, "at"), dead.at) for index, dead in enumerate(scenario.telemetry.dead)]
    for path, time in [(("watermark",), scenario.telemetry.watermark), *times]:
        if time >= scenario.horizon:
            yield document.mistake(("telemetry", *path), "time", "is after the horizon")


def _mistakes_in_names(scenario: Scenario, document: Document) -> Iterator[Mistake]:
    for key, entries in (("harms", scenario.harms), ("drift", scenario.drift)):
        names = [entry.name for entry in entries]
        for index, name in enumerate(names):
            if name in names[:index]:
                yield document.mistake((key, index, "name"), "name", f"{name!r} is taken by another entry")


def _unknown(document: Document, path: Path, what: str, name: str, known: Iterator[str] | dict[str, object]) -> Mistake:
    choices = sorted(known)
    hint = did_you_mean(name, choices) or f"known here: {', '.join(choices)}"
    return document.mistake(path, f"unknown-{what}", f"there is no {what} {name!r}", hint)


def _mistakes_in_harm(scenario: Scenario, harm: _Harm, document: Document, path: Path) -> Iterator[Mistake]:
    metric = scenario.metrics.get(harm.metric)
    if metric is None:
        yield _unknown(document, (*path, "metric"), "metric", harm.metric, dict(scenario.metrics))
    if harm.segment is not None and harm.segment not in scenario.users.segments:
        yield _unknown(document, (*path, "segment"), "segment", harm.segment, dict(scenario.users.segments))
    if harm.flatters is not None and harm.flatters.metric not in scenario.metrics:
        place = (*path, "flatters", "metric")
        yield _unknown(document, place, "metric", harm.flatters.metric, dict(scenario.metrics))
    without = (harm.turns_away or harm.drops_users) and harm.add is None and harm.times is None
    if (harm.add is None) == (harm.times is None) and not without:
        yield document.mistake(path, "harm", "must say either add or times")
    elif metric is not None:
        yield from _mistakes_in_effect(harm, metric, document, path)
    yield from _mistakes_in_onset(scenario, harm.onset, document, (*path, "onset"))


def _mistakes_in_effect(harm: _Harm, metric: Metric, document: Document, path: Path) -> Iterator[Mistake]:
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


def _mistakes_in_drift(scenario: Scenario, drift: Drift, document: Document, path: Path) -> Iterator[Mistake]:
    if isinstance(drift, MixDrift):
        return
    if isinstance(drift, WeeklyDrift | InTreatment):
        known = scenario.metrics.get(drift.metric)
        if known is None:
            yield _unknown(document, (*path, "metric"), "metric", drift.metric, dict(scenario.metrics))
        largest = max(drift.days.values()) if isinstance(drift, WeeklyDrift) else drift.times
        if isinstance(known, Proportion) and known.normal * largest > 1:
            yield document.mistake(path, "probability", "makes a probability over 1")
        return
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
