"""What guardrails would have done on public recordings: a pet shop's incidents, a retailer's experiments, a cloud's monitoring.

Run ``python -m tests.recorded`` from the project's root, with the recordings in ``../shared/data`` or ``SIMLAB_DATA``; a minute.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from simlab import Arrived, Assigned, Guardrail, Monitor, Signal, replay
from simlab import rule as rule_of
from simlab.errors import RecordingError
from simlab.guardrails.look import ARMS, OUTSIDE, Floats
from simlab.measures.estimates import Estimate, proportion, rate
from simlab.replays import ReplayPlan, ReplayResult, ReplaySetting, run_replay
from simlab.report.words import words
from simlab.schemas import read_settings
from simlab.study import Policies
from simlab.ticks import DAY, Clock, format_instant
from simlab.watching import build_policies
from simlab.world.aggregate import Watched
from simlab.world.recording import Between, Recording, Series, ValueColumn
from simlab.yaml_text import read_yaml
from tests.worlds import document

REPORT = Path("reports") / "gallery" / "recorded.md"
CONFIDENCE = "95 % intervals, Clopper-Pearson and Garwood; they count series, onsets and alarms as if they were independent."

PETSHOP = """
recording: CASE
file: petshop_high_traffic.parquet
tick: 5m
time: {column: ts, unit: s}
where: {case: CASE, node: PetSite, metric: METRIC, stat: Average}
values: {value: {column: value, worse: WORSE}}
within: 25m
gaps: unknown
"""
LIMIT = "policies: [{name: three-sigma, guardrails: [{watch: value, of: everyone, rule: {RULE: {limit: LIMIT}}, every: 5m}]}]"
HEALTHY = "noissue"
SIDES = {"latency": ("up", "above", 1), "availability": ("down", "below", -1)}


class Incident(NamedTuple):
    """One injected issue of the pet shop: the minutes from its onset to the alarm; None if there was none."""

    case: str
    metric: str
    delay: float | None


def petshop(data: Path) -> tuple[list[Incident], dict[str, ReplayResult]]:
    """Return what a limit at three standard deviations of the healthy 49 hours finds, and those hours by metric."""
    targets = json.loads((data / "petshop_high_traffic_targets.json").read_text(encoding="utf-8"))
    rows = pd.read_parquet(data / "petshop_high_traffic.parquet")
    site = rows[(rows["case"] == HEALTHY) & (rows["node"] == "PetSite") & (rows["stat"] == "Average")]
    found, healthy = [], {}
    with TemporaryDirectory() as folder:
        held = Path(folder)
        # Once for all 28 replays, instead of every node in each.
        rows[rows["node"] == "PetSite"].to_parquet(held / "petshop_high_traffic.parquet")
        for metric, (worse, key, sign) in SIDES.items():
            values = site.loc[site["metric"] == metric, "value"]
            limit = float(values.mean() + sign * 3 * values.std())
            (held / f"{metric}.yaml").write_text(LIMIT.replace("RULE", key).replace("LIMIT", repr(limit)))
            described = PETSHOP.replace("METRIC", metric).replace("WORSE", worse)
            (held / "case.yaml").write_text(described.replace("CASE", HEALTHY))
            healthy[metric] = replay(held / "case.yaml", held / f"{metric}.yaml", data=held)
            for target in (each for each in targets if each["target"]["metric"] == metric):
                onset = format_instant(1000 * target["target"]["timestamp"])
                name = target["case"].replace("/", "-")
                text = described.replace("recording: CASE", f"recording: {name}").replace("CASE", target["case"])
                (held / "case.yaml").write_text(f"{text}onsets: [{onset}]\n")
                delays = replay(held / "case.yaml", held / f"{metric}.yaml", data=held).policies[0].onset_delays
                found.append(Incident(target["case"], metric, delays[0]))
    return found, healthy


ASOS = """
recording: asos
file: asos.parquet
tick: 12h
kind: cumulative
time: {column: time_since_start, unit: d, since: 2020-01-01T00:00:00Z}
arms: {treatment: t, control: c}
where: {experiment_id: EXPERIMENT, variant_id: VARIANT, metric_id: METRIC}
values: {m: {count: "count_{arm}", mean: "mean_{arm}", variance: "variance_{arm}"}}
within: 5d
gaps: unknown
"""
STOPPING = """
policies:
  - {name: peeking, guardrails: [{watch: m, compare: difference, unit: user, rule: {repeated_z: {}}, every: 12h, on_unknown: ignore}]}
  - {name: anytime-valid, guardrails: [{watch: m, compare: difference, unit: user, rule: {normal_mixture: {v_opt: 30, sides: 2}}, every: 12h, on_unknown: ignore}]}
"""
KEYS = ["experiment_id", "variant_id", "metric_id"]


class Experiment(NamedTuple):
    """One series of a retailer: whether each rule stopped it, and whether a z-test at its end is significant."""

    key: tuple[str, int, int]
    peeking: bool
    anytime: bool
    at_the_end: bool


def asos(data: Path) -> tuple[list[Experiment], Counter[str]]:
    """Return every series that could be replayed, and why the others could not."""
    found: list[Experiment] = []
    refused: Counter[str] = Counter()
    with TemporaryDirectory() as folder:
        held = Path(folder)
        (held / "policies.yaml").write_text(STOPPING)
        for key, rows in pd.read_parquet(data / "asos.parquet").groupby(KEYS):
            experiment, variant, metric = key
            if rows.dropna().empty:
                refused["no row has a variance"] += 1
                continue
            text = ASOS.replace("EXPERIMENT", f'"{experiment}"').replace("VARIANT", str(variant)).replace("METRIC", str(metric))
            (held / "asos.yaml").write_text(text)
            try:
                result = replay(held / "asos.yaml", held / "policies.yaml", data=data)
            except RecordingError as error:
                refused[str(error).rsplit(": ", 1)[-1].split(" at row")[0]] += 1
                continue
            peeking, anytime = (bool(policy.alarms) for policy in result.policies)
            found.append(Experiment((str(experiment), int(variant), int(metric)), peeking, anytime, at_the_end(rows)))
    return found, refused


def at_the_end(rows: pd.DataFrame) -> bool:
    """Return whether a two-sided z-test of the last whole row is significant at 5 %."""
    last = rows.dropna().sort_values("time_since_start").iloc[-1]
    error = np.sqrt(last["variance_t"] / last["count_t"] + last["variance_c"] / last["count_c"])
    return bool(abs(last["mean_t"] - last["mean_c"]) >= 1.959964 * error)


def sample_ratios(data: Path) -> dict[tuple[str, int], bool]:
    """Return for each two arms whose counts only grow whether a sequential test at 1 % finds another ratio than 50:50."""
    guardrail = Guardrail(Signal(compare="shares"), rule_of({"srm": {"alpha": 0.01}}), every=43_200_000, tick=43_200_000)
    found = {}
    for key, rows in pd.read_parquet(data / "asos.parquet").groupby(KEYS[:2]):
        # One metric of every user; where counts fall they are not of users who were seen for the first time.
        one = (
            rows[rows["metric_id"] == rows["metric_id"].min()]
            .dropna(subset=["count_t", "count_c"])
            .sort_values("time_since_start")
        )
        seen = np.diff(one[["count_t", "count_c"]].to_numpy(dtype=float), axis=0, prepend=0.0)
        if (seen < 0).any():
            continue
        monitor, alarmed = Monitor(guardrail), False
        for time, (treated, control) in enumerate(seen, start=1):
            users = Assigned((0.5, 0.5), {"treatment": treated, "control": control})
            reading = monitor.look(time, Arrived({}, shares=(0.5, 0.5), first_seen=(users,)))
            alarmed = alarmed or reading.answer == "alarm"
        found[str(key[0]), int(key[1])] = alarmed
    return found


CLOUD = """
policies:
  - {name: shewhart, guardrails: [{watch: value, of: everyone, baseline: BASE, rule: {shewhart: {sigmas: 4, sides: 2}}, every: TICK}]}
  - {name: ewma, guardrails: [{watch: value, of: everyone, baseline: BASE, rule: {ewma: {lambda: 0.25, L: 4, sides: 2}}, every: TICK}]}
  - {name: cusum, guardrails: [{watch: value, of: everyone, baseline: BASE, rule: {cusum: {k: 1, h: 8, sides: 2}}, every: TICK}]}
"""
LEARNT = 5  # a fifth of each series


class Monitored(NamedTuple):
    """One policy over all series of a cloud: labelled runs that it met, and alarms that begin in healthy time."""

    detected: Estimate
    already: int
    per_day: Estimate


def mscloud(data: Path) -> dict[str, Monitored]:
    """Return what policies that learn from each series' first fifth find in all of them."""
    runs, met, already, alarms = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    days = 0.0
    for series in cloud_series(data):
        result = run_replay(_cloud_plan(series), command="recorded")
        days += result.healthy_ticks * series.clock.tick / DAY
        for policy in result.policies:
            runs[policy.policy] += len(policy.onset_delays)
            met[policy.policy] += sum(delay is not None for delay in policy.onset_delays)
            already[policy.policy] += policy.already_alarming
            alarms[policy.policy] += policy.estimates["false_alarms_per_week"].n
    return {
        name: Monitored(proportion(met[name], runs[name]), already[name], rate(alarms[name], days, unit="per day"))
        for name in runs
    }


def cloud_series(data: Path) -> Iterator[Series]:
    """Yield each series with its labelled runs as onsets; stamps that stand twice keep their first value, gaps stay empty."""
    for name, rows in pd.read_parquet(data / "mscloud.parquet").groupby("series", observed=True):
        held = rows.assign(at=pd.to_datetime(rows["TimeStamp"], utc=True, format="mixed")).drop_duplicates("at").sort_values("at")
        stamps = held["at"].dt.tz_localize(None).to_numpy("datetime64[ms]").astype(np.int64)
        tick = int(np.median(np.diff(stamps)))
        place = np.round((stamps - stamps[0]) / tick).astype(int)
        values, labels = np.full(place[-1] + 1, np.nan), np.zeros(place[-1] + 1, dtype=bool)
        values[place], labels[place] = held["Value"].to_numpy(dtype=float), held["Label"].to_numpy() == 1
        yield _series(str(name), values, labels, start=int(stamps[0]) - tick, tick=tick)


def _series(name: str, values: Floats, labels: np.ndarray, *, start: int, tick: int) -> Series:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], labels, [False]]).astype(int)))
    begins, ends = start + tick * edges[::2], start + tick * edges[1::2]
    onsets = tuple(Between(from_=int(a), to=int(b) - tick) for a, b in zip(begins, ends, strict=True))
    recording = Recording(
        recording="cloud", tick=tick, values={"value": ValueColumn(column="value")}, within=tick, file=name, onsets=onsets
    )
    sums, known = np.zeros((3, len(ARMS), len(values))), np.isfinite(values)
    sums[:, OUTSIDE, known] = [np.ones(known.sum()), values[known], values[known] ** 2]
    stamps = start + tick * np.arange(1, len(values) + 1)
    every = np.ones(len(values), dtype=bool)
    latest = np.array([each.to for each in onsets], dtype=np.int64)
    clock = Clock(start, tick, len(values))
    return Series(recording, clock, stamps, {"value": sums[:, None]}, begins.astype(np.int64), latest, every, {})


def _cloud_plan(series: Series) -> ReplayPlan:
    tick = series.clock.tick
    text = CLOUD.replace("BASE", f"{series.clock.horizon // LEARNT * tick // 60_000}m").replace("TICK", f"{tick // 60_000}m")
    held: Any = read_yaml(text).data
    policies = build_policies(read_settings(document(held), Policies).policies, worse={"value": "up"}, tick=tick, segments=1)
    return ReplayPlan((ReplaySetting(series, policies, Watched(frozenset({"value"}), first_seen=False)),), {})


def report(data: Path) -> str:
    """Return everything in Markdown."""
    incidents, healthy = petshop(data)
    experiments, refused = asos(data)
    ratios = sample_ratios(data)
    lines = [
        "# Public recordings",
        "",
        CONFIDENCE,
        "",
        "## A pet shop: a limit at three standard deviations of 49 healthy hours",
        "",
    ]
    lines += ["| metric | incidents found within 25 min | median delay of those | healthy ticks alarming |", "|---|---|---|---|"]
    for metric, result in healthy.items():
        delays = [each.delay for each in incidents if each.metric == metric]
        told = [delay for delay in delays if delay is not None]
        share = words(proportion(len(told), len(delays)))
        lines.append(
            f"| {metric} | {share} | {np.median(told):.1f} min | {words(result.policies[0].estimates['alarm_looks_healthy'])} |"
        )
    n = len(experiments)
    lines += [
        "",
        f"## A retailer's experiments: {n} series of two arms, two-sided at 5 %",
        "",
        "| | stopped or significant |",
        "|---|---|",
    ]
    for name, chosen in (
        ("peeking z, at any look", [each.peeking for each in experiments]),
        ("anytime-valid mixture, at any look", [each.anytime for each in experiments]),
        ("z-test at the end", [each.at_the_end for each in experiments]),
        ("peeking stopped, but not significant at the end", [each.peeking and not each.at_the_end for each in experiments]),
        ("anytime-valid stopped, but not significant at the end", [each.anytime and not each.at_the_end for each in experiments]),
    ):
        lines.append(f"| {name} | {words(proportion(sum(chosen), n))} |")
    lines += [f"\nNot replayed: {', '.join(f'{count} ({why})' for why, count in refused.items()) or 'none'}."]
    lines += [
        f"Assigned at another ratio than 50:50, by a sequential test at 1 %: {words(proportion(sum(ratios.values()), len(ratios)))}."
    ]
    lines += ["", "## A cloud's monitoring: 39 series, each learnt from its first fifth", ""]
    lines += ["| policy | labelled runs met | of them alarming already | false alarms |", "|---|---|---|---|"]
    for name, found in mscloud(data).items():
        lines.append(f"| {name} | {words(found.detected)} | {found.already} | {words(found.per_day)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the report."""
    text = report(Path(os.environ.get("SIMLAB_DATA") or Path("..") / "shared" / "data"))
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
