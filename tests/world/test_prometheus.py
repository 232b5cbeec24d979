"""A Prometheus is asked in parts and gives what the same samples in a file give; trouble on the way is a clear error.

The server here is a stand-in that answers as the documented API does; `test_real_prometheus` starts a real one.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest

from simlab.documents import read_document
from simlab.errors import RecordingError
from simlab.guardrails.look import OUTSIDE
from simlab.schemas import read_settings
from simlab.world.prometheus import MOST_POINTS
from simlab.world.reading import read_series
from simlab.world.recording import Recording, Series

START = 1_767_225_600  # 2026-01-01T00:00:00Z
DESCRIBED = """
recording: live
prometheus: {url: "URL", from: 2026-01-01T00:00:00Z, to: 2026-01-18T00:00:00Z, staleness: 2m, timeout: 1s}
tick: 1m
values: {errors: {column: 'sum(rate(errors[5m]))'}}
within: 5m
gaps: unknown
"""
STEPS = 17 * 1440 + 1


def value(stamp: float) -> float:
    return float((stamp - START) // 60 % 977)


class Stub(BaseHTTPRequestHandler):
    mode = "well"
    own_staleness: str | None = None  # of a server that is too old to be told another one
    asked: list[dict[str, str]] = []  # noqa: RUF012

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass

    def do_GET(self) -> None:
        asked = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        if "start" not in asked:
            self.answer_about_staleness()
            return
        self.asked.append(asked)
        if self.mode == "hang":
            time.sleep(1.5)
        stamps = np.arange(float(asked["start"]), float(asked["end"]) + 1e-6, float(asked["step"]))
        if self.mode == "503" or len(stamps) > 11_000:
            self.send_error(503 if self.mode == "503" else 400)
            return
        kept = [stamp for stamp in stamps.tolist() if (stamp - START) // 60 != 7]
        series = {"metric": {"job": "shop"}, "values": [[stamp, str(value(stamp))] for stamp in kept]}
        result = {"none": [], "two": [series, {**series, "metric": {"job": "Shop"}}]}.get(self.mode, [series])
        self.answer({"resultType": "matrix", "result": result})

    def answer_about_staleness(self) -> None:
        if "/status/flags" in self.path:
            self.answer({"query.lookback-delta": self.own_staleness})
        elif self.own_staleness is None:
            self.send_error(400)
        else:
            self.answer({"resultType": "vector", "result": []})

    def answer(self, data: object) -> None:
        body = json.dumps({"status": "success", "data": data}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:-9] if self.mode == "truncated" else body)


@pytest.fixture
def server() -> Iterator[str]:
    Stub.mode, Stub.own_staleness, Stub.asked = "well", None, []
    held = ThreadingHTTPServer(("127.0.0.1", 0), Stub)
    held.handle_error = lambda *_: None  # type: ignore[method-assign]  # the client of a hung answer is gone
    thread = threading.Thread(target=held.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{held.server_address[1]}"
    held.shutdown()
    thread.join()
    held.server_close()


def read(folder: Path, url: str, described: str = DESCRIBED) -> Series:
    (folder / "recording.yaml").write_text(described.replace("URL", url))
    document = read_document(folder / "recording.yaml")
    return read_series(read_settings(document, Recording), document)


def test_every_point_is_asked_for_once_in_parts_under_the_limit(server: str, tmp_path: Path) -> None:
    found = read(tmp_path, server)
    assert len(Stub.asked) == -(-STEPS // MOST_POINTS) == 3
    assert {asked["lookback_delta"] for asked in Stub.asked} == {"120.000"}
    assert {asked["step"] for asked in Stub.asked} == {"60.000"}
    assert found.clock.horizon == STEPS
    assert found.stamps[0] == START * 1000
    observations, total, _ = found.sums["errors"][:, OUTSIDE]
    assert observations.sum() == STEPS - 1
    assert observations[7] == 0
    expected = np.array([value(START + 60 * step) for step in range(STEPS)])
    np.testing.assert_array_equal(np.delete(total, 7), np.delete(expected, 7))
    assert found.rows == {"read": STEPS, "requests": 3, "without_a_value": 1, "ticks_without_a_row": 0}


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("503", "answered 503"),
        ("hang", "no answer within 1 s"),
        ("truncated", "not whole"),
        ("none", "no series in that time"),
        ("two", "more than one series.*shop.*Shop"),
    ],
)
def test_trouble_on_the_way_is_a_clear_error(server: str, tmp_path: Path, mode: str, expected: str) -> None:
    Stub.mode = mode
    with pytest.raises(RecordingError, match=expected):
        read(tmp_path, server)


def test_gaps_are_refused_unless_accepted(server: str, tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"not a number .gaps: unknown accepts that.: row 8"):
        read(tmp_path, server, DESCRIBED.replace("gaps: unknown\n", ""))


@pytest.mark.parametrize("url", ["file:///etc/hosts", "http://127.0.0.1:1"])
def test_an_address_that_is_no_server_is_told(tmp_path: Path, url: str) -> None:
    with pytest.raises(RecordingError, match=r"begins with http|cannot be reached"):
        read(tmp_path, url)


@pytest.mark.parametrize("own", ["2m", "1m60s", "120000ms"])
def test_an_old_server_is_asked_if_its_own_staleness_is_the_one_wanted(server: str, tmp_path: Path, own: str) -> None:
    Stub.own_staleness = own
    assert read(tmp_path, server).rows["without_a_value"] == 1


@pytest.mark.parametrize(("own", "expected"), [("5m", "keeps to its own of 5m"), ("soon", "does not tell its own")])
def test_an_old_server_with_another_staleness_is_refused(server: str, tmp_path: Path, own: str, expected: str) -> None:
    Stub.own_staleness = own
    with pytest.raises(RecordingError, match=f"no notice of the staleness that is asked for, 2m, and {expected}"):
        read(tmp_path, server)
    assert Stub.asked == []
