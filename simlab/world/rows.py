"""The rows of a recording: which moment, arm and numbers each has, and whether its exposure was real."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from simlab.errors import RecordingError
from simlab.guardrails.look import CONTROL, OUTSIDE, TREATMENT, Bools, Floats, Integers
from simlab.ticks import format_count
from simlab.world.queries import query_batches
from simlab.world.recording import Arms, Recording, ValueColumn
from simlab.world.sources import Wanted, batches

_MILLISECONDS = {"d": 86_400_000.0, "h": 3_600_000.0, "s": 1_000.0, "ms": 1.0, "us": 1e-3, "ns": 1e-6}
_REAL = ("1", "1.0", "true")
_NOT_REAL = ("0", "0.0", "false", "", "none", "nan", "<na>")
_SHOWN = 3


class Rows(NamedTuple):
    """Some rows of a recording, those that `where` leaves out not among them.

    Attributes
    ----------
    number : int64[rows]
        In the file, counted from 1.
    times : int64[rows]
        Milliseconds since 1970.
    numbers : dict of str to float64[rows]
        By column.
    arms : int64[rows]
        Index in `ARMS`; -1 for a row of neither arm.
    real : bool[rows]
        Whether the exposure was.
    segment, user : object[rows] or None
        As text; None where the recording names no such column.
    read : int
        Rows read for these.
    """

    number: Integers
    times: Integers
    numbers: dict[str, Floats]
    arms: Integers
    real: Bools
    segment: NDArray[np.object_] | None
    user: NDArray[np.object_] | None
    read: int

    def taken(self, chosen: Bools) -> Rows:
        """Return the chosen rows, bool[rows]."""
        return Rows(
            number=self.number[chosen],
            times=self.times[chosen],
            numbers={name: values[chosen] for name, values in self.numbers.items()},
            arms=self.arms[chosen],
            real=self.real[chosen],
            segment=None if self.segment is None else self.segment[chosen],
            user=None if self.user is None else self.user[chosen],
            read=self.read,
        )


def read_rows(folder: Path, recording: Recording) -> Iterator[Rows]:
    """Yield the rows of a recording's file or query, batch by batch.

    Raises
    ------
    RecordingError
        If the file cannot be read, or a time or an exposure is not what it should be.
    """
    numbers = tuple(dict.fromkeys(column for value in recording.values.values() for column in columns_of(value, recording.arms)))
    where = recording.where or {}
    arm_column = recording.arms.column if recording.arms else None
    time = recording.time
    support = recording.support
    named = (arm_column, support, recording.segment, recording.user)
    others = (*where, *(name for name in named if name), *([] if time.unit else [time.column]))
    wanted = Wanted((*numbers, *([time.column] if time.unit else [])), others, booleans=recording.kind == "events")
    query = recording.duckdb
    for batch in query_batches(query, folder, wanted) if query else batches(folder / recording.source, wanted):
        rows = len(batch.columns[time.column])
        kept = np.ones(rows, dtype=bool)
        for name, value in where.items():
            kept &= _equals(batch.columns[name], value)
        place = np.flatnonzero(kept)
        taken = {name: column.take(place) for name, column in batch.columns.items()} if len(place) < rows else batch.columns
        yield Rows(
            number=batch.first + place + 1,
            times=_times(taken[time.column], recording, batch.first + place + 1),
            numbers={name: np.asarray(taken[name].to_numpy(zero_copy_only=False), dtype=float) for name in numbers},
            arms=_arms(taken[arm_column], recording.arms) if arm_column and recording.arms else np.full(len(place), OUTSIDE),
            real=_real(taken[support], recording, batch.first + place + 1) if support else np.ones(len(place), dtype=bool),
            segment=_names(taken, recording.segment, recording, batch.first + place + 1),
            user=_names(taken, recording.user, recording, batch.first + place + 1),
            read=rows,
        )


def columns_of(value: ValueColumn, arms: Arms | None) -> tuple[str, ...]:
    """Return the columns of a metric; of statistics three for each arm, treatment first."""
    if value.column is not None:
        return (value.column,)
    names = (arms.treatment, arms.control) if arms else ()
    return tuple(column.replace("{arm}", name) for name in names for column in value.by_arm)


def _equals(column: Any, value: str | int) -> Bools:
    return np.array([str(each) == str(value) for each in column.to_pylist()], dtype=bool)


def _arms(column: Any, arms: Arms) -> Integers:
    held = column.to_pandas().astype(str)
    others = np.where(held == arms.outside, OUTSIDE, -1)
    return np.where(held == arms.treatment, TREATMENT, np.where(held == arms.control, CONTROL, others)).astype(np.int64)


def _names(taken: dict[str, Any], name: str | None, recording: Recording, number: Integers) -> NDArray[np.object_] | None:
    """Return a column as text; a row without a name is refused."""
    if name is None:
        return None
    column = taken[name]
    if column.null_count:
        unnamed = number[np.asarray(column.is_null())]
        raise RecordingError(f"{recording.source}: {rows_told(f'{name} is empty', unnamed)}")
    return np.asarray(column.to_pandas().astype(str), dtype=object)


def _real(column: Any, recording: Recording, number: Integers) -> Bools:
    """Return of which rows the exposure was real; nothing is not real, and what is neither true nor false is refused."""
    held = column.to_pandas().astype(str).str.lower()
    real: Bools = held.isin(_REAL).to_numpy(dtype=bool)
    unclear = number[~real & ~held.isin(_NOT_REAL).to_numpy(dtype=bool)]
    if len(unclear):
        raise RecordingError(f"{recording.source}: {rows_told(f'{recording.support} is neither true nor false', unclear)}")
    return real


def _times(column: Any, recording: Recording, number: Integers) -> Integers:
    """Return the stamps of rows in milliseconds since 1970, int64[rows]."""
    import pandas as pd

    what = f"{recording.source}: {recording.time.column}"
    if column.null_count:
        raise RecordingError(f"{what}: {format_count(column.null_count, 'row')} without a time")
    if recording.time.unit is not None:
        numbers = column.to_numpy(zero_copy_only=False)
        bad = number[~np.isfinite(numbers)]
        if len(bad):
            raise RecordingError(f"{recording.source}: {rows_told(f'{recording.time.column} is no time', bad)}")
        return np.asarray(np.round(numbers * _MILLISECONDS[recording.time.unit])).astype(np.int64) + recording.time.since
    given = pd.Series(column.to_pandas())
    if pd.api.types.is_numeric_dtype(given):
        raise RecordingError(f"{what}: numbers; say their unit (d, h, s, ms, us or ns)")
    try:
        stamps = pd.to_datetime(given, format="ISO8601") if given.dtype.kind != "M" else given
        if getattr(stamps.dt, "tz", None) is None:
            if recording.time.zone is None:
                raise RecordingError(f"{what}: the times name no zone; say it as time.zone")
            stamps = stamps.dt.tz_localize(ZoneInfo(recording.time.zone))
    except (ValueError, AttributeError) as error:
        raise RecordingError(f"{what}: {error} (rows from {number[0]} on; mixed zones are not guessed)") from None
    return np.asarray(stamps.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy("datetime64[ms]").astype(np.int64))


def rows_told(what: str, rows: Integers) -> str:
    """Return where something is wrong, by row numbers counted from 1; nothing if it is nowhere."""
    if not len(rows):
        return ""
    shown = ", ".join(str(row) for row in rows[:_SHOWN])
    return f"{what}: row {shown}{f' and {len(rows) - _SHOWN} more' if len(rows) > _SHOWN else ''}"
