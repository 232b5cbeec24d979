"""The page holds the numbers of the result, needs nothing else, and names cannot get out of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser

import pytest

from simlab.measures.estimates import proportion
from simlab.report import html
from simlab.report.figures import figure_name, figures
from simlab.report.html import gate_table, render_html
from simlab.report.words import words
from simlab.results import Result
from simlab.runner import run_plan
from tests.worlds import SCENARIO, changed, plan

VOID = {"meta", "br", "link", "img", "input", "hr"}
SECTIONS = [
    "Gates",
    "Why",
    "False alarms",
    "Detection delay",
    "People",
    "Ramp time lost",
    "Paired differences",
    "Guarantees",
    "Exposure timelines",
    "Looks and lanes",
    "Provenance",
]


@dataclass
class Element:
    """A tag of the page with what it holds."""

    tag: str
    attributes: dict[str, str | None]
    held: list[Element | str] = field(default_factory=list)

    def every(self, *tags: str) -> Iterator[Element]:
        """Yield the elements within that have one of the tags."""
        for each in self.held:
            if isinstance(each, Element):
                if each.tag in tags:
                    yield each
                yield from each.every(*tags)

    @property
    def text(self) -> str:
        """All text within."""
        return " ".join(" ".join(each if isinstance(each, str) else each.text for each in self.held).split())


class Page(HTMLParser):
    """Reads a page and refuses tags that do not close in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.root = Element("root", {})
        self.open = [self.root]
        self.feed(page)
        self.close()
        assert self.open == [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, dict(attrs))
        self.open[-1].held.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open[-1].held.append(Element(tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop().tag == tag

    def handle_data(self, data: str) -> None:
        self.open[-1].held.append(data)


def read(page: str) -> Element:
    return Page(page).root


@pytest.fixture(scope="module")
def page(result: Result) -> str:
    return render_html(result)


def section(page: Element, name: str) -> Element:
    return next(each for each in page.every("section") if each.attributes["id"] == name)


def rows(table: Element) -> list[list[str]]:
    body = next(table.every("tbody"))
    return [[cell.text for cell in row.every("th", "td")] for row in body.every("tr")]


def in_words(said: object) -> str:
    value, interval, n = said.value, said.interval, said.n  # type: ignore[attr-defined]
    return " ".join(f"{value} {interval} n {n}".split())


def test_the_same_result_gives_the_same_page(result: Result, page: str) -> None:
    assert render_html(result) == page


def test_sections_stand_in_order_under_the_verdict(result: Result, page: str) -> None:
    root = read(page)
    assert [each.text for each in root.every("h1")] == ["test"]
    assert [each.text for each in root.every("h2")] == SECTIONS
    banner = next(each for each in root.every("div") if "banner" in (each.attributes.get("class") or ""))
    assert banner.text.startswith(f"{result.status.upper()} 3 gates: ")
    assert page.index('class="banner') < page.index('id="gates"')


def test_nothing_is_fetched_and_nothing_runs(page: str) -> None:
    assert set(re.findall(r"https?://([^/\"]+)", page)) == {"www.w3.org"}
    root = read(page)
    assert not list(root.every("script", "link", "img", "iframe", "object", "embed"))
    assert not re.search(r"@import|url\((?!#)|javascript:|\son[a-z]+=", page)
    policies = [each.attributes["content"] for each in root.every("meta") if "http-equiv" in each.attributes]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'; img-src data:"]


def test_every_table_says_what_it_is(page: str) -> None:
    tables = list(read(page).every("table"))
    assert len(tables) == 13
    for table in tables:
        assert next(table.every("caption")).text
        assert {each.attributes["scope"] for each in table.every("th")} == {"col", "row"}
        assert len({len(list(row.every("th", "td"))) for row in table.every("tr")}) == 1


def test_every_place_that_scrolls_can_be_reached_by_keyboard(page: str) -> None:
    scrolling = [each for each in read(page).every("div") if each.attributes.get("class") == "scroll"]
    assert {(each.attributes["tabindex"], each.attributes["role"]) for each in scrolling} == {("0", "region")}
    assert len(scrolling) == 13 + 3


def test_links_lead_to_sections(page: str) -> None:
    root = read(page)
    links = [(each.attributes["href"] or "").removeprefix("#") for each in root.every("a")]
    assert links == [str(each.attributes["id"]) for each in root.every("section")][1:]


def test_ids_are_unique(page: str) -> None:
    ids = re.findall(r'\sid="([^"]+)"', page)
    assert len(ids) == len(set(ids))


def test_gates_show_their_arithmetic(result: Result, page: str) -> None:
    found = rows(section(read(page), "gates"))
    assert len(found) == len(result.verdicts) == 3
    for row, verdict in zip(found, result.verdicts, strict=True):
        said = words(verdict.estimate)
        assert row[:4] == [verdict.scenario, verdict.policy, verdict.gate, verdict.decision.upper()]
        assert row[4:] == [
            said.value,
            said.interval,
            "95 %",
            "60",
            f"at {'most' if verdict.at_most else 'least'} {100 * verdict.limit:g} %",
        ]


@pytest.mark.parametrize(
    ("name", "table", "measures"),
    [
        ("false-alarms", 0, ("false_alarms", "false_alarms_per_week")),
        (
            "detection-delay",
            0,
            ("detected", "detected_of_all_lanes", "twin_alarm_in_the_same_window", "detected_at_random", "acted_before_onset"),
        ),
        ("detection-delay", 1, ("delay_restricted_mean", "delay_p50", "delay_p90")),
        (
            "people",
            0,
            ("users_exposed", "users_harmed", "users_harmed_p50", "users_harmed_p90", "users_harmed_of_all_lanes"),
        ),
        ("people", 1, ("harm_units.errors", "contained", "containment_restricted_mean")),
        ("ramp-time-lost", 0, ("ramp_time_lost",)),
    ],
)
def test_numbers_are_those_of_the_result(result: Result, page: str, name: str, table: int, measures: tuple[str, ...]) -> None:
    found = rows(list(section(read(page), name).every("table"))[table])
    assert [row[0] for row in found] == ["cusum", "today (reference)", "(never alarms)"]
    for row, performance in zip(found, result.scenarios[0].performances, strict=True):
        assert row[1:] == [in_words(words(performance.estimates[measure])) for measure in measures]


def test_paired_differences_are_those_of_the_result(result: Result, page: str) -> None:
    found = rows(section(read(page), "differences"))
    # cusum against today and against never; two references are not compared.
    assert len(found) == 2
    for row, pair in zip(found, result.scenarios[0].differences, strict=True):
        assert row == [pair.first, pair.second, *(in_words(words(each, signed=True)) for each in pair.estimates.values())]


def test_counts_are_those_of_the_result(result: Result, page: str) -> None:
    tables = list(section(read(page), "counts").every("table"))
    for table, name in zip(tables, ("statuses", "twin_statuses", "looks"), strict=True):
        for row, performance in zip(rows(table), result.scenarios[0].performances, strict=True):
            assert row[1:] == [f"{count:,}" for count in getattr(performance, name).values()]


def test_what_never_happened_is_not_a_number(page: str) -> None:
    delays = list(section(read(page), "detection-delay").every("table"))[1]
    assert rows(delays)[2][2:] == ["not reached not reached n 60"] * 2
    assert not re.search(r"\b(nan|inf)\b", read(page).text)


def test_no_data_is_said(result: Result) -> None:
    scenario = result.scenarios[0]
    first = scenario.performances[0]
    empty = replace(first, estimates=first.estimates | {"detected": proportion(0, 0)}, incidence=None)
    shown = replace(scenario, performances=(empty, *scenario.performances[1:]))
    found = rows(section(read(render_html(replace(result, scenarios=(shown,)))), "detection-delay"))
    assert found[0][1] == "no data n 0"


def test_provenance_says_how_to_run_it_again(result: Result, page: str) -> None:
    said = section(read(page), "provenance").text
    assert "simlab run small.yaml" in said
    assert result.provenance.plan in said
    assert all(f"{name} {version}" in said for name, version in result.provenance.versions.items())


NASTY = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</style></title>&amp;$\\alpha$",
    "{{ 7 * 7 }}{% raw %}",
    "]]>--><!--",
]


@pytest.mark.parametrize("name", NASTY)
def test_names_cannot_get_out(result: Result, renamed: Callable[..., Result], name: str) -> None:
    study = replace(result.plan.study, study=name, why=f"{name}\n{name}", owner=name)
    origin = replace(result.provenance, command=f"simlab run {name}")
    told = replace(renamed(result, scenario=name, policy=name), plan=replace(result.plan, study=study), provenance=origin)
    page = render_html(told)
    root = read(page)
    assert not list(root.every("script", "img"))
    assert [each.text for each in root.every("h2")] == SECTIONS
    shown = " ".join(name.split())
    assert [each.text for each in root.every("h1")] == [shown]
    assert rows(section(root, "gates"))[0][:2] == [shown, shown]
    assert section(root, "why").text.count(shown) == 5
    assert f"simlab run {shown}" in section(root, "provenance").text


def test_control_characters_are_shown(result: Result, renamed: Callable[..., Result]) -> None:
    page = render_html(renamed(result, scenario="a\x1b[2J\u202eb", policy="p"))
    assert not re.search("[\x00-\x08\x0b-\x1f\u202e]", page)
    assert r"a\x1b[2J\x202eb" in page


def test_without_gates_nothing_is_judged(result: Result) -> None:
    root = read(render_html(replace(result, verdicts=())))
    banner = next(each for each in root.every("div") if "banner" in (each.attributes.get("class") or ""))
    assert banner.text == "INCONCLUSIVE The study has no gates, so that nothing was judged."
    assert gate_table(replace(result, verdicts=())).rows == ()


def test_the_precision_asked_for_is_shown_with_the_confidence_of_one_look(result: Result, precise: Result, page: str) -> None:
    root = read(render_html(precise))
    gates = section(root, "gates")
    assert [row[0] for row in rows(gates)] == ["small", "small"]
    for cells, each in zip(rows(gates), precise.precise, strict=True):
        # Four looks: 20, 40, 80 and 160 lanes.
        assert {words(each.estimate).interval, "98.75 %", "at most 15 %"} <= set(cells)
    assert "allow for it" in gates.text
    assert "allow for it" not in page, "the lanes of the other run were fixed"


def test_a_scenario_without_harm_says_so() -> None:
    harmless = run_plan(plan(scenarios=[changed(SCENARIO, harms=None)], start=5, cap=5), command="simlab run x.yaml")
    root = read(render_html(harmless))
    for name in ("detection-delay", "people"):
        assert "This scenario has no harm" in section(root, name).text
        assert not list(section(root, name).every("table"))
    assert len(rows(section(root, "false-alarms"))) == 2


def test_a_large_study_stays_under_a_mebibyte(result: Result) -> None:
    scenario = result.scenarios[0]
    many = tuple(replace(scenario, name=f"scenario-{index}") for index in range(24))
    drawn = {"false-alarms": figures(result)["false-alarms"]}
    for kind in ("detection-delay", "exposure"):
        svg = figures(result)[f"{kind}-small"]
        drawn |= {figure_name(kind, each.name): svg for each in many}
    page = render_html(replace(result, scenarios=many), drawn)
    assert sum(map(len, drawn.values())) > 2**20 > len(page.encode())
    assert "figures/exposure-scenario-23.svg" in page
    assert page.count("<svg") + page.count("To keep this page small") == len(drawn)


def test_figures_that_do_not_fit_are_pointed_at(result: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(html, "FIGURE_BYTES", 0)
    page = render_html(result, {"false-alarms": "<svg/>"})
    assert "<svg" not in page
    assert "figures/false-alarms.svg" in page
