"""Units as files write them, and time in whole ticks."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simlab.errors import UnitError
from simlab.ticks import (
    DAY,
    MILLISECONDS,
    WEEK,
    Clock,
    Span,
    format_duration,
    format_instant,
    parse_duration,
    parse_factor,
    parse_instant,
    parse_points,
    parse_rate,
    parse_seconds,
    parse_share,
    parse_span,
    parse_time_of_day,
)


@pytest.mark.parametrize(
    ("parse", "written", "read"),
    [
        (parse_duration, "200ms", 200),
        (parse_duration, "90s", 90_000),
        (parse_duration, "5m", 300_000),
        (parse_duration, "1h30m", 5_400_000),
        (parse_duration, "1.5h", 5_400_000),
        (parse_duration, "2d", 2 * DAY),
        (parse_duration, "1w", WEEK),
        (parse_duration, "0m", 0),
        (parse_duration, 0, 0),
        # 1.001 * 1000 is not 1001 in floating point.
        (parse_duration, "1.001s", 1001),
        (parse_seconds, "200ms", 0.2),
        (parse_seconds, "1.25s", 1.25),
        (parse_span, "1m-3m", Span(60_000, 180_000)),
        (parse_span, "5m", Span(300_000, 300_000)),
        (parse_span, "0m-0m", Span(0, 0)),
        (parse_span, 0, Span(0, 0)),
        (parse_span, Span(1, 2), Span(1, 2)),
        (parse_share, "70%", 0.7),
        (parse_share, "-20%", -0.2),
        (parse_share, "+0.5%", 0.005),
        (parse_share, 0.7, 0.7),
        (parse_share, 1, 1.0),
        (parse_points, "2pp", 0.02),
        (parse_points, "0.25pp", 0.0025),
        (parse_factor, "x1.5", 1.5),
        (parse_factor, "x3", 3.0),
        (parse_rate, "12000/m", 0.2),
        (parse_rate, "5/s", 0.005),
        (parse_rate, "1.5/h", 1.5 / 3_600_000),
        (parse_rate, "864/d", 0.00001),
        (parse_time_of_day, "00:00", 0),
        (parse_time_of_day, "20:05", 20 * 3_600_000 + 5 * 60_000),
        (parse_time_of_day, "23:59", DAY - 60_000),
        (parse_instant, "1970-01-01T00:00:00Z", 0),
        (parse_instant, "2026-03-02T00:00:00Z", 1_772_409_600_000),
        (parse_instant, "2026-03-02T01:00:00+01:00", 1_772_409_600_000),
        (parse_instant, "1969-12-31T23:59:59.250Z", -750),
        (parse_instant, "0001-01-01T00:00:00+14:00", -62_135_596_800_000 - 14 * 3_600_000),
    ],
)
def test_what_is_read(parse: Callable[[object], object], written: object, read: object) -> None:
    found = parse(written)
    assert found == read
    assert type(found) is type(read)


NO_TEXT: list[Any] = [None, True, [], {}]


@pytest.mark.parametrize(
    ("parse", "refused", "message"),
    [
        (
            parse_duration,
            ["5", "5 m", "m", "-5m", "5min", "5 bananas", "1e3s", ".5s", "5m ", "5m\n", "", 5, 0.0, False, "٥m",
             "9" * 400 + "w"],
            "is not a duration; write for example 5m or 1h30m",
        ),
        (parse_duration, ["0.5ms", "1.0001s"], "is finer than a millisecond"),
        (parse_seconds, ["200", 0.2], "is not a duration"),
        (parse_span, ["1m-", "-1m", "1m-2m-3m", "1m–3m", 5], "is not a duration"),
        (parse_span, ["3m-1m", "1001ms-1s"], "ends before it begins"),
        (
            parse_share,
            ["70", "70 %", "%", "70pp", "--1%", "1e2%", math.nan, math.inf, -math.inf, 10**400, True, None],
            "is not a share; write for example 70% or 0.7",
        ),
        (parse_points, ["2", "2%", 0.02, "2 pp"], "is not a difference in percentage points; write for example 2pp"),
        (parse_factor, ["1.5", "x", "x-1", "1.5x", "x" + "9" * 400, 1.5], "is not a factor; write for example x1.5"),
        (parse_rate, ["12000", "12000/w", "12000/ms", "-1/m", "/m", 12000], "is not a rate; write for example 12000/m"),
        (
            parse_time_of_day,
            ["24:00", "8:00", "20:60", "20:00:00", "20", 1200],
            'is not a time of day; write for example "20:00"',
        ),
        (
            parse_instant,
            ["yesterday", "2026-02-30T00:00:00Z", "2026-03-02Z", "", 0, datetime(2026, 3, 2, tzinfo=UTC)],
            "is not a time; write for example 2026-03-02T00:00:00Z",
        ),
    ],
)  # fmt: skip
def test_what_is_refused_and_why(parse: Callable[[object], object], refused: list[object], message: str) -> None:
    for value in refused + NO_TEXT:
        # A bare list or mapping is refused everywhere for being no text; the message is then the unit's own.
        reason = message if value in refused else "write for example"
        with pytest.raises(UnitError) as raised:
            parse(value)
        assert reason in str(raised.value)
        # It says what was written; a span says which of its ends.
        assert repr(value) in str(raised.value) or parse is parse_span


@pytest.mark.parametrize("written", ["2026-03-02T00:00:00", "2026-03-02T00:00", "2026-03-02"])
def test_an_instant_says_its_zone(written: str) -> None:
    with pytest.raises(UnitError, match="does not say its zone; write for example 2026-03-02T00:00:00Z"):
        parse_instant(written)


# -- there and back ------------------------------------------------------------------------------------------------------

UNITS = st.sampled_from(list(MILLISECONDS))


@given(st.integers(0, 10**9), st.integers(0, 999))
def test_every_millisecond_can_be_written_in_seconds(seconds: int, milliseconds: int) -> None:
    assert parse_duration(f"{seconds}.{milliseconds:03d}s") == seconds * 1000 + milliseconds


@given(st.lists(st.tuples(st.integers(0, 999), UNITS), min_size=1, max_size=4))
def test_parts_of_a_duration_add(parts: list[tuple[int, str]]) -> None:
    expected = sum(number * MILLISECONDS[unit] for number, unit in parts)
    assert parse_duration("".join(f"{number}{unit}" for number, unit in parts)) == expected


@given(st.integers(0, 100 * WEEK))
def test_a_duration_in_words_reads_back_to_its_two_largest_units(milliseconds: int) -> None:
    words = format_duration(milliseconds).split()
    assert len(words) <= 2
    read = parse_duration("".join(words))
    # Nothing is rounded up, and what is left out is less than the smaller unit shown.
    smallest = words[-1].lstrip("0123456789")
    assert 0 <= milliseconds - read < (MILLISECONDS[smallest] if len(words) == 2 else MILLISECONDS["m"])


@given(st.sampled_from(["ms", "s", "m", "h", "d", "w"]), st.integers(1, 3))
def test_a_short_duration_reads_back_exactly(unit: str, number: int) -> None:
    assert format_duration(parse_duration(f"{number}{unit}")) == f"{number}{unit}"


@pytest.mark.parametrize(
    ("milliseconds", "words"),
    [
        (0, "0m"),
        (-0.2, "0m"),
        (0.6, "1ms"),
        (5_400_000, "1h 30m"),
        (-5_400_000, "-1h 30m"),
        (WEEK + 2 * DAY + 3, "1w 2d"),
        (59_999.7, "1m"),
        (DAY + 5, "1d 5ms"),
    ],
)
def test_a_duration_in_words(milliseconds: float, words: str) -> None:
    assert format_duration(milliseconds) == words


MOMENTS = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1))
ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(MOMENTS, ZONES)
def test_an_instant_is_the_same_moment_in_every_zone(moment: datetime, zone: timezone) -> None:
    written = moment.replace(microsecond=moment.microsecond // 1000 * 1000, tzinfo=zone)
    milliseconds = parse_instant(written.isoformat())
    assert datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds) == written
    assert parse_instant(format_instant(milliseconds)) == milliseconds // 1000 * 1000


@given(st.floats(-1e15, 1e15, allow_nan=False))
def test_a_plain_share_is_itself(share: float) -> None:
    assert parse_share(share) == share


@given(st.integers(-1000, 1000))
def test_a_percentage_is_hundredths(percent: int) -> None:
    assert parse_share(f"{percent}%") == percent / 100


# -- ticks ---------------------------------------------------------------------------------------------------------------


@given(st.integers(0, 10 * WEEK), st.sampled_from([1000, 60_000, 300_000]))
def test_nothing_happens_early(duration: int, tick: int) -> None:
    clock = Clock(starts=0, tick=tick, horizon=100)
    ticks = clock.ticks(duration)
    assert isinstance(ticks, int)
    assert (ticks - 1) * tick < duration <= ticks * tick


@given(st.integers(0, 10**6))
def test_whole_ticks_are_exact(ticks: int) -> None:
    clock = Clock(starts=0, tick=300_000, horizon=100)
    assert clock.ticks(int(clock.milliseconds(ticks))) == ticks
