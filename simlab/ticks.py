"""Units as they stand in files, and the one conversion from time to integer ticks.

A duration is an integer number of milliseconds until it becomes ticks; nothing inside a simulation is a fraction of a
tick. Each unit is an annotated type: the annotation reads the words of a file (``5m``, ``70%``, ``2pp``, ``x1.5``), so that
settings stay plain standard-library dataclasses while file schemas, and JSON Schema, derive from them.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from typing import Annotated, Any

from annotated_types import Ge, Gt, Le, Lt

from simlab.errors import BadNameError, UnitError

MILLISECONDS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
DAY = MILLISECONDS["d"]
WEEK = MILLISECONDS["w"]

# As many digits as a float can hold; more are a mistake, and could overflow.
_NUMBER = r"[0-9]{1,15}(?:\.[0-9]{1,15})?"
_DURATION = re.compile(rf"({_NUMBER})(ms|s|m|h|d|w)")
_DURATIONS = re.compile(rf"(?:{_NUMBER}(?:ms|s|m|h|d|w))+")
_SUFFIXED = {
    "%": re.compile(rf"([+-]?{_NUMBER})%"),
    "pp": re.compile(rf"([+-]?{_NUMBER})pp"),
    "x": re.compile(rf"x({_NUMBER})"),
}
_RATE = re.compile(rf"({_NUMBER})/(s|m|h|d)")


@dataclass(frozen=True)
class Unit:
    """How one unit is written in a file: a marker for `typing.Annotated`.

    Attributes
    ----------
    name : str
        The unit's name, used in messages.
    parse : callable
        From the file's value to the number used inside; raises `UnitError`.
    example : str
        A value as it would be written.
    written : tuple of str
        JSON types of what a file may hold.
    """

    name: str
    parse: Callable[[object], Any]
    example: str
    written: tuple[str, ...] = ("string", "number")

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> dict[str, Any]:
        """Read the file's words first, then check the number; a plain dict, so that pydantic is not imported here."""
        return {
            "type": "function-before",
            "function": {"type": "no-info", "function": self.parse},
            "schema": handler(source),
        }

    def __get_pydantic_json_schema__(self, core_schema: Any, handler: Any) -> dict[str, Any]:
        """Describe the written form to editors."""
        return {"type": list(self.written), "description": self.name, "examples": [self.example]}


def _refuse(value: object, unit: str, example: str) -> UnitError:
    return UnitError(f"{value!r} is not a {unit}; write for example {example}")


def parse_duration(value: object) -> int:
    """Return milliseconds from text such as ``90s``, ``5m`` or ``1h30m``; a bare 0 is allowed.

    Raises
    ------
    UnitError
        If `value` is not a duration, or is finer than a millisecond.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value == 0:
        return 0
    if not isinstance(value, str) or not _DURATIONS.fullmatch(value):
        raise _refuse(value, "duration", "5m or 1h30m")
    # Exact, since in floating point 1.001 s are not 1001 ms.
    total = sum(Fraction(number) * MILLISECONDS[unit] for number, unit in _DURATION.findall(value))
    if total != int(total):
        raise UnitError(f"{value!r} is finer than a millisecond")
    return int(total)


def parse_seconds(value: object) -> float:
    """Return seconds, as a float, from the text of a duration: for measured values such as a latency."""
    return parse_duration(value) / 1_000


@dataclass(frozen=True)
class Span:
    """A duration that varies, uniform between two limits, both in milliseconds."""

    low: int
    high: int


def parse_span(value: object) -> Span:
    """Return a span from ``1m-3m``, or from one duration where both limits are the same."""
    if isinstance(value, Span):
        return value
    low, dash, high = value.partition("-") if isinstance(value, str) else (value, "", "")
    first = parse_duration(low)
    last = parse_duration(high) if dash else first
    if last < first:
        raise UnitError(f"{value!r} ends before it begins")
    return Span(first, last)


def _parse_suffixed(value: object, suffix: str, unit: str, example: str) -> float:
    match = _SUFFIXED[suffix].fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise _refuse(value, unit, example)
    number = float(match.group(1))
    return number if suffix == "x" else number / 100


def _parse_number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) <= sys.float_info.max else None


def parse_share(value: object) -> float:
    """Return a fraction from ``70%`` or a plain number such as 0.7."""
    number = _parse_number(value)
    return _parse_suffixed(value, "%", "share", "70% or 0.7") if number is None else number


def parse_points(value: object) -> float:
    """Return a difference of fractions from ``2pp`` (percentage points)."""
    return _parse_suffixed(value, "pp", "difference in percentage points", "2pp")


def parse_factor(value: object) -> float:
    """Return a factor from ``x1.5``."""
    return _parse_suffixed(value, "x", "factor", "x1.5")


def parse_rate(value: object) -> float:
    """Return events per millisecond from ``12000/m``."""
    match = _RATE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise _refuse(value, "rate", "12000/m")
    return float(match.group(1)) / MILLISECONDS[match.group(2)]


def parse_name(value: object) -> str:
    """Return a name: letters, digits, dots, dashes and underscores, 64 at most, a letter or digit first.

    Raises
    ------
    BadNameError
        If `value` is anything else.
    """
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", value):
        raise BadNameError(
            f"{value!r} is no name: letters, digits, dots, dashes and underscores, 64 at most, a letter or digit first"
        )
    return value


def parse_event(value: object) -> str:
    """Return an event of a rollout: ``first exposure`` or ``step 10%``."""
    if not isinstance(value, str) or not re.fullmatch(rf"first exposure|step {_NUMBER}%", value):
        raise _refuse(value, "event of the rollout", '"first exposure" or "step 10%"')
    return value


def parse_time_of_day(value: object) -> int:
    """Return milliseconds since midnight from ``20:00``."""
    match = re.fullmatch(r"([01][0-9]|2[0-3]):([0-5][0-9])", value) if isinstance(value, str) else None
    if match is None:
        raise _refuse(value, "time of day", '"20:00"')
    return int(match.group(1)) * MILLISECONDS["h"] + int(match.group(2)) * MILLISECONDS["m"]


def parse_instant(value: object) -> int:
    """Return milliseconds since 1970 from ISO 8601 text with a zone, such as ``2026-03-02T00:00:00Z``.

    Raises
    ------
    UnitError
        If `value` is not a time, or does not say its zone.
    """
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        moment = None
    if moment is None:
        raise _refuse(value, "time", "2026-03-02T00:00:00Z")
    if moment.tzinfo is None:
        raise UnitError(f"{value!r} does not say its zone; write for example {moment.isoformat()}Z")
    delta = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return delta.days * DAY + delta.seconds * 1_000 + delta.microseconds // 1_000


def format_duration(milliseconds: float) -> str:
    """Return a duration in words people read, such as ``1h 30m``; two units at most."""
    sign = "-" if round(milliseconds) < 0 else ""
    rest = round(abs(milliseconds))
    parts: list[str] = []
    for unit in ("w", "d", "h", "m", "s", "ms"):
        number, rest = divmod(rest, MILLISECONDS[unit])
        if number:
            parts.append(f"{number}{unit}")
    return sign + (" ".join(parts[:2]) or "0m")


def format_count(number: int, noun: str, *, plural: str = "") -> str:
    """Return a number of things in words, such as ``1 lane`` or ``2,000 lanes``; `plural` where an s is not enough."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def format_instant(milliseconds: float) -> str:
    """Return ISO 8601 text in UTC, to the second."""
    return datetime.fromtimestamp(milliseconds / 1_000, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


Name = Annotated[str, Unit("name", parse_name, "checkout-errors")]
Event = Annotated[str, Unit("event of the rollout", parse_event, "step 10%")]
Duration = Annotated[int, Unit("duration", parse_duration, "5m"), Ge(0)]
Period = Annotated[int, Unit("duration", parse_duration, "5m"), Gt(0)]
DurationSpan = Annotated[Span, Unit("duration or range of durations", parse_span, "1m-3m")]
Probability = Annotated[float, Unit("probability", parse_share, "5%"), Gt(0), Lt(1)]
Seconds = Annotated[float, Unit("duration", parse_seconds, "200ms"), Gt(0)]
Share = Annotated[float, Unit("share", parse_share, "70%"), Ge(0), Le(1)]
Swing = Annotated[float, Unit("signed share", parse_share, "-20%"), Ge(-1)]
Points = Annotated[float, Unit("percentage points", parse_points, "2pp"), Gt(0), Le(1)]
Factor = Annotated[float, Unit("factor", parse_factor, "x1.5"), Gt(0)]
Rate = Annotated[float, Unit("rate", parse_rate, "12000/m"), Gt(0)]
TimeOfDay = Annotated[int, Unit("time of day", parse_time_of_day, "20:00"), Ge(0)]
Instant = Annotated[int, Unit("time", parse_instant, "2026-03-02T00:00:00Z")]
Real = Annotated[float, Unit("number or share", parse_share, "0.5 or 50%")]


@dataclass(frozen=True)
class Clock:
    """The grid of ticks of one world.

    Attributes
    ----------
    starts : int
        Milliseconds since 1970 at tick 0.
    tick : int
        Milliseconds in a tick.
    horizon : int
        Number of ticks; data exist for ticks 0 to ``horizon - 1``.
    """

    starts: int
    tick: int
    horizon: int

    def ticks(self, duration: int) -> int:
        """Return whole ticks of a duration in milliseconds, rounded up, so that nothing happens early."""
        return -(-duration // self.tick)

    def milliseconds(self, ticks: float) -> float:
        """Return the duration of `ticks` in milliseconds."""
        return ticks * self.tick
