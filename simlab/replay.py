"""Replay: whether a policy would have fired, when, how late after each onset, and how often it cried wolf.

The guardrails step through the recording by the same engine as through a simulation. A replay is one factual path: it can
tell when an alarm would have come; it cannot tell what another ramp would have caused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from simlab import __version__
from simlab.documents import Document, read_document
from simlab.engine import Block, Trace, simulate
from simlab.errors import FileErrors, RecordingError
from simlab.guardrails.look import Bools, Code, Integers
from simlab.guardrails.policy import Policy
from simlab.guardrails.rule import Takes
from simlab.measures.estimates import Estimate, proportion, quantile, rate
from simlab.results import Provenance, plain, provenance, typed_command
from simlab.scenario import Response, Rollout, Telemetry
from simlab.schemas import read_settings
from simlab.shipped import shipped_path
from simlab.study import Policies, Study, build_policies, check_policies
from simlab.ticks import WEEK, format_instant
from simlab.world.aggregate import Watched
from simlab.world.recording import Recording, RecordingWorld, Series, read_series

LIMITS = (
    "A replay is one factual path: it shows when an alarm would have come, not what another ramp or an earlier stop would have "
    "caused. Its onsets are as exact as their recording, and its intervals count onsets and minutes as if they were independent."
)


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
        For each onset, minutes to the first alarm within the window; None if there was none.
    already_alarming : int
        Onsets at which it was alarming already: an alarm in their window is counted, but shows no skill.
    unknown_looks : int
        Looks that could not be judged.
    estimates : dict of str to Estimate
        ``detected``, ``delay_p50``, ``alarm_looks_healthy``, ``false_alarms_per_week``.
    """

    policy: str
    alarms: tuple[str, ...]
    alarm_looks: int
    onset_delays: tuple[float | None, ...]
    already_alarming: int
    unknown_looks: int
    estimates: dict[str, Estimate]


@dataclass(frozen=True)
class ReplayResult:
    """The result of a replay.

    Attributes
    ----------
    recording : Recording
        What was replayed.
    ticks, healthy_ticks, masked_ticks : int
        How long it is.
    onsets : tuple of str
        ISO 8601.
    policies : tuple of PolicyReplay
        In the order of the file.
    traces : tuple of Trace
        Look by look.
    provenance : Provenance
        Where the numbers come from.
    """

    recording: Recording
    ticks: int
    healthy_ticks: int
    masked_ticks: int
    onsets: tuple[str, ...]
    policies: tuple[PolicyReplay, ...]
    traces: tuple[Trace, ...]
    provenance: Provenance

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
                "limits": LIMITS,
                "ticks": self.ticks,
                "healthy_ticks": self.healthy_ticks,
                "masked_ticks": self.masked_ticks,
                "onsets": self.onsets,
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
    series = read_series(described, document, data=data)
    _refuse_outside(series)
    policy_document = read_document(shipped_path(policies))
    kind: type[Study] | type[Policies] = Study if "study" in policy_document.data else Policies
    entries = read_settings(policy_document, kind).policies
    found = check_policies(
        entries,
        policy_document,
        metrics=described.values,
        tick=described.tick,
        horizon=series.clock.horizon * described.tick,
        place=f"recording {described.recording}",
    )
    mistakes = [(policy_document.file, mistake) for mistake in found]
    mistakes += list(_not_recorded(entries, policy_document))
    if mistakes:
        raise FileErrors(mistakes)
    worse = {name: value.worse for name, value in described.values.items()}
    built = build_policies(entries, worse=worse, tick=described.tick, segments=1)
    metrics = {
        guardrail.signal.watch
        for policy in built
        for guardrail in policy.guardrails
        if guardrail.signal.watch and guardrail.rule.takes is not Takes.NOTHING
    }
    setting = ReplaySetting(series, built, Watched(frozenset(metrics), first_seen=False))
    inputs = {"recording": document.data, "policies": policy_document.data, "samples": _digest(series)}
    return ReplayPlan((setting,), inputs)


def _refuse_outside(series: Series) -> None:
    """Raise if an onset stands outside the recording."""
    end = series.clock.starts + series.clock.horizon * series.clock.tick
    outside = [onset for onset in series.onsets.tolist() if not series.clock.starts <= onset < end]
    if outside:
        raise RecordingError(f"onset {format_instant(outside[0])} is outside the recording")


def _not_recorded(entries: Any, document: Document) -> list[tuple[str, Any]]:
    """Return a mistake for each guardrail that compares arms or takes a quantile of requests: a metric series has none."""
    return [
        (document.file, document.mistake(("policies", index, "guardrails", number, "quantile"), "signal",
                                         "a metric series has no single durations"))
        for index, policy in enumerate(entries)
        for number, entry in enumerate(policy.guardrails)
        if entry.quantile is not None
    ] + [
        (document.file, document.mistake(("policies", index, "guardrails", number), "signal",
                                         "a metric series has no arms to compare; watch everyone"))
        for index, policy in enumerate(entries)
        for number, entry in enumerate(policy.guardrails)
        if entry.compare is not None or entry.of in {"treatment", "control"}
    ]  # fmt: skip


def _digest(series: Series) -> str:
    """Return the SHA-256 of what was read: stamps, values, onsets."""
    held = hashlib.sha256(series.stamps.tobytes())
    for name in sorted(series.values):
        held.update(name.encode() + series.values[name].tobytes())
    held.update(series.onsets.tobytes())
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
    masked = _masked(series)
    healthy = ~masked & ~_within_onsets(series)
    return ReplayResult(
        recording=series.recording,
        ticks=series.clock.horizon,
        healthy_ticks=int(healthy.sum()),
        masked_ticks=int(masked.sum()),
        onsets=tuple(format_instant(onset) for onset in series.onsets.tolist()),
        policies=tuple(_policy_replay(trace, series, masked, healthy) for trace in traces),
        traces=traces,
        provenance=provenance(plan.digest, seed=plan.seed, command=command or typed_command()),
    )


def _masked(series: Series) -> Bools:
    """Return the ticks whose value was known in masked time, bool[ticks]."""
    masked = np.zeros(series.clock.horizon, dtype=bool)
    for mask in series.recording.masks:
        masked |= (series.stamps >= mask.from_) & (series.stamps <= mask.to)
    return masked


def _within_onsets(series: Series) -> Bools:
    """Return the ticks whose value was known in the window after an onset, bool[ticks]."""
    inside = np.zeros(series.clock.horizon, dtype=bool)
    for onset in series.onsets.tolist():
        inside |= (series.stamps > onset) & (series.stamps <= onset + series.recording.within)
    return inside


def alarming(trace: Trace, ticks: int) -> Bools:
    """Return at which ticks' ends any guardrail answered alarm, bool[ticks]; between looks the last answer stands."""
    found = np.zeros(ticks, dtype=bool)
    for times, codes in zip(trace.times, trace.codes, strict=True):
        last = np.searchsorted(times, np.arange(1, ticks + 1), side="right") - 1
        found |= np.where(last >= 0, codes[np.maximum(last, 0), 0] == Code.ALARM, False)
    return found


def _policy_replay(trace: Trace, series: Series, masked: Bools, healthy: Bools) -> PolicyReplay:
    alarms = alarming(trace, series.clock.horizon)
    began = alarms & ~np.concatenate([[False], alarms[:-1]])
    delays, already = _delays(alarms, series, masked)
    detected = np.array([delay for delay in delays if delay is not None])
    reached = np.array([np.inf if delay is None else delay for delay in delays])
    weeks = healthy.sum() * series.clock.tick / WEEK
    estimates = {
        "detected": proportion(len(detected), len(delays)),
        "delay_p50": quantile(reached, 0.5, unit="min"),
        "alarm_looks_healthy": proportion(int((alarms & healthy).sum()), int(healthy.sum())),
        "false_alarms_per_week": rate(int((began & healthy).sum()), float(weeks), unit="per week"),
    }
    return PolicyReplay(
        policy=trace.policy,
        alarms=tuple(format_instant(stamp) for stamp in series.stamps[began].tolist()),
        alarm_looks=int((alarms & ~masked).sum()),
        onset_delays=tuple(delays),
        already_alarming=already,
        unknown_looks=int(sum(unknown.sum() for unknown in trace.unknown)),
        estimates=estimates,
    )


def _delays(alarms: Bools, series: Series, masked: Bools) -> tuple[list[float | None], int]:
    """Return for each onset the minutes to the first alarm in its window, and how often it was alarming already."""
    delays: list[float | None] = []
    already = 0
    for onset in series.onsets.tolist():
        before = int(np.searchsorted(series.stamps, onset, side="right")) - 1
        if before >= 0 and alarms[before]:
            already += 1
        inside = (series.stamps > onset) & (series.stamps <= onset + series.recording.within)
        hits = series.stamps[inside & alarms & ~masked]
        delays.append(float(hits[0] - onset) / 60_000 if len(hits) else None)
    return delays, already
