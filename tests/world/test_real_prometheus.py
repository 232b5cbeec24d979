"""A simulated lane in a real Prometheus is replayed with the same alarms as from a file.

The server is Debian's ``prometheus``, started on loopback over a data folder of its own that promtool has filled.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import numpy as np
import pytest

from simlab import replay
from simlab.event_log import event_log, write_event_log
from simlab.replays import ReplayResult
from simlab.ticks import format_instant
from tests.worlds import SCENARIO, changed, scenario

PROGRAMS = ("prometheus", "promtool")
LANE = changed(
    SCENARIO,
    horizon="6h",
    users={"count": 300, "detail": "individual", "segments": {"web": "70%", "app": "30%"}},
    traffic={"requests": "60/m"},
    telemetry={},
)
LOG = """
recording: log
kind: events
file: lane.parquet
tick: 5m
time: {column: time}
values: {errors: {column: errors}}
within: 1h
gaps: unknown
"""
DESCRIBED = """
recording: SOURCE
WHERE
tick: 5m
time: {column: time}
values: {errors: {column: 'COLUMN'}}
within: 1h
onsets: [ONSET]
"""
POLICIES = """
policies:
  - {name: level, guardrails: [{watch: errors, of: everyone, rule: {above: {limit: 2.5%, for: 5m}}, every: 5m}]}
  - {name: sum, guardrails: [{watch: errors, of: everyone, target: 1.8%, spread: 0.5%, rule: {cusum: {k: 0.25, h: 3}}, every: 10m}]}
"""


class Shares:
    """The share of errors in each tick of a simulated lane, and where it is kept."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        log = event_log(scenario(**LANE), lane=0, seed=4)
        write_event_log(log, folder / "lane.parquet")
        by_tick = log.groupby("tick")["errors"].mean()
        start = log["time"].iloc[0].timestamp() - 300 * log["tick"].iloc[0]
        self.stamps = [int(start) + 300 * (tick + 1) for tick in by_tick.index]
        self.values = by_tick.to_list()

    def write_csv(self) -> None:
        rows = (f"{datetime.fromtimestamp(stamp, UTC).isoformat()},{value!r}\n" for stamp, value in self._rows())
        (self.folder / "lane.csv").write_text("time,errors\n" + "".join(rows))

    def write_blocks(self) -> None:
        """Write OpenMetrics, whose times are seconds and whose end must be said, and let promtool make blocks of it."""
        rows = (f'shop_errors_share{{job="shop"}} {value!r} {stamp}\n' for stamp, value in self._rows())
        (self.folder / "lane.om").write_text("# TYPE shop_errors_share gauge\n" + "".join(rows) + "# EOF\n")
        command = ["promtool", "tsdb", "create-blocks-from", "openmetrics", "--max-block-duration=24h", "lane.om", "data"]
        subprocess.run(command, cwd=self.folder, check=True, capture_output=True)

    def _rows(self) -> list[tuple[int, float]]:
        return list(zip(self.stamps, self.values, strict=True))

    def replayed(self, *, source: str, where: str, column: str) -> ReplayResult:
        text = DESCRIBED.replace("SOURCE", source).replace("WHERE", where).replace("COLUMN", column)
        onset = format_instant(1000 * (self.stamps[0] + 3 * 3600))
        (self.folder / f"{source}.yaml").write_text(text.replace("ONSET", onset))
        (self.folder / "policies.yaml").write_text(POLICIES)
        return replay(self.folder / f"{source}.yaml", self.folder / "policies.yaml")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Shares]]:
    absent = [program for program in PROGRAMS if shutil.which(program) is None]
    if absent:
        pytest.skip(f"{' and '.join(absent)} not installed; Debian has them in the package prometheus")
    shares = Shares(tmp_path)
    shares.write_blocks()
    (tmp_path / "prometheus.yml").write_text("global: {}\n")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=data", "--storage.tsdb.retention.time=100y"]
    command += [f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        address = f"http://127.0.0.1:{port}"
        _wait_until_ready(address)
        yield address, shares
        process.terminate()


def _wait_until_ready(address: str) -> None:
    limit = time.monotonic() + 30
    while True:
        try:
            with urlopen(f"{address}/-/ready", timeout=5):
                return
        except URLError:
            if time.monotonic() > limit:
                raise
            time.sleep(0.05)


def test_the_same_alarms_as_from_a_file(server: tuple[str, Shares]) -> None:
    address, shares = server
    shares.write_csv()
    file = shares.replayed(source="file", where="file: lane.csv", column="errors")
    first, last = (format_instant(1000 * stamp) for stamp in (shares.stamps[0], shares.stamps[-1]))
    asked = f"prometheus: {{url: '{address}', from: {first}, to: {last}, staleness: 1m}}"
    live = shares.replayed(source="server", where=asked, column="shop_errors_share")
    np.testing.assert_array_equal(live.series.sums["errors"], file.series.sums["errors"])
    np.testing.assert_array_equal(live.series.stamps, file.series.stamps)
    for one, other in zip(file.policies, live.policies, strict=True):
        assert one.alarms == other.alarms
        assert one.onset_delays == other.onset_delays
    assert {policy.policy: bool(policy.alarms) for policy in file.policies} == {"level": True, "sum": True}


def test_the_share_is_that_of_the_event_log(tmp_path: Path) -> None:
    shares = Shares(tmp_path)
    shares.write_csv()
    file = shares.replayed(source="file", where="file: lane.csv", column="errors")
    (tmp_path / "log.yaml").write_text(LOG)
    log = replay(tmp_path / "log.yaml", tmp_path / "policies.yaml")
    assert [policy.alarms for policy in log.policies if policy.policy == "level"] == [
        policy.alarms for policy in file.policies if policy.policy == "level"
    ]
