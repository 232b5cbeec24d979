"""The benchmark's corpus as one table of values, the labelled windows, and what is recorded of its detectors."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from simlab.errors import RecordingError
from simlab.guardrails.look import Floats
from simlab.nab.scoring import Labelled, Profile, Window, labelled

VALUES = "nab_data.parquet"
WINDOWS = "nab_combined_windows.json"
PROFILES = "nab_profiles.json"
THRESHOLDS = "nab_thresholds.json"
RESULTS = "nab_final_results.json"
SCORES = "nab_detector_scores.parquet"


@dataclass(frozen=True, eq=False)
class Corpus:
    """What guardrails are scored on.

    Attributes
    ----------
    series : tuple of Labelled
        In the order of their names.
    values : tuple of float64[rows]
        By series.
    profiles : tuple of Profile
        In the order of the file.
    leaderboard : dict of str to dict of str to float
        Published totals by detector and profile.
    recorded : dict of str to tuple of float64[rows]
        Anomaly scores by detector and series, where they are recorded.
    thresholds : dict of str to dict of str to float
        Published thresholds by detector and profile.
    digest : str
        SHA-256 of all files read, in hexadecimal.
    """

    series: tuple[Labelled, ...]
    values: tuple[Floats, ...]
    profiles: tuple[Profile, ...]
    leaderboard: dict[str, dict[str, float]]
    recorded: dict[str, tuple[Floats, ...]]
    thresholds: dict[str, dict[str, float]]
    digest: str


def read_corpus(folder: Path) -> Corpus:
    """Return the corpus in a folder.

    Raises
    ------
    RecordingError
        If a file is missing or is not what it should be; the message names it.
    """
    windows = _json(folder / WINDOWS)
    tables = _series(folder / VALUES)
    series = tuple(_labelled(name, table, windows) for name, table in tables.items())
    thresholds = {
        detector: {profile: float(found["threshold"]) for profile, found in profiles.items()}
        for detector, profiles in _json(folder / THRESHOLDS).items()
    }
    return Corpus(
        series=series,
        values=tuple(np.asarray(table["value"], dtype=float) for table in tables.values()),
        profiles=tuple(_profile(name, entry) for name, entry in _json(folder / PROFILES).items()),
        leaderboard=_json(folder / RESULTS),
        recorded=_recorded(folder / SCORES, {each.name: len(each.worth) for each in series}),
        thresholds=thresholds,
        digest=_digest(folder),
    )


def _digest(folder: Path) -> str:
    held = hashlib.sha256()
    for name in (VALUES, WINDOWS, PROFILES, THRESHOLDS, RESULTS, SCORES):
        held.update(hashlib.sha256((folder / name).read_bytes()).digest())
    return held.hexdigest()


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RecordingError(f"{path.name}: cannot be read: {error}") from None


def _profile(name: str, entry: Any) -> Profile:
    try:
        weights = entry["CostMatrix"]
        found, false, missed = (float(weights[key]) for key in ("tpWeight", "fpWeight", "fnWeight"))
        return Profile(name, found=found, false=false, missed=missed)
    except (KeyError, TypeError, ValueError) as error:
        raise RecordingError(f"{PROFILES}: profile {name!r} cannot be read: {error!r}") from None


def _table(path: Path, columns: list[str]) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_table(path, columns=columns)
    except (pa.ArrowException, OSError) as error:
        raise RecordingError(f"{path.name}: cannot be read: {error}") from None


def _series(path: Path) -> dict[str, Mapping[str, Any]]:
    """Return stamps and values by series; rows keep their order."""
    table = _table(path, ["series", "timestamp", "value"]).to_pandas()
    return {str(name): {"timestamp": list(rows["timestamp"]), "value": rows["value"].to_numpy()}
            for name, rows in table.groupby("series", sort=True)}  # fmt: skip


def _labelled(name: str, table: Mapping[str, Any], windows: Mapping[str, Any]) -> Labelled:
    stamps = table["timestamp"]
    try:
        # Windows name their stamps with microseconds, the series without.
        found = [Window(stamps.index(first[:19]), stamps.index(last[:19])) for first, last in windows[name]]
    except KeyError:
        raise RecordingError(f"{WINDOWS}: no windows for the series {name}") from None
    except ValueError as error:
        raise RecordingError(f"{WINDOWS}: a window of {name} does not begin and end at rows of it: {error}") from None
    return labelled(name, len(stamps), found)


def _recorded(path: Path, rows: Mapping[str, int]) -> dict[str, tuple[Floats, ...]]:
    table = _table(path, ["detector", "series", "row", "anomaly_score"]).to_pandas()
    table = table.astype({"detector": "category", "series": "category"}).sort_values(["detector", "series", "row"])
    scores: dict[str, dict[str, Floats]] = {}
    for key, group in table.groupby(["detector", "series"], observed=True, sort=True):
        detector, name = key
        scores.setdefault(str(detector), {})[str(name)] = group["anomaly_score"].to_numpy(dtype=float)
    for detector, by_series in scores.items():
        if {name: len(values) for name, values in by_series.items()} != dict(rows):
            raise RecordingError(f"{path.name}: the scores of {detector} do not cover each row of each series")
    return {detector: tuple(by_series[name] for name in rows) for detector, by_series in scores.items()}
