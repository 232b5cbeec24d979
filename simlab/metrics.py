"""Metrics as a scenario declares them: what is measured, of which unit, and in which direction it is worse.

A metric gives one observation for each unit: a request, a session (its first request), or a user (the first request after a step
of the ramp assigned the user to an arm). A ratio of sums, such as clicks per session, is a count per session that a guardrail
watches with ``unit: user``.
"""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Gt, Lt
from pydantic import Discriminator

from simlab.settings import settings
from simlab.ticks import Real, Seconds, Share

Unit = Literal["request", "session", "user"]
Direction = Literal["up", "down"]


@settings
class Proportion:
    """A share of units with an event: errors of requests, conversions of users, complaints."""

    kind: Literal["proportion"]
    per: Unit
    normal: Annotated[Share, Lt(1)]
    worse: Direction = "up"
    personal_cv: Annotated[float, Ge(0)] = 0.0


@settings
class CountMetric:
    """A number of events of each unit, Poisson around `mean` times a personal effect: clicks, rage clicks, queries."""

    kind: Literal["count"]
    per: Unit
    mean: Annotated[Real, Gt(0)]
    worse: Direction = "up"
    personal_cv: Annotated[float, Ge(0)] = 0.0


@settings
class AmountMetric:
    """An amount, such as revenue: nothing for most units, else log-normal by its median and 99th percentile, at most `cap`."""

    kind: Literal["amount"]
    per: Unit
    some: Annotated[Share, Gt(0)]
    median: Annotated[Real, Gt(0)]
    p99: Annotated[Real, Gt(0)]
    cap: Annotated[Real, Gt(0)] | None = None
    worse: Direction = "down"
    personal_cv: Annotated[float, Ge(0)] = 0.0


@settings
class DurationMetric:
    """A log-normal duration of each request, by its median and 99th percentile; a user is harmed beyond `harmed_above`."""

    kind: Literal["duration"]
    per: Literal["request"]
    median: Seconds
    p99: Seconds
    harmed_above: Seconds
    worse: Literal["up"] = "up"


Metric = Annotated[Proportion | CountMetric | AmountMetric | DurationMetric, Discriminator("kind")]
