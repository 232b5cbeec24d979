"""A recording as a world: one factual path that no ramp of ours can change.

A small file says what was recorded: a metric series (a row a sample), an event log (a row an event), or statistics of two arms,
for each period or cumulative. It names the columns (only those are read), units, zone, onsets, masks and what became of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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
    """What the data call the arms: values of a `column` of an event log, or parts of the columns' names. `share`: treatment's."""

    treatment: Text
    control: Text
    column: Text | None = None
    share: Annotated[Share, Gt(0), Lt(1)] = 0.5


@settings
class OnsetFile:
    """Onsets in a JSON file beside the data: a list of objects with a time in one `field`, in a `zone`."""

    file: Text
    field: Text
    zone: str = "UTC"


@settings
class Between:
    """An onset of which only an interval is known."""

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
    onsets: tuple[Instant | Between, ...] | OnsetFile = ()
    masks: tuple[Mask, ...] = ()
    gaps: Literal["refuse", "unknown"] = "refuse"
    repair: tuple[Repair, ...] = ()
    incident: Incident | None = None

    @property
    def source(self) -> str:
        """The file, the address of the server, or that it is a query."""
        return self.file or (self.prometheus.url if self.prometheus else "query")


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
    sums : dict of str to float64[3, arms, ticks]
        By metric: observations, total and sum of squares by arm; zero where there is no sample.
    onsets, latest : int64[onsets]
        Milliseconds since 1970 of the earliest and the latest moment at which each onset can have been, in order.
    supported : bool[ticks]
        False where there are rows, but none of a real exposure.
    rows : dict of str to int
        How many rows were read, left out, repaired or without a value.
    """

    recording: Recording
    clock: Clock
    stamps: Integers
    sums: dict[str, Floats]
    onsets: Integers
    latest: Integers
    supported: Bools
    rows: dict[str, int]


class RecordedNoise(NamedTuple):
    """The sums of one tick by metric, float64[3, arms, lanes]."""

    tick: int
    sums: Mapping[str, Floats]


_NOBODY = Strata(np.array([0.0, 1.0]), np.array([0]), np.array([1]), np.zeros((1, 2)))


def strata_of_arms(arms: Arms | None) -> Strata:
    """Return the one position of a recording: nobody in an arm of ours, or the two arms as they were planned."""
    if arms is None:
        return _NOBODY
    return Strata(np.array([0.0, arms.share, 1.0]), np.array([1]), np.array([1]), np.array([[arms.share, 1 - arms.share]]))


class RecordingWorld:
    """A world that is read: one lane, one segment, nobody exposed by us."""

    segments = ("everyone",)

    def __init__(self, series: Series, watched: Watched) -> None:
        self.series = series
        self.clock = series.clock
        self.watched = watched
        self.strata = strata_of_arms(series.recording.arms)

    def draw(self, tick: int) -> RecordedNoise:
        """Return what was recorded of a tick."""
        return RecordedNoise(tick, {name: sums[:, :, tick, None] for name, sums in self.series.sums.items()})

    def begin(self, *, harmed: bool) -> RecordedPath:  # noqa: ARG002
        """Return the one factual path."""
        return RecordedPath(self.watched, 1)


def _growth(sums: Floats) -> Floats:
    """Return by how much the sums over users of 1, Y, N, Y^2, N^2 and YN grew, float64[6, 1, 2, lanes]; each user is one unit."""
    users, total, squares = sums[:, [TREATMENT, CONTROL]]
    return np.stack([users, total, users, squares, users, total])[:, None]


class RecordedPath:
    """The factual path: what any policy sees of a recording is the same."""

    def __init__(self, watched: Watched, lanes: int) -> None:
        self.watched = watched
        self.onset = np.full(lanes, NOT_YET)
        self.harm_units: dict[str, Floats] = {}

    def advance(self, noise: RecordedNoise, exposure: Exposure) -> Increments:  # noqa: ARG002
        """Return the sums of the tick; where nothing was recorded there is no observation."""
        users = {name: _growth(noise.sums[name]) for name in sorted(self.watched.by_user)}
        return Increments({name: Sums(*noise.sums[name][:, None]) for name in sorted(self.watched.metrics)}, None, users)

    def truth(self, tick: int) -> Bools:  # noqa: ARG002
        """Return that nothing is known to be under way: nobody can be asked."""
        return np.zeros(len(self.onset), dtype=bool)

    def users_exposed(self) -> Floats:
        """Return NaN: a metric series does not say who was exposed."""
        return np.full(len(self.onset), np.nan)

    def users_harmed(self) -> Floats:
        """Return NaN: a metric series does not say who was harmed."""
        return np.full(len(self.onset), np.nan)
