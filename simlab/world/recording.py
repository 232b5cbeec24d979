"""A recording as a world: one factual path that no ramp of ours can change.

A small file says what was recorded: a metric series (a row a sample), an event log (a row an event), or statistics of two arms,
for each period or cumulative. It names the columns (only those are read), units, zone, onsets, masks and what became of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Annotated, Literal, NamedTuple

import numpy as np
from annotated_types import Gt, Lt, MinLen

from simlab.guardrails.look import CONTROL, TREATMENT, Bools, Floats, Integers, Sums
from simlab.settings import settings
from simlab.ticks import Clock, Instant, Name, Period, Share
from simlab.world.aggregate import Increments, Watched
from simlab.world.harms import NOT_YET, Exposure
from simlab.world.prometheus import Prometheus
from simlab.world.queries import DuckDB
from simlab.world.strata import Strata

Text = Annotated[str, MinLen(1)]
Kind = Literal["series", "events", "periods", "cumulative"]
Repair = Literal["sort", "first_of_duplicates"]


@settings
class TimeColumn:
    """The column of stamps: numbers in a `unit` from 1970 or `since` on, or times; `zone` is for those that name none."""

    column: Text
    unit: Literal["d", "h", "s", "ms", "us", "ns"] | None = None
    zone: str | None = None
    since: Instant = 0


@settings
class ValueColumn:
    """A metric and the direction of harm.

    Parameters
    ----------
    column : str, optional
        Of a series or an event log: a sample, or an event's number such as 1 for failed and 0 for not.
    count, mean, variance : str, optional
        Of statistics of two arms, ``{arm}`` standing for what the file calls an arm, such as ``count_{arm}``.
    worse : {"up", "down"}
        The direction of harm.
    """

    column: Text | None = None
    count: Text | None = None
    mean: Text | None = None
    variance: Text | None = None
    worse: Literal["up", "down"] = "up"

    @property
    def by_arm(self) -> tuple[str, ...]:
        """The three columns of statistics; empty unless all are given."""
        return (self.count, self.mean, self.variance) if self.count and self.mean and self.variance else ()


@settings
class Arms:
    """What the data call the arms: values of a `column` of an event log, or parts of the columns' names. `share`: treatment's.

    Rows of an event log that are `outside`, in neither arm, count for everyone; other rows are left out, and counted.
    """

    treatment: Text
    control: Text
    column: Text | None = None
    share: Annotated[Share, Gt(0), Lt(1)] = 0.5
    outside: Text | None = None


@settings
class OnsetFile:
    """Onsets in a JSON file beside the data: a list of objects with a time in one `field`, in a `zone`."""

    file: Text
    field: Text
    zone: str = "UTC"


@settings
class Between:
    """A time from one moment to another: that of an onset of which no more is known, or of a log."""

    from_: Instant
    to: Instant


@settings
class Mask:
    """A time that is neither healthy nor judged, and why."""

    from_: Instant
    to: Instant
    why: Text


@settings
class Harm:
    """What counts the harm of an incident: the total of a metric in each tick, above its mean in healthy time."""

    metric: Name
    unit: Text = "events"


@settings
class Incident:
    """What became of it: carried into the post-mortem as written.

    Parameters
    ----------
    alarmed, contained : Instant, optional
        When the people of the time were alarmed, and when the harm was over.
    harm : Harm, optional
        What counts who was hurt.
    drifted, learnt : tuple of str
        For a rollout that went well: what drifted, and what was learnt.
    """

    owner: Text
    impact: str = ""
    detection: str = ""
    containment: str = ""
    contributing_factors: tuple[Text, ...] = ()
    remedies: tuple[Text, ...] = ()
    drifted: tuple[Text, ...] = ()
    learnt: tuple[Text, ...] = ()
    alarmed: Instant | None = None
    contained: Instant | None = None
    harm: Harm | None = None


@settings
class Recording:
    """What a recording file says.

    Parameters
    ----------
    file, duckdb, prometheus
        Where the data are: in a file, in what a query makes of files, or at a server, whose metrics' `column` is then a query.
    where : dict of str to str or int
        Rows with other values in these columns are left out, and counted.
    support : str, optional
        The column that says of each row whether its exposure was real (1 or true) and not filled in, mirrored or planned (0,
        false or nothing). What was not is no evidence: it is left out, and counted.
    segment, user : str, optional
        Columns of an event log: where a row belongs, and whose it is. What is judged user by user wants rows in order of time.
    span : Between, optional
        From when until when an event log was kept: a time without rows is then known to have been quiet. Otherwise it goes from
        its first row to its last one.
    repair : tuple of {"sort", "first_of_duplicates"}
        Stated repairs; what they touch is counted. Otherwise such rows are errors.
    """

    recording: Name
    tick: Period
    values: Annotated[dict[Name, ValueColumn], MinLen(1)]
    within: Period
    file: Text | None = None
    duckdb: DuckDB | None = None
    prometheus: Prometheus | None = None
    time: TimeColumn = TimeColumn(column="time")
    about: str = ""
    kind: Kind = "series"
    arms: Arms | None = None
    where: dict[str, str | int] | None = None
    support: Text | None = None
    segment: Text | None = None
    user: Text | None = None
    span: Between | None = None
    onsets: tuple[Instant | Between, ...] | OnsetFile = ()
    masks: tuple[Mask, ...] = ()
    gaps: Literal["refuse", "unknown"] = "refuse"
    repair: tuple[Repair, ...] = ()
    incident: Incident | None = None

    @property
    def source(self) -> str:
        """The file, the address of the server, or that it is a query."""
        return self.file or (self.prometheus.url if self.prometheus else "query")


class More(NamedTuple):
    """What an event log can tell beyond sums over everyone.

    Attributes
    ----------
    segments : tuple of str
        Their names, in order.
    buckets : dict of str to float64[buckets, segments, arms, ticks]
        Of metrics of which a quantile is watched.
    first_seen : float64[1, segments, 2, ticks] or None
        Users seen for the first time, in either arm.
    users : dict of str to float64[terms, segments, 2, ticks]
        By how much the sums over users of `UserSums` grew, of metrics judged user by user.
    """

    segments: tuple[str, ...] = ("everyone",)
    buckets: Mapping[str, Floats] = MappingProxyType({})
    first_seen: Floats | None = None
    users: Mapping[str, Floats] = MappingProxyType({})


@dataclass(frozen=True)
class Series:
    """A recording, read and placed on its grid of ticks.

    Attributes
    ----------
    recording : Recording
        Its file.
    clock : Clock
        Tick 0 ends at the first stamp of a series; in an event log ticks are whole multiples of a tick since 1970.
    stamps : int64[ticks]
        Milliseconds since 1970 at which each tick's value was known; where there is none, the end of the tick.
    cells : dict of str to float64[3, segments, arms, ticks]
        By metric: observations, total and sum of squares; zero where there is no sample.
    onsets, latest : int64[onsets]
        Milliseconds since 1970 of the earliest and the latest moment at which each onset can have been, in order.
    supported : bool[ticks]
        False where there are rows, but none of a real exposure.
    rows : dict of str to int
        How many rows were read, left out, repaired or without a value.
    more : More
        What an event log can tell.
    """

    recording: Recording
    clock: Clock
    stamps: Integers
    cells: dict[str, Floats]
    onsets: Integers
    latest: Integers
    supported: Bools
    rows: dict[str, int]
    more: More = More()  # noqa: RUF009

    @cached_property
    def sums(self) -> dict[str, Floats]:
        """Observations, total and sum of squares of all segments together, float64[3, arms, ticks]."""
        return {name: cells.sum(axis=1) for name, cells in self.cells.items()}


class RecordedNoise(NamedTuple):
    """What was recorded of one tick.

    Attributes
    ----------
    tick : int
        The tick.
    sums : mapping of str to float64[3, segments, arms, lanes]
        Observations, total and sum of squares by metric.
    more : More
        As `More` has it, of this tick alone: lanes in the place of ticks.
    """

    tick: int
    sums: Mapping[str, Floats]
    more: More = More()


_NOBODY = Strata(np.array([0.0, 1.0]), np.array([0]), np.array([1]), np.zeros((1, 2)))


def strata_of_arms(arms: Arms | None) -> Strata:
    """Return the one position of a recording: nobody in an arm of ours, or the two arms as they were planned."""
    if arms is None:
        return _NOBODY
    # As if a first step had assigned everybody before the recording began: at both positions the arms are the same.
    both = np.array([1, 1])
    return Strata(np.array([0.0, arms.share, 1.0]), both, both, np.array([[arms.share, 1 - arms.share]] * 2))


class RecordingWorld:
    """A world that is read: one lane, nobody exposed by us."""

    def __init__(self, series: Series, watched: Watched) -> None:
        self.series = series
        self.segments = series.more.segments
        self.clock = series.clock
        self.watched = watched
        self.strata = strata_of_arms(series.recording.arms)

    def draw(self, tick: int) -> RecordedNoise:
        """Return what was recorded of a tick."""
        series, more, at = self.series, self.series.more, np.s_[..., tick, None]
        sums = {name: cells[at] for name, cells in series.cells.items()}
        if series.recording.kind == "cumulative":
            users = {name: _growth(sums[name]) for name in self.watched.by_user}
        else:
            users = {name: each[at] for name, each in more.users.items()}
        seen = None if more.first_seen is None else more.first_seen[at]
        buckets = {name: each[at] for name, each in more.buckets.items()}
        return RecordedNoise(tick, sums, More(more.segments, buckets, seen, users))

    def begin(self, *, harmed: bool) -> RecordedPath:  # noqa: ARG002
        """Return the one factual path."""
        return RecordedPath(self.watched, 1)


def _growth(sums: Floats) -> Floats:
    """Return by how much the sums over users of 1, Y, N, Y^2, N^2 and YN grew, float64[6, 1, 2, lanes]; each user is one unit."""
    users, total, squares = sums[:, :, [TREATMENT, CONTROL]]
    return np.stack([users, total, users, squares, users, total])


class RecordedPath:
    """The factual path: what any policy sees of a recording is the same."""

    def __init__(self, watched: Watched, lanes: int) -> None:
        self.watched = watched
        self.onset = np.full(lanes, NOT_YET)
        self.harm_units: dict[str, Floats] = {}

    def advance(self, noise: RecordedNoise, exposure: Exposure) -> Increments:  # noqa: ARG002
        """Return the sums of the tick; where nothing was recorded there is no observation."""
        sums = {name: Sums(*noise.sums[name]) for name in sorted(self.watched.metrics)}
        return Increments(sums, noise.more.first_seen, noise.more.users, noise.more.buckets)

    def truth(self, tick: int) -> Bools:  # noqa: ARG002
        """Return that nothing is known to be under way: nobody can be asked."""
        return np.zeros(len(self.onset), dtype=bool)

    def users_exposed(self) -> Floats:
        """Return NaN: a metric series does not say who was exposed."""
        return np.full(len(self.onset), np.nan)

    def users_harmed(self) -> Floats:
        """Return NaN: a metric series does not say who was harmed."""
        return np.full(len(self.onset), np.nan)
