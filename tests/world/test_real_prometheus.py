"""A real Prometheus, filled from a simulated lane, is replayed with the alarms of the file.

The server is Debian's package, started on loopback with its own data folder; `.ci/run` installs it, elsewhere these tests skip.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.error import URLError
from urllib.request import urlopen

import numpy as np
import pandas as pd
import pytest

from simlab.documents import read_document
from simlab.errors import RecordingError
from simlab.event_log import event_log
from simlab.guardrails.look import OUTSIDE
from simlab.replays import ReplayResult, load_replay, run_replay
from simlab.schemas import read_settings
from simlab.world.prometheus import MOST_POINTS
from simlab.world.reading import read_series
from simlab.world.recording import Recording, Series
from tests.worlds import SCENARIO, scenario

if not (shutil.which("prometheus") and shutil.which("promtool")):
    pytest.skip("prometheus and promtool (Debian: apt-get install prometheus) are not installed", allow_module_level=True)

START = pd.Timestamp("2026-01-05T00:00:00Z")
MINUTE = pd.Timedelta("1min")
LONG = MOST_POINTS + 1500
"""Minutes of a series that is asked for in two parts."""
SILENT = range(100, 103)
"""Minutes in which nothing was scraped."""
SHARE = "sum(requests_failed) / sum(requests)"
DESCRIBED = """
recording: lane
SOURCE
tick: 1m
values: {errors: {column: 'COLUMN'}}
within: 30m
gaps: unknown
onsets: [2026-01-05T02:00:00Z]
"""
POLICIES = """
policies:
  - name: above
    guardrails: [{watch: errors, of: everyone, rule: {above: {limit: 0.035, for: 2m}}, every: 1m}]
  - name: ewma
    guardrails: [{watch: errors, of: everyone, baseline: 1h, rule: {ewma: {}}, every: 1m}]
"""


class Server(NamedTuple):
    """A Prometheus that runs, and the lane that it holds."""

    url: str
    process: subprocess.Popen[bytes]
    lane: pd.DataFrame


def lane_by_minute() -> pd.DataFrame:
    """Return what a lane's event log counts in each minute by arm: requests and those that failed."""
    users = {**SCENARIO["users"], "count": 2000, "detail": "individual"}
    made = scenario(users=users, starts=START.isoformat(), tick="1m", traffic={"requests": "300/m"})
    log = event_log(made, lane=1, seed=7).rows
    counted = log.dropna(subset=["errors"])
    by_minute = counted.groupby(["tick", "arm"])["errors"].agg(requests="count", requests_failed="sum").reset_index()
    return by_minute[~by_minute["tick"].isin(SILENT)]


def open_metrics(lane: pd.DataFrame) -> str:
    """Return gauges as OpenMetrics text: one family after the other, stamps in seconds, ``# EOF`` at the end."""
    first = int(START.timestamp())
    lines = []
    for family in ("requests", "requests_failed"):
        lines.append(f"# TYPE {family} gauge")
        for arm, of_arm in lane.groupby("arm"):
            held = zip(of_arm[family], first + 60 * of_arm["tick"], strict=True)
            lines += [f'{family}{{arm="{arm}"}} {value} {stamp}' for value, stamp in held]
    lines.append("# TYPE minute gauge")
    lines += [f"minute {number} {first + 60 * number}" for number in range(LONG)]
    return "\n".join([*lines, "# EOF", ""])


def unused_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


def wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        try:
            with urlopen(f"{url}/-/ready", timeout=1):
                return
        except (URLError, OSError):
            time.sleep(0.05)
    pytest.fail(f"Prometheus does not start: {log.read_text()[-2000:]}")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("prometheus")
    lane = lane_by_minute()
    (folder / "lane.txt").write_text(open_metrics(lane))
    (folder / "prometheus.yml").write_text("global: {}\n")
    # Blocks of two hours, the default, would take a file pass each.
    fill = ["promtool", "tsdb", "create-blocks-from", "openmetrics", "--max-block-duration=8760h", "lane.txt", "data"]
    subprocess.run(fill, cwd=folder, check=True, capture_output=True, timeout=60)
    url = f"http://127.0.0.1:{unused_port()}"
    command = [
        "prometheus",
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        "--storage.tsdb.retention.time=100y",  # by default what is older than 15 days is deleted at the start
        "--query.lookback-delta=30s",  # Debian's is too old to be told a staleness with the query
        f"--web.listen-address={url.removeprefix('http://')}",
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        wait_until_ready(url, process, folder / "log")
        yield Server(url, process, lane)
    finally:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        process.wait(timeout=30)


def from_server(url: str, lane: pd.DataFrame, *, timeout: str = "30s") -> str:
    last = START + int(lane["tick"].max()) * MINUTE
    # With the usual staleness of 5 minutes, the silent minutes would hold older samples.
    asked = f"{{url: '{url}', from: {START.isoformat()}, to: {last.isoformat()}, staleness: 30s, timeout: {timeout}}}"
    return DESCRIBED.replace("SOURCE", f"prometheus: {asked}").replace("COLUMN", SHARE)


def replayed(folder: Path, described: str) -> ReplayResult:
    (folder / "recording.yaml").write_text(described)
    (folder / "policies.yaml").write_text(POLICIES)
    return run_replay(load_replay(folder / "recording.yaml", policies=folder / "policies.yaml"))


def read(folder: Path, described: str) -> Series:
    (folder / "recording.yaml").write_text(described)
    document = read_document(folder / "recording.yaml")
    return read_series(read_settings(document, Recording), document)


def test_the_alarms_are_those_of_the_file(server: Server, tmp_path: Path) -> None:
    totals = server.lane.groupby("tick")[["requests", "requests_failed"]].sum()
    share = (totals["requests_failed"] / totals["requests"]).to_numpy()
    table = pd.DataFrame({"time": START + totals.index.to_numpy() * MINUTE, "share": share})
    table.to_parquet(tmp_path / "lane.parquet")
    in_file = replayed(tmp_path, DESCRIBED.replace("SOURCE", "file: lane.parquet").replace("COLUMN", "share"))
    queried = replayed(tmp_path, from_server(server.url, server.lane))
    np.testing.assert_array_equal(queried.series.sums["errors"], in_file.series.sums["errors"])
    np.testing.assert_array_equal(queried.series.stamps, in_file.series.stamps)
    assert queried.rows["without_a_value"] == len(SILENT)
    for one, other in zip(queried.policies, in_file.policies, strict=True):
        assert one.alarms == other.alarms
        assert len(one.alarms) > 0
        assert one == other


def test_another_staleness_is_kept_to_or_refused(server: Server, tmp_path: Path) -> None:
    described = from_server(server.url, server.lane).replace("staleness: 30s", "staleness: 2m")
    try:
        found = read(tmp_path, described)
    except RecordingError as error:
        assert "keeps to its own of 30s" in str(error)  # noqa: PT017 - either is right, by the age of the server
    else:
        assert found.rows["without_a_value"] < len(SILENT)


def test_more_points_than_one_answer_may_hold_come_in_parts(server: Server, tmp_path: Path) -> None:
    last = START + (LONG - 1) * MINUTE
    asked = f"prometheus: {{url: '{server.url}', from: {START.isoformat()}, to: {last.isoformat()}, staleness: 30s}}"
    found = read(tmp_path, DESCRIBED.replace("SOURCE", asked).replace("COLUMN", "minute"))
    assert found.rows == {"read": LONG, "requests": 2, "without_a_value": 0, "ticks_without_a_row": 0}
    assert found.sums["errors"][1, OUTSIDE].tolist() == list(range(LONG))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({SHARE: "requests"}, "more than one series"),
        ({SHARE: "no_such"}, "no series in that time"),
        ({SHARE: "sum(requests"}, "answered 400 Bad Request: .*parse error"),
    ],
)
def test_a_query_that_is_not_one_series_is_told(server: Server, tmp_path: Path, change: Mapping[str, str], expected: str) -> None:
    described = from_server(server.url, server.lane)
    for old, new in change.items():
        described = described.replace(old, new)
    with pytest.raises(RecordingError, match=expected):
        read(tmp_path, described)


def test_a_server_that_hangs_is_told(server: Server, tmp_path: Path) -> None:
    server.process.send_signal(signal.SIGSTOP)
    os.waitpid(server.process.pid, os.WUNTRACED)  # until every thread has stopped, which a busy machine takes its time for
    try:
        with pytest.raises(RecordingError, match=r"no answer within 0\.5 s"):
            read(tmp_path, from_server(server.url, server.lane, timeout="500ms"))
    finally:
        server.process.send_signal(signal.SIGCONT)
    assert read(tmp_path, from_server(server.url, server.lane)).rows["requests"] == 1
