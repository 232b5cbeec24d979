"""From recorded files to sums on a grid of ticks, in memory that holds the ticks and one batch of rows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

import numpy as np

from simlab.documents import Document
from simlab.errors import FileErrors, Mistake, RecordingError
from simlab.guardrails.look import ARMS, CONTROL, OUTSIDE, TREATMENT, Bools, Floats, Integers
from simlab.ticks import Clock, format_duration
from simlab.world.aggregate import Watched
from simlab.world.events import MAX_TICKS, EventSums, Summed
from simlab.world.prometheus import Prometheus, query_range, refuse_other_staleness
from simlab.world.queries import problem_of
from simlab.world.recording import More, OnsetFile, Recording, Series
from simlab.world.rows import Rows, columns_of, read_rows, rows_told

_NOTHING_MORE = Watched(frozenset(), first_seen=False)


def read_series(
    recording: Recording, document: Document, *, data: Path | None = None, watched: Watched = _NOTHING_MORE
) -> Series:
    """Return the data of a recording.

    Parameters
    ----------
    recording : Recording
        As read from its file.
    document : Document
        That file; data stand beside it unless `data` says otherwise.
    data : Path, optional
        Folder of the data.
    watched : Watched
        What is asked of an event log beyond sums: quantiles, users first seen, sums over users.

    Raises
    ------
    FileErrors
        If what the file names does not go with its kind.
    RecordingError
        With everything that is wrong with the data: missing column, zone-naive, unsorted, duplicated or missing times, NaN,
        infinity, a file that cannot be read.
    """
    mistakes = list(_mistakes(recording, document))
    if mistakes:
        raise FileErrors((document.file, mistake) for mistake in mistakes)
    folder = data if data is not None else document.path.parent
    problem = problem_of(recording.duckdb, folder) if recording.duckdb is not None else ""
    if problem:
        raise FileErrors([(document.file, document.mistake(("duckdb", "query"), "query", problem))])
    if recording.prometheus is not None:
        placed = _read_prometheus(recording.prometheus, recording)
    else:
        events = recording.kind == "events"
        placed = _read_events(folder, recording, watched) if events else _read_samples(folder, recording)
    onsets = _onsets(recording, folder)
    clock, stamps, cells, supported, rows, more = placed
    return Series(recording, clock, stamps, cells, onsets[:, 0], onsets[:, 1], supported, rows, more)


def _mistakes(recording: Recording, document: Document) -> Iterator[Mistake]:
    """Yield what does not go together."""
    yield from _mistakes_of_kind(recording, document)
    if not isinstance(recording.onsets, OnsetFile):
        for index, onset in enumerate(recording.onsets):
            if not isinstance(onset, int) and onset.to < onset.from_:
                yield document.mistake(("onsets", index), "order", "must not end before it begins")
    harm = recording.incident.harm if recording.incident else None
    if harm is not None and harm.metric not in recording.values:
        problem = f"there is no metric {harm.metric!r}"
        yield document.mistake(("incident", "harm", "metric"), "unknown-metric", problem, f"known: {', '.join(recording.values)}")


def _mistakes_of_kind(recording: Recording, document: Document) -> Iterator[Mistake]:
    """Yield what a recording of this kind lacks or cannot have."""
    kind, arms = recording.kind, recording.arms
    if [recording.file, recording.duckdb, recording.prometheus].count(None) != 2:
        yield document.mistake((), "source", "must say one of file, duckdb and prometheus")
    if recording.prometheus is not None and kind != "series":
        yield document.mistake(("kind",), "kind", "a Prometheus gives series")
    by_arm = kind in {"periods", "cumulative"}
    for name, value in recording.values.items():
        if by_arm and not value.by_arm:
            yield document.mistake(("values", name), "kind", f"{kind} need count, mean and variance, each with {{arm}}")
        if not by_arm and value.column is None:
            yield document.mistake(("values", name), "kind", f"{kind} need a column")
    if by_arm and arms is None:
        yield document.mistake(("kind",), "kind", f"{kind} need arms: {{treatment: ..., control: ...}}")
    if recording.support is not None and (kind == "cumulative" or recording.prometheus is not None):
        problem = (
            "cumulative statistics hold all exposures, real or not" if kind == "cumulative" else "a Prometheus has no columns"
        )
        yield document.mistake(("support",), "kind", problem)
    yield from _mistakes_of_log(recording, document)


def _mistakes_of_log(recording: Recording, document: Document) -> Iterator[Mistake]:
    """Yield what only an event log can have, and what it needs."""
    arms, span, events = recording.arms, recording.span, recording.kind == "events"
    if arms is not None and recording.kind == "series":
        yield document.mistake(("arms",), "kind", "a metric series has no arms")
    if arms is not None and events and arms.column is None:
        yield document.mistake(("arms",), "kind", "an event log needs the column that names the arm")
    if arms is not None and arms.outside is not None and not events:
        yield document.mistake(("arms", "outside"), "kind", "goes with an event log")
    for key in ("segment", "user", "span"):
        if getattr(recording, key) is not None and not events:
            yield document.mistake((key,), "kind", "goes with an event log")
    if span is not None and span.to <= span.from_:
        yield document.mistake(("span",), "order", "must not end before it begins")


class _Placed(NamedTuple):
    """Sums on their grid."""

    clock: Clock
    stamps: Integers
    cells: dict[str, Floats]
    supported: Bools
    rows: dict[str, int]
    more: More = More()


def _read_samples(folder: Path, recording: Recording) -> _Placed:
    """Return a metric series or statistics of two arms: one row a tick."""
    found: list[Rows] = []
    held = 0
    for rows in read_rows(folder, recording):
        found.append(rows)
        held += len(rows.times)
        if held > MAX_TICKS:
            raise RecordingError(f"{recording.source}: more than {MAX_TICKS:,} rows; at most so many are replayed")
    if not held:
        raise RecordingError(f"{recording.source}: no row is left; look at where")
    times = np.concatenate([rows.times for rows in found])
    number = np.concatenate([rows.number for rows in found])
    numbers = {name: np.concatenate([rows.numbers[name] for rows in found]) for name in found[0].numbers}
    read = sum(rows.read for rows in found)
    counts = {"read": read, "left_out": read - held, "sorted": 0, "duplicates_dropped": 0, "without_a_value": 0}
    order = np.arange(held)
    if "sort" in recording.repair:
        order = np.argsort(times, kind="stable")
        counts["sorted"] = int((times < np.maximum.accumulate(times)).sum())
    if "first_of_duplicates" in recording.repair:
        fresh = np.concatenate([[True], np.diff(times[order]) != 0])
        order = order[fresh]
        counts["duplicates_dropped"] = int((~fresh).sum())
    times, number = times[order], number[order]
    numbers = {name: values[order] for name, values in numbers.items()}
    _refuse_bad(times, numbers, number, recording)
    counts["without_a_value"] = int(np.any([np.isnan(values) for values in numbers.values()], axis=0).sum())
    real = np.concatenate([rows.real for rows in found])[order]
    if recording.support is not None:
        counts["exposure_not_real"] = int((~real).sum())
    numbers = {name: np.where(real, values, np.nan) for name, values in numbers.items()}
    return _on_grid(times, numbers, number, recording, counts, real=real)


def _read_prometheus(server: Prometheus, recording: Recording) -> _Placed:
    """Return metric series from a server: one point a tick, missing where it had no sample."""
    if server.to - server.from_ > MAX_TICKS * recording.tick or server.to <= server.from_:
        raise RecordingError(f"{server.url}: from and to must hold between 1 and {MAX_TICKS:,} ticks")
    refuse_other_staleness(server)
    columns = [str(value.column) for value in recording.values.values()]
    found = {column: query_range(server, column, step=recording.tick) for column in dict.fromkeys(columns)}
    times = next(iter(found.values())).times
    numbers = {column: points.values for column, points in found.items()}
    number = np.arange(1, len(times) + 1)
    _refuse_bad(times, numbers, number, recording)
    missing = np.any([np.isnan(values) for values in numbers.values()], axis=0)
    requests = sum(points.requests for points in found.values())
    return _on_grid(
        times, numbers, number, recording, {"read": len(times), "requests": requests, "without_a_value": int(missing.sum())}
    )


def _on_grid(
    times: Integers,
    numbers: Mapping[str, Floats],
    number: Integers,
    recording: Recording,
    counts: dict[str, int],
    *,
    real: Bools | None = None,
) -> _Placed:
    tick = recording.tick
    start = int(times[0]) - tick
    place = np.round((times - start) / tick).astype(np.int64) - 1
    if (np.diff(place) < 1).any():
        first = number[int(np.argmax(np.diff(place) < 1)) + 1]
        raise RecordingError(
            f"{recording.source}: row {first}: two samples fall on one tick of {format_duration(tick)}; give a smaller tick"
        )
    clock = _clock(start, int(place[-1]) + 1, recording)
    stamps = start + tick * np.arange(1, clock.horizon + 1)
    stamps[place] = times
    sums = {}
    for name, value in recording.values.items():
        sums[name] = np.zeros((3, len(ARMS), clock.horizon))
        if value.column is not None:
            _put_samples(sums[name], numbers[value.column], place)
        else:
            columns = [numbers[column] for column in columns_of(value, recording.arms)]
            for arm, (count, mean, variance) in zip((TREATMENT, CONTROL), (columns[:3], columns[3:]), strict=True):
                sums[name][:, arm, place] = _from_statistics(
                    count, mean, variance, cumulative=recording.kind == "cumulative", what=f"{recording.source}: {name}"
                )
    counts["ticks_without_a_row"] = clock.horizon - len(place)
    supported = np.ones(clock.horizon, dtype=bool)
    if real is not None:
        supported[place] = real
    return _Placed(clock, stamps, {name: each[:, None] for name, each in sums.items()}, supported, counts)


def _put_samples(sums: Floats, samples: Floats, place: Integers) -> None:
    known = ~np.isnan(samples)
    sums[:, OUTSIDE, place[known]] = np.stack([np.ones(known.sum()), samples[known], samples[known] ** 2])


def _from_statistics(count: Floats, mean: Floats, variance: Floats, *, cumulative: bool, what: str) -> Floats:
    """Return float64[3, rows]: increments of count, sum and sum of squares; nothing where one of the three is missing.

    Cumulative statistics that are missing at a row come with the next one that is whole.
    """
    held = np.stack([count, count * mean, variance * np.maximum(count - 1, 0) + count * mean**2])
    known = ~np.isnan(held).any(axis=0)
    found = np.zeros_like(held)
    found[:, known] = np.diff(held[:, known], axis=1, prepend=0.0) if cumulative else held[:, known]
    if (found[0] < 0).any():
        raise RecordingError(f"{what}: a cumulative count falls at row {int(np.argmax(found[0] < 0)) + 1} of those taken")
    if not cumulative:
        # Rounded statistics can make a sum of squares too small for its mean; then there is no variance to speak of. What users
        # who were counted before add to cumulative ones need not look like values of new users, and stays as it is.
        found[2] = np.maximum(found[2], found[1] ** 2 / np.maximum(found[0], 1))
    return found


def _clock(start: int, ticks: int, recording: Recording) -> Clock:
    if ticks > MAX_TICKS:
        problem = f"{format_duration(ticks * recording.tick)} are {ticks:,} ticks of {format_duration(recording.tick)}"
        raise RecordingError(f"{recording.source}: from its first to its last row {problem}; at most {MAX_TICKS:,} are replayed")
    return Clock(start, recording.tick, ticks)


def _read_events(folder: Path, recording: Recording, watched: Watched) -> _Placed:
    """Return an event log summed by tick."""
    counts = {"read": 0, "left_out": 0, "of_neither_arm": 0, "without_a_value": 0}
    events = EventSums(tuple(recording.values), tick=recording.tick, watched=watched)
    for rows in read_rows(folder, recording):
        values = np.stack([rows.numbers[str(value.column)] for value in recording.values.values()])
        if np.isinf(values).any():
            raise RecordingError(f"{recording.source}: {rows_told('infinite', rows.number[np.isinf(values).any(axis=0)])}")
        counts["without_a_value"] += int(np.isnan(values).any(axis=0).sum())
        if recording.support is not None:
            counts["exposure_not_real"] = counts.get("exposure_not_real", 0) + int((~rows.real).sum())
            # Counted once more as a metric of its own, so that a tick without any real exposure is known as such.
            values = np.where(rows.real, np.concatenate([values, np.ones((1, len(rows.real)))]), np.nan)
        inside = _inside(rows.times, recording)
        taken = (rows.arms >= 0) & inside
        counts["read"] += rows.read
        counts["left_out"] += rows.read - len(rows.times)
        counts["of_neither_arm"] += int((rows.arms < 0).sum())
        if recording.span is not None:
            counts["outside_the_span"] = counts.get("outside_the_span", 0) + int((~inside).sum())
        try:
            events.add(rows.taken(taken), values[:, taken])
        except RecordingError as error:
            raise RecordingError(f"{recording.source}: {error}") from None
    summed = events.done()
    if summed is None:
        raise RecordingError(f"{recording.source}: no event is left; look at where, span and arms")
    return _placed(summed, events.segments, recording, watched, counts)


def _inside(times: Integers, recording: Recording) -> Bools:
    span = recording.span
    return np.ones(len(times), dtype=bool) if span is None else (times >= span.from_) & (times < span.to)


def _placed(summed: Summed, segments: tuple[str, ...], recording: Recording, watched: Watched, counts: dict[str, int]) -> _Placed:
    """Return sums of events on the grid, which goes from the first event to the last one, or as far as the log is said to go."""
    tick, span = recording.tick, recording.span
    first, last = int(summed.ticks[0]), int(summed.ticks[-1])
    if span is not None:
        first, last = span.from_ // tick, (span.to - 1) // tick
    clock = _clock(first * tick, last - first + 1, recording)

    def on_grid(values: Floats) -> Floats:
        found = np.zeros((*values.shape[1:], clock.horizon))
        found[..., summed.ticks - first] = np.moveaxis(values, 0, -1)
        return found

    stamps = clock.starts + tick * np.arange(1, clock.horizon + 1)
    counts["ticks_without_a_row"] = clock.horizon - len(summed.ticks)
    supported = np.ones(clock.horizon, dtype=bool)
    if recording.support is not None:
        supported[summed.ticks - first] = summed.sums[:, -1, 0].sum(axis=(1, 2)) > 0
    cells = dict(zip(recording.values, on_grid(summed.sums), strict=False))
    more = More(
        segments,
        dict(zip(sorted(watched.quantiles), on_grid(summed.buckets), strict=True)),
        on_grid(summed.first_seen) if watched.first_seen and recording.user is not None else None,
        dict(zip(sorted(watched.by_user), on_grid(summed.users), strict=True)),
    )
    return _Placed(clock, stamps, cells, supported, counts, more)


def _refuse_bad(times: Integers, numbers: Mapping[str, Floats], number: Integers, recording: Recording) -> None:
    """Raise with every kind of trouble in the data, each with its first rows (counted from 1)."""
    steps = np.diff(times)
    trouble = [
        rows_told("times go backwards (repair: [sort] puts them in order)", number[1:][steps < 0]),
        rows_told("times stand twice (repair: [first_of_duplicates] takes the first)", number[1:][steps == 0]),
    ]
    accepts = "(gaps: unknown accepts that)"
    if recording.gaps == "refuse":
        # In order of time, so that rows that are only out of order are not told to be missing as well.
        order = np.argsort(times, kind="stable")
        apart = np.diff(times[order]) >= 1.5 * recording.tick
        trouble.append(rows_told(f"samples are missing before this row {accepts}", number[order][1:][apart]))
    for name, samples in numbers.items():
        trouble.append(rows_told(f"{name} is infinite", number[np.isinf(samples)]))
        if recording.gaps == "refuse":
            trouble.append(rows_told(f"{name} is not a number {accepts}", number[np.isnan(samples)]))
    found = [line for line in trouble if line]
    if found:
        raise RecordingError("\n".join(f"{recording.source}: {line}" for line in found))


def _onsets(recording: Recording, folder: Path) -> Integers:
    """Return the earliest and latest moment of each onset, int64[onsets, 2]."""
    if not isinstance(recording.onsets, OnsetFile):
        spans = [(each, each) if isinstance(each, int) else (each.from_, each.to) for each in recording.onsets]
        return np.array(sorted(spans), dtype=np.int64).reshape(-1, 2)
    import pandas as pd

    source = recording.onsets
    try:
        entries = json.loads((folder / source.file).read_text(encoding="utf-8"))
        stamps = pd.to_datetime([entry[source.field] for entry in entries], format="ISO8601")
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise RecordingError(f"{source.file}: the onsets cannot be read: {error!r}") from None
    zoned = stamps.tz_localize(ZoneInfo(source.zone)) if stamps.tz is None else stamps
    points = np.sort(zoned.tz_convert("UTC").tz_localize(None).to_numpy("datetime64[ms]").astype(np.int64))
    return np.stack([points, points], axis=1)
