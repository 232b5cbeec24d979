"""Telemetry that fails: one arm that loses more, late records, duplicates, a dead pipeline; for cells and for users alike."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from simlab.engine import Block, simulate
from simlab.errors import FileErrors
from simlab.guardrails.look import Floats, Look
from simlab.telemetry import Pipeline, TelemetryNoise
from simlab.world.aggregate import AggregateWorld, Watched
from simlab.world.harms import Exposure
from simlab.world.individual import IndividualWorld
from tests.worlds import CUSUM, SCENARIO, changed, plan, scenario

LANES, TICKS, Z = 50, 24, 5.0
SMALL: dict[str, Any] = {
    "users": {"count": 500, "segments": {"all": "100%"}},
    "traffic": {"requests": "200/m"},
    "metrics": {"errors": {"kind": "proportion", "per": "request", "normal": "10%"}},
    "rollout": {"steps": [{"expose": "50%", "soak": "rest"}]},
    "harms": [],
    "horizon": "2h",
}


def looks_of(detail: str, **telemetry: Any) -> list[Look]:
    """Return a look a tick, both arms one half."""
    users = {**SMALL["users"], "detail": detail}
    made = scenario(**(SMALL | {"users": users, "telemetry": telemetry}))
    kind: Any = IndividualWorld if detail == "individual" else AggregateWorld
    world = kind(made, np.arange(LANES), seed=2, watched=Watched(frozenset({"errors"}), first_seen=True))
    path, position = world.begin(harmed=False), np.ones(LANES, dtype=np.int64)
    pipeline = Pipeline(
        TelemetryNoise(made.telemetry, made.clock, world.lanes, seed=2),
        world.strata,
        watched=world.watched,
        segments=1,
        every=(1,),
    )
    looks = []
    for tick in range(TICKS):
        pipeline.receive(tick, path.advance(world.draw(tick), Exposure(position, position)), position)
        looks.append(pipeline.look(tick + 1, every=1))
    return looks


def told(looks: list[Look]) -> Floats:
    """Return observations and events by arm, float64[2, arms, lanes], over all looks."""
    return np.asarray(sum(np.stack([each.sums["errors"][index].sum(axis=(0, 1)) for index in (0, 1)]) for each in looks))


def near(values: Floats, expected: float) -> bool:
    return bool(abs(values.mean() - expected) < Z * values.std() / np.sqrt(values.size) + 1e-12)


@pytest.mark.parametrize("detail", ["aggregate", "individual"])
@pytest.mark.parametrize(
    ("telemetry", "shares"),
    [
        ({"lost_in": {"treatment": "30%"}}, (0.7, 1.0)),
        ({"lost": "20%", "lost_in": {"control": "50%"}}, (0.8, 0.4)),
        ({"duplicated": "25%"}, (1.25, 1.25)),
        # Of the late, between 10 and 50 minutes, three quarters come after the watermark of 20.
        ({"late": {"share": "40%", "by": "10m-50m"}, "watermark": "20m", "dead": []}, (0.7, 0.7)),
    ],
)
def test_records_are_told_in_their_share(detail: str, telemetry: dict[str, Any], shares: tuple[float, float]) -> None:
    plain, looks = looks_of(detail), looks_of(detail, **telemetry)
    waited = 4 if "watermark" in telemetry else 0
    whole = told(plain[: TICKS - waited])
    for arm, share in enumerate(shares):
        for which in (0, 1):
            assert near(told(looks)[which, arm] / whole[which, arm], share)


@pytest.mark.parametrize("detail", ["aggregate", "individual"])
def test_a_watermark_delays_every_look_and_a_longer_one_drops_less(detail: str) -> None:
    late = {"share": "40%", "by": "10m-50m"}
    hasty, patient = (looks_of(detail, late=late, watermark=wait) for wait in ("5m", "50m"))
    for wait, looks in ((1, hasty), (10, patient)):
        for look in looks[wait:]:
            assert (look.end == look.time - wait).all()
        assert all(look.missing.all() for look in looks[:wait])
    plain = looks_of(detail)
    np.testing.assert_array_equal(told(patient), told(plain[: TICKS - 10]))
    assert near(told(hasty)[0, 0] / told(plain[: TICKS - 1])[0, 0], 0.6)


@pytest.mark.parametrize("detail", ["aggregate", "individual"])
def test_a_dead_pipeline_recovers_and_floods(detail: str) -> None:
    plain, looks = looks_of(detail), looks_of(detail, dead=[{"at": "30m", "for": "45m"}])
    for tick, (look, whole) in enumerate(zip(looks, plain, strict=True)):
        time = tick + 1
        if 6 <= time < 15:
            assert look.missing.all()
        elif time == 15:
            np.testing.assert_array_equal(told([look]), told(plain[5:15]))
            assert (look.start == 5).all()
        else:
            np.testing.assert_array_equal(told([look]), told([whole]))


def test_a_guardrail_over_a_dead_pipeline_is_late_and_no_wiser_before() -> None:
    harm = {**SCENARIO["harms"][0], "segment": None, "onset": {"at": "3h"}, "add": "10pp"}
    harm = {key: value for key, value in harm.items() if value is not None}
    delays = []
    for dead in ([], [{"at": "3h", "for": "2h"}]):
        made = changed(SCENARIO, harms=[harm], telemetry={"dead": dead})
        rows = simulate(
            plan(scenarios=[made], policies=[{"name": "p", "guardrails": [{**CUSUM, "on_unknown": "ignore"}]}]), Block(0, 0, 40)
        ).rows
        mine = (rows["policy"] == "p") & rows["harmed"].astype(bool)
        times = rows["action_time"][mine]
        detected = times > 36
        assert detected.mean() > 0.8
        delays.append(times[detected] - 36)
    assert np.median(delays[0]) <= 3
    assert delays[1].min() == 24


@pytest.mark.parametrize(
    ("telemetry", "place"),
    [
        ({"lost_in": {"outside": "5%"}}, "error[not-a-choice]: telemetry.lost_in"),
        ({"lost_in": {"treatment": "100%"}}, "error[bound]: telemetry.lost_in.treatment"),
        ({"late": {"share": "5%"}}, "error[missing-key]: telemetry.late.by"),
        ({"duplicated": "150%"}, "error[bound]: telemetry.duplicated"),
        ({"dead": [{"at": "9d", "for": "5m"}]}, "error[time]: telemetry.dead[0].at: is after the horizon"),
        ({"watermark": "9d"}, "error[time]: telemetry.watermark: is after the horizon"),
    ],
)
def test_mistakes_in_telemetry(telemetry: dict[str, Any], place: str) -> None:
    with pytest.raises(FileErrors) as caught:
        scenario(telemetry=telemetry)
    assert place in caught.value.render()


@pytest.mark.parametrize("detail", ["aggregate", "individual"])
def test_clocks_that_run_ahead_delay_an_arm_against_the_other(detail: str) -> None:
    plain, skewed = looks_of(detail), looks_of(detail, clock_skew={"treatment": "15m"})
    for tick in range(TICKS):
        for index in (0, 1):
            mine, theirs = skewed[tick].sums["errors"][index], plain[tick].sums["errors"][index]
            np.testing.assert_array_equal(mine[..., 1:, :], theirs[..., 1:, :])
            before = plain[tick - 3].sums["errors"][index][..., 0, :] if tick >= 3 else np.zeros(LANES)
            np.testing.assert_array_equal(mine[..., 0, :], np.broadcast_to(before, mine[..., 0, :].shape))
        seen, first = skewed[tick].first_seen, plain[tick - 3].first_seen
        assert seen is not None
        assert first is not None
        if tick >= 3:
            np.testing.assert_array_equal(seen.users[..., 0, :], first.users[..., 0, :])


@pytest.mark.parametrize(
    ("skew", "problem"),
    [({"treatment": "3h"}, "clock_skew.treatment: is after the horizon"), ({"both": "1m"}, "clock_skew"), ({"control": "-1m"}, "clock_skew")],
)  # fmt: skip
def test_a_skew_that_makes_no_sense_is_a_mistake(skew: dict[str, str], problem: str) -> None:
    with pytest.raises(FileErrors) as caught:
        scenario(**(SMALL | {"telemetry": {"clock_skew": skew}}))
    assert problem in caught.value.render()
