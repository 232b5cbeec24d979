"""What looks hold, and when: against a slow account of the same data kept lane by lane."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from simlab.guardrails.look import Integers, Look, Sums
from simlab.scenario import RampStep, Rollout, Telemetry
from simlab.telemetry import Pipeline, TelemetryNoise
from simlab.ticks import Clock, Span
from simlab.world.aggregate import Increments, Watched
from simlab.world.strata import strata_of

MINUTE = 60_000
CLOCK = Clock(starts=0, tick=MINUTE, horizon=30)
STRATA = strata_of(Rollout(steps=tuple(RampStep(expose=share, soak="rest") for share in (0.01, 0.1, 0.5, 1.0))))
LAST = len(STRATA.shares) - 1
SEGMENTS = 2
WATCHED = Watched(frozenset({"errors", "latency"}), first_seen=True)


def telemetry(*, delay: tuple[float, float] = (0, 0), lost: float = 0.0, missing_looks: float = 0.0) -> Telemetry:
    """Return telemetry with a delay in minutes."""
    return Telemetry(delay=Span(round(delay[0] * MINUTE), round(delay[1] * MINUTE)), lost=lost, missing_looks=missing_looks)


def noise_of(settings: Telemetry, *, lanes: Integers | None = None, seed: int = 7) -> TelemetryNoise:
    return TelemetryNoise(settings, CLOCK, np.arange(3) if lanes is None else lanes, seed=seed)


def increments_of(tick: int, lanes: int, *, mean: float = 20.0) -> Increments:
    """Return some data of one tick: whole numbers, so that sums are exact in any order."""
    generator = np.random.default_rng([tick, 99])
    shape = (SEGMENTS, 3, lanes)
    requests = generator.poisson(mean, size=shape).astype(float)
    errors = generator.binomial(requests.astype(int), 0.3).astype(float)
    durations = requests * generator.integers(1, 9, size=shape)
    seen = generator.poisson(mean / 4, size=(LAST, SEGMENTS, 2, lanes)).astype(float)
    return Increments({"errors": Sums(requests, errors, errors), "latency": Sums(requests, durations, 2 * durations)}, seen)


class Run(NamedTuple):
    """What came out of a pipeline: by cadence, its looks; and each tick's data and positions as they went in."""

    looks: dict[int, list[Look]]
    increments: list[Increments]
    positions: list[Integers]
    noise: TelemetryNoise


def run(settings: Telemetry, *, every: tuple[int, ...] = (1,), positions: Any = None, lanes: int = 3, ticks: int = 30) -> Run:
    """Feed a pipeline tick by tick, as the engine does; `positions` [ticks, lanes] are 1 where not given."""
    noise = noise_of(settings, lanes=np.arange(lanes))
    pipeline = Pipeline(noise, STRATA, watched=WATCHED, segments=SEGMENTS, every=every)
    held = Run({cadence: [] for cadence in every}, [], [], noise)
    for tick in range(ticks):
        position = np.ones(lanes, dtype=np.int64) if positions is None else np.asarray(positions[tick])
        increments = increments_of(tick, lanes)
        held.increments.append(increments)
        held.positions.append(position)
        pipeline.receive(tick, increments, position)
        for cadence in every:
            if (tick + 1) % cadence == 0:
                held.looks[cadence].append(pipeline.look(tick + 1, every=cadence))
    return held


def arrays_of(increments: Increments) -> list[np.ndarray]:
    """Return all the arrays of a tick's data, in a fixed order."""
    return [*increments.sums["errors"], *increments.sums["latency"], np.asarray(increments.first_seen)]


def arrays_in(look: Look) -> list[np.ndarray]:
    """Return all the arrays of a look, in the same order."""
    assert look.first_seen is not None
    users = look.first_seen.users
    return [*look.sums["errors"], *look.sums["latency"], users.reshape(-1, LAST, *users.shape[1:])]


def together(look: Look) -> list[np.ndarray]:
    """Return them with the parts added up."""
    return [array.sum(axis=0) for array in arrays_in(look)]


def arrivals(held: Run, lane: int) -> list[int]:
    """Return when each tick's data arrive in a lane: never before those of earlier ticks."""
    each = [tick + 1 + int(held.noise.lag(tick)[lane]) for tick in range(len(held.increments))]
    return [max(each[: tick + 1]) for tick in range(len(each))]


# -- delay -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("every", [1, 3])
def test_without_delay_a_look_holds_exactly_the_ticks_since_the_last_one(every: int) -> None:
    held = run(telemetry(), every=(every,))
    for number, look in enumerate(held.looks[every]):
        ticks = range(number * every, (number + 1) * every)
        assert not look.missing.any()
        assert (set(look.start), set(look.end), look.time) == ({ticks[0]}, {ticks[-1] + 1}, ticks[-1] + 1)
        expected = [sum(each) for each in zip(*(arrays_of(held.increments[tick]) for tick in ticks), strict=True)]
        for array, sums in zip(together(look), expected, strict=True):
            np.testing.assert_array_equal(array, sums)


@pytest.mark.parametrize(("minutes", "ticks"), [(0, 0), (0.5, 1), (1, 1), (2.25, 3), (7, 7)])
def test_a_fixed_delay_moves_the_watermark_by_whole_ticks_rounded_up(minutes: float, ticks: int) -> None:
    held = run(telemetry(delay=(minutes, minutes)))
    for look in held.looks[1]:
        watermark = max(0, look.time - ticks)
        assert (look.end == watermark).all()
        # With nothing new there is no look.
        assert (look.missing == (watermark == 0)).all()
    assert held.looks[1][-1].end[0] == 30 - ticks


def test_a_delay_that_varies_stays_within_its_limits_and_reaches_both() -> None:
    noise = noise_of(telemetry(delay=(1, 4)), lanes=np.arange(400))
    lags = np.concatenate([noise.lag(tick) for tick in range(30)])
    # Uniform between 1 and 4 minutes, rounded up: 2, 3 and 4 ticks, each with a third of 12,000 draws; 4.5 standard errors.
    values, counts = np.unique(lags, return_counts=True)
    assert values.tolist() == [2, 3, 4]
    assert (abs(counts / lags.size - 1 / 3) < 4.5 * np.sqrt(2 / 9 / lags.size)).all()


def ramps() -> st.SearchStrategy[np.ndarray]:
    """Return ramps of three lanes over 30 ticks: each goes up step by step, and perhaps back to nothing for good."""

    def of(lanes: list[tuple[list[int], int]]) -> np.ndarray:
        ticks = np.arange(30)[:, None]
        steps = np.array([sorted(moves) for moves, _ in lanes]).T
        back = np.array([tick for _, tick in lanes])
        return np.where(ticks >= back, 0, (ticks[..., None] >= steps.T).sum(axis=-1))

    moves = st.lists(st.integers(0, 33), min_size=LAST, max_size=LAST, unique=True)
    return st.lists(st.tuples(moves, st.integers(5, 60)), min_size=3, max_size=3).map(of)


DELAYS = st.sampled_from([(0, 0), (1, 1), (2.5, 2.5), (0, 2), (1, 3), (0.5, 6)])
CADENCES = st.sets(st.sampled_from([1, 2, 3, 5, 7, 30]), min_size=1, max_size=3).map(lambda found: tuple(sorted(found)))


# All of the ramp, from before its first step to its rollback, inside one look.
WHOLE_RAMP = np.repeat([0, 1, 2, 3, 4, 0], 5)[:, None] + np.zeros((1, 3), dtype=np.int64)


@example(delay=(0, 0), every=(30,), positions=WHOLE_RAMP, missing=0.0)
@given(delay=DELAYS, every=CADENCES, positions=ramps(), missing=st.sampled_from([0.0, 0.4, 0.8]))
def test_looks_are_what_a_slow_account_of_the_same_data_gives(
    delay: tuple[float, float], every: tuple[int, ...], positions: np.ndarray, missing: float
) -> None:
    """Nothing is lost or doubled, arrivals are in order, parts are runs of one position, shares are those planned for it."""
    held = run(telemetry(delay=delay, missing_looks=missing), every=every, positions=positions)
    for lane in range(3):
        arrives = arrivals(held, lane)
        for cadence in every:
            shown = 0  # ticks that earlier looks have held
            for look in held.looks[cadence]:
                arrived = sum(time <= look.time for time in arrives)
                lost = arrived == shown or held.noise.missing(look.time)[lane]
                assert look.missing[lane] == lost
                assert look.start[lane] == shown
                assert look.one_armed[lane] == control_has_ended(held, lane, range(shown, arrived), arrived)
                shown = shown if lost else arrived
                assert look.end[lane] == shown
                assert_holds(look, held, lane, range(int(look.start[lane]), shown))


def control_has_ended(held: Run, lane: int, ticks: range, arrived: int) -> bool:
    """Return whether neither the last tick that arrived nor any tick that waits to be judged had a control left."""
    positions = [held.positions[tick][lane] for tick in ticks]
    last = held.positions[arrived - 1][lane] if arrived else 0
    return bool(STRATA.one_armed[last]) and not any(STRATA.shares[position, 1] > 0 for position in positions)


def assert_holds(look: Look, held: Run, lane: int, ticks: range) -> None:
    """Fail unless a lane's look holds exactly these ticks, in one part for each run of one position."""
    runs: list[list[int]] = []
    for tick in ticks:
        if not runs or held.positions[tick][lane] != held.positions[tick - 1][lane]:
            runs.append([])
        runs[-1].append(tick)
    for part, array in ((part, each[part, ..., lane]) for each in arrays_in(look) for part in range(len(runs), len(each))):
        assert not array.any(), f"part {part} holds data of no tick"
    for part, run_of_ticks in enumerate(runs):
        np.testing.assert_array_equal(look.shares[part, :, lane], STRATA.shares[held.positions[run_of_ticks[0]][lane]])
        expected = [sum(each) for each in zip(*(arrays_of(held.increments[tick]) for tick in run_of_ticks), strict=True)]
        for array, sums in zip(arrays_in(look), expected, strict=True):
            np.testing.assert_array_equal(array[part, ..., lane], sums[..., lane])


@given(delay=DELAYS, every=st.sampled_from([1, 2, 5]), positions=ramps())
def test_all_that_looks_have_held_is_all_that_happened_before_the_watermark(
    delay: tuple[float, float], every: int, positions: np.ndarray
) -> None:
    held = run(telemetry(delay=delay, missing_looks=0.3), every=(every,), positions=positions)
    so_far = [np.zeros((SEGMENTS, 3, 3)) for _ in range(6)] + [np.zeros((LAST, SEGMENTS, 2, 3))]
    watermark = np.zeros(3, dtype=np.int64)
    for look in held.looks[every]:
        np.testing.assert_array_equal(look.start, watermark)
        assert (look.end >= watermark).all()
        assert (look.end <= look.time).all()
        watermark = look.end
        so_far = [total + array for total, array in zip(so_far, together(look), strict=True)]
        for index, total in enumerate(so_far):
            happened = sum(arrays_of(each)[index] * (tick < watermark) for tick, each in enumerate(held.increments))
            np.testing.assert_array_equal(total, happened)


def test_an_earlier_look_is_not_changed_by_what_comes_later() -> None:
    positions = np.repeat(np.arange(30) // 8, 3).reshape(30, 3)
    settings = telemetry(delay=(0, 3), missing_looks=0.3)
    for every in (1, 2):
        whole = run(settings, every=(every,), positions=positions)
        for count in range(every, 30, every):
            cut = run(settings, every=(every,), positions=positions, ticks=count)
            one, other = whole.looks[every][count // every - 1], cut.looks[every][-1]
            for name in ("start", "end", "shares", "missing", "one_armed"):
                np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
            for array, same in zip(arrays_in(one), arrays_in(other), strict=True):
                np.testing.assert_array_equal(array, same)


# -- missing looks ---------------------------------------------------------------------------------------------------------


def test_looks_are_missing_at_their_rate() -> None:
    """400 lanes at 30 times; 4.5 standard errors (two-sided error 7e-6)."""
    noise = noise_of(telemetry(missing_looks=0.2), lanes=np.arange(400))
    missing = np.array([noise.missing(time) for time in range(30)])
    assert abs(missing.mean() - 0.2) < 4.5 * np.sqrt(0.2 * 0.8 / missing.size)
    # It strikes lanes apart from each other and looks apart from each other.
    assert 0 < missing[0].sum() < 400
    assert 0 < missing[:, 0].sum() < 30


def test_the_data_of_a_missing_look_come_with_the_next_one() -> None:
    held = run(telemetry(missing_looks=0.5), lanes=40)
    looks = held.looks[1]
    late = 0
    for before, look in pairwise(looks):
        for array in together(before):
            assert not array[..., before.missing].any()
        both = before.missing & ~look.missing
        late += int(both.sum())
        assert (look.start[both] < look.time - 1).all()
        assert (look.end[both] == look.time).all()
    assert late > 100


# -- loss ------------------------------------------------------------------------------------------------------------------


def lost_share(name: str, index: int) -> tuple[float, float]:
    """Return the share of records lost, and how many records there were, over 30 ticks of 50 lanes."""
    noise = noise_of(telemetry(lost=0.1), lanes=np.arange(50))
    before = after = 0.0
    for tick in range(30):
        given = increments_of(tick, 50, mean=200.0)
        left = noise.reported(tick, given)
        before += float((given.sums[name][index] if name != "first_seen" else np.asarray(given.first_seen)).sum())
        after += float((left.sums[name][index] if name != "first_seen" else np.asarray(left.first_seen)).sum())
    return 1 - after / before, before


@pytest.mark.parametrize(("name", "index"), [("errors", 0), ("errors", 1), ("latency", 0), ("first_seen", 0)])
def test_records_are_lost_at_their_rate_whatever_they_say(name: str, index: int) -> None:
    """4.5 standard errors of a binomial share (two-sided error 7e-6)."""
    share, records = lost_share(name, index)
    assert records > 100_000
    assert abs(share - 0.1) < 4.5 * np.sqrt(0.1 * 0.9 / records)


def test_what_is_left_of_the_counts_is_consistent() -> None:
    noise = noise_of(telemetry(lost=0.4), lanes=np.arange(50))
    for tick in range(10):
        given = increments_of(tick, 50)
        left = noise.reported(tick, given)
        requests, errors, squares = left.sums["errors"]
        assert squares is errors
        assert ((errors >= 0) & (errors <= requests)).all()
        assert (requests - errors <= given.sums["errors"].observations - given.sums["errors"].total).all()
        for array, whole in zip(arrays_of(left), arrays_of(given), strict=True):
            assert ((array >= 0) & (array <= whole)).all()
        for counts in (requests, errors, left.sums["latency"].observations, np.asarray(left.first_seen)):
            np.testing.assert_array_equal(counts, counts.round())
        # Means of durations are not moved by loss.
        kept = left.sums["latency"].observations > 0
        of_left, of_given = left.sums["latency"], given.sums["latency"]
        for index in (1, 2):
            np.testing.assert_allclose(
                (of_left[index][kept] / of_left[0][kept]), (of_given[index][kept] / of_given[0][kept]), rtol=1e-12
            )
        assert not of_left.total[~kept].any()


def test_without_loss_the_data_are_not_touched() -> None:
    given = increments_of(0, 3)
    assert noise_of(telemetry()).reported(0, given) is given


def test_nothing_that_is_drawn_depends_on_which_other_lanes_there_are() -> None:
    settings = telemetry(delay=(0, 6), lost=0.3, missing_looks=0.3)
    whole, some = (noise_of(settings, lanes=lanes) for lanes in (np.arange(10, 30), np.arange(16, 21)))
    part = slice(6, 11)
    for tick in range(10):
        np.testing.assert_array_equal(whole.lag(tick)[part], some.lag(tick))
        np.testing.assert_array_equal(whole.missing(tick)[part], some.missing(tick))
        given = increments_of(tick, 20)
        fewer = Increments(
            {
                "errors": Sums(*(given.sums["errors"][index][..., part] for index in (0, 1, 1))),
                "latency": Sums(*(array[..., part] for array in given.sums["latency"])),
            },
            np.asarray(given.first_seen)[..., part],
        )
        shared = fewer.sums["errors"]
        fewer.sums["errors"] = Sums(shared.observations, shared.total, shared.total)  # type: ignore[index]
        for one, other in zip(arrays_of(whole.reported(tick, given)), arrays_of(some.reported(tick, fewer)), strict=True):
            np.testing.assert_array_equal(one[..., part], other)


def test_another_seed_gives_other_delays_losses_and_missing_looks() -> None:
    settings = telemetry(delay=(0, 6), lost=0.3, missing_looks=0.3)
    one, other = (noise_of(settings, lanes=np.arange(50), seed=seed) for seed in (1, 2))
    given = increments_of(0, 50)
    assert (one.lag(0) != other.lag(0)).any()
    assert (one.missing(0) != other.missing(0)).any()
    assert (arrays_of(one.reported(0, given))[0] != arrays_of(other.reported(0, given))[0]).any()


# -- the end of control ----------------------------------------------------------------------------------------------------


def test_control_has_ended_once_a_look_holds_no_tick_that_had_one() -> None:
    # Position 3 exposes half, position 4 everybody; the ramp moves at tick 10. With looks every 4 ticks the one at 12 holds both.
    positions = np.where(np.arange(30)[:, None] < 10, 3, 4) + np.zeros((1, 3), dtype=np.int64)
    for every, first in ((1, 11), (2, 12), (4, 16)):
        held = run(telemetry(), every=(every,), positions=positions)
        assert next(look.time for look in held.looks[every] if look.one_armed.all()) == first
        assert not any(look.one_armed.any() for look in held.looks[every] if look.time < first)


def test_control_has_ended_while_a_look_without_data_is_missing() -> None:
    positions = np.full((30, 3), LAST)
    held = run(telemetry(missing_looks=0.5), positions=positions)
    assert all(look.one_armed.all() for look in held.looks[1])


def test_before_the_ramp_there_are_not_two_arms() -> None:
    held = run(telemetry(), positions=np.zeros((30, 3), dtype=np.int64))
    assert all(look.one_armed.all() for look in held.looks[1])
