"""Figures as SVG text: the same bytes for the same result, text as text, and never told apart by colour alone."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from textwrap import shorten, wrap
from typing import TYPE_CHECKING, Any

import numpy as np

from simlab.errors import printable
from simlab.guardrails.look import Floats
from simlab.measures.performance import Incidence, Performance
from simlab.plan import BASELINE
from simlab.report.words import percent, words
from simlab.results import Result, ScenarioResult
from simlab.study import GateEntry
from simlab.ticks import format_duration

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from simlab.engine import Trace

# Drawn in this colour, then made the colour of the text around the figure: black on white, light on dark.
INK = "#010203"
_STYLE: Any = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.constrained_layout.use": True,
    "legend.frameon": False,
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK),
}
# Each at least 3.7 : 1 against white and against #15181c.
COLOURS = ("#2f7fc4", "#cc5a1a", "#16906a", "#a855a0", "#94770a", "#6b7680", "#c2476b")
_LINES = ("-", "--", "-.", ":", (0, (6, 1, 1, 1, 1, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_WIDTH = 7.4
_LABEL_LETTERS = 40
_IN_ONE = 8
"""Most policies that a reader can tell apart in one pair of axes."""
_ACROSS = 4
_DELAYS = (1, 2, 5, 10, 15, 30, 60, 120, 240, 480, 720, 1440)
_DELAYS_LABELLED = frozenset({1, 5, 15, 60, 240, 1440})


def figures(result: Result) -> dict[str, str]:
    """Return every figure of a result, SVG text by a name that is safe in a file and in a page."""
    drawn = {"false-alarms": draw_svg("false-alarms", lambda: _false_alarms_figure(result))}
    for scenario in result.scenarios:
        if any(each.incidence for each in scenario.performances):
            name = figure_name("detection-delay", scenario.name)
            drawn[name] = draw_svg(name, lambda each=scenario: _delay_figure(each, result.plan.gates))  # type: ignore[misc]
        if harmed_traces(scenario):
            name = figure_name("exposure", scenario.name)
            drawn[name] = draw_svg(name, lambda each=scenario: _exposure_figure(each))  # type: ignore[misc]
    return drawn


def figure_name(kind: str, scenario: str) -> str:
    """Return the name of a scenario's figure."""
    return f"{kind}-{re.sub(r'[^A-Za-z0-9._-]', '_', scenario)}"


def harmed_traces(scenario: ScenarioResult) -> list[Trace]:
    """Return the traces of harmed lanes under policies that can stop a rollout; of many, those that are not for reference."""
    reference = {each.policy: each.reference for each in scenario.performances}
    found = [each for each in scenario.traces if each.harmed and each.policy != BASELINE.name and len(each.lanes)]
    return found if len(found) <= _IN_ONE else [each for each in found if not reference[each.policy]][:_IN_ONE]


def draw_svg(name: str, draw: Callable[[], Figure]) -> str:
    """Return a figure as SVG; what could change from run to run or from machine to machine is fixed."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({**_STYLE, "svg.hashsalt": name})
        held = StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        draw().savefig(held, format="svg", transparent=True, metadata=nothing)
    return re.sub(r"<[^>]+>", lambda tag: _adapted(tag.group(), name), held.getvalue())


def _adapted(tag: str, name: str) -> str:
    """Return a tag with ids of its own, so that figures may share a page, the colour of the text around, and short numbers."""
    own = re.sub(r'( id="|href="#|url\(#)', rf"\g<1>{name}-", tag).replace(INK, "currentColor")
    return re.sub(r"(\.\d\d)\d+", r"\1", own)


def new_figure(height: float) -> Figure:
    """Return an empty figure as wide as all others; `height` is in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(_WIDTH, height))


def _false_alarms_figure(result: Result) -> Figure:
    rows = [each for scenario in result.scenarios for each in scenario.performances]
    lines = max(1 + label.count("\n") for label in _row_labels(rows))
    figure = new_figure(1.1 + 0.15 * (1 + lines) * len(rows))
    draw_false_alarms(figure.subplots(), rows, result.plan.gates)
    return figure


def _row_labels(rows: list[Performance]) -> list[str]:
    """Return what rows are about; broken, because a long name in one line would leave the axes no room."""
    several = len({each.scenario for each in rows}) > 1
    labels = [printable(f"{each.scenario} / {each.policy}" if several else each.policy) for each in rows]
    return ["\n".join(wrap(label, _LABEL_LETTERS)) for label in labels]


def draw_false_alarms(axes: Axes, rows: list[Performance], gates: tuple[GateEntry, ...]) -> None:
    """Draw the probability of a false alarm of each policy with its interval, and the limits of the gates."""
    limits = sorted({gate.false_alarms.max for gate in gates if gate.false_alarms is not None})
    for place, each in enumerate(rows):
        estimate, marker = each.estimates["false_alarms"], "D" if each.reference else "o"
        colour, filled = COLOURS[5 if each.reference else 0], "none" if each.reference else None
        axes.plot([100 * estimate.low, 100 * estimate.high], [place, place], color=colour, marker="|", linewidth=2)
        axes.plot(100 * estimate.value, place, color=colour, marker=marker, markerfacecolor=filled, clip_on=False)
        said = words(estimate)
        text = f"{said.value} ({said.interval})"
        axes.text(1.01, place, text, transform=axes.get_yaxis_transform(), va="center", fontsize=8)
    for limit in limits:
        axes.axvline(100 * limit, color=COLOURS[1], linestyle="--")
        axes.text(100 * limit, 1, f" gate: at most {percent(limit)}", transform=axes.get_xaxis_transform(), fontsize=8)
    largest = max([100 * limit for limit in limits] + [100 * each.estimates["false_alarms"].high for each in rows])
    axes.set_xlim(0, min(100, 1.15 * largest))
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_yticks(range(len(rows)), _row_labels(rows))
    axes.set_xlabel("probability of a first action on a harmless rollout by the horizon, %, with 95 % interval")


def _delay_figure(scenario: ScenarioResult, gates: tuple[GateEntry, ...]) -> Figure:
    if len(scenario.performances) > _IN_ONE:
        return _delay_panels(scenario, gates)
    figure = new_figure(3.4 + 0.2 * len(scenario.performances))
    axes = figure.subplots()
    draw_detection_delay(axes, scenario, gates)
    figure.legend(loc="outside lower left", handlelength=4)
    return figure


def _delay_panels(scenario: ScenarioResult, gates: tuple[GateEntry, ...]) -> Figure:
    """Return the curves of many policies, each on axes of its own."""
    shown = [each for each in scenario.performances if each.incidence]
    rows = -(-len(shown) // _ACROSS)
    figure = new_figure(0.6 + 1.15 * rows)
    every_axes = figure.subplots(rows, _ACROSS, sharex=True, sharey=True, squeeze=False).ravel()
    for axes, each in zip(every_axes, shown, strict=False):
        draw_detection_delay(axes, replace(scenario, performances=(each,)), gates, alone=False)
        found = words(each.estimates["detected"])
        axes.set_title(f"{shorten(printable(each.policy), 24, placeholder='...')}\n{found.value}", fontsize=8)
        axes.tick_params(labelsize=7)
        axes.set_xticks(*_every_other(axes))
    for axes in every_axes[len(shown) :]:
        axes.set_axis_off()
    figure.supxlabel("time since the onset (later times are drawn closer together)", fontsize=9)
    figure.supylabel("detected by then, % of lanes at risk", fontsize=9)
    return figure


def _every_other(axes: Axes) -> tuple[list[float], list[str]]:
    """Return every other tick of the horizontal axis and its label, counted from the last."""
    labels = [label.get_text() for label in axes.get_xticklabels()]
    return list(axes.get_xticks())[::-2], labels[::-2]


def draw_detection_delay(axes: Axes, scenario: ScenarioResult, gates: tuple[GateEntry, ...], *, alone: bool = True) -> None:
    """Draw the cumulative incidence of detection of each policy with its pointwise band; `alone`, with words around it."""
    limit = scenario.performances[0].limit_minutes
    first = min(each.incidence.minutes[1] for each in scenario.performances if each.incidence)
    for index, each in enumerate(scenario.performances):
        if (incidence := each.incidence) is None:
            continue
        colour, line = COLOURS[index % len(COLOURS)], _LINES[index % len(_LINES)]
        marker = MARKERS[index % len(MARKERS)] if alone else None
        _draw_band(axes, incidence, colour)
        axes.plot(
            incidence.minutes,
            100 * np.array(incidence.value),
            drawstyle="steps-post",
            color=colour,
            linestyle=line,
            marker=marker,
            markevery=(4 * index + 8, 28),
            label=f"{printable(each.policy)}: {words(each.estimates['detected'])}",
        )
    for gate in gates:
        if gate.detected is not None and gate.within is not None:
            _mark_gate(axes, minutes=gate.within / 60_000, share=gate.detected.min, named=alone)
    # Detection takes minutes, the limit may be a day: the early part gets the room.
    axes.set_xscale("symlog", linthresh=first)
    axes.set_xlim(0, limit)
    shown = [minutes for minutes in _DELAYS if first <= minutes < limit and minutes in _DELAYS_LABELLED]
    axes.set_xticks([0, *shown, limit], [format_duration(60_000 * minutes) for minutes in (0, *shown, limit)])
    axes.set_xticks([], minor=True)
    axes.set_ylim(-2, 103)
    if alone:
        axes.set_xlabel("time since the onset (later times are drawn closer together)")
        axes.set_ylabel("detected by then, % of lanes at risk")


def _draw_band(axes: Axes, incidence: Incidence, colour: str) -> None:
    band = 100 * np.array([incidence.low, incidence.high])
    # Flat stretches need no points: they are most of the band, and a page has to stay small.
    steps = np.unique([0, *(np.flatnonzero(np.diff(band).any(axis=0)) + 1), len(incidence.minutes) - 1])
    minutes = np.array(incidence.minutes)[steps]
    low, high = band[:, steps]
    axes.fill_between(minutes, low, high, step="post", color=colour, alpha=0.18, linewidth=0)


def _mark_gate(axes: Axes, *, minutes: float, share: float, named: bool) -> None:
    """Draw the gate through which a curve has to pass."""
    axes.plot([minutes, minutes], [100 * share, 100], marker="_", color=INK, linewidth=2, zorder=1)
    if named:
        text = f"gate: at least {percent(share)} within {format_duration(60_000 * minutes)}"
        axes.annotate(text, (minutes, 100 * share), (6, -12), textcoords="offset points", fontsize=8)


def _exposure_figure(scenario: ScenarioResult) -> Figure:
    traces = harmed_traces(scenario)
    figure = new_figure(0.7 + sum(0.65 + 0.42 * len(each.lanes) for each in traces))
    every_axes = figure.subplots(len(traces), squeeze=False, height_ratios=[1 + len(each.lanes) for each in traces])[:, 0]
    for axes, trace in zip(every_axes, traces, strict=True):
        draw_exposure(axes, trace, scenario)
    every_axes[-1].set_xlabel("hours since the start of the rollout; each policy has its own time axis")
    every_axes[0].legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=3, frameon=False)
    return figure


def draw_exposure(axes: Axes, trace: Trace, scenario: ScenarioResult) -> None:
    """Draw the share exposed in each traced lane as a strip, with what happened to it."""
    events = [lane_events(scenario, trace.policy, int(lane)) for lane in trace.lanes]
    hours = scenario.clock.tick / 3_600_000
    ends = [each["containment_time"] for each in events]
    end = len(trace.exposed) if None in ends else min(len(trace.exposed), 1.2 * max(tick or 1 for tick in ends))
    for strip in range(len(trace.lanes)):
        _draw_strip(axes, trace.exposed[:, strip], base=-strip, hours=hours, end=end)
    marks = (("onset", "onset", "D"), ("action_time", "first action", "v"), ("containment_time", "containment", "s"))
    for index, (column, label, marker) in enumerate(marks):
        at = [(each[column], -strip) for strip, each in enumerate(events)]
        x, y = [tick * hours for tick, _ in at if tick is not None], [base for tick, base in at if tick is not None]
        (line,) = axes.plot(x, y, linestyle="none", marker=marker, color=COLOURS[index + 1], label=label, zorder=3, clip_on=False)
        # Marks without a point would stretch the layout to the figure's corner.
        line.set_in_layout(False)
    axes.set_xlim(0, end * hours)
    axes.set_ylim(-len(events) + 0.85, 0.95)
    axes.set_yticks([-strip for strip in range(len(events))], [f"lane {lane}" for lane in trace.lanes])
    axes.set_title(printable(trace.policy), loc="left")
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)


def _draw_strip(axes: Axes, exposed: Floats, *, base: int, hours: float, end: float) -> None:
    starts = np.concatenate([[0], np.flatnonzero(np.diff(exposed)) + 1])
    stops = np.append(starts[1:], len(exposed))
    x = np.append(starts, len(exposed)) * hours
    # On a plain scale the first steps of a ramp, 1 % and the like, could not be seen.
    heights = base + 0.75 * np.log1p(100 * np.append(exposed[starts], exposed[-1])) / np.log1p(100)
    axes.fill_between(x, base, heights, step="post", color=COLOURS[0], alpha=0.3, linewidth=0)
    axes.plot(x, heights, drawstyle="steps-post", color=COLOURS[0], linewidth=1)
    for start, stop, height in zip(starts, np.minimum(stops, end), heights, strict=False):
        if stop - start > 0.07 * end:
            axes.text((start + 0.02 * end) * hours, height + 0.03, percent(exposed[start]), fontsize=7)


def lane_events(scenario: ScenarioResult, policy: str, lane: int) -> dict[str, int | None]:
    """Return the outcome columns of one harmed lane; None for what never happened.

    Parameters
    ----------
    scenario : ScenarioResult
        With its outcome rows.
    policy : str
        Whose.
    lane : int
        Number of the lane.
    """
    rows = scenario.rows
    row = int(np.flatnonzero((rows["policy"] == policy) & rows["harmed"] & (rows["lane"] == lane))[0])
    columns = ("onset", "action_time", "action", "containment_time")
    found = {column: int(rows[column][row]) for column in columns}
    return {column: None if value < 0 else value for column, value in found.items()}
