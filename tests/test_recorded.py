"""Public recordings, replayed, against calculations of their own; and cumulative statistics user by user."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from simlab import replay
from simlab.errors import FileErrors, RecordingError
from simlab.own_traffic import load_null
from tests.recorded import ASOS, STOPPING, cloud_series, petshop

CUMULATIVE = ASOS[: ASOS.index("where")].replace("asos.parquet", "grown.parquet") + ASOS[ASOS.index("values") :]


def grown(folder: Path, *, unit: str = "user") -> pd.DataFrame:
    """Write cumulative statistics of two arms whose users come one after the other, and again: whether each has ever bought."""
    rng = np.random.default_rng(3)
    rate, first = rng.gamma(0.7, 1 / 0.7, (2, 4000)), np.sort(rng.uniform(0, 8, (2, 4000)), axis=1)
    totals, rows = np.zeros((2, 4000)), []
    for row in range(8):
        here = first <= row + 1
        totals = np.maximum(totals, np.where(here, rng.poisson(0.2 * rate) > 0, 0.0))
        held = {"time_since_start": 0.5 * (row + 1)}
        for arm, name in enumerate("tc"):
            mine = totals[arm, here[arm]]
            held |= {f"count_{name}": len(mine), f"mean_{name}": mine.mean(), f"variance_{name}": mine.var(ddof=1)}
        rows.append(held)
    table = pd.DataFrame(rows)
    table.to_parquet(folder / "grown.parquet")
    (folder / "grown.yaml").write_text(CUMULATIVE)
    (folder / "policies.yaml").write_text(STOPPING.replace("unit: user", f"unit: {unit}"))
    return table


def pooled_z(row: pd.Series) -> float:
    """Return the z of a difference of means over users, its variance from the residuals of both arms together."""
    count, mean, variance = (np.array([row[f"{what}_{arm}"] for arm in "tc"]) for what in ("count", "mean", "variance"))
    together = (count * mean).sum() / count.sum()
    squares = ((count - 1) * variance + count * (mean - together) ** 2).sum() / (count.sum() - 1)
    return float((mean[0] - mean[1]) / np.sqrt(squares * (1 / count).sum()))


def test_a_cumulative_statistic_user_by_user_is_that_of_its_row(tmp_path: Path) -> None:
    table = grown(tmp_path)
    trace = replay(tmp_path / "grown.yaml", tmp_path / "policies.yaml").traces[0]
    judged = ~(trace.skipped[0] | trace.unknown[0])[:, 0]
    assert judged.sum() >= 4, "a look waits until the information has grown by a tenth"
    expected = np.array([abs(pooled_z(row)) for _, row in table.iterrows()])
    np.testing.assert_allclose(trace.statistics[0][judged, 0], expected[judged], rtol=1e-9)


def test_where_users_return_increments_cry_wolf_and_users_do_not(tmp_path: Path) -> None:
    grown(tmp_path)
    by_user = replay(tmp_path / "grown.yaml", tmp_path / "policies.yaml").traces[0].statistics[0]
    grown(tmp_path, unit="request")
    by_increment = replay(tmp_path / "grown.yaml", tmp_path / "policies.yaml").traces[0].statistics[0]
    assert not np.allclose(by_user, by_increment, rtol=0.1)


def test_only_cumulative_statistics_know_their_users_and_they_are_not_resampled(tmp_path: Path) -> None:
    grown(tmp_path)
    with pytest.raises(RecordingError, match="cannot be resampled"):
        load_null(tmp_path / "grown.yaml", policies=tmp_path / "policies.yaml", lanes=50)
    (tmp_path / "grown.yaml").write_text(CUMULATIVE.replace("kind: cumulative", "kind: periods"))
    with pytest.raises(FileErrors, match="does not know its users"):
        replay(tmp_path / "grown.yaml", tmp_path / "policies.yaml")


def test_the_pet_shop_against_an_independent_calculation(shared_data: Path) -> None:
    incidents, healthy = petshop(shared_data)
    rows = pd.read_parquet(shared_data / "petshop_high_traffic.parquet")
    site = rows[(rows["node"] == "PetSite") & (rows["stat"] == "Average")]
    targets = json.loads((shared_data / "petshop_high_traffic_targets.json").read_text())
    for metric, sign in (("latency", 1), ("availability", -1)):
        values = site[site["metric"] == metric].set_index("ts")
        base = values[values["case"] == "noissue"]["value"]
        limit = base.mean() + sign * 3 * base.std()
        beyond = int((sign * base >= sign * limit).sum())
        assert healthy[metric].policies[0].alarm_looks == beyond == {"latency": 6, "availability": 10}[metric]
        expected = {}
        for target in (each for each in targets if each["target"]["metric"] == metric):
            onset, mine = target["target"]["timestamp"], values[values["case"] == target["case"]]["value"].sort_index()
            after = mine[(mine.index > onset) & (mine.index <= onset + 1500) & (sign * mine >= sign * limit)]
            expected[target["case"]] = None if after.empty else (after.index[0] - onset) / 60
        found = {each.case: each.delay for each in incidents if each.metric == metric}
        assert found == pytest.approx(expected)


def test_the_cloud_has_its_labelled_runs(shared_data: Path) -> None:
    series = list(cloud_series(shared_data))
    assert len(series) == 39
    assert sum(len(each.onsets) for each in series) == 175
