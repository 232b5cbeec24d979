"""What a signal makes of looks: comparisons, levels, windows, minima, and the exactness of its standard error."""

from __future__ import annotations

import math
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_ind

from simlab.errors import UnitError
from simlab.guardrails.guardrail import Guardrail
from simlab.guardrails.look import Floats, Look, Sums
from simlab.guardrails.rule import Takes
from simlab.guardrails.rules.baselines import Never
from simlab.guardrails.signal import Signal, Signalled, SignalState
from tests.looks import MINUTE, by_arm, events, level, make_look, parts, random_looks, segment_count, segments, values

COMPARED = Signal(watch="m", compare="difference")


def observe(
    signal: Signal, looks: list[Look] | Look | Sums, *, takes: Takes = Takes.STANDARDISED, every: int = MINUTE
) -> Signalled:
    """Return a signal's last answer over looks, one tick of a minute each."""
    return observe_all(signal, looks, takes=takes, every=every)[-1]


def observe_all(
    signal: Signal, looks: list[Look] | Look | Sums, *, takes: Takes = Takes.STANDARDISED, every: int = MINUTE
) -> list[Signalled]:
    """Return a signal's answers over looks, one tick of a minute each."""
    if isinstance(looks, Sums):
        looks = make_look(looks)
    looks = looks if isinstance(looks, list) else [looks]
    state = signal.initial(segment_count(looks[0]), len(looks[0].lanes), every=every)
    answers = []
    for look in looks:
        answers.append(signal.observe(state, look, takes=takes, elapsed=look.time * MINUTE))
        state = answers[-1].state
    return answers


def series(each: list[Any], **lost: Any) -> list[Look]:
    """Return one look a minute from sums; `lost` names looks, counted from 1, that are missing."""
    missing = lost.get("missing", ())
    return [make_look(sums, time=time, missing=time in missing) for time, sums in enumerate(each, start=1)]


# -- the standard error of a comparison ----------------------------------------------------------------------------------


def assignments(pooled: list[float], treated: int) -> list[tuple[list[float], list[float]]]:
    """Return every way to put `treated` of the pooled values in treatment and the rest in control."""
    chosen = [set(each) for each in combinations(range(len(pooled)), treated)]
    return [([pooled[i] for i in each], [value for i, value in enumerate(pooled) if i not in each]) for each in chosen]


def lanes_of(each: list[tuple[list[float], list[float]]]) -> Sums:
    """Return one look's sums with one lane for each pair of arms."""
    singles = [values(*arms) for arms in each]
    return Sums(*(np.concatenate(arrays, axis=-1) for arrays in zip(*singles, strict=True)))


@pytest.mark.parametrize(
    ("pooled", "treated"),
    [
        ([1, 0, 0, 0, 0, 0, 0], 3),
        ([1, 1, 0, 0, 1, 0, 1], 2),
        ([1, 0], 1),
        ([0.3, 7.0, -2.5, 0.3, 11.0, 4.0], 2),
        ([200.0, 210.0, 1900.0, 250.0, 180.0], 4),
    ],
)
def test_over_all_assignments_the_value_has_mean_0_and_variance_1(pooled: list[float], treated: int) -> None:
    x = observe(COMPARED, lanes_of(assignments(pooled, treated))).seen.value[0]
    assert len(x) == math.comb(len(pooled), treated)
    assert x.mean() == pytest.approx(0, abs=1e-12)
    assert (x**2).mean() == pytest.approx(1, abs=1e-12)


@given(st.lists(st.sampled_from([0.0, 1.0, 2.5, 9.0]), min_size=2, max_size=7), st.integers(1, 6))
def test_no_cell_is_too_small_for_that(pooled: list[float], treated: int) -> None:
    treated = min(treated, len(pooled) - 1)
    seen = observe(COMPARED, lanes_of(assignments(pooled, treated))).seen
    assert seen.valid.all() == (len(set(pooled)) > 1)
    if seen.valid.all():
        assert seen.value.mean() == pytest.approx(0, abs=1e-9)
        assert (seen.value**2).mean() == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("real", [False, True])
def test_parts_with_different_shares_keep_mean_0_and_variance_1(real: bool) -> None:
    first = assignments([3.5, 0.0, 1.0, 0.5, 0.25] if real else [1, 0, 0, 0, 0], 1)
    second = assignments([90.0, 110.0, 95.0, 100.0] if real else [1, 1, 0, 1], 2)
    both = [(one, other) for one in first for other in second]
    sums = parts([lanes_of([one for one, _ in both]), lanes_of([other for _, other in both])])
    x = observe(COMPARED, make_look(sums, shares=[(0.2, 0.8), (0.5, 0.5)])).seen.value[0]
    assert len(x) == 5 * 6
    assert x.mean() == pytest.approx(0, abs=1e-12)
    assert (x**2).mean() == pytest.approx(1, abs=1e-12)


# A ramp of failures, worse in treatment on both days, but better when the days are thrown together (Simpson 1951).
FRIDAY = events((10_000, 230), (990_000, 20_000))
SATURDAY = events((500_000, 6_000), (500_000, 5_000))


def test_mantel_haenszel_of_two_days_by_hand() -> None:
    # Mantel & Haenszel 1959: sum of (a - E a) over the root of the summed hypergeometric variances.
    excess = variance = weight = 0.0
    for treated, failed, others, failed_there in ((10_000, 230, 990_000, 20_000), (500_000, 6_000, 500_000, 5_000)):
        everyone, failures = treated + others, failed + failed_there
        excess += failed - treated * failures / everyone
        variance += treated * others * failures * (everyone - failures) / (everyone**2 * (everyone - 1))
        weight += treated * others / everyone
    seen = observe(COMPARED, parts([FRIDAY, SATURDAY])).seen
    assert seen.value[0, 0] == pytest.approx(excess / math.sqrt(variance), rel=1e-9)
    assert seen.information[0, 0] == pytest.approx(weight**2 / variance, rel=1e-9)


def test_a_ramp_does_not_turn_the_sign_of_a_harm() -> None:
    pooled = events((510_000, 6_230), (1_490_000, 25_000))
    assert pooled.total[0, 0, :2, 0] / pooled.observations[0, 0, :2, 0] == pytest.approx([0.0122, 0.0168], abs=5e-5)
    assert observe(COMPARED, pooled).seen.value[0, 0] < -20
    assert observe(COMPARED, parts([FRIDAY, SATURDAY])).seen.value[0, 0] > 5


def test_the_unstandardised_difference_and_ratio_are_stratified_too() -> None:
    friday, saturday = 9_900.0, 250_000.0
    rates = {"treated": (0.023, 0.012), "control": (2 / 99, 0.01)}
    treated, control = (friday * day[0] + saturday * day[1] for day in rates.values())
    both = parts([FRIDAY, SATURDAY])
    difference = observe(COMPARED, both, takes=Takes.LEVEL).seen.value[0, 0]
    assert difference == pytest.approx((treated - control) / (friday + saturday), rel=1e-9)
    ratio = observe(Signal(watch="m", compare="ratio"), both, takes=Takes.LEVEL).seen.value[0, 0]
    assert ratio == pytest.approx(treated / control, rel=1e-9)


TREATED, UNTREATED = [5.0, 7.5, 6.0, 9.0, 4.5], [4.0, 5.0, 4.5, 6.5]


def test_a_null_difference_is_judged_with_the_arms_apart() -> None:
    seen = observe(Signal(watch="m", compare="difference", null=0.5), values(TREATED, UNTREATED)).seen
    welch = ttest_ind(np.array(TREATED) - 0.5, UNTREATED, equal_var=False).statistic
    assert seen.value[0, 0] == pytest.approx(welch, rel=1e-9)


def test_a_null_ratio_is_judged_with_the_arms_apart() -> None:
    seen = observe(Signal(watch="m", compare="ratio", null=1.2), values(TREATED, UNTREATED)).seen
    welch = ttest_ind(TREATED, 1.2 * np.array(UNTREATED), equal_var=False)
    assert seen.value[0, 0] == pytest.approx(welch.statistic, rel=1e-9)


@pytest.mark.parametrize(("compare", "equal"), [("difference", 0.0), ("ratio", 1.0)])
def test_equality_is_the_same_null_said_or_not(compare: Any, equal: float) -> None:
    sums = values(TREATED, UNTREATED)
    said = observe(Signal(watch="m", compare=compare, null=equal), sums).seen
    unsaid = observe(Signal(watch="m", compare=compare), sums).seen
    assert said.value[0, 0] == unsaid.value[0, 0]
    assert said.information[0, 0] == unsaid.information[0, 0]


def test_harm_is_positive_whichever_way_it_lies() -> None:
    sums = values(TREATED, UNTREATED)
    up = observe(Signal(watch="m", compare="difference", worse="up"), sums).seen.value
    down = observe(Signal(watch="m", compare="difference", worse="down"), sums).seen.value
    assert up[0, 0] > 0
    assert down[0, 0] == -up[0, 0]


# -- what cannot be judged -----------------------------------------------------------------------------------------------


def test_a_part_with_one_arm_only_is_left_out() -> None:
    alone = observe(COMPARED, SATURDAY).seen
    both = observe(COMPARED, parts([events((0, 0), (1_000, 700)), SATURDAY])).seen
    assert both.value[0, 0] == alone.value[0, 0]
    assert both.information[0, 0] == alone.information[0, 0]


@pytest.mark.parametrize("value", [0.0, 1.0, 0.1, 0.3, 1e6 + 0.1])
def test_values_that_are_all_equal_teach_nothing(value: float) -> None:
    answer = observe(COMPARED, values([value] * 7, [value] * 13))
    assert not answer.seen.valid.any()
    assert answer.skipped.all()
    apart = Signal(watch="m", compare="difference", null=1.0)
    assert not observe(apart, values([value] * 7, [value] * 13)).seen.valid.any()


def test_data_under_the_minimum_wait_and_are_not_lost() -> None:
    signal = Signal(watch="m", compare="difference", min_count=20)
    first, second = events((12, 4), (11, 1)), events((9, 2), (30, 3))
    waiting, judged, after = observe_all(signal, series([first, second, first]))
    assert waiting.skipped.all()
    assert not waiting.seen.valid.any()
    assert judged.seen.valid.all()
    assert not judged.skipped.any()
    together = observe(COMPARED, parts([first, second])).seen
    assert judged.seen.value[0, 0] == pytest.approx(together.value[0, 0], rel=1e-12)
    assert judged.seen.information[0, 0] == pytest.approx(together.information[0, 0], rel=1e-12)
    # Judged once only.
    assert after.skipped.all()


def test_the_minimum_holds_for_each_arm_and_for_what_can_be_compared() -> None:
    signal = Signal(watch="m", compare="difference", min_count=20)
    assert observe(signal, events((19, 4), (5_000, 1))).skipped.all()
    assert observe(signal, events((20, 4), (20, 1))).seen.valid.all()
    # 600 treated before there is a control are no part of the comparison.
    assert observe(signal, parts([events((600, 60), (0, 0)), events((5, 1), (900, 90))])).skipped.all()


def test_the_minimum_of_a_level_counts_whom_it_watches() -> None:
    sums = events((15, 3), (400, 4))
    answers = {of: observe(Signal(watch="m", of=of, min_count=20), sums, takes=Takes.LEVEL) for of in OF}
    assert {of: bool(answer.skipped.all()) for of, answer in answers.items()} == {
        "everyone": False,
        "treatment": True,
        "control": False,
    }
    waited = observe(Signal(watch="m", of="treatment", min_count=20), series([sums, sums]), takes=Takes.LEVEL)
    assert waited.seen.value[0, 0] == 6 / 30


def test_no_data_at_all_are_neither_judged_nor_skipped() -> None:
    for signal in (COMPARED, Signal(watch="m", of="everyone", target=0.0, spread=1.0)):
        answer = observe(signal, events((0, 0), (0, 0)))
        assert not answer.seen.valid.any()
        assert not answer.skipped.any()


def test_a_missing_look_leaves_everything_as_it_was() -> None:
    signal = Signal(watch="m", compare="difference", min_count=20, over=3 * MINUTE)
    sums = events((12, 4), (11, 1))
    before = observe(signal, series([sums, sums, sums]))
    after = observe(signal, series([sums, sums, sums, sums], missing=[4]))
    assert not after.seen.valid.any()
    assert not after.skipped.any()
    assert_same_state(before.state, after.state)


def assert_same_state(one: SignalState, other: SignalState) -> None:
    np.testing.assert_array_equal(one.waiting, other.waiting)
    np.testing.assert_array_equal(one.window, other.window)
    for mine, theirs in zip(one.baseline, other.baseline, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_a_comparison_without_control_by_plan_is_closed() -> None:
    look = make_look(events((100, 4), ([100, 100, 0], [1, 1, 0])), one_armed=[False, True, True])
    assert observe(COMPARED, look).seen.valid.tolist() == [[True, False, False]]
    assert COMPARED.retired(look).tolist() == [False, True, True]
    watched = Signal(watch="m", of="treatment")
    assert observe(watched, look, takes=Takes.LEVEL).seen.valid.all()
    assert not watched.retired(look).any()


def test_warm_up_judges_nothing_and_forgets_what_it_saw() -> None:
    signal = Signal(watch="m", compare="difference", warmup=3 * MINUTE, min_count=20, over=2 * MINUTE)
    loud, quiet = events((15, 14), (15, 0)), events((15, 3), (15, 2))
    answers = observe_all(signal, series([loud, loud, loud, quiet, quiet]))
    assert [bool(answer.seen.valid.all()) for answer in answers] == [False, False, False, False, True]
    assert [bool(answer.skipped.all()) for answer in answers] == [True, True, True, True, False]
    expected = observe(COMPARED, parts([quiet, quiet])).seen.value[0, 0]
    assert answers[-1].seen.value[0, 0] == pytest.approx(expected, rel=1e-12)


# -- levels --------------------------------------------------------------------------------------------------------------

OF: tuple[Any, ...] = ("everyone", "treatment", "control")


def test_a_level_is_a_mean_of_whom_it_watches() -> None:
    sums = Sums(by_arm(10, 30, 60), by_arm(1, 6, 3), by_arm(1, 6, 3))
    both = parts([sums, sums])
    found = {of: observe(Signal(watch="m", of=of), both, takes=Takes.LEVEL).seen.value[0, 0] for of in OF}
    assert found == {"everyone": 0.1, "treatment": 0.1, "control": 0.2}


def test_a_window_is_the_mean_of_its_looks() -> None:
    signal = Signal(watch="m", of="everyone", over=3 * MINUTE)
    looks = series([level(value, observations=weight) for value, weight in ((2, 1), (4, 3), (6, 2), (8, 2), (1, 1))])
    found = [answer.seen.value[0, 0] for answer in observe_all(signal, looks, takes=Takes.LEVEL)]
    assert found == pytest.approx([2, 14 / 4, 26 / 6, 40 / 7, 29 / 5], rel=1e-12)


def test_a_window_is_a_whole_number_of_looks() -> None:
    signal = Signal(watch="m", of="everyone", over=10 * MINUTE)
    looks = series([level(value) for value in (1.0, 2.0, 6.0)])
    assert observe(signal, looks, takes=Takes.LEVEL, every=5 * MINUTE).seen.value[0, 0] == 4.0
    assert observe(signal, looks, takes=Takes.LEVEL, every=10 * MINUTE).seen.value[0, 0] == 6.0
    with pytest.raises(UnitError, match="whole number of looks"):
        Guardrail(signal, Never(), 7 * MINUTE)


def test_a_window_of_a_comparison_is_stratified_by_look() -> None:
    signal = Signal(watch="m", compare="difference", over=2 * MINUTE)
    seen = observe(signal, series([events((500, 400), (500, 1)), FRIDAY, SATURDAY])).seen
    expected = observe(COMPARED, parts([FRIDAY, SATURDAY])).seen
    assert seen.value[0, 0] == pytest.approx(expected.value[0, 0], rel=1e-12)
    assert seen.information[0, 0] == pytest.approx(expected.information[0, 0], rel=1e-12)


def test_a_level_is_standardised_by_its_target_and_spread() -> None:
    up = Signal(watch="m", of="everyone", target=5.0, spread=2.0)
    down = Signal(watch="m", of="everyone", target=5.0, spread=2.0, worse="down")
    seen = observe(up, level(8.0)).seen
    assert (seen.value[0, 0], seen.information[0, 0]) == (1.5, 1.0)
    assert observe(down, level(8.0)).seen.value[0, 0] == -1.5
    # A plain level is in the metric's own unit: the rule says which side is harm.
    assert observe(down, level(8.0), takes=Takes.LEVEL).seen.value[0, 0] == 8.0


def test_a_baseline_is_learnt_and_then_left_alone() -> None:
    signal = Signal(watch="m", of="everyone", warmup=2 * MINUTE, baseline=5 * MINUTE, worse="down")
    learnt = [10.0, 12.0, 9.5, 13.0]
    looks = series([level(value) for value in (99.0, 99.0, *learnt[:2], 0.0, *learnt[2:], 7.0, 11.0)], missing=[5])
    answers = observe_all(signal, looks)
    assert [bool(answer.seen.valid.all()) for answer in answers] == [False] * 7 + [True, True]
    mean, spread = np.mean(learnt), np.std(learnt, ddof=1)
    found = [answer.seen.value[0, 0] for answer in answers[-2:]]
    assert found == pytest.approx([(mean - 7.0) / spread, (mean - 11.0) / spread], rel=1e-12)


@pytest.mark.parametrize("learnt", [[], [3.0], [3.0, 3.0, 3.0]])
def test_a_baseline_without_a_spread_judges_nothing(learnt: list[float]) -> None:
    signal = Signal(watch="m", of="everyone", baseline=3 * MINUTE)
    looks = series([level(value) for value in learnt] + [level(0.0)] * (3 - len(learnt)) + [level(4.0)],
                   missing=range(len(learnt) + 1, 4))  # fmt: skip
    assert not observe(signal, looks).seen.valid.any()


# -- segments, shares, and what is taken ---------------------------------------------------------------------------------


def test_segments_are_streams_or_are_thrown_together() -> None:
    web, app = events((500, 5), (500, 4)), events((200, 12), (200, 4))
    both = segments([web, app])
    by_segment = observe(Signal(watch="m", compare="difference", by="segment"), both).seen.value
    np.testing.assert_array_equal(by_segment, [[observe(COMPARED, each).seen.value[0, 0]] for each in (web, app)])
    together = observe(COMPARED, both).seen.value
    assert together[0, 0] == observe(COMPARED, events((700, 17), (700, 8))).seen.value[0, 0]
    assert (COMPARED.streams(2), Signal(watch="m", by="segment").streams(2)) == (1, 2)


def test_shares_are_handed_over_as_counts() -> None:
    first_seen = np.arange(2 * 2 * 3, dtype=float).reshape(2, 2, 3, 1)
    look = make_look(first_seen=first_seen, shares=[(0.02, 0.98), (0.5, 0.5)])
    together = observe(Signal(compare="shares"), look, takes=Takes.ARM_COUNTS).seen
    assert together.counts is not None
    assert together.shares is not None
    np.testing.assert_array_equal(together.counts[:, :, 0, 0], [[0 + 3, 1 + 4], [6 + 9, 7 + 10]])
    np.testing.assert_array_equal(together.shares[:, :, 0], [[0.02, 0.98], [0.5, 0.5]])
    apart = observe(Signal(compare="shares", by="segment"), look, takes=Takes.ARM_COUNTS).seen
    assert apart.counts is not None
    np.testing.assert_array_equal(apart.counts[:, :, :, 0], [[[0, 3], [1, 4]], [[6, 9], [7, 10]]])


def test_shares_that_nobody_counted_cannot_be_judged() -> None:
    assert not observe(Signal(compare="shares"), make_look(), takes=Takes.ARM_COUNTS).seen.valid.any()


def test_events_and_their_observations_are_handed_over() -> None:
    both = parts([events((500, 5), (400, 4)), events((200, 12), (100, 3))])
    seen = observe(COMPARED, both, takes=Takes.EVENT_COUNTS).seen
    assert seen.valid.all()
    np.testing.assert_array_equal(taken(seen.counts)[:, :, 0, 0], [[5, 4], [12, 3]])
    np.testing.assert_array_equal(taken(seen.exposures)[:, :, 0, 0], [[500, 400], [200, 100]])
    apart = segments([events((500, 5), (400, 4)), events((200, 12), (100, 3))])
    by_segment = observe(Signal(watch="m", compare="ratio", by="segment"), apart, takes=Takes.EVENT_COUNTS).seen
    np.testing.assert_array_equal(taken(by_segment.counts)[0, :, :, 0], [[5, 12], [4, 3]])


def test_a_harmless_ratio_scales_what_treatment_may_show() -> None:
    seen = observe(Signal(watch="m", compare="ratio", null=1.1), events((500, 5), (400, 4)), takes=Takes.EVENT_COUNTS).seen
    assert taken(seen.exposures)[0, :, 0, 0].tolist() == pytest.approx([550, 400])


def test_where_fewer_events_are_worse_control_comes_first() -> None:
    signal = Signal(watch="m", compare="difference", worse="down")
    seen = observe(signal, events((500, 5), (400, 4)), takes=Takes.EVENT_COUNTS).seen
    assert (taken(seen.counts)[0, :, 0, 0].tolist(), taken(seen.exposures)[0, :, 0, 0].tolist()) == ([4, 5], [400, 500])


@pytest.mark.parametrize(
    "look",
    [
        make_look(events((500, 5), (0, 0))),
        make_look(events((0, 0), (0, 0))),
        make_look(events((500, 5), (400, 4)), missing=True),
        make_look(events((500, 5), (400, 4)), one_armed=True),
        make_look(values([0.5, 2.0], [1.0, 1.0])),
    ],
    ids=["no control", "no data", "missing", "retired", "no events"],
)
def test_events_that_cannot_be_compared_are_not_judged(look: Look) -> None:
    assert not observe(COMPARED, look, takes=Takes.EVENT_COUNTS).seen.valid.any()


def test_events_are_not_judged_in_the_warm_up() -> None:
    signal = Signal(watch="m", compare="difference", warmup=3 * MINUTE)
    answers = observe_all(signal, series([events((500, 5), (400, 4))] * 4), takes=Takes.EVENT_COUNTS)
    assert [bool(answer.seen.valid.all()) for answer in answers] == [False, False, False, True]


def taken(array: Floats | None) -> Floats:
    assert array is not None
    return array


COMPARISON = {Takes.NOTHING, Takes.LEVEL, Takes.STANDARDISED, Takes.VECTOR}
LEVEL = {Takes.NOTHING, Takes.LEVEL, Takes.EVENTS, Takes.ARRIVALS}
KNOWN_LEVEL = LEVEL | {Takes.STANDARDISED, Takes.VECTOR}


@pytest.mark.parametrize(
    ("signal", "given"),
    [
        (Signal(watch="m", of="everyone"), LEVEL),
        (Signal(watch="m", of="everyone", target=1.0), LEVEL),
        (Signal(watch="m", of="everyone", target=1.0, spread=2.0), KNOWN_LEVEL),
        (Signal(watch="m", of="everyone", baseline=MINUTE), KNOWN_LEVEL),
        (Signal(watch="m", of="everyone", baseline=MINUTE, by="segment"), KNOWN_LEVEL - {Takes.VECTOR}),
        (Signal(watch="m", of="everyone", over=MINUTE), LEVEL - {Takes.EVENTS, Takes.ARRIVALS}),
        (Signal(watch="m", of="everyone", min_count=2), LEVEL - {Takes.EVENTS}),
        (Signal(watch=("m", "x"), of="everyone"), {Takes.NOTHING}),
        (Signal(watch=("m", "x"), of="everyone", baseline=MINUTE), {Takes.NOTHING, Takes.VECTOR}),
        (Signal(watch=("m", "x"), of="everyone", target=1.0, spread=2.0), {Takes.NOTHING}),
        (Signal(watch=("m", "x"), compare="ratio"), {Takes.NOTHING, Takes.VECTOR}),
        (Signal(watch=("m", "x"), compare="ratio", by="segment"), {Takes.NOTHING}),
        (Signal(watch="m", compare="ratio"), COMPARISON | {Takes.EVENT_COUNTS}),
        (Signal(watch="m", compare="ratio", null=1.1), COMPARISON | {Takes.EVENT_COUNTS}),
        (Signal(watch="m", compare="difference"), COMPARISON | {Takes.EVENT_COUNTS}),
        (Signal(watch="m", compare="difference", null=0.1), COMPARISON),
        (Signal(watch="m", compare="ratio", over=MINUTE), COMPARISON),
        (Signal(watch="m", compare="ratio", min_count=2), COMPARISON),
        (Signal(compare="shares"), {Takes.NOTHING, Takes.ARM_COUNTS}),
    ],
)
def test_what_a_signal_can_give(signal: Signal, given: set[Takes]) -> None:
    assert {takes for takes in Takes if signal.gives(takes)} == given


@pytest.mark.parametrize(
    "signal",
    [
        Signal(watch="x", compare="difference", by="segment", min_count=100, over=3 * MINUTE),
        Signal(watch="m", compare="ratio", null=1.5, warmup=4 * MINUTE),
        Signal(watch="x", of="treatment", min_count=50, over=2 * MINUTE, baseline=8 * MINUTE),
    ],
)
def test_a_state_is_never_changed(signal: Signal) -> None:
    looks = random_looks(3, count=20, lanes=4)
    state = signal.initial(2, 4, every=MINUTE)
    for look in looks:
        for array in (state.waiting, state.window, *state.baseline):
            array.flags.writeable = False
        state = signal.observe(state, look, takes=Takes.STANDARDISED, elapsed=look.time * MINUTE).state
