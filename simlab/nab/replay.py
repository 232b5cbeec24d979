"""Guardrails scored by the benchmark: the objects that step through a study step through its series, row by row.

A row is one look, whatever its stamp says, as the benchmark counts rows. Series of one probation are lanes side by side. A
guardrail that learns a baseline learns it inside the probation of each series, which the benchmark gives for that.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from simlab import __version__
from simlab.documents import read_document
from simlab.errors import FileErrors
from simlab.guardrails.guardrail import Guardrail
from simlab.guardrails.look import ARMS, OUTSIDE, Floats, Integers, Look, Sums
from simlab.guardrails.policy import Policy
from simlab.guardrails.rule import NO_LADDER
from simlab.nab.corpus import Corpus, read_corpus
from simlab.nab.scoring import Profile, best_threshold, raw_score, rising_edges, scaled
from simlab.results import Provenance, plain, provenance, typed_command
from simlab.schemas import read_settings
from simlab.shipped import shipped_path
from simlab.study import Policies, PolicyEntry
from simlab.watching import Watchable, build_policies, check_policies

METRIC = "value"
NOTE = (
    "A detection of a guardrail is the beginning of an alarm; of a recorded detector, as the benchmark has it, every row at or "
    "above the threshold. Guardrails are never reset: one that goes on alarming detects once. Optimised thresholds were chosen "
    "with the labels that they are scored on, as the leaderboard's were."
)


@dataclass(frozen=True)
class NabPlan:
    """What is scored on what."""

    corpus: Corpus
    policies: tuple[Policy, ...]
    document: object

    @property
    def canonical(self) -> str:
        """Return the plan as canonical JSON."""
        held = {"nab": 1, "simlab": __version__, "policies": self.document, "corpus": self.corpus.digest}
        return json.dumps(held, sort_keys=True, separators=(",", ":"))

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON, in hexadecimal."""
        return hashlib.sha256(self.canonical.encode()).hexdigest()


@dataclass(frozen=True)
class NabScore:
    """One total, from 0 for no detections to 100 for perfect ones.

    Attributes
    ----------
    who : str
        Policy or detector.
    profile : str
        Of the benchmark.
    score : float
        At the thresholds that were set without labels.
    threshold : float
        That threshold, in the ladder coordinate.
    optimised : float or None
        At the threshold that the labels choose; None where there is not one threshold to choose.
    optimised_threshold : float or None
        Infinite where nothing is better than silence.
    """

    who: str
    profile: str
    score: float
    threshold: float | None
    optimised: float | None
    optimised_threshold: float | None


@dataclass(frozen=True)
class NabResult:
    """Totals of guardrails beside those of detectors.

    Attributes
    ----------
    policies : tuple of NabScore
        By policy and profile.
    recomputed : tuple of NabScore
        Of the detectors whose scores are recorded, at their published thresholds, by the same scoring.
    leaderboard : dict of str to dict of str to float
        As published.
    series, windows : int
        How many were scored.
    provenance : Provenance
        Where the numbers come from.
    """

    policies: tuple[NabScore, ...]
    recomputed: tuple[NabScore, ...]
    leaderboard: dict[str, dict[str, float]]
    series: int
    windows: int
    provenance: Provenance

    def to_dict(self) -> dict[str, Any]:
        """Return what ``results.json`` holds."""
        held: dict[str, Any] = plain({"schema": 1, "status": "scored", "note": NOTE, **asdict(self)})
        return held

    def to_json(self) -> str:
        """Return `to_dict` as JSON text."""
        return json.dumps(self.to_dict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def load_nab(policies: str | Path, *, data: Path) -> NabPlan:
    """Return the plan that scores a file of policies on the corpus in a folder.

    Raises
    ------
    FileErrors
        With every mistake of the policies.
    RecordingError
        If the corpus cannot be read.
    """
    document = read_document(shipped_path(policies))
    entries = read_settings(document, Policies).policies
    tick = entries[0].guardrails[0].every
    corpus = read_corpus(data)
    rows = max(len(values) for values in corpus.values)
    place = "the benchmark, a row being a look,"
    mistakes = list(check_policies(entries, document, watched=Watchable(place, {METRIC: None}, tick, rows * tick)))
    for index, number in _elsewhere(entries, tick):
        problem = "a row of the benchmark is one look at one value: watch everyone, every guardrail as often as the first"
        mistakes.append(document.mistake(("policies", index, "guardrails", number), "signal", problem))
    for index, policy in enumerate(entries):
        if policy.combine != "any" or policy.budget is not None:
            problem = "the benchmark scores guardrails by themselves: no combine, no budget"
            mistakes.append(document.mistake(("policies", index), "signal", problem))
    if mistakes:
        raise FileErrors((document.file, mistake) for mistake in dict.fromkeys(mistakes))
    return NabPlan(corpus, build_policies(entries, worse={METRIC: "up"}, tick=tick, segments=1), document.data)


def _elsewhere(entries: tuple[PolicyEntry, ...], tick: int) -> Iterator[tuple[int, int]]:
    for index, policy in enumerate(entries):
        for number, entry in enumerate(policy.guardrails):
            if entry.every != tick or entry.compare is not None or entry.of in {"treatment", "control"}:
                yield index, number


def run_nab(plan: NabPlan, *, command: str | None = None) -> NabResult:
    """Score every policy and every recorded detector.

    Raises
    ------
    RuleError
        If a rule fails.
    """
    corpus = plan.corpus
    stepped = _statistics(plan)
    scores = []
    first = 0
    for policy in plan.policies:
        held = stepped[first : first + len(policy.guardrails)]
        first += len(policy.guardrails)
        scores += [_score_policy(policy, held, corpus, profile) for profile in corpus.profiles]
    return NabResult(
        policies=tuple(scores),
        recomputed=tuple(_score_detector(name, corpus, profile) for name in corpus.recorded for profile in corpus.profiles),
        leaderboard=corpus.leaderboard,
        series=len(corpus.series),
        windows=sum(len(series.windows) for series in corpus.series),
        provenance=provenance(plan.digest, seed=0, command=command or typed_command()),
    )


def _score_policy(policy: Policy, held: list[list[Floats]], corpus: Corpus, profile: Profile) -> NabScore:
    rules = [guardrail.rule for guardrail in policy.guardrails]
    raw = 0.0
    for index, series in enumerate(corpus.series):
        alarms = np.any([one[index] >= rule.threshold for one, rule in zip(held, rules, strict=True)], axis=0)
        raw += raw_score(rising_edges(alarms), series, profile)
    score = scaled(raw, corpus.series, profile)
    if len(rules) > 1 or rules[0].ladder == NO_LADDER:
        return NabScore(policy.name, profile.name, score, None, None, None)
    best = best_threshold(held[0], corpus.series, profile, edges=True)
    optimised = scaled(best.raw, corpus.series, profile)
    return NabScore(policy.name, profile.name, score, rules[0].threshold, optimised, best.threshold)


def _score_detector(name: str, corpus: Corpus, profile: Profile) -> NabScore:
    recorded = corpus.recorded[name]
    threshold = corpus.thresholds[name][profile.name]
    pairs = zip(recorded, corpus.series, strict=True)
    raw = sum(raw_score(values >= threshold, series, profile) for values, series in pairs)
    best = best_threshold(recorded, corpus.series, profile, edges=False)
    score, optimised = (scaled(total, corpus.series, profile) for total in (raw, best.raw))
    return NabScore(name, profile.name, score, threshold, optimised, best.threshold)


def _statistics(plan: NabPlan) -> list[list[Floats]]:
    """Return the statistic of every guardrail of every policy at each row of each series, -inf where it could not judge."""
    series = plan.corpus.series
    guardrails = tuple(guardrail for policy in plan.policies for guardrail in policy.guardrails)
    held: list[list[Floats]] = [[np.empty(0)] * len(series) for _ in guardrails]
    for probation in sorted({each.probation for each in series}):
        members = [index for index, each in enumerate(series) if each.probation == probation]
        # One policy of all guardrails, so that what several of them watch is seen once.
        policy = Policy("nab", tuple(_within(guardrail, probation) for guardrail in guardrails))
        found = _step(policy, [plan.corpus.values[index] for index in members], np.array(members))
        for number, statistics in enumerate(found):
            for lane, index in enumerate(members):
                held[number][index] = statistics[: len(plan.corpus.values[index]), lane]
    return held


def _within(guardrail: Guardrail, probation: int) -> Guardrail:
    """Return a guardrail that learns its baseline, if it has one, inside the probation."""
    signal = guardrail.signal
    if signal.baseline is None:
        return guardrail
    room = probation * guardrail.every - signal.warmup
    return replace(guardrail, signal=replace(signal, baseline=max(guardrail.every, min(signal.baseline, room))))


def _step(policy: Policy, values: list[Floats], lanes: Integers) -> list[Floats]:
    """Return float64[rows, lanes] for each guardrail; series that are over are lanes without data."""
    rows = max(len(each) for each in values)
    padded = np.full((rows, len(values)), np.nan)
    for lane, each in enumerate(values):
        padded[: len(each), lane] = each
    state = policy.initial(1, len(values))
    found = [np.full(padded.shape, -np.inf) for _ in policy.guardrails]
    cadence = policy.cadences[0]
    for row in range(rows):
        state, decisions = policy.step(state, {cadence: _look(padded[row], row, lanes)})
        for statistics, decision in zip(found, decisions, strict=True):
            if decision is not None:
                statistics[row] = np.where(decision.unknown, -np.inf, decision.statistic)
    return found


def _look(values: Floats, row: int, lanes: Integers) -> Look:
    lanes_n = len(lanes)
    known = ~np.isnan(values)
    filled = np.where(known, values, 0.0)
    sums = np.zeros((3, 1, 1, len(ARMS), lanes_n))
    sums[:, 0, 0, OUTSIDE] = known, filled, filled * filled
    no = np.zeros(lanes_n, dtype=bool)
    return Look(
        time=row + 1,
        start=np.full(lanes_n, row),
        end=np.full(lanes_n, row + 1),
        lanes=lanes,
        seed=0,
        sums={METRIC: Sums(*sums)},
        first_seen=None,
        shares=np.zeros((1, 2, lanes_n)),
        missing=no,
        one_armed=~no,
    )


def totals(scores: tuple[NabScore, ...]) -> Mapping[str, dict[str, NabScore]]:
    """Return scores by name and profile."""
    found: dict[str, dict[str, NabScore]] = {}
    for score in scores:
        found.setdefault(score.who, {})[score.profile] = score
    return found
