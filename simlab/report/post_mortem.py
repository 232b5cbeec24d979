"""The page of a replay: timeline, what each policy would have done, blast radius, what became of it, and other thresholds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from simlab.errors import printable
from simlab.hindsight import Swept
from simlab.replays import PolicyReplay, ReplayResult
from simlab.report.figures import draw_svg
from simlab.report.html import Row, Table
from simlab.report.terminal import rows_in_words, unsupported_in_words
from simlab.report.words import words
from simlab.ticks import format_count, format_duration, format_instant

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_EVENTS = 200
_SWEPT_SHOWN = 15
_MOST_POINTS = 4_000
_MEASURES = ("detected", "delay_p50", "alarm_looks_healthy", "false_alarms_per_week")
_HEADS = ("onsets with an alarm in their window", "delay, p50", "healthy time alarming", "false alarms per healthy week")


def render_post_mortem(result: ReplayResult) -> str:
    """Return the page of a replay, complete in itself."""
    loader = PackageLoader("simlab", "report")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["printable"] = printable
    clock = result.series.clock
    begins, ends = format_instant(clock.starts), format_instant(clock.starts + clock.horizon * clock.tick)
    healthy = format_duration(result.healthy_ticks * clock.tick)
    masked = format_duration(result.masked_ticks * clock.tick) + " masked" + unsupported_in_words(result)
    return environment.get_template("post_mortem.html.j2").render(
        result=result,
        span=f"{begins} to {ends}; {healthy} healthy, {masked}; ticks of {format_duration(clock.tick)}.",
        figure=Markup(draw_svg("timeline", lambda: timeline_figure(result))),  # noqa: S704 - drawn here, its text escaped
        events=_event_table(result),
        policies=_policy_table(result),
        onsets=_onset_table(result),
        blast=_blast_table(result),
        incident=result.recording.incident,
        sweeps=[_sweep_table(policy) for policy in result.policies if policy.swept],
        limits=result.limits,
        rows=rows_in_words(result),
    )


def _events(result: ReplayResult) -> Iterator[tuple[str, str]]:
    for onset, width in zip(result.onsets, result.onset_widths, strict=True):
        yield onset, f"onset, known to within {width:g} min" if width else "onset"
    incident = result.recording.incident
    if incident and incident.alarmed is not None:
        yield format_instant(incident.alarmed), "alarm of the time"
    if incident and incident.contained is not None:
        yield format_instant(incident.contained), "contained"
    for mask in result.recording.masks:
        yield format_instant(mask.from_), f"masked until {format_instant(mask.to)}: {mask.why}"
    for policy in result.policies:
        for alarm in policy.alarms:
            yield alarm, f"{policy.policy} begins to alarm"


def _event_table(result: ReplayResult) -> Table:
    events = sorted(_events(result))
    caption = "What happened, and what would have"
    if len(events) > MOST_EVENTS:
        caption += f"; the first {MOST_EVENTS:,} of {len(events):,}, all of them in results.json"
    return Table(caption, ("UTC", "event"), tuple(Row((at,), (what,)) for at, what in events[:MOST_EVENTS]))


def _policy_table(result: ReplayResult) -> Table:
    rows = tuple(
        Row(
            (policy.policy,),
            (
                *(words(policy.estimates[name]) for name in _MEASURES),
                format_count(policy.already_alarming, "onset"),
                format_count(policy.unknown_looks, "look"),
            ),
        )
        for policy in result.policies
    )
    within = format_duration(result.recording.within)
    heads = ("policy", *_HEADS, "already alarming at", "unknown")
    return Table(f"Windows reach {within} beyond the latest moment of an onset; 95 % intervals", heads, rows)


def _onset_table(result: ReplayResult) -> Table:
    rows = tuple(
        Row((onset,), tuple(_delay(policy.onset_delays[index], width) for policy in result.policies))
        for index, (onset, width) in enumerate(zip(result.onsets, result.onset_widths, strict=True))
    )
    return Table("How late after each onset", ("onset, UTC", *(policy.policy for policy in result.policies)), rows)


def _delay(delay: float | None, width: float) -> str:
    if delay is None:
        return "no alarm"
    return f"{max(0.0, delay - width):.1f} to {delay:.1f} min" if width else f"{delay:.1f} min"


def _blast_table(result: ReplayResult) -> Table | None:
    found = [(policy.policy, policy.blast) for policy in result.policies if policy.blast is not None]
    if not found:
        return None
    first = found[0][1]
    rows = [Row(("as it was",), (f"{first.harmed:,.0f}", "", ""))]
    for name, blast in found:
        alarm = "no alarm" if blast.alarm is None else format_instant(blast.alarm)
        rows.append(Row((name,), (f"{blast.harmed - blast.spared:,.0f}", f"{blast.spared:,.0f}", alarm)))
    about = f"{first.unit} from the first onset to containment, above the {first.expected:,.3g} of a healthy tick"
    return Table(about, ("policy", f"{first.unit} harmed", "spared", "first alarm in that time"), tuple(rows))


def _sweep_table(policy: PolicyReplay) -> Table:
    rows = []
    for for_ in dict.fromkeys(each.for_ for each in policy.swept):
        rows += [_swept_row(each) for each in _shown([each for each in policy.swept if each.for_ == for_])]
    caption = f"{policy.policy}: threshold in {policy.ladder}; {len(policy.swept):,} settings were tried, all in results.json"
    return Table(caption, ("threshold", "for", *_HEADS), tuple(rows))


def _shown(swept: list[Swept]) -> list[Swept]:
    """Return some of the settings, evenly by rank, the policy's own among them."""
    places = set(np.linspace(0, len(swept) - 1, min(len(swept), _SWEPT_SHOWN)).round().astype(int).tolist())
    return [each for place, each in enumerate(swept) if place in places or each.as_set]


def _swept_row(each: Swept) -> Row:
    label = f"{each.threshold:.6g}{' (as set)' if each.as_set else ''}"
    held = "" if each.for_ is None else format_duration(each.for_)
    return Row((label, held), tuple(words(each.estimates[name]) for name in _MEASURES))


def timeline_figure(result: ReplayResult) -> Figure:
    """Return the recorded metrics over time, and below them when each policy alarmed."""
    from matplotlib.dates import ConciseDateFormatter
    from matplotlib.figure import Figure

    series, incident = result.series, result.recording.incident
    metrics, policies = list(series.sums), [policy.policy for policy in result.policies]
    figure = Figure(figsize=(7.4, 1.3 * len(metrics) + 0.6 + 0.25 * len(policies)))
    heights = [*(1.3 for _ in metrics), 0.3 + 0.25 * len(policies)]
    axes = figure.subplots(len(metrics) + 1, 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    every = max(1, -(-series.clock.horizon // _MOST_POINTS))
    times = series.stamps.astype("datetime64[ms]")
    for axis, name in zip(axes, metrics, strict=False):
        observations, total, _ = series.sums[name].sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            axis.plot(times[::every], (total / observations)[::every], color="#2f7fc4", linewidth=0.8)
        axis.set_title(printable(name) + (f", every {every}th tick" if every > 1 else ""))
    for place, policy in enumerate(result.policies):
        at = np.array([alarm.rstrip("Z") for alarm in policy.alarms], dtype="datetime64[ms]")
        axes[-1].plot(at, np.full(len(at), place), "|", color="#cc5a1a", markersize=9)
    axes[-1].set_yticks(range(len(policies)), [printable(name)[:40] for name in policies])
    axes[-1].set_ylim(len(policies) - 0.5, -0.5)
    axes[-1].set_title("alarms begin (|); onsets dashed, containment solid, the alarm of the time dotted, masks shaded")
    for axis in axes:
        for onset, latest in zip(series.onsets, series.latest, strict=True):
            axis.axvline(np.datetime64(int(onset), "ms"), color="#a855a0", linestyle="--", linewidth=0.7)
            axis.axvspan(np.datetime64(int(onset), "ms"), np.datetime64(int(latest), "ms"), color="#a855a0", alpha=0.25)
        for mask in result.recording.masks:
            axis.axvspan(np.datetime64(mask.from_, "ms"), np.datetime64(mask.to, "ms"), color="#6b7680", alpha=0.25)
        if incident and incident.alarmed is not None:
            axis.axvline(np.datetime64(incident.alarmed, "ms"), color="#16906a", linestyle=":")
        if incident and incident.contained is not None:
            axis.axvline(np.datetime64(incident.contained, "ms"), color="#16906a")
    axes[-1].xaxis.set_major_formatter(ConciseDateFormatter(axes[-1].xaxis.get_major_locator()))  # type: ignore[no-untyped-call]
    return figure
