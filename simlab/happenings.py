"""What happens to the world of a scenario, as files say it: harms, and drift that harms nobody."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Lt, MinLen
from pydantic import Discriminator

from simlab.errors import UnitError
from simlab.settings import settings
from simlab.ticks import (
    Duration,
    DurationSpan,
    Event,
    Factor,
    Name,
    Period,
    Rate,
    Real,
    Share,
    Unit,
    parse_points,
    parse_seconds,
)

Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WEEKDAYS: tuple[Weekday, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


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

    What `survives_rollback` `fades` with that half-life. With users one by one it can do more, to the users whom it reaches, all
    or those `among` the treatment of another experiment: it `turns_away` a share of their requests, which never happen;
    `drops_users` from the data of treatment by a second hash, in proportion to their personal effect on the metric; leaves a
    share of those it made worse `silent`; and `flatters` a metric.
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
    among: Name | None = None


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


@settings
class BotsDrift:
    """A few `users` of a segment send `requests` on top of all others, `for` a time: not more people, and no harm."""

    shape: Literal["bots"]
    name: Name
    requests: Rate
    users: Annotated[int, Ge(1)]
    at: Duration
    for_: Period
    segment: Name | None = None


InTreatment = NoveltyDrift | WarmUpDrift
Drift = Annotated[
    CycleDrift | TrendDrift | SpikeDrift | MixDrift | WeeklyDrift | NoveltyDrift | WarmUpDrift | BotsDrift,
    Discriminator("shape"),
]
