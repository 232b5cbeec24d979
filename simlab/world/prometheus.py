"""Range queries to a Prometheus server over HTTP, in parts under its limit of 11,000 points a series.

A point holds the newest sample that is not older than the staleness, as Prometheus evaluates it; the staleness is sent along as
``lookback_delta``, so that what is read does not depend on how the server was started. Older servers take no notice of it; they
are recognised by their taking a nonsense for it, and asked only if they were started with the staleness that the file says.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from simlab.errors import RecordingError
from simlab.guardrails.look import Floats, Integers
from simlab.settings import settings
from simlab.ticks import Instant, Period, format_duration

MOST_POINTS = 10_000
_REFUSED = 400
_PART = re.compile(r"(\d+)(ms|[smhdwy])")
_MILLISECONDS = {
    "ms": 1,
    "s": 1_000,
    "m": 60_000,
    "h": 3_600_000,
    "d": 86_400_000,
    "w": 7 * 86_400_000,
    "y": 365 * 86_400_000,
}


@settings
class Prometheus:
    """Where and what is asked.

    Parameters
    ----------
    url : str
        Of the server, such as ``http://127.0.0.1:9090``.
    from_, to : Instant
        The first and the last moment that is asked for; between them one point each tick.
    staleness : Period
        How old a sample may be.
    timeout : Period
        How long one answer may take.
    """

    url: str
    from_: Instant
    to: Instant
    staleness: Period = 300_000
    timeout: Period = 30_000


class Points(NamedTuple):
    """The answer to one query.

    Attributes
    ----------
    times : int64[points]
        Milliseconds since 1970, one each step.
    values : float64[points]
        NaN where the server had no sample.
    requests : int
        How many parts it took.
    """

    times: Integers
    values: Floats
    requests: int


def refuse_other_staleness(server: Prometheus) -> None:
    """Raise if a server would read with another staleness than the file says.

    Raises
    ------
    RecordingError
        If it takes no notice of the staleness that is sent and keeps to another one, or does not tell which; or if it cannot be
        asked.
    """
    _refuse_address(server)
    # Whoever reads this parameter refuses a value that is no duration.
    _, refused = _get(server, "query", {"query": "vector(1)", "time": "0", "lookback_delta": "none"})
    if refused:
        return
    try:
        held, _ = _get(server, "status/flags", {})
        own = _duration(held["data"]["query.lookback-delta"])
    except (RecordingError, KeyError, TypeError):
        own = None
    if own != server.staleness:
        known = f"keeps to its own of {format_duration(own)}" if own is not None else "does not tell its own"
        raise RecordingError(
            f"{server.url}: takes no notice of the staleness that is asked for, {format_duration(server.staleness)}, "
            f"and {known}; say that as staleness, start the server with --query.lookback-delta, or ask for last_over_time(...)"
        )


def _duration(text: str) -> int | None:
    """Return the milliseconds of a duration as Prometheus writes it, such as ``1m30s``; None if it is none."""
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None
    return sum(int(number) * _MILLISECONDS[unit] for number, unit in parts)


def query_range(server: Prometheus, query: str, *, step: int) -> Points:
    """Return one series at each step.

    Parameters
    ----------
    server : Prometheus
        Whom to ask.
    query : str
        PromQL; it must come to one series.
    step : int
        Milliseconds.

    Raises
    ------
    RecordingError
        If the server cannot be reached, does not answer in time, answers with an error or not as a whole, or with more or less
        than one series.
    """
    _refuse_address(server)
    times = np.arange(server.from_, server.to + 1, step, dtype=np.int64)
    values = np.full(len(times), np.nan)
    names: dict[str, None] = {}
    parts = range(0, len(times), MOST_POINTS)
    for first in parts:
        asked = times[first : first + MOST_POINTS]
        for series in _ask(server, query, asked, step):
            names[json.dumps(series["metric"], sort_keys=True)] = None
            if len(names) > 1:
                raise RecordingError(f"{query}: more than one series, such as {' and '.join(names)}; say sum(...) or a label")
            stamps, samples = np.array(series["values"], dtype=float).reshape(-1, 2).T
            place = np.round((stamps * 1000 - times[0]) / step).astype(np.int64)
            if ((place < first) | (place >= first + len(asked))).any():
                raise RecordingError(f"{server.url}: {query}: answered with points that were not asked for")
            values[place] = samples
    if not names:
        raise RecordingError(f"{query}: no series in that time at {server.url}")
    return Points(times, values, len(parts))


def _refuse_address(server: Prometheus) -> None:
    if not server.url.startswith(("http://", "https://")):
        raise RecordingError(f"{server.url}: the address of a Prometheus begins with http:// or https://")


def _ask(server: Prometheus, query: str, asked: Integers, step: int) -> list[Mapping[str, Any]]:
    parameters = {
        "query": query,
        "start": f"{asked[0] / 1000:.3f}",
        "end": f"{asked[-1] / 1000:.3f}",
        "step": f"{step / 1000:.3f}",
        "lookback_delta": f"{server.staleness / 1000:.3f}",
    }
    held, refused = _get(server, "query_range", parameters)
    what = f"{server.url}: {query}"
    if refused:
        raise RecordingError(f"{what}: {refused}")
    try:
        if held["data"]["resultType"] != "matrix":
            raise RecordingError(f"{what}: no matrix, but {str(held)[:200]}")
        found: list[Mapping[str, Any]] = held["data"]["result"]
    except (KeyError, TypeError) as error:
        raise RecordingError(f"{what}: the answer is not what it should be: {error!r}") from None
    return found


class _Answer(NamedTuple):
    """What a server answered.

    Attributes
    ----------
    held : Any
        Its JSON; None where it refused.
    refused : str
        What it said where the request was not to its liking; empty where it was.
    """

    held: Any
    refused: str


def _get(server: Prometheus, path: str, parameters: Mapping[str, str]) -> _Answer:
    # Here, since most files ask no server, and what speaks to one takes its time to import.
    from http.client import HTTPException
    from urllib.error import HTTPError, URLError
    from urllib.parse import urlencode
    from urllib.request import Request, urlopen

    address = f"{server.url.rstrip('/')}/api/v1/{path}?{urlencode(parameters)}"
    what = f"{server.url}: {parameters.get('query', path)}"
    try:
        with urlopen(Request(address), timeout=server.timeout / 1000) as answer:  # noqa: S310 - http alone, checked before
            held = json.loads(answer.read())
        if held["status"] != "success":
            raise RecordingError(f"{what}: no success, but {str(held)[:200]}")
    except HTTPError as error:
        said = f"answered {error.code} {error.reason}: {error.read(300).decode(errors='replace')}"
        if error.code != _REFUSED:
            raise RecordingError(f"{what}: {said}") from None
        return _Answer(None, said)
    except TimeoutError:
        raise RecordingError(f"{what}: no answer within {server.timeout / 1000:g} s") from None
    except URLError as error:
        raise RecordingError(f"{server.url}: cannot be reached: {error.reason}") from None
    except (HTTPException, OSError, ValueError, KeyError, TypeError) as error:
        raise RecordingError(f"{what}: the answer is not whole or not what it should be: {error!r}") from None
    return _Answer(held, "")
