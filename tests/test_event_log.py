"""A recorded lane is what the engine's world told its guardrails, request by request."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from simlab.cli import cli
from simlab.errors import FileErrors
from simlab.event_log import event_log
from simlab.response import ramp_plan
from simlab.world.aggregate import Watched
from simlab.world.harms import Exposure
from simlab.world.individual import IndividualWorld
from tests.worlds import SCENARIO, scenario

PEOPLE: dict[str, Any] = {
    "users": {"count": 300, "detail": "individual", "stay": "4h", "segments": {"web": "70%", "app": "30%"}},
    "traffic": {"requests": "20/m"},
    "telemetry": {"lost": "10%", "duplicated": "10%"},
    "metrics": {**SCENARIO["metrics"], "signup": {"kind": "proportion", "per": "user", "normal": "20%", "worse": "down"}},
}


def test_its_sums_are_those_that_guardrails_are_given() -> None:
    made = scenario(**PEOPLE)
    log = event_log(made, lane=3, seed=9)
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
                    assert sums.observations[number, index, 0] == here["times"].sum()
                    np.testing.assert_allclose(sums.total[number, index, 0], (here["times"] * here[name]).sum())
        seen += np.sum(increments.first_seen) if increments.first_seen is not None else 0.0
    assert seen == log["signup"].notna().sum() > 100
    assert set(log["times"]) == {1, 2}
    assert log["user"].str.contains(".", regex=False).any()
    assert event_log(made, lane=3, seed=9).equals(log)
    assert not event_log(made, lane=4, seed=9).equals(log)


def test_nothing_identifies_a_person_unless_it_is_asked_for() -> None:
    made = scenario(**(PEOPLE | {"horizon": "30m", "harms": []}))
    plain = event_log(made, lane=0, seed=1)
    assert list(plain.columns) == ["tick", "time", "user", "segment", "arm", "opens", "times", *made.metrics]
    chosen = event_log(made, lane=0, seed=1, personas=("locale", "device"))
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
