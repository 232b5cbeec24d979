"""Figures show the numbers of the result, and nothing else changes them."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from simlab.plan import BASELINE
from simlab.report.figures import (
    COLOURS,
    draw_detection_delay,
    draw_exposure,
    draw_false_alarms,
    figures,
    harmed_traces,
    lane_events,
)
from simlab.results import Result
from simlab.runner import run_plan
from tests.worlds import CUSUM, SCENARIO, plan


@pytest.fixture
def axes() -> Axes:
    return Figure().subplots()


def texts(svg: str) -> list[str]:
    return [text.strip() for element in ET.fromstring(svg).iter() if (text := element.text) and text.strip()]


def test_the_same_result_gives_the_same_bytes(result: Result) -> None:
    first = figures(result)
    assert first == figures(result)
    assert set(first) == {"false-alarms", "detection-delay-small", "exposure-small"}


def test_settings_of_the_process_do_not_show(result: Result) -> None:
    import matplotlib

    plain = figures(result)
    with matplotlib.rc_context({"font.size": 20, "lines.linewidth": 7, "svg.fonttype": "path"}):
        assert figures(result) == plain


def test_nothing_is_fetched_and_nothing_dated(result: Result) -> None:
    for svg in figures(result).values():
        hosts = set(re.findall(r"https?://([^/\"]+)", svg))
        assert hosts == {"www.w3.org"}
        assert "<metadata" not in svg
        assert "<script" not in svg


def test_ids_of_figures_do_not_meet(result: Result) -> None:
    ids = [found for svg in figures(result).values() for found in re.findall(r' id="([^"]+)"', svg)]
    assert len(ids) == len(set(ids))
    for svg in figures(result).values():
        own = set(re.findall(r' id="([^"]+)"', svg))
        assert set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', svg)) != set()
        assert {one or other for one, other in re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', svg)} <= own


def test_delay_curves_level_off_at_the_share_detected(result: Result, axes: Axes) -> None:
    scenario = result.scenarios[0]
    draw_detection_delay(axes, scenario, ())
    curves = axes.get_lines()
    assert len(curves) == len(scenario.performances) == 3
    for curve, performance in zip(curves, scenario.performances, strict=True):
        incidence = performance.incidence
        assert incidence is not None
        minutes, shares = np.asarray(curve.get_xdata()), np.asarray(curve.get_ydata())
        assert shares[-1] == pytest.approx(100 * performance.estimates["detected"].value)
        assert minutes[-1] == performance.limit_minutes
        np.testing.assert_allclose(shares, 100 * np.array(incidence.value))
    assert curves[0].get_ydata()[-1] > 0  # type: ignore[index]


def test_bands_are_the_pointwise_intervals(result: Result, axes: Axes) -> None:
    scenario = result.scenarios[0]
    draw_detection_delay(axes, scenario, ())
    for band, performance in zip(axes.collections, scenario.performances, strict=True):
        incidence = performance.incidence
        assert incidence is not None
        heights = band.get_paths()[0].vertices[:, 1]
        drawn = {round(float(height), 6) for height in heights}
        assert drawn == {round(100 * bound, 6) for bound in (*incidence.low, *incidence.high)}


def test_curves_differ_by_more_than_colour(result: Result, axes: Axes) -> None:
    draw_detection_delay(axes, result.scenarios[0], ())
    curves = axes.get_lines()
    assert len({curve.get_marker() for curve in curves}) == len(curves)
    assert len({str(curve.get_linestyle()) for curve in curves}) == len(curves)


def test_a_policy_without_data_is_left_out(result: Result, axes: Axes) -> None:
    scenario = result.scenarios[0]
    empty = replace(scenario.performances[0], incidence=None)
    draw_detection_delay(axes, replace(scenario, performances=(empty, *scenario.performances[1:])), ())
    assert len(axes.get_lines()) == 2


def test_false_alarms_stand_at_their_interval_and_limit(result: Result, axes: Axes) -> None:
    rows = list(result.scenarios[0].performances)
    draw_false_alarms(axes, rows, result.plan.gates)
    *drawn, limit = [np.asarray(line.get_xdata(), dtype=float) for line in axes.get_lines()]
    estimates = [row.estimates["false_alarms"] for row in rows]
    np.testing.assert_allclose([list(each) for each in drawn[0::2]], [[100 * each.low, 100 * each.high] for each in estimates])
    np.testing.assert_allclose([each[0] for each in drawn[1::2]], [100 * each.value for each in estimates])
    np.testing.assert_allclose(limit, [20, 20])
    assert " gate: at most 20 %" in [text.get_text() for text in axes.texts]


def test_marks_of_the_timeline_are_those_of_the_rows(result: Result, axes: Axes) -> None:
    scenario = result.scenarios[0]
    trace = harmed_traces(scenario)[0]
    draw_exposure(axes, trace, scenario)
    marks = {str(line.get_label()): np.asarray(line.get_xdata()) for line in axes.get_lines()[len(trace.lanes) :]}
    hours = scenario.clock.tick / 3_600_000
    for label, column in (("onset", "onset"), ("first action", "action_time"), ("containment", "containment_time")):
        events = [lane_events(scenario, trace.policy, int(lane))[column] for lane in trace.lanes]
        np.testing.assert_allclose(marks[label], [tick * hours for tick in events if tick is not None])
    assert len(marks["onset"]) == 4


LONG = "W" * 64
NEVER: dict[str, Any] = {"rule": {"never": {}}, "every": "5m"}
NO_HARM = {key: value for key, value in SCENARIO.items() if key != "harms"}
ODD: dict[str, dict[str, Any]] = {
    "one lane": {"start": 1, "cap": 1},
    "nothing is detected": {"policies": [{"name": "never", "guardrails": [NEVER]}]},
    "no harm": {"scenarios": [NO_HARM]},
    "long names": {
        "scenarios": [SCENARIO | {"scenario": LONG}, SCENARIO | {"scenario": "m" * 64}],
        "policies": [{"name": LONG, "guardrails": [CUSUM]}],
        "gates": [{"false_alarms": {"max": "100%"}}, {"detected": {"min": "99%"}, "within": "4h"}],
    },
    "many policies": {"policies": [{"name": f"policy-{number}", "guardrails": [CUSUM]} for number in range(9)]},
}


@pytest.mark.parametrize("name", ODD)
def test_figures_of_odd_studies_are_drawn_without_a_warning(name: str) -> None:
    result = run_plan(plan(**{"start": 2, "cap": 2, **ODD[name]}), command="test")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "false-alarms" in figures(result)


def test_the_baseline_has_no_timeline(result: Result) -> None:
    assert [trace.policy for trace in harmed_traces(result.scenarios[0])] == ["cusum", "today"]
    assert BASELINE.name in {trace.policy for trace in result.scenarios[0].traces}


@pytest.mark.parametrize("name", ["$x^2$ & <b>", r"$\frac{1}{$", 'a"b id="x', "#010203", "</svg><script>alert(1)</script>"])
def test_names_are_shown_as_they_are(result: Result, renamed: Callable[..., Result], name: str) -> None:
    drawn = figures(renamed(result, scenario=name, policy=name))
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+", key) for key in drawn)
    false_alarms, delay, exposure = drawn.values()
    assert name in texts(false_alarms)
    assert any(text.startswith(f"{name}: ") for text in texts(delay))
    assert name in texts(exposure)
    assert not any(element.tag.endswith("script") for svg in drawn.values() for element in ET.fromstring(svg).iter())


def test_control_characters_are_escaped(result: Result, renamed: Callable[..., Result]) -> None:
    false_alarms = figures(renamed(result, scenario="a", policy="x\x1b[31m\x07"))["false-alarms"]
    assert r"x\x1b[31m\x07" in texts(false_alarms)


def test_colours_stand_out_on_light_and_on_dark() -> None:
    def luminance(colour: str) -> float:
        channels = [int(to_hex(colour)[start : start + 2], 16) / 255 for start in (1, 3, 5)]
        linear = [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in channels]
        return float(np.dot([0.2126, 0.7152, 0.0722], linear))

    def contrast(one: str, other: str) -> float:
        low, high = sorted((luminance(one), luminance(other)))
        return (high + 0.05) / (low + 0.05)

    # WCAG 2.2 asks 3 : 1 of the parts of a figure (1.4.11).
    assert min(contrast(colour, ground) for colour in COLOURS for ground in ("#ffffff", "#15181c")) >= 3


def test_many_policies_have_axes_of_their_own_and_references_no_exposure(result: Result) -> None:
    scenario = result.scenarios[0]
    one = scenario.performances[0]
    many = tuple(replace(one, policy=f"policy-{number}", reference=number > 1) for number in range(12))
    traces = tuple(replace(harmed_traces(scenario)[0], policy=each.policy) for each in many)
    rows = {name: np.concatenate([values] * 12) for name, values in scenario.rows.items()}
    each_row = len(scenario.rows["lane"])
    rows["policy"] = np.repeat([each.policy for each in many], each_row)
    wide = replace(scenario, performances=many, traces=traces, rows=rows)
    assert [trace.policy for trace in harmed_traces(wide)] == ["policy-0", "policy-1"]
    drawn = figures(replace(result, scenarios=(wide,)))
    shown = texts(drawn["detection-delay-small"])
    assert sum(text.startswith("policy-") for text in shown) == 12
    assert any("time since the onset" in text for text in shown)
