"""A result on a terminal: the verdict first, then its arithmetic, then every number with its interval, in 80 columns.

Names come from files: they are printed as they are, no markup is read in them, and control characters are shown, not obeyed.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from simlab.errors import printable
from simlab.measures.estimates import Estimate
from simlab.measures.gates import FAILED, INCONCLUSIVE, PASSED, Verdict
from simlab.plan import BASELINE
from simlab.replays import PolicyReplay, ReplayResult
from simlab.report.words import PRECISE, confidence, measure, needs, percent, spent_in_words, where_it_stopped, words
from simlab.results import Result, ScenarioResult, ShieldPrice
from simlab.ticks import format_count, format_duration

_STYLES = {PASSED: "bold green", FAILED: "bold red", INCONCLUSIVE: "bold yellow"}
_MEASURES = (
    "false_alarms",
    "detected",
    "detected_at_random",
    "delay_restricted_mean",
    "users_harmed",
    "users_exposed",
    "ramp_time_lost",
)
_REPLAYED = {
    "detected": "alarm in the window of an onset (n: onsets)",
    "delay_p50": "delay, p50 (n: onsets)",
    "alarm_looks_healthy": "healthy time alarming (n: ticks)",
    "false_alarms_per_week": "false alarms per healthy week (n: alarms)",
}
_ALARMS_SHOWN = 3


def print_result(result: Result, console: Console) -> None:
    """Print a result: verdict, gates, and a table for each scenario."""
    _print_first_line(console, result.status, result.plan.study.study, result.provenance.plan)
    if result.verdicts:
        console.print(_gates(result.verdicts))
    else:
        _print(console, "The study has no gates, so that nothing was judged.")
    for each in result.precise:
        said = words(each.estimate)
        reached = "as narrow as asked for" if each.reached else "not as narrow as asked for"
        interval = f"{confidence(each.estimate.confidence)} interval {said.interval}"
        about = f"{each.scenario} / {each.policy}: {PRECISE[each.measure]} {said.value}, {interval}, n = {said.n}"
        _print(console, f"{about}, half-width {percent(each.half_width)}: {reached}")
    for scenario in result.scenarios:
        _print_scenario(console, scenario)
    if note := where_it_stopped(result):
        _print(console, note, style="dim")


def print_replay(result: ReplayResult, console: Console) -> None:
    """Print a replay: what it is, what it cannot tell, and a table of what each policy would have done."""
    status = "replayed" if result.judged else INCONCLUSIVE
    _print_first_line(console, status, result.recording.recording, result.provenance.plan)
    if not result.judged:
        _print(console, "No look of any policy could be judged.")
    ticks, onsets = format_count(result.ticks, "tick"), format_count(len(result.onsets), "onset")
    _print(console, f"Rows: {rows_in_words(result)}.")
    _print(
        console,
        f"{ticks} of {format_duration(result.recording.tick)}, {result.healthy_ticks:,} of them healthy and "
        f"{result.masked_ticks:,} masked{unsupported_in_words(result)}; {onsets}.",
    )
    console.print(
        estimates_table(
            {label: {each.policy: each.estimates[name] for each in result.policies} for name, label in _REPLAYED.items()}
        )
    )
    for each in result.policies:
        _print(console, f"{each.policy}: {_alarms(each)}")
    _print(console, result.limits, style="dim")


def rows_in_words(result: ReplayResult) -> str:
    """Return how many rows were read, left out, repaired or without a value."""
    return ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in result.rows.items())


def unsupported_in_words(result: ReplayResult) -> str:
    """Return how many ticks had no real exposure; nothing where the recording does not say which were real."""
    return f", {result.unsupported_ticks:,} without a real exposure" if result.recording.support is not None else ""


def _print(console: Console, text: str, *, style: str = "") -> None:
    console.print(Text(printable(text), style=style))


def _print_first_line(console: Console, status: str, name: str, digest: str) -> None:
    verdict = Text(status.upper(), style=_STYLES.get(status, "bold"))
    # However narrow the terminal is, a tool that reads the first line reads all of it.
    console.print(verdict.append(printable(f"  {name}  plan {digest[:12]}"), style="not bold default"), soft_wrap=True)


def _gates(verdicts: Iterable[Verdict]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("decision", no_wrap=True)
    table.add_column("gate and its arithmetic", overflow="fold")
    for verdict in verdicts:
        said = words(verdict.estimate)
        interval = f", {confidence(verdict.estimate.confidence)} interval {said.interval}" if said.interval else ""
        lines = (
            f"{verdict.scenario} / {verdict.policy}: {verdict.gate}",
            f"{said.value}{interval}, n = {said.n}; needs {needs(verdict)}",
        )
        decision = Text(verdict.decision.upper(), style=_STYLES[verdict.decision])
        table.add_row(decision, Text("\n".join(printable(line) for line in lines)))
    return table


def _print_scenario(console: Console, scenario: ScenarioResult) -> None:
    limit = scenario.performances[0].limit_minutes
    _print(console, f"{scenario.name}: {format_count(scenario.lanes, 'lane')}", style="bold")
    held = {_marked(each.policy, reference=each.reference): each.estimates for each in scenario.performances}
    groups = {
        measure(name, limit_minutes=limit): {policy: found[name] for policy, found in held.items() if name in found}
        for name in _MEASURES
    }
    console.print(estimates_table({label: found for label, found in groups.items() if found}))
    if limit:
        followed = format_duration(limit * 60_000)
        note = f"Lanes are followed for {followed} after the onset; a longer delay counts as {followed} in the mean."
        _print(console, f"{note} Users: in lanes whose harm began before any action.", style="dim")
    else:
        _print(console, "This scenario has no harm.", style="dim")
    for price in scenario.prices:
        _print_price(console, price, limit)
    for check in scenario.guarantees:
        if check.claim:
            _print(console, f"{check.policy}, {check.rule}: {check.claim}: {check.verdict}", style="dim")
    console.print()


def _print_price(console: Console, price: ShieldPrice, limit: float) -> None:
    """Print what the shield costs a policy, more being worse."""
    _print(console, f"What the shield costs {price.difference.first}, with it minus without:")
    console.print(
        estimates_table(
            {measure(name, limit_minutes=limit): {"": each} for name, each in price.difference.estimates.items()}, signed={""}
        )
    )
    if price.spent is not None:
        _print(console, f"Noise: {spent_in_words(price.spent)}.", style="dim")


def _marked(policy: str, *, reference: bool) -> str:
    return f"{policy} (reference)" if reference and policy != BASELINE.name else policy


def estimates_table(groups: Mapping[str, Mapping[str, Estimate]], *, signed: Container[str] = ()) -> Table:
    """Return a table of estimates, grouped by measure, so that any number of policies fits; `signed` are differences."""
    table = Table(box=None, pad_edge=False)
    table.add_column("", overflow="fold", ratio=1)
    for title in ("value", "95 % interval", "n"):
        table.add_column(title, justify="right", no_wrap=True)
    for label, estimates in groups.items():
        table.add_row(Text(printable(label), style="bold"))
        for policy, estimate in estimates.items():
            said = words(estimate, signed=policy in signed)
            table.add_row(Text(printable(f"  {policy}")), Text(said.value), Text(said.interval), Text(said.n))
    return table


def _alarms(replay: PolicyReplay) -> str:
    """Return the alarms of a policy in words."""
    shown = ", ".join(replay.alarms[:_ALARMS_SHOWN]) + (", ..." if len(replay.alarms) > _ALARMS_SHOWN else "")
    text = format_count(len(replay.alarms), "alarm") + (f" ({shown})" if shown else "")
    unknown, met = format_count(replay.unknown_looks, "look"), format_count(replay.already_alarming, "onset")
    return f"{text}, {unknown} unknown, {met} met it alarming already"
