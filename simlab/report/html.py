"""One page that needs nothing else: no network, no script; it survives printing, dark mode and a strict content policy."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from simlab.errors import printable
from simlab.measures.performance import Difference, Performance
from simlab.plan import BASELINE
from simlab.report.figures import figure_name, figures, harmed_traces, lane_events
from simlab.report.words import PRECISE, Words, confidence, measure, needs, percent, spent_in_words, where_it_stopped, words
from simlab.response import ACTIONS
from simlab.results import Result, ScenarioResult, ShieldPrice
from simlab.ticks import format_count, format_duration, format_instant

FIGURE_BYTES = 600_000
"""Figures in a page together; those that no longer fit are pointed at beside the page, so that it stays under 1 MiB."""

_DETECTED = (
    "detected",
    "detected_of_all_lanes",
    "twin_alarm_in_the_same_window",
    "detected_at_random",
    "acted_before_onset",
)
_DELAY = ("delay_restricted_mean", "delay_p50", "delay_p90")
_USERS = ("users_exposed", "users_harmed", "users_harmed_p50", "users_harmed_p90", "users_harmed_of_all_lanes")
_CONTAINED = ("contained", "containment_restricted_mean")
_FALSE_ALARMS = ("false_alarms", "false_alarms_per_week")


@dataclass(frozen=True)
class Row:
    """A row of a table: what it is about, and its cells."""

    labels: tuple[str, ...]
    cells: tuple[Words | str, ...]


@dataclass(frozen=True)
class Table:
    """A table of the page; the first heads stand over the labels."""

    caption: str
    heads: tuple[str, ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Figure:
    """A figure of the page; without SVG it stands beside the page under its name."""

    name: str
    about: str
    svg: Markup | None


@dataclass(frozen=True)
class Part:
    """What a section says of one scenario."""

    scenario: str
    figure: Figure | None
    tables: tuple[Table, ...]
    note: str = ""


@dataclass(frozen=True)
class Section:
    """A section of the page."""

    id: str
    title: str
    about: str
    parts: tuple[Part, ...]


def render_html(result: Result, drawn: Mapping[str, str] | None = None) -> str:
    """Return the report of a result as one self-contained page.

    Parameters
    ----------
    result : Result
        What is reported.
    drawn : mapping of str to str, optional
        Its figures, if `simlab.report.figures.figures` has already drawn them.
    """
    loader = PackageLoader("simlab", "report")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["printable"] = printable
    return environment.get_template("page.html.j2").render(
        result=result,
        study=result.plan.study,
        gates=gate_table(result),
        precise=precision_table(result),
        stopped=where_it_stopped(result),
        scenarios=[scenario_facts(scenario) for scenario in result.scenarios],
        sections=_sections(result, _Figures(figures(result) if drawn is None else drawn)),
        schedule=", ".join(f"{count:,}" for count in result.plan.study.lanes.schedule),
    )


def gate_table(result: Result) -> Table:
    """Return the gates with their arithmetic."""
    heads = ("Scenario", "Policy", "Gate", "Decision", "Value", "Interval", "Confidence", "Lanes (n)", "Limit")
    rows = []
    for verdict in result.verdicts:
        said = words(verdict.estimate)
        sure = confidence(verdict.estimate.confidence)
        cells = (verdict.decision.upper(), said.value, said.interval, sure, said.n, needs(verdict))
        rows.append(Row((verdict.scenario, verdict.policy, verdict.gate), cells))
    caption = (
        "Passed if the whole interval is inside the limit, failed if all of it is outside, else inconclusive. "
        "The error of a gate is split over the looks of the schedule; a gate keeps the lanes of the look that decided it. "
        "A limit on users at p90 asks that at most 10 % of lanes go beyond it. Reference policies are reported, not gated."
    )
    return Table(caption, heads, tuple(rows))


def precision_table(result: Result) -> Table:
    """Return the rates whose intervals decided how many lanes were run."""
    heads = ("Scenario", "Policy", "Measure", "Value", "Interval", "Confidence", "Lanes (n)", "Half-width", "Asked for")
    rows = []
    for each in result.precise:
        said, sure = words(each.estimate), confidence(each.estimate.confidence)
        cells = (said.value, said.interval, sure, said.n, percent(each.half_width), f"at most {percent(each.wanted)}")
        rows.append(Row((each.scenario, each.policy, PRECISE[each.measure]), cells))
    return Table("Lanes are added until no interval is wider than was asked for, or to the cap.", heads, tuple(rows))


def scenario_facts(scenario: ScenarioResult) -> dict[str, str]:
    """Return what a scenario is, in words."""
    clock, onset = scenario.clock, scenario.planned_onset
    return {
        "name": scenario.name,
        "about": scenario.about,
        "begins": format_instant(clock.starts),
        "horizon": f"{format_duration(clock.horizon * clock.tick)} in ticks of {format_duration(clock.tick)}",
        "onset": "no harm" if onset is None else f"first harm scheduled {format_duration(onset)} after the start",
        "lanes": format_count(scenario.lanes, "lane"),
    }


def _sections(result: Result, drawn: _Figures) -> tuple[Section, ...]:
    every = result.scenarios
    return (
        Section(
            "false-alarms",
            "False alarms",
            "How often a policy acts on a rollout that hurts nobody: the same lanes without the harm.",
            (_false_alarms(every, drawn),),
        ),
        Section(
            "detection-delay",
            "Detection delay",
            "From the onset to the first action in the right direction. Lanes that were never detected count: the curve "
            "levels off at the share detected, and the mean takes them at the limit.",
            tuple(_detection(scenario, drawn) for scenario in every),
        ),
        Section(
            "people",
            "People",
            "Users exposed to the change and users it harmed, until containment or the horizon, in lanes at risk unless "
            "all lanes are named.",
            tuple(_people(scenario) for scenario in every),
        ),
        Section(
            "ramp-time-lost",
            "Ramp time lost",
            "How long a harmless rollout was behind its schedule because a policy held it, paused it or rolled it back.",
            (Part("", None, (_measures("Ramp time lost", every, ("ramp_time_lost",)),)),),
        ),
        Section(
            "differences",
            "Paired differences",
            "First policy minus second on the same lanes, so that what both share cancels out; candidates against each other and "
            "against those for reference.",
            tuple(_differences(scenario) for scenario in every),
        ),
        *_shield(every),
        Section(
            "guarantees",
            "Guarantees",
            "What each rule promises by its own paper, and what in the scenario keeps the promise from applying.",
            tuple(_guarantees(scenario) for scenario in every),
        ),
        Section(
            "exposure",
            "Exposure timelines",
            "A few lanes look by look: the share of users exposed, when the harm began, the first action, the containment. "
            "Where there are many policies, those for reference are left out.",
            tuple(_exposure(scenario, drawn) for scenario in every),
        ),
        Section("counts", "Looks and lanes", "What the numbers above are made of.", (_counts(every),)),
    )


class _Figures:
    """The figures of a result, given out until the page is full."""

    def __init__(self, drawn: Mapping[str, str]) -> None:
        self._drawn = drawn
        self._bytes_left = FIGURE_BYTES

    def take(self, name: str, about: str) -> Figure | None:
        """Return a figure by its name; None if it was not drawn."""
        if name not in self._drawn:
            return None
        svg = self._drawn[name]
        if len(svg) > self._bytes_left:
            return Figure(name, about, None)
        self._bytes_left -= len(svg)
        return Figure(name, about, _inline(svg, about))


def _inline(svg: str, about: str) -> Markup:
    """Return an SVG file's root element with a name for those who cannot see it."""
    root = Markup(re.sub(r"\s*\n\s*", "\n", svg[svg.index("<svg") + len("<svg") :]))  # noqa: S704
    return Markup('<svg role="img" aria-label="{}"').format(about) + root


def _measures(caption: str, scenarios: Sequence[ScenarioResult], names: Iterable[str]) -> Table:
    """Return a table of measures, one row a policy, of one or of several scenarios."""
    rows = [each for scenario in scenarios for each in scenario.performances]
    names, limit = tuple(names), rows[0].limit_minutes
    several = len(scenarios) > 1
    return Table(
        f"{caption}. Below each value its 95 % interval and n lanes.",
        (*(("Scenario",) if several else ()), "Policy", *(measure(name, limit_minutes=limit) for name in names)),
        tuple(Row(_labels(each, several), tuple(words(each.estimates[name]) for name in names)) for each in rows),
    )


def _labels(performance: Performance, several: bool) -> tuple[str, ...]:
    marked = performance.reference and performance.policy != BASELINE.name
    policy = f"{performance.policy} (reference)" if marked else performance.policy
    return (performance.scenario, policy) if several else (policy,)


def _false_alarms(scenarios: Sequence[ScenarioResult], drawn: _Figures) -> Part:
    figure = drawn.take("false-alarms", "False alarms of each policy with 95 % interval, against the limits of the gates")
    return Part("", figure, (_measures("False alarms", scenarios, _FALSE_ALARMS),))


def _has_harm(scenario: ScenarioResult) -> bool:
    return all("detected" in each.estimates for each in scenario.performances)


def _detection(scenario: ScenarioResult, drawn: _Figures) -> Part:
    if not _has_harm(scenario):
        return _nothing(scenario)
    about = f"Detection delay in {printable(scenario.name)}: share detected by the time since the onset, with 95 % bands"
    figure = drawn.take(figure_name("detection-delay", scenario.name), about)
    tables = (
        _measures("How often the harm is detected, and how often that would be luck", [scenario], _DETECTED),
        _measures("How soon it is detected", [scenario], _DELAY),
    )
    limit = format_duration(scenario.performances[0].limit_minutes * 60_000)
    note = f"Lanes are followed for {limit} after the onset; a delay beyond that counts as {limit} in the mean."
    return Part(scenario.name, figure, tables, note)


def _people(scenario: ScenarioResult) -> Part:
    if not _has_harm(scenario):
        return _nothing(scenario)
    units = [name for name in scenario.performances[0].estimates if name.startswith("harm_units.")]
    tables = (
        _measures("Users", [scenario], _USERS),
        _measures(
            "Harm units (events or seconds beyond those without the harm, mean) and containment",
            [scenario],
            (*units, *_CONTAINED),
        ),
    )
    return Part(scenario.name, None, tables)


def _nothing(scenario: ScenarioResult) -> Part:
    return Part(scenario.name, None, (), "This scenario has no harm: there is nothing to detect and nobody is hurt.")


def _differences(scenario: ScenarioResult) -> Part:
    if not scenario.differences:
        return Part(scenario.name, None, (), "There is no second policy to compare with.")
    limit = scenario.performances[0].limit_minutes
    names = tuple(scenario.differences[0].estimates)
    heads = ("First", "Second", *(measure(name, limit_minutes=limit) for name in names))

    def row(pair: Difference) -> Row:
        return Row((pair.first, pair.second), tuple(words(pair.estimates[name], signed=True) for name in names))

    caption = "First minus second. Below each value its 95 % interval and n lanes; pp: percentage points."
    return Part(scenario.name, None, (Table(caption, heads, tuple(row(pair) for pair in scenario.differences)),))


def _shield(scenarios: Sequence[ScenarioResult]) -> tuple[Section, ...]:
    """Return the section on what shields cost; nothing if no scenario has one."""
    priced = [scenario for scenario in scenarios if scenario.prices]
    about = (
        "With the shield minus without it, on the same lanes: what hiding small cells and adding noise costs in false alarms, "
        "minutes and people, and what the noise protects."
    )
    return (Section("shield", "What the shield costs", about, tuple(_price(each) for each in priced)),) if priced else ()


def _price(scenario: ScenarioResult) -> Part:
    limit = scenario.performances[0].limit_minutes
    names = tuple(scenario.prices[0].difference.estimates)
    heads = ("Policy", *(measure(name, limit_minutes=limit) for name in names), "Noise")

    def row(price: ShieldPrice) -> Row:
        costs = tuple(words(price.difference.estimates[name], signed=True) for name in names)
        return Row((price.difference.first,), (*costs, "none" if price.spent is None else spent_in_words(price.spent)))

    caption = "With the shield minus without. Below each value its 95 % interval and n lanes; pp: percentage points."
    return Part(scenario.name, None, (Table(caption, heads, tuple(row(price) for price in scenario.prices)),))


def _guarantees(scenario: ScenarioResult) -> Part:
    if not scenario.guarantees:
        return Part(scenario.name, None, (), "No guardrail watches this scenario.")
    heads = ("Policy", "Rule", "Claim", "Here")
    rows = tuple(Row((check.policy, check.rule), (check.claim or "none", check.verdict)) for check in scenario.guarantees)
    return Part(scenario.name, None, (Table("Guarantees, guardrail by guardrail", heads, rows),))


def _exposure(scenario: ScenarioResult, drawn: _Figures) -> Part:
    traces = harmed_traces(scenario)
    if not traces:
        return Part(scenario.name, None, (), "No lane was traced.")
    about = f"Share of users exposed over time in a few lanes of {printable(scenario.name)}, and what happened to them"
    figure = drawn.take(figure_name("exposure", scenario.name), about)
    lanes = [(trace.policy, int(lane)) for trace in traces for lane in trace.lanes]
    heads = ("Policy", "Lane", "Onset", "First action", "What", "Containment")
    rows = tuple(_lane_row(scenario, policy, lane) for policy, lane in lanes)
    return Part(scenario.name, figure, (Table("The traced lanes; times from the start of the rollout", heads, rows),))


def _lane_row(scenario: ScenarioResult, policy: str, lane: int) -> Row:
    events = lane_events(scenario, policy, lane)

    def time(column: str) -> str:
        tick = events[column]
        return "never" if tick is None else format_duration(scenario.clock.milliseconds(tick))

    action = ACTIONS[events["action"] or 0]
    return Row((policy, str(lane)), (time("onset"), time("action_time"), action, time("containment_time")))


def _counts(scenarios: Sequence[ScenarioResult]) -> Part:
    every = [each for scenario in scenarios for each in scenario.performances]
    several = len(scenarios) > 1
    heads = (*(("Scenario",) if several else ()), "Policy")

    def table(caption: str, field: str) -> Table:
        counts: list[dict[str, int]] = [getattr(each, field) for each in every]
        rows = zip(every, counts, strict=True)
        cells = tuple(Row(_labels(each, several), tuple(f"{n:,}" for n in found.values())) for each, found in rows)
        return Table(caption, (*heads, *(name.replace("_", " ") for name in counts[0])), cells)

    return Part(
        "",
        None,
        (
            table("Harmed lanes by how they ended (false alarm: acted on by evidence from before the onset)", "statuses"),
            table("Their harmless twins by how they ended", "twin_statuses"),
            table(
                "Looks, harmed lanes and twins together: unknown could not be judged, skipped were too thin, retired had "
                "lost their control by plan",
                "looks",
            ),
        ),
    )
