"""A recorded lane is what the engine's world told its guardrails, request by request."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from simlab.cli import cli
from simlab.engine import Block, simulate
from simlab.errors import FileErrors
from simlab.event_log import event_log, recording_of, write_event_log
from simlab.guardrails.look import Code
from simlab.replays import load_replay
from simlab.world.aggregate import Watched
from simlab.world.harms import Exposure
from simlab.world.individual import IndividualWorld
from simlab.world.ramp import ramp_plan
from simlab.yaml_edit import yaml_of
from simlab.yaml_text import read_yaml
from tests.worlds import SCENARIO, plan, scenario

PEOPLE: dict[str, Any] = {
    "users": {"count": 300, "detail": "individual", "stay": "4h", "segments": {"web": "70%", "app": "30%"}},
    "traffic": {"requests": "20/m"},
    "horizon": "6h",
    "telemetry": {"lost": "10%", "duplicated": "10%"},
    "metrics": {**SCENARIO["metrics"], "signup": {"kind": "proportion", "per": "user", "normal": "20%", "worse": "down"}},
}


def test_its_sums_are_those_that_guardrails_are_given() -> None:
    made = scenario(**PEOPLE)
    log = event_log(made, lane=3, seed=9).rows
    world = IndividualWorld(made, np.array([3]), seed=9, watched=Watched(frozenset(made.metrics), first_seen=True))
    path, planned = world.begin(harmed=True), ramp_plan(made.rollout, world.clock).planned(world.clock.horizon)
    seen = 0.0
    for tick in range(world.clock.horizon):
        position = np.array([planned[tick]])
        increments = path.advance(world.draw(tick), Exposure(position, position))
        now = log[log["tick"] == tick]
        for name, sums in increments.sums.items():
            for index, arm in enumerate(("treatment", "control", "outside")):
                for number, segment in enumerate(("app", "web")):
                    here = now[(now["arm"] == arm) & (now["segment"] == segment)].dropna(subset=[name])
                    assert sums.observations[number, index, 0] == len(here)
                    np.testing.assert_allclose(sums.total[number, index, 0], here[name].sum())
        seen += np.sum(increments.first_seen) if increments.first_seen is not None else 0.0
    assert seen > 100
    assert log.duplicated(["tick", "user", "latency"]).any()
    assert log["user"].str.contains(".", regex=False).any()
    assert event_log(made, lane=3, seed=9).rows.equals(log)
    assert not event_log(made, lane=4, seed=9).rows.equals(log)


def test_nothing_identifies_a_person_unless_it_is_asked_for() -> None:
    made = scenario(**(PEOPLE | {"horizon": "30m", "harms": []}))
    plain = event_log(made, lane=0, seed=1).rows
    assert list(plain.columns) == ["tick", "time", "user", "segment", "arm", "opens", *made.metrics]
    chosen = event_log(made, lane=0, seed=1, personas=("locale", "device")).rows
    assert list(chosen.columns) == [*plain.columns, "locale", "device"]
    assert (chosen.groupby("user")["locale"].nunique() == 1).all()
    pd.testing.assert_frame_equal(chosen[plain.columns], plain)


FILE = """
scenario: small
starts: 2026-03-02T00:00:00Z
tick: 5m
horizon: 1h
users: {count: 300, detail: individual, segments: {all: 100%}}
traffic: {requests: 50/m}
metrics: {errors: {kind: proportion, per: request, normal: 5%}}
rollout: {steps: [{expose: 50%, soak: rest}]}
"""


def test_the_command_writes_a_file_that_can_be_read_back(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(FILE)
    out = tmp_path / "lane.parquet"
    ran = CliRunner().invoke(
        cli, ["record", str(tmp_path / "small.yaml"), "--lane", "2", "--persona", "device", "--out", str(out)]
    )
    assert ran.exception is None, ran.output
    read = pd.read_parquet(out)
    assert f"{len(read):,} requests of {read['user'].nunique():,} users" in ran.output
    assert set(read["arm"]) == {"treatment", "control"}
    assert "device" in read
    assert "name" not in read


def test_cells_have_nobody_to_record(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(FILE.replace("individual", "aggregate"))
    ran = CliRunner().invoke(cli, ["record", str(tmp_path / "small.yaml"), "--out", str(tmp_path / "x.parquet")])
    assert isinstance(ran.exception, FileErrors)
    assert "users.detail: has no users one by one to record" in ran.exception.render()
    assert not (tmp_path / "x.parquet").exists()


@pytest.mark.parametrize("option", ["--persona=shoe-size", "--lane=-1"])
def test_wrong_options_are_refused(tmp_path: Path, option: str) -> None:
    (tmp_path / "small.yaml").write_text(FILE)
    ran = CliRunner().invoke(cli, ["record", str(tmp_path / "small.yaml"), "--out", str(tmp_path / "x.parquet"), option])
    assert ran.exit_code == 2


WATCHERS = (
    "{watch: errors, compare: difference, by: segment, rule: {cusum: {k: 0.25, h: 3}}, every: 5m}",
    "{watch: errors, compare: ratio, rule: {ewma: {lambda: 0.2, L: 2.4}}, every: 15m}",
    "{watch: latency, of: everyone, rule: {above: {limit: 0.3, for: 10m}}, every: 5m}",
    "{watch: latency, of: treatment, quantile: 95%, by: segment, rule: {above: {limit: 1}}, every: 15m}",
    "{watch: errors, compare: difference, unit: user, rule: {repeated_z: {looks: 12, alpha: 20%}}, every: 30m}",
    "{watch: signup, compare: difference, rule: {cusum: {k: 0.25, h: 3}}, every: 10m}",
    "{compare: shares, rule: {srm: {alpha: 30%}}, every: 30m}",
)
GOES_WRONG = """
name: worse
shape: step
metric: errors
onset: {after: first exposure, wait: 30m}
add: 10pp
drops_users: 40%
"""


def data(text: str) -> Any:
    """Return what a YAML text holds."""
    return read_yaml(text).data


def test_a_recorded_lane_replays_with_the_same_alarms_to_the_tick(tmp_path: Path) -> None:
    world: dict[str, Any] = data(FILE) | {
        "horizon": "9h",
        "users": {"count": 400, "detail": "individual", "segments": {"web": "70%", "app": "30%"}},
        "metrics": PEOPLE["metrics"],
        "telemetry": {"lost": "10%", "duplicated": "10%"},
        "harms": [data(GOES_WRONG), {**data(GOES_WRONG), "name": "slow", "metric": "latency", "add": "200ms"}],
        "rollout": {"begins": "1h", "steps": [{"expose": "20%", "soak": "3h"}, {"expose": "50%", "soak": "rest"}]},
        # Nobody answers before the end, so that the lane goes on as nobody stopped it.
        "response": {"people": {"answer": "20h"}},
    }
    policies = [{"name": f"p{number}", "guardrails": [data(each)]} for number, each in enumerate(WATCHERS)]
    made = scenario(**(dict.fromkeys(SCENARIO) | world))
    planned = plan(scenarios=[world], policies=policies, seed=5)
    lanes = 3
    simulated = simulate(planned, Block(0, 0, lanes)).traces
    some = 0
    for lane in range(lanes):
        log = event_log(made, lane=lane, seed=5)
        write_event_log(log, tmp_path / "lane.parquet")
        (tmp_path / "lane.yaml").write_text(recording_of(made, log, file="lane.parquet", about="a test"))
        (tmp_path / "policies.yaml").write_text(yaml_of({"policies": policies}))
        replayed = simulate(load_replay(tmp_path / "lane.yaml", policies=tmp_path / "policies.yaml"), Block(0, 0, 1)).traces
        assert log.onset == 18
        for trace, again in zip((each for each in simulated if each.harmed), replayed, strict=False):
            assert (trace.times[0] == again.times[0]).all()
            alarms = trace.codes[0][:, lane] == Code.ALARM
            np.testing.assert_array_equal(alarms, again.codes[0][:, 0] == Code.ALARM, err_msg=f"{trace.policy} {lane}")
            some += bool(alarms.any())
    assert some > 10, "a replay without alarms would show nothing"
