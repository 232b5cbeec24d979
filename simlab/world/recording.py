"""A recorded metric series as a world: one factual path that no ramp of ours can change.

A small file names the columns (only those are read), the zone of the times, onsets and masks. A stamp marks the end of the period
that its values describe, so the sample stamped s is known at s. Stamps may wander by less than half a tick around their grid.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
from annotated_types import MinLen

from simlab.documents import Document
from simlab.errors import RecordingError
from simlab.guardrails.look import ARMS, OUTSIDE, Bools, Floats, Integers, Sums
from simlab.settings import settings
from simlab.ticks import Clock, Instant, Name, Period, format_count, format_duration
from simlab.world.aggregate import Increments, Watched
from simlab.world.harms import NOT_YET, Exposure
from simlab.world.strata import Strata

_PER_SECOND = {"s": 1_000, "ms": 1, "us": 1e-3, "ns": 1e-6}
_SHOWN = 3
_MAX_TICKS = 1_000_000


@settings
class TimeColumn:
    """The column of stamps: numbers since 1970 in a `unit`, or times; `zone` is for those that name none."""

    column: Annotated[str, MinLen(1)]
    unit: Literal["s", "ms", "us", "ns"] | None = None
    zone: str | None = None


@settings
class ValueColumn:
    """A column of sampled values, and the direction of harm."""

    column: Annotated[str, MinLen(1)]
    worse: Literal["up", "down"] = "up"


@settings
class OnsetFile:
    """Onsets in a JSON file beside the data: a list of objects with a time in one `field`, in a `zone`."""

    file: Annotated[str, MinLen(1)]
    field: Annotated[str, MinLen(1)]
    zone: str = "UTC"


@settings
class Mask:
    """A time that is neither healthy nor judged, and why."""

    from_: Instant
    to: Instant
    why: Annotated[str, MinLen(1)]


@settings
class Recording:
    """What a recording file says."""

    recording: Name
    file: Annotated[str, MinLen(1)]
    tick: Period
    time: TimeColumn
    values: Annotated[dict[Name, ValueColumn], MinLen(1)]
    within: Period
    about: str = ""
    onsets: tuple[Instant, ...] | OnsetFile = ()
    masks: tuple[Mask, ...] = ()
    gaps: Literal["refuse", "unknown"] = "refuse"


@dataclass(frozen=True)
class Series:
    """A recording, read and placed on its grid of ticks.

    Attributes
    ----------
    recording : Recording
        Its file.
    clock : Clock
        Tick 0 ends at the first stamp.
    stamps : int64[ticks]
        Milliseconds since 1970 at which each tick's value was known; where there is none, the end of the tick.
    values : dict of str to float64[ticks]
        By metric; NaN where there is no sample.
    onsets : int64[onsets]
        Milliseconds since 1970, sorted.
    """

    recording: Recording
    clock: Clock
    stamps: Integers
    values: dict[str, Floats]
    onsets: Integers


def read_series(recording: Recording, document: Document, *, data: Path | None = None) -> Series:
    """Return the data of a recording.

    Parameters
    ----------
    recording : Recording
        As read from its file.
    document : Document
        That file; data stand beside it unless `data` says otherwise.
    data : Path, optional
        Folder of the data.

    Raises
    ------
    RecordingError
        With everything that is wrong with the data: missing column, zone-naive, unsorted, duplicated or missing times, NaN,
        infinity, a file that cannot be read.
    """
    folder = data if data is not None else document.path.parent
    table = _read_table(folder / recording.file, recording)
    times = _times(table, recording)
    values = {name: _numbers(table[column.column], column.column, recording) for name, column in recording.values.items()}
    _refuse_bad(times, values, recording)
    tick = recording.tick
    start = int(times[0]) - tick
    place = np.round((times - start) / tick).astype(np.int64) - 1
    if (np.diff(place) < 1).any():
        first = int(np.argmax(np.diff(place) < 1)) + 1
        raise RecordingError(
            f"{recording.file}: row {first + 1}: two samples fall on one tick of {format_duration(tick)}; give a smaller tick"
        )
    clock = Clock(start, tick, int(place[-1]) + 1)
    if clock.horizon > _MAX_TICKS:
        lasts = format_duration(clock.horizon * tick)
        problem = f"{lasts} from its first to its last row are {clock.horizon:,} ticks of {format_duration(tick)}"
        raise RecordingError(f"{recording.file}: {problem}; at most {_MAX_TICKS:,} are replayed")
    stamps = start + tick * np.arange(1, clock.horizon + 1)
    stamps[place] = times
    return Series(recording, clock, stamps, _placed(values, place, clock.horizon), _onsets(recording, folder))


def _placed(values: Mapping[str, Floats], place: Integers, ticks: int) -> dict[str, Floats]:
    found = {}
    for name, samples in values.items():
        found[name] = np.full(ticks, np.nan)
        found[name][place] = samples
    return found


def _read_table(path: Path, recording: Recording) -> dict[str, Any]:
    """Return the named columns of a Parquet file, nothing else read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    wanted = [recording.time.column, *(value.column for value in recording.values.values())]
    try:
        file = pq.ParquetFile(path)
        absent = sorted(set(wanted) - set(file.schema_arrow.names))
        if absent:
            held = ", ".join(file.schema_arrow.names)
            raise RecordingError(f"{recording.file}: no column {', '.join(map(repr, absent))}; there is: {held}")
        table = file.read(columns=wanted)
    except FileNotFoundError:
        raise RecordingError(f"{recording.file}: there is no such file in {path.parent}") from None
    except (pa.ArrowException, OSError) as error:
        raise RecordingError(f"{recording.file}: cannot be read as Parquet, perhaps cut short: {error}") from None
    if table.num_rows == 0:
        raise RecordingError(f"{recording.file}: holds no row")
    return {name: table.column(name) for name in wanted}


def _times(table: Mapping[str, Any], recording: Recording) -> Integers:
    """Return the stamps in milliseconds since 1970, int64[rows]."""
    import pandas as pd

    column = table[recording.time.column]
    if column.null_count:
        raise RecordingError(
            f"{recording.file}: {recording.time.column}: {format_count(column.null_count, 'row')} without a time"
        )
    given = pd.Series(column.to_pandas())
    if recording.time.unit is not None:
        if not pd.api.types.is_numeric_dtype(given):
            raise RecordingError(f"{recording.file}: {recording.time.column}: a unit is given, but these are no numbers")
        numbers = given.to_numpy(dtype=float)
        if not np.isfinite(numbers).all():
            raise RecordingError(
                f"{recording.file}: {_rows(f'{recording.time.column} is no time', np.flatnonzero(~np.isfinite(numbers)))}"
            )
        return np.asarray(np.round(numbers * _PER_SECOND[recording.time.unit])).astype(np.int64)
    if pd.api.types.is_numeric_dtype(given):
        raise RecordingError(f"{recording.file}: {recording.time.column}: numbers; say their unit (s, ms, us or ns)")
    try:
        stamps = pd.to_datetime(given, format="ISO8601") if given.dtype.kind != "M" else given
    except ValueError as error:
        raise RecordingError(f"{recording.file}: {recording.time.column}: {error}") from None
    if getattr(stamps.dt, "tz", None) is None:
        if recording.time.zone is None:
            raise RecordingError(f"{recording.file}: {recording.time.column}: the times name no zone; say it as time.zone")
        try:
            stamps = stamps.dt.tz_localize(ZoneInfo(recording.time.zone))
        except ValueError as error:
            raise RecordingError(f"{recording.file}: {recording.time.column}: {error}") from None
    return np.asarray(stamps.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy("datetime64[ms]").astype(np.int64))


def _numbers(column: Any, name: str, recording: Recording) -> Floats:
    """Return a column's samples; text is refused even where it could be read as numbers, so that nothing is guessed."""
    import pyarrow as pa

    kinds = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal)
    if not any(is_kind(column.type) for is_kind in kinds):
        raise RecordingError(f"{recording.file}: column {name!r} does not hold numbers, but {column.type}")
    return np.asarray(column.cast(pa.float64(), safe=False).to_numpy())


def _refuse_bad(times: Integers, values: Mapping[str, Floats], recording: Recording) -> None:
    """Raise with every kind of trouble in the data, each with its first rows (counted from 1)."""
    steps = np.diff(times)
    trouble = [
        _rows("times go backwards", np.flatnonzero(steps < 0) + 1),
        _rows("times stand twice", np.flatnonzero(steps == 0) + 1),
    ]
    if recording.gaps == "refuse":
        gaps = np.flatnonzero(steps >= 1.5 * recording.tick) + 1
        trouble.append(_rows("samples are missing before this row (gaps: unknown accepts that)", gaps))
    for name, samples in values.items():
        trouble.append(_rows(f"{name} is infinite", np.flatnonzero(np.isinf(samples))))
        if recording.gaps == "refuse":
            trouble.append(_rows(f"{name} is not a number (gaps: unknown accepts that)", np.flatnonzero(np.isnan(samples))))
    found = [line for line in trouble if line]
    if found:
        raise RecordingError("\n".join(f"{recording.file}: {line}" for line in found))


def _rows(what: str, rows: Integers) -> str:
    if not len(rows):
        return ""
    shown = ", ".join(str(row + 1) for row in rows[:_SHOWN])
    return f"{what}: row {shown}{f' and {len(rows) - _SHOWN} more' if len(rows) > _SHOWN else ''}"


def _onsets(recording: Recording, folder: Path) -> Integers:
    if not isinstance(recording.onsets, OnsetFile):
        return np.array(sorted(recording.onsets), dtype=np.int64)
    import pandas as pd

    source = recording.onsets
    try:
        entries = json.loads((folder / source.file).read_text(encoding="utf-8"))
        stamps = pd.to_datetime([entry[source.field] for entry in entries], format="ISO8601")
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise RecordingError(f"{source.file}: the onsets cannot be read: {error!r}") from None
    zoned = stamps.tz_localize(ZoneInfo(source.zone)) if stamps.tz is None else stamps
    return np.sort(zoned.tz_convert("UTC").tz_localize(None).to_numpy("datetime64[ms]").astype(np.int64))


class RecordedNoise(NamedTuple):
    """The samples of one tick."""

    tick: int
    samples: Mapping[str, float]


_NOBODY = Strata(np.array([0.0, 1.0]), np.array([0]), np.array([1]), np.zeros((1, 2)))


class RecordingWorld:
    """A world that is read: one lane, one segment, nobody exposed by us."""

    segments = ("everyone",)
    strata = _NOBODY

    def __init__(self, series: Series, watched: Watched) -> None:
        self.series = series
        self.clock = series.clock
        self.watched = watched

    def draw(self, tick: int) -> RecordedNoise:
        """Return the samples of a tick."""
        samples = {name: float(values[tick]) for name, values in self.series.values.items()}
        return RecordedNoise(tick, samples)

    def begin(self, *, harmed: bool) -> RecordedPath:  # noqa: ARG002
        """Return the one factual path."""
        return RecordedPath(self.watched)


class RecordedPath:
    """The factual path: what any policy sees of a recording is the same."""

    def __init__(self, watched: Watched) -> None:
        self.watched = watched
        self.onset = np.array([NOT_YET])
        self.harm_units: dict[str, Floats] = {}

    def advance(self, noise: RecordedNoise, exposure: Exposure) -> Increments:  # noqa: ARG002
        """Return the samples as sums over one observation each; a missing one is no observation."""
        sums = {name: _one_sample(noise.samples[name]) for name in sorted(self.watched.metrics)}
        return Increments(sums, None)

    def truth(self, tick: int) -> Bools:  # noqa: ARG002
        """Return that nothing is known to be under way: nobody can be asked."""
        return np.zeros(1, dtype=bool)

    def users_exposed(self) -> Floats:
        """Return NaN: a metric series does not say who was exposed."""
        return np.full(1, np.nan)

    def users_harmed(self) -> Floats:
        """Return NaN: a metric series does not say who was harmed."""
        return np.full(1, np.nan)


def _one_sample(value: float) -> Sums:
    sums = np.zeros((3, 1, len(ARMS), 1))
    if not np.isnan(value):
        sums[:, 0, OUTSIDE, 0] = (1.0, value, value * value)
    return Sums(sums[0], sums[1], sums[2])
