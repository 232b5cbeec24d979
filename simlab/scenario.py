"""Scenario: a file that says what the world is like. It knows no policy.

All times are milliseconds here; `simlab.ticks.Clock` makes the one conversion to ticks.
"""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Gt, Lt, MinLen

from simlab.happenings import Drift, Harm, Weekday
from simlab.metrics import Metric
from simlab.settings import settings
from simlab.ticks import (
    Clock,
    Duration,
    DurationSpan,
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
)

MAX_TICKS = 100_000
"""The longest horizon, in ticks: more than a day of seconds or two months of minutes."""

MAX_USERS = 5_000_000
"""The most users, and the most requests a tick, that are simulated one by one."""

MAX_STEPS = 60
"""The most steps of a ramp with users one by one, whose sums carry the step in six bits."""


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


@settings
class Experiment:
    """Another experiment on the same users: a ramp of its own, and what it makes of a metric for those whom it exposes.

    It hashes users with a `salt` of its own, or its name: what it does reaches both arms of the rollout alike.
    """

    name: Name
    steps: Annotated[tuple[RampStep, ...], MinLen(1)]
    begins: Duration = 0
    salt: Name | None = None
    metric: Name | None = None
    times: Factor | None = None

    @property
    def rollout(self) -> Rollout:
        """Its ramp, as that of a scenario."""
        return Rollout(steps=self.steps, begins=self.begins, salt=self.salt or self.name)


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
class Shield:
    """What guardrails may see: no cell of fewer than `min_cell` records, and counts with noise worth `epsilon` a look."""

    min_cell: Annotated[int, Ge(1)] = 1
    epsilon: Annotated[Real, Gt(0)] | None = None


@settings
class Telemetry:
    """What is seen of the world, and when.

    A tick's data are closed after `delay`, and not before the `watermark`; what is `late` by more is dropped. More may be lost in
    one arm (`lost_in`), some records come twice (`duplicated`), and some are told of the other arm (`misassigned`). Where the
    clocks of an arm run ahead by a `clock_skew`, its records are stamped, and count, that much later.
    """

    delay: DurationSpan = Span(0, 0)
    lost: Annotated[Share, Lt(1)] = 0.0
    missing_looks: Annotated[Share, Lt(1)] = 0.0
    lost_in: dict[Literal["treatment", "control"], Annotated[Share, Lt(1)]] | None = None
    late: LateRecords | None = None
    watermark: Duration = 0
    clock_skew: dict[Literal["treatment", "control"], Duration] | None = None
    duplicated: Share = 0.0
    misassigned: Share = 0.0
    dead: tuple[DeadTime, ...] = ()
    shield: Shield | None = None

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
    experiments: tuple[Experiment, ...] = ()
    telemetry: Telemetry = Telemetry()
    response: Response = Response()

    @property
    def clock(self) -> Clock:
        """The grid of ticks."""
        return Clock(self.starts, self.tick, self.horizon // self.tick)
