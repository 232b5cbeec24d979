"""Replay: whether a policy would have fired, when, how late after each onset, and how often it cried wolf.

The guardrails step through the recording by the same engine as through a simulation. A replay is one factual path: it can
tell when an alarm would have come; it cannot tell what another ramp would have caused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from simlab import __version__
from simlab.documents import Document, read_document
from simlab.engine import Block, Trace, simulate
from simlab.errors import FileErrors, RecordingError
from simlab.guardrails.look import Integers
from simlab.guardrails.policy import Policy
from simlab.hindsight import Blast, Swept, Timeline, alarming, blast, measure_alarms, sweep, timeline
from simlab.measures.estimates import Estimate
from simlab.results import Provenance, plain, provenance, typed_command
from simlab.scenario import Response, Rollout, Telemetry
from simlab.schemas import read_settings
from simlab.shipped import shipped_path
from simlab.study import Policies, Study, own_rules
from simlab.ticks import format_instant
from simlab.watching import Watchable, build_policies, check_policies
from simlab.world.aggregate import Watched
from simlab.world.reading import read_series
from simlab.world.recording import Recording, RecordingWorld, Series

LIMITS = (
    "A replay is one factual path: it shows when an alarm would have come, not what another ramp or an earlier stop would have "
    "caused. Its onsets are as exact as their recording, and its intervals count onsets and minutes as if they were independent. "
    "What an alarm would have spared supposes that it had contained the harm at once."
)
CUMULATIVE_LIMITS = (
    " Cumulative statistics are replayed by their increments, as if each came from units that had not been counted before; where "
    "the same users return, the variance of a look is not theirs and no rule keeps its promise, unless it watches unit: user."
)
SUPPORT_LIMITS = (
    " Rows whose exposure was not real are no evidence and were left out: where a tick has no others no policy could have been "
    "judged, so such ticks count as neither healthy nor harmed, and a harm that nobody was really exposed to cannot be detected."
)
FOR_LOOKS = (0, 1, 2, 3, 5, 10, 15)
"""Looks for which a condition must have held, tried where a rule has such a setting."""


@dataclass(frozen=True)
class ReplaySetting:
    """A recording with the policies that watch it, as the engine takes it."""

    series: Series
    policies: tuple[Policy, ...]
    watched: Watched
    twin: bool = False
    rollout: Rollout | None = None
    telemetry: Telemetry = Telemetry()  # noqa: RUF009
    response: Response | None = None
    lanes_at_once: int | None = None

    def world(self, lanes: Integers, *, seed: int) -> RecordingWorld:  # noqa: ARG002
        """Return the recorded world; it has one lane."""
        if len(lanes) != 1:
            raise ValueError("a recording has one lane")
        return RecordingWorld(self.series, self.watched)


@dataclass(frozen=True)
class ReplayPlan:
    """What is replayed."""

    settings: tuple[ReplaySetting, ...]
    documents: Mapping[str, object]
    seed: int = 0
    traced: int = 1

    @property
    def canonical(self) -> str:
        """Return the plan as canonical JSON."""
        return json.dumps({"replay": 1, "simlab": __version__, **self.documents}, sort_keys=True, separators=(",", ":"))

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON, in hexadecimal."""
        return hashlib.sha256(self.canonical.encode()).hexdigest()


@dataclass(frozen=True)
class PolicyReplay:
    """What one policy would have done.

    Attributes
    ----------
    policy : str
        Its name.
    alarms : tuple of str
        When it began to alarm, ISO 8601.
    alarm_looks : int
        Looks at which it alarmed, masked time left out.
    onset_delays : tuple of float or None
        For each onset, minutes from its earliest moment to the first alarm within the window; None if there was none.
    already_alarming : int
        Onsets at which it was alarming already: an alarm in their window is counted, but shows no skill.
    unknown_looks : int
        Looks that could not be judged.
    estimates : dict of str to Estimate
        ``detected``, ``delay_p50``, ``alarm_looks_healthy``, ``false_alarms_per_week``.
    blast : Blast or None
        Harm done and harm that came after its alarm, where the recording says what counts harm.
    ladder : str
        The unit of the thresholds swept; ``none`` where there is not one to sweep.
    swept : tuple of Swept
        What every threshold, and every ``for``, would have come to.
    """

    policy: str
    alarms: tuple[str, ...]
    alarm_looks: int
    onset_delays: tuple[float | None, ...]
    already_alarming: int
    unknown_looks: int
    estimates: dict[str, Estimate]
    blast: Blast | None
    ladder: str
    swept: tuple[Swept, ...]


@dataclass(frozen=True)
class ReplayResult:
    """The result of a replay.

    Attributes
    ----------
    recording : Recording
        What was replayed.
    series : Series
        As it was read.
    ticks, healthy_ticks, masked_ticks : int
        How long it is.
    unsupported_ticks : int
        Those whose rows are all of exposures that were not real.
    rows : dict of str to int
        How many rows were read, left out, repaired or without a value.
    onsets : tuple of str
        Their earliest moments, ISO 8601.
    onset_widths : tuple of float
        Minutes from the earliest to the latest moment of each.
    policies : tuple of PolicyReplay
        In the order of the file.
    traces : tuple of Trace
        Look by look.
    provenance : Provenance
        Where the numbers come from.
    """

    recording: Recording
    series: Series
    ticks: int
    healthy_ticks: int
    masked_ticks: int
    unsupported_ticks: int
    rows: dict[str, int]
    onsets: tuple[str, ...]
    onset_widths: tuple[float, ...]
    policies: tuple[PolicyReplay, ...]
    traces: tuple[Trace, ...]
    provenance: Provenance

    @property
    def limits(self) -> str:
        """What this replay cannot tell."""
        cumulative = CUMULATIVE_LIMITS if self.recording.kind == "cumulative" else ""
        return LIMITS + cumulative + (SUPPORT_LIMITS if self.recording.support is not None else "")

    @property
    def judged(self) -> bool:
        """Whether any look of any policy could be judged; no data is never green."""
        return any(bool((~unknown).any()) for trace in self.traces for unknown in trace.unknown)

    def to_dict(self) -> dict[str, Any]:
        """Return what ``results.json`` holds."""
        held: dict[str, Any] = plain(
            {
                "schema": 1,
                "status": "replayed",
                "recording": self.recording.recording,
                "limits": self.limits,
                "ticks": self.ticks,
                "healthy_ticks": self.healthy_ticks,
                "masked_ticks": self.masked_ticks,
                "unsupported_ticks": self.unsupported_ticks,
                "rows": self.rows,
                "onsets": self.onsets,
                "onset_widths": self.onset_widths,
                "incident": asdict(self.recording.incident) if self.recording.incident else None,
                "policies": [asdict(policy) for policy in self.policies],
                "provenance": asdict(self.provenance),
            }
        )
        return held

    def to_json(self) -> str:
        """Return `to_dict` as JSON text."""
        return json.dumps(self.to_dict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def load_replay(recording: str | Path, *, policies: str | Path, data: Path | None = None) -> ReplayPlan:
    """Return the plan of a replay.

    Parameters
    ----------
    recording : str or Path
        The small file that describes the recording.
    policies : str or Path
        A study, or a file that holds nothing but policies.
    data : Path, optional
        Folder of the data; beside the recording's file if not given.

    Raises
    ------
    FileErrors
        With every mistake of the two files.
    RecordingError
        If the data cannot be trusted.
    """
    document = read_document(shipped_path(recording))
    described = read_settings(document, Recording)
    policy_document = read_document(shipped_path(policies))
    kind: type[Study] | type[Policies] = Study if "study" in policy_document.data else Policies
    entries = read_settings(policy_document, kind).policies
    asked = Watched.by((entry, rule) for policy in entries for entry in policy.guardrails if (rule := entry.chosen) is not None)
    series = read_series(described, document, data=data, watched=asked)
    _refuse_outside(series)
    segments = len(series.more.segments)
    horizon = series.clock.horizon * described.tick
    watched = Watchable(f"recording {described.recording}", described.values, described.tick, horizon, segments)
    found = check_policies(entries, policy_document, watched=watched)
    mistakes = [(policy_document.file, mistake) for mistake in found]
    mistakes += list(_not_recorded(entries, policy_document, described))
    if mistakes:
        raise FileErrors(mistakes)
    worse = {name: value.worse for name, value in described.values.items()}
    built = build_policies(entries, worse=worse, tick=described.tick, segments=segments)
    setting = ReplaySetting(series, built, asked)
    inputs = {"recording": document.data, "policies": policy_document.data, "samples": _digest(series), **own_rules(entries)}
    return ReplayPlan((setting,), inputs)


def _refuse_outside(series: Series) -> None:
    """Raise if an onset stands outside the recording."""
    end = series.clock.starts + series.clock.horizon * series.clock.tick
    moments = [*series.onsets.tolist(), *series.latest.tolist()]
    outside = [onset for onset in moments if not series.clock.starts <= onset < end]
    if outside:
        raise RecordingError(f"onset {format_instant(outside[0])} is outside the recording")


def _not_recorded(entries: Any, document: Document, recording: Recording) -> Iterator[tuple[str, Any]]:
    """Yield a mistake for each guardrail that compares what was not recorded: arms, users, single values."""
    events = recording.kind == "events"
    for index, policy in enumerate(entries):
        for number, entry in enumerate(policy.guardrails):
            problem = ""
            if entry.compare == "shares" and not (events and recording.user):
                problem = "shares are of users; say the user column of an event log with arms"
            elif recording.arms is None and (entry.compare is not None or entry.of in {"treatment", "control"}):
                problem = "this recording has no arms to compare; watch everyone"
            if entry.covariate is not None:
                problem = "a recording does not say who its users were before"
            elif entry.quantile is not None and not events:
                problem = "the recording has sums only, no single durations; an event log has them"
            elif entry.unit == "user" and recording.kind != "cumulative" and not (events and recording.user):
                problem = "the recording does not know its users: an event log's user column does, or cumulative statistics"
            if problem:
                yield document.file, document.mistake(("policies", index, "guardrails", number), "signal", problem)


def _digest(series: Series) -> str:
    """Return the SHA-256 of what was read: stamps, sums, onsets."""
    held = hashlib.sha256(series.stamps.tobytes())
    for name in sorted(series.cells):
        held.update(name.encode() + series.cells[name].tobytes())
    held.update(series.onsets.tobytes() + series.latest.tobytes())
    return held.hexdigest()


def run_replay(plan: ReplayPlan, *, command: str | None = None) -> ReplayResult:
    """Step every policy through the recording.

    Raises
    ------
    RuleError
        If a rule fails.
    """
    setting = plan.settings[0]
    traces = simulate(plan, Block(0, 0, 1)).traces
    series = setting.series
    over = timeline(series)
    swept = _sweep(plan, traces, over)
    return ReplayResult(
        recording=series.recording,
        series=series,
        ticks=series.clock.horizon,
        healthy_ticks=int(over.healthy.sum()),
        masked_ticks=int(over.masked.sum()),
        unsupported_ticks=int((~series.supported).sum()),
        rows=series.rows,
        onsets=tuple(format_instant(onset) for onset in series.onsets.tolist()),
        onset_widths=tuple(((series.latest - series.onsets) / 60_000).tolist()),
        policies=tuple(
            _policy_replay(policy, trace, over, swept[policy.name])
            for policy, trace in zip(setting.policies, traces, strict=True)
        ),
        traces=traces,
        provenance=provenance(plan.digest, seed=plan.seed, command=command or typed_command()),
    )


def _policy_replay(policy: Policy, trace: Trace, over: Timeline, swept: tuple[Swept, ...]) -> PolicyReplay:
    alarms = alarming(trace, over.series.clock.horizon)
    measured = measure_alarms(alarms, over)
    return PolicyReplay(
        policy=trace.policy,
        alarms=tuple(format_instant(stamp) for stamp in over.series.stamps[measured.began].tolist()),
        alarm_looks=int((alarms & ~over.masked).sum()),
        onset_delays=measured.delays,
        already_alarming=measured.already,
        unknown_looks=int(sum(unknown.sum() for unknown in trace.unknown)),
        estimates=measured.estimates,
        blast=blast(alarms, over),
        ladder=policy.guardrails[0].rule.ladder if len(policy.guardrails) == 1 else "none",
        swept=swept,
    )


def _sweep(plan: ReplayPlan, traces: tuple[Trace, ...], over: Timeline) -> dict[str, tuple[Swept, ...]]:
    """Return what every threshold and every `for` would have come to, by policy; another `for` is run, not read off."""
    setting = plan.settings[0]
    variants = [variant for policy in setting.policies for variant in _other_for(policy)]
    runs = list(zip(setting.policies, traces, strict=True))
    if variants:
        several = replace(setting, policies=tuple(variants))
        runs += zip(variants, simulate(replace(plan, settings=(several,)), Block(0, 0, 1)).traces, strict=True)
    set_for = {policy.name: getattr(policy.guardrails[0].rule, "for_", None) for policy in setting.policies}
    found: dict[str, list[Swept]] = {policy.name: [] for policy in setting.policies}
    for policy, trace in runs:
        found[policy.name] += sweep(policy, trace, over, set_for=set_for[policy.name])
    return {name: tuple(sorted(each, key=lambda one: (one.for_ or 0, one.threshold))) for name, each in found.items()}


def _other_for(policy: Policy) -> Iterator[Policy]:
    """Yield a policy with other settings of ``for``, counted in looks, where its one rule has it."""
    guardrail, *others = policy.guardrails
    set_for = getattr(guardrail.rule, "for_", None)
    if others or set_for is None:
        return
    for looks in FOR_LOOKS:
        if looks * guardrail.every != set_for:
            rule: Any = replace(guardrail.rule, for_=looks * guardrail.every)  # type: ignore[type-var]
            yield replace(policy, guardrails=(replace(guardrail, rule=rule),))
