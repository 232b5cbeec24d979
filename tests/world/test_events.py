"""An event log tells what it tells whatever its batches are, and is refused where it cannot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from simlab.documents import read_document
from simlab.errors import FileErrors, RecordingError
from simlab.guardrails.look import CONTROL, OUTSIDE, TREATMENT
from simlab.schemas import read_settings
from simlab.world import sources
from simlab.world.aggregate import Watched
from simlab.world.reading import read_series
from simlab.world.recording import Recording, Series

START = 1_767_225_600  # 2026-01-01T00:00:00Z
FILE = """
recording: log
file: data.parquet
kind: events
tick: 1m
within: 5m
time: {column: at, unit: s}
arms: {treatment: new, control: old, outside: none, column: variant}
segment: place
user: who
values: {seconds: {column: seconds}}
"""
EVERY = Watched(frozenset({"seconds"}), True, frozenset({"seconds"}), frozenset({"seconds"}))


def log(rows: int = 2000) -> pd.DataFrame:
    generator = np.random.default_rng(3)
    users = generator.integers(0, 150, rows)
    return pd.DataFrame(
        {
            "at": START + np.sort(generator.integers(0, 1200, rows)),
            "variant": np.array(["new", "old", "none", "bot"])[users % 4],
            "place": generator.choice(["web", "app"], rows, p=[0.9, 0.1]),
            "who": [f"u{user}" for user in users],
            "seconds": np.where(generator.random(rows) < 0.1, np.nan, generator.lognormal(size=rows)),
        }
    )


def read(folder: Path, table: pd.DataFrame, described: str = FILE) -> Series:
    table.to_parquet(folder / "data.parquet")
    (folder / "recording.yaml").write_text(described)
    document = read_document(folder / "recording.yaml")
    return read_series(read_settings(document, Recording), document, watched=EVERY)


def test_what_users_add_up_to_is_what_pandas_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = log()
    found = read(tmp_path, table)
    assert found.more.segments == ("app", "web")
    for number, place in enumerate(found.more.segments):
        for arm, name in ((TREATMENT, "new"), (CONTROL, "old"), (OUTSIDE, "none")):
            here = table[(table["place"] == place) & (table["variant"] == name)].dropna()
            np.testing.assert_allclose(
                found.cells["seconds"][:, number, arm].sum(axis=-1),
                [len(here), here["seconds"].sum(), (here["seconds"] ** 2).sum()],
            )
            assert found.more.buckets["seconds"][:, number, arm].sum() == len(here)
    summed = found.more.users["seconds"].sum(axis=(1, 3))  # over segments and ticks: one user may be in both segments
    for arm, name in ((TREATMENT, "new"), (CONTROL, "old")):
        by_user = table[table["variant"] == name].dropna().groupby("who")["seconds"].agg(["sum", "count"])
        y, n = by_user["sum"], by_user["count"]
        expected = [len(by_user), y.sum(), n.sum(), (y**2).sum(), (n**2).sum(), (y * n).sum()]
        np.testing.assert_allclose(summed[:, arm], expected)
    first = table[table["variant"].isin(["new", "old"])].drop_duplicates("who")
    assert found.more.first_seen is not None
    np.testing.assert_array_equal(
        found.more.first_seen.sum(axis=(0, 1, 3)), [(first["variant"] == name).sum() for name in ("new", "old")]
    )
    monkeypatch.setattr(sources, "ROWS", 64)
    again = read(tmp_path, table)
    np.testing.assert_array_equal(found.more.first_seen, np.asarray(again.more.first_seen))
    for name in ("users", "buckets"):
        np.testing.assert_allclose(getattr(found.more, name)["seconds"], getattr(again.more, name)["seconds"], atol=1e-9)
    assert found.rows["of_neither_arm"] == (table["variant"] == "bot").sum()


def test_a_log_goes_as_far_as_it_was_kept(tmp_path: Path) -> None:
    table = log()
    span = "\nspan: {from: 2025-12-31T23:50:00Z, to: 2026-01-01T00:15:00Z}"
    found = read(tmp_path, table, FILE + span)
    assert found.clock.horizon == 25
    assert found.rows["outside_the_span"] == (table["at"] >= START + 900).sum() > 0
    assert not found.sums["seconds"][0, :, :10].any()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"who": None}, r"data\.parquet: who is empty: row 1, 2, 3"),
        ({"place": None}, r"data\.parquet: place is empty: row 1, 2, 3"),
        ({"place": [str(row) for row in range(2000)]}, "more than 64 segments; a column of few values is meant"),
        ({"at": np.arange(START + 2000, START, -1)}, "times go backwards, and what users add up to needs them in order: row "),
        ({"seconds": np.inf}, "infinite: row 1"),
        ({"variant": "bot"}, "no event is left"),
    ],
)
def test_data_that_cannot_be_trusted_are_refused(tmp_path: Path, change: dict[str, object], problem: str) -> None:
    with pytest.raises(RecordingError, match=problem):
        read(tmp_path, log().assign(**change))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (("kind: events", "kind: series"), r"segment: goes with an event log(.|\n)*user: goes with an event log"),
        (("user: who", "user: who\nspan: {from: 2026-01-02T00:00:00Z, to: 2026-01-01T00:00:00Z}"), "span: must not end before"),
        (("user: who", "user: ''"), "user"),
        (("user: who", "users: who"), "did you mean 'user'"),
    ],
)
def test_a_description_that_makes_no_sense_is_a_mistake(tmp_path: Path, change: tuple[str, str], problem: str) -> None:
    with pytest.raises(FileErrors, match=problem):
        read(tmp_path, log(), FILE.replace(*change))
