"""A tuning as people read it: old and new settings, what they change, and the frontier of false alarms against harm."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from simlab.errors import printable
from simlab.measures.estimates import Estimate
from simlab.report.figures import COLOURS, INK, MARKERS, draw_svg, new_figure
from simlab.report.terminal import estimates_table
from simlab.report.words import confidence, percent
from simlab.tuned import FrontierPoint, TunedPolicy, TuneResult
from simlab.yaml_text import render_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WIDE = 20
"""How many times the least harm the largest is where an axis is logarithmic."""
_COMPARED = {
    "false_alarms": "false alarms",
    "delay_restricted_mean": "delay, restricted mean",
    "users_harmed": "users harmed, mean",
}
_DIFFERENCE = "new minus today, paired"


def print_tuning(result: TuneResult, console: Console) -> None:
    """Print the plan: what is to be changed from what to what, what vouches for it, and what it does."""
    console.print(f"budget {percent(result.budget)} of harmless rollouts, kept with confidence {confidence(result.confidence)}; "
                  f"chosen on {result.lanes:,} lanes and calibrated on {result.lanes:,} others")  # fmt: skip
    for policy in result.policies:
        _print_policy(policy, result, console)
    which = "the new" if result.values else "today's"
    console.print(escape(f"Gates at {which} settings: {result.result.status}"))
    for verdict in result.result.verdicts:
        console.print(escape(printable(f"  {verdict.scenario} / {verdict.policy} / {verdict.gate}: {verdict.arithmetic}")))


def _print_policy(policy: TunedPolicy, result: TuneResult, console: Console) -> None:
    console.print()
    if policy.reason:
        console.print(escape(printable(f"{policy.policy}: not tuned, {policy.reason}")))
        return
    chosen = f", the best of {policy.tried} combinations of settings" if policy.tried > 1 else ""
    console.print(escape(printable(f"{policy.policy}{chosen}")), style="bold")
    for change in policy.changes:
        old = "(not said)" if change.old is None else f"{change.old}"
        console.print(escape(printable(f"  {render_path(change.path)}: {old} -> {change.new}")))
    if not policy.changes:
        console.print("  nothing to change")
    if policy.priced:
        _print_prices(policy, console)
    for scenario, found in policy.false_alarms.items():
        sure = f"at most {found.high:.2%} with confidence {confidence(found.confidence)}"
        console.print(escape(printable(f"  {scenario}: false alarms {found.value:.2%}, {sure}, n = {found.n:,}")))
    if policy.changes:
        console.print(_changes(policy, result))


def _print_prices(policy: TunedPolicy, console: Console) -> None:
    """Print what each budget costs; the cheapest may not be among them where it is the first or the last."""
    budgets = [each.budget for each in policy.priced]
    console.print(f"  budget {percent(policy.budget)}, the cheapest of those compared at the given prices")
    if policy.budget == budgets[0]:
        console.print("  less was not compared and may be cheaper still; a lower --budget with more --lanes would tell")
    if policy.budget == budgets[-1]:
        console.print("  more was not compared and may be cheaper still; a higher --budget would tell")
    costs = {percent(each.budget): each.cost for each in policy.priced}
    console.print(estimates_table({"expected cost of a rollout, by budget": costs}))


def _changes(policy: TunedPolicy, result: TuneResult) -> Table:
    """Return what the new settings change on lanes C, the difference paired by lane."""
    groups: dict[str, dict[str, Estimate]] = {}
    for scenario in result.result.scenarios:
        found = {each.policy: each.estimates for each in scenario.performances}
        pairs = {(each.first, each.second): each.estimates for each in scenario.differences}
        paired = pairs.get((policy.policy, policy.today), {})
        rows = {"today": found[policy.today], "new": found[policy.policy], _DIFFERENCE: paired}
        for name, label in _COMPARED.items():
            groups[f"{scenario.name}: {label}"] = {row: held[name] for row, held in rows.items() if name in held}
    return estimates_table({label: found for label, found in groups.items() if found}, signed={_DIFFERENCE})


def frontier_figure(result: TuneResult) -> str:
    """Return false alarms against users harmed as SVG, and beside it the harm of all rules at the budget; a row a scenario."""
    scenarios = list(dict.fromkeys(point.scenario for point in result.frontier))
    policies = list(dict.fromkeys(point.policy for point in result.frontier))

    def draw() -> object:
        figure = new_figure(max(2.9, 0.9 + 0.19 * len(policies)) * len(scenarios) + 0.3)
        rows = figure.subplots(len(scenarios), 2, squeeze=False, width_ratios=[4, 5])
        for (lines, ranking), scenario in zip(rows, scenarios, strict=True):
            points = [point for point in result.frontier if point.scenario == scenario]
            draw_frontier(lines, points, budget=result.budget)
            draw_ranking(ranking, points)
            lines.set_title(printable(scenario))
        return figure

    return draw_svg("frontier", draw)  # type: ignore[arg-type]


def draw_frontier(axes: Axes, points: list[FrontierPoint], *, budget: float) -> None:
    """Draw the frontier of each policy of one scenario; filled is the chosen setting, a cross today's."""
    for policy, colour, marker in _drawn(points):
        mine = sorted((point for point in points if point.policy == policy), key=lambda point: point.false_alarms.value)
        line = [point for point in mine if point.kind != "today"]
        axes.plot(*_values(line), color=colour, linewidth=1)
        for kind, filled in (("other", "none"), ("chosen", colour), ("today", colour)):
            held = [point for point in mine if point.kind == kind]
            if held:
                axes.errorbar(
                    *_values(held),
                    xerr=_bars([point.false_alarms for point in held], scale=100),
                    yerr=_bars([point.users_harmed for point in held]),
                    color=colour,
                    elinewidth=0.7,
                    linestyle="none",
                    marker="x" if kind == "today" else marker,
                    markerfacecolor=filled,
                    markersize=7 if kind == "today" else 5,
                )
    axes.axvline(100 * budget, color=INK, linewidth=0.8, linestyle=":")
    axes.set_xlabel("false alarms, % of harmless rollouts;\ndotted: the budget")
    axes.set_ylabel("users harmed, mean")
    _scale(axes, points, across=False)
    # A rule that is of no use today would leave the others no room.
    axes.set_xlim(0, min(100.0, max(800 * budget, *(100 * point.false_alarms.high for point in points if point.kind != "today"))))


def draw_ranking(axes: Axes, points: list[FrontierPoint]) -> None:
    """Draw users harmed of each policy at the chosen setting, the least on top, and at today's; the names are the legend."""
    drawn = {policy: (colour, marker) for policy, colour, marker in _drawn(points)}
    chosen = sorted((point for point in points if point.kind == "chosen"), key=lambda point: -point.users_harmed.value)
    places = {point.policy: place for place, point in enumerate(chosen)}
    for point in points:
        if point.kind == "other" or point.policy not in places:
            continue
        colour, marker = drawn[point.policy]
        today = point.kind == "today"
        axes.errorbar(
            [point.users_harmed.value],
            [places[point.policy]],
            xerr=_bars([point.users_harmed]),
            color=colour,
            elinewidth=0.7,
            marker="x" if today else marker,
            markersize=7 if today else 5,
        )
    axes.set_yticks(range(len(chosen)), [printable(point.policy) for point in chosen])
    axes.yaxis.tick_right()
    _scale(axes, points, across=True)
    axes.set_xlabel("users harmed, mean;\nfilled: at the budget, cross: today")


def _scale(axes: Axes, points: list[FrontierPoint], *, across: bool) -> None:
    """Let the axis of users harmed begin at 0, unless rules differ so much that the better ones could not be told apart."""
    harmed = [point.users_harmed.value for point in points]
    if min(harmed) <= 0 or max(harmed) <= _WIDE * min(harmed):
        (axes.set_xlim if across else axes.set_ylim)(0)
        return
    (axes.set_xscale if across else axes.set_yscale)("log")
    axis = axes.xaxis if across else axes.yaxis
    axis.set_major_formatter(lambda value, _place: f"{value:,.0f}")
    axis.set_minor_formatter(lambda _value, _place: "")


def _drawn(points: list[FrontierPoint]) -> list[tuple[str, str, str]]:
    """Return each policy with its colour and marker; there are as many pairs as the product of both."""
    policies = dict.fromkeys(point.policy for point in points)
    return [(policy, COLOURS[n % len(COLOURS)], MARKERS[n % len(MARKERS)]) for n, policy in enumerate(policies)]


def _values(points: list[FrontierPoint]) -> tuple[list[float], list[float]]:
    return [100 * point.false_alarms.value for point in points], [point.users_harmed.value for point in points]


def _bars(estimates: list[Estimate], *, scale: float = 1) -> list[list[float]]:
    """Return the lengths of the error bars below and above."""
    below = [scale * (each.value - each.low) for each in estimates]
    return [below, [scale * (each.high - each.value) for each in estimates]]
