"""Own traffic as the null: what lanes are made of, what is refused, what intervals are worth, and what can be grafted."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from simlab.cli import cli
from simlab.documents import Document, read_document
from simlab.errors import FileErrors, RecordingError
from simlab.own_traffic import NullOptions, run_null
from simlab.schemas import read_settings
from simlab.ticks import DAY, WEEK
from simlab.world.aggregate import Watched
from simlab.world.grafts import Graft, grafted, mistakes_in_graft
from simlab.world.harms import Exposure, harm_clock
from simlab.world.recording import Arms, Mask, strata_of_arms
from simlab.world.resampled import ResampledWorld, Resampling
from tests.own_traffic import PER_DAY, START, TICK, plan, series, traffic, truth
from tests.own_traffic_coverage import covered

WATCHED = Watched(frozenset({"level"}), first_seen=False)
NUMBERED = np.arange(5.0 * PER_DAY)


def world(
    healthy: np.ndarray | None = None, *, block: int = 24, lanes: int = 40, first: int = 0, seed: int = 3
) -> ResampledWorld:
    """Return a world over five days whose level is the number of the tick."""
    fit = np.ones(len(NUMBERED), dtype=bool) if healthy is None else healthy
    resampling = Resampling(series(NUMBERED), fit, DAY, block, PER_DAY, 5)
    return ResampledWorld(resampling, WATCHED, np.arange(first, first + lanes), seed=seed)


def sources(made: ResampledWorld) -> np.ndarray:
    """Return which tick each lane took when, int64[ticks, lanes]."""
    path, still = made.begin(harmed=False), np.zeros(len(made.lanes), dtype=np.int64)
    taken = [
        path.advance(made.draw(tick), Exposure(still, still)).sums["level"].total.sum(axis=(0, 1)) for tick in range(PER_DAY)
    ]
    return np.array(taken).astype(np.int64)


def test_every_tick_keeps_its_phase_and_blocks_stay_whole() -> None:
    taken = sources(world())
    assert (taken % PER_DAY == np.arange(PER_DAY)[:, None]).all()
    joints = np.diff(taken, axis=0) != 1
    # 12 blocks of 24 ticks in a day, of which a fifth goes on where the last one ended: 11 joints x 0.8, with 40 lanes.
    assert 7 < joints.sum(axis=0).mean() < 11
    # The first joint comes at a time of the lane's own.
    assert len(set(joints.argmax(axis=0).tolist())) > 10
    assert len(np.unique(taken[0])) == 5


def test_lanes_are_keyed() -> None:
    whole = sources(world())
    np.testing.assert_array_equal(sources(world(lanes=10, first=30)), whole[:, 30:])
    assert not np.array_equal(sources(world(seed=4)), whole)


def test_only_healthy_time_is_taken() -> None:
    healthy = np.ones(len(NUMBERED), dtype=bool)
    healthy[300:420] = False
    assert healthy[sources(world(healthy))].all()


@pytest.mark.parametrize(
    ("days", "options", "problem"),
    [
        (1, {"horizon": DAY // 4}, "2 days of healthy time are needed"),
        (20, {"cycle": "week"}, "8 weeks are needed for blocks of the same phase of the week, and 2w 6d were recorded"),
        (20, {"horizon": 7 * 60_000}, "whole number of the recording's ticks"),
        (20, {"horizon": 11 * DAY}, "at least twice the horizon"),
        (2, {"block": 2 * PER_DAY, "horizon": DAY // 2}, "there is no healthy block of 2d"),
    ],
)
def test_a_recording_that_is_too_short_is_refused(days: int, options: dict[str, Any], problem: str) -> None:
    recorded = series(traffic(np.random.default_rng(1), days)[:, 0])
    with pytest.raises(RecordingError, match=problem):
        plan(recorded, NullOptions(**options))


def test_eight_weeks_keep_the_phase_of_the_week() -> None:
    made = Resampling(series(np.arange(8.0 * 7 * PER_DAY)), np.ones(8 * 7 * PER_DAY, dtype=bool), WEEK, 12, PER_DAY, 5)
    taken = sources(ResampledWorld(made, WATCHED, np.arange(10), seed=1))
    assert (taken % (7 * PER_DAY) == np.arange(PER_DAY)[:, None]).all()


def test_masked_time_is_not_healthy() -> None:
    values = traffic(np.random.default_rng(1), 20)[:, 0]
    values[PER_DAY : PER_DAY + 50] = 100.0
    mask = Mask(from_=START + DAY, to=START + DAY + 50 * TICK, why="an incident")
    found = run_null(plan(series(values, masks=(mask,)), NullOptions(lanes=200, horizon=DAY // 2)), command="test")
    assert found.policies["spike"]["false_alarms"].high < 1
    assert found.worth == pytest.approx((20 * PER_DAY - 51) / (PER_DAY / 2))
    raw = run_null(plan(series(values), NullOptions(lanes=200, horizon=DAY // 2)), command="test")
    assert raw.policies["spike"]["false_alarms"].value > found.policies["spike"]["false_alarms"].value


def test_the_interval_holds_the_truth_and_that_of_single_ticks_does_not() -> None:
    # The whole study is `python -m tests.own_traffic_coverage`. Fewer than 9 of 12 at 95 % has probability 0.03 %; where an
    # interval of single ticks holds the truth of a lasting condition at all, it is chance.
    true = truth(20_000)
    blocks = covered(true, recordings=12, lanes=300, block=None)
    single = covered({"high-for-15m": true["high-for-15m"]}, recordings=12, lanes=300, block=1)
    assert all(found.value >= 9 / 12 for found in blocks.values())
    assert single["high-for-15m"].value < 0.5


def test_what_was_not_recorded_is_worth_nothing() -> None:
    values = traffic(np.random.default_rng(1), 20)[:, 0]
    whole = run_null(plan(series(values), NullOptions(lanes=100, horizon=DAY // 2)), command="test")
    values[: 10 * PER_DAY] = np.nan
    half = run_null(plan(series(values), NullOptions(lanes=100, horizon=DAY // 2)), command="test")
    assert half.worth == whole.worth / 2
    assert half.unknown_looks["spike"] > whole.unknown_looks["spike"] == 0
    values[:] = np.nan
    with pytest.raises(RecordingError, match="2 days of healthy time are needed"):
        plan(series(values), NullOptions(lanes=100, block=12, horizon=DAY // 2))


def test_lanes_without_a_judged_look_are_no_data() -> None:
    values = traffic(np.random.default_rng(1), 20)[:, 0]
    made = plan(series(values), NullOptions(lanes=100, horizon=DAY // 2))
    (setting,) = made.settings
    learns = [replace(each.guardrails[0], signal=replace(each.guardrails[0].signal, warmup=DAY)) for each in setting.policies]
    policies = tuple(replace(each, guardrails=(one,)) for each, one in zip(setting.policies, learns, strict=True))
    found = run_null(replace(made, settings=(replace(setting, policies=policies),)), command="test")
    assert not found.judged
    assert found.policies["spike"]["false_alarms"].n == 0


HARM = "{name: slow, shape: step, metric: level, onset: {at: 6h}, times: x1.5}"


def document_of(text: str) -> Document:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "graft.yaml"
        path.write_text(text)
        return read_document(path)


def graft(text: str) -> Graft:
    return read_settings(document_of(f"graft: it\nharms: [{text}]"), Graft)


def test_a_graft_is_found_where_the_twin_is_quiet() -> None:
    recorded = series(traffic(np.random.default_rng(5), 28)[:, 0])
    made = plan(recorded, NullOptions(lanes=300, harms=graft(HARM).harms, seed=2))
    found = run_null(made, command="test").policies["spike"]
    assert found["detected"].value > found["twin_alarm_in_the_same_window"].high
    assert found["detected"].n <= 28
    assert 0 < found["delay_restricted_mean"].value < 12 * 60
    quiet = run_null(plan(recorded, NullOptions(lanes=300, seed=2)), command="test").policies["spike"]
    assert quiet["false_alarms"] == found["false_alarms"]


@pytest.mark.parametrize(
    ("harm", "chance", "expected"),
    [
        ("times: x1.5", None, (10.0, 45.0, 2.25 * 100)),
        ("add: 2pp", None, (10.0, 30.2, 100 + 2 * 0.02 * 30 + 10 * 0.02**2)),
    ],
)
def test_values_are_scaled_and_shifted(harm: str, chance: float | None, expected: tuple[float, ...]) -> None:
    given = graft(HARM.replace("times: x1.5", harm).replace("6h", "0m")).harms[0]
    clock = harm_clock(given, clock=series(NUMBERED).clock, strata=strata_of_arms(None), lanes=np.arange(3), seed=1)
    sums = np.broadcast_to(np.array([10.0, 30.0, 100.0])[:, None, None], (3, 3, 3))
    found = grafted(sums[:, None], clock, tick=0, chance=chance, up=True, armed=False)[:, 0]
    np.testing.assert_allclose(found, np.broadcast_to(np.array(expected)[:, None, None], (3, 3, 3)))


@pytest.mark.parametrize(
    ("harm", "up", "share"), [("add: 2pp", True, 0.12), ("times: x0.5", True, 0.05), ("add: 2pp", False, 0.08)]
)
def test_events_change_one_by_one(harm: str, up: bool, share: float) -> None:
    lanes = 2000
    given = graft(HARM.replace("times: x1.5", harm).replace("6h", "0m")).harms[0]
    clock = harm_clock(
        given,
        clock=series(NUMBERED).clock,
        strata=strata_of_arms(Arms(treatment="t", control="c")),
        lanes=np.arange(lanes),
        seed=1,
    )
    events = np.random.default_rng(1).binomial(100, 0.1, (3, lanes)).astype(float)
    sums = np.stack([np.full((3, lanes), 100.0), events, events])
    found = grafted(sums[:, None], clock, tick=0, chance=0.1, up=up, armed=True)[:, 0]
    assert (found[1] == found[2]).all()
    assert (found[1] % 1 == 0).all()
    np.testing.assert_array_equal(found[1, 1], events[1])  # nothing spills to control
    # 200,000 observations: five standard errors of a share of 0.12 are 0.0036.
    assert abs(found[1, 0].mean() / 100 - share) < 0.0036


@pytest.mark.parametrize(
    ("harm", "problem"),
    [
        ("times: x1.5, segment: app", "error[graft]: harms[0].segment: a graft reaches all segments alike"),
        ("times: x1.5, turns_away: 5%", "error[graft]: harms[0].turns_away: changes what people do afterwards"),
        ("times: x1.5, drops_users: 5%", "error[graft]: harms[0].drops_users: changes who is seen"),
        ("times: x1.5, spill_to_control: 5%", "error[graft]: harms[0].spill_to_control: no control was recorded"),
        ("lasts: 1h", "error[graft]: harms[0]: must say add or times"),
    ],
)
def test_what_cannot_be_grafted_is_told_at_its_place(harm: str, problem: str) -> None:
    document = document_of(f"graft: it\nharms: [{HARM.replace('times: x1.5', harm)}]")
    mistakes = list(mistakes_in_graft(read_settings(document, Graft), document, series(NUMBERED).recording, horizon=DAY))
    assert problem in str(FileErrors((document.file, mistake) for mistake in mistakes))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (("metric: level", "metric: levle"), "did you mean 'level'"),
        (("at: 6h", "after: step 10%"), "an onset that waits for the ramp changes what people do"),
        (("at: 6h", "at: 2d"), "harms[0].onset: is after the horizon"),
        (("shape: step", "shape: cliff, above: 10%"), "harms[0].shape: a cliff changes"),
    ],
)
def test_a_graft_that_does_not_fit_is_told(change: tuple[str, str], problem: str) -> None:
    document = document_of(f"graft: it\nharms: [{HARM.replace(*change)}]")
    mistakes = list(mistakes_in_graft(read_settings(document, Graft), document, series(NUMBERED).recording, horizon=DAY))
    assert problem in str(FileErrors((document.file, mistake) for mistake in mistakes))


def test_from_the_command_line(tmp_path: Path) -> None:
    values = traffic(np.random.default_rng(2), 6)[:, 0]
    stamps = START // 1000 + TICK // 1000 * np.arange(1, len(values) + 1)
    pd.DataFrame({"at": stamps, "level": values}).to_parquet(tmp_path / "level.parquet")
    (tmp_path / "level.yaml").write_text(
        "recording: level\nfile: level.parquet\ntick: 5m\ntime: {column: at, unit: s}\nvalues: {level: {column: level}}\nwithin: 5m\n"
    )
    (tmp_path / "policies.yaml").write_text(
        "policies: [{name: spike, guardrails: [{watch: level, of: everyone, rule: {above: {limit: 15.2}}, every: 5m}]}]\n"
    )
    (tmp_path / "graft.yaml").write_text(f"graft: it\nharms: [{HARM}]\n")
    command = [
        "replay",
        str(tmp_path / "level.yaml"),
        "--policies",
        str(tmp_path / "policies.yaml"),
        "--out",
        str(tmp_path / "out"),
    ]
    done = CliRunner().invoke(cli, [*command, "--null", "100", "--horizon", "12h", "--graft", str(tmp_path / "graft.yaml")])
    assert done.exit_code == 0, done.output
    assert "worth 12.0 independent lanes" in " ".join(done.output.split())
    assert "detected within" in done.output
    held = json.loads((tmp_path / "out" / "results.json").read_text())
    assert held["worth"] == 12
    assert set(held["policies"]["spike"]) >= {"false_alarms", "detected", "delay_restricted_mean"}
    assert CliRunner().invoke(cli, [*command, "--graft", str(tmp_path / "graft.yaml")]).exit_code == 2
