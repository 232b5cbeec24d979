"""A fitted scenario has the level and the day of its recording; what it cannot have is told as not fitting."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from scipy.signal import lfilter

from simlab.cli import cli
from simlab.documents import read_document
from simlab.errors import RecordingError
from simlab.fitting import Fit, fit
from simlab.metrics import DurationMetric, Proportion
from simlab.reading_scenarios import read_scenario
from simlab.scenario import Scenario

TICK = 900
DAYS = 16
START = 1_767_225_600  # 2026-01-01T00:00:00Z
RATE, SWING, PEAK = 9000.0, 0.4, 15 * 3600  # requests a tick, of a day, seconds after midnight
ERRORS, MEDIAN, SIGMA = 0.03, 0.2, 0.8
SERIES = """
recording: shop
file: shop.parquet
tick: 15m
time: {column: at, unit: s}
values:
  requests: {column: requests}
  errors: {column: errors}
  latency: {column: latency}
within: 1h
"""


def recorded(folder: Path, *, linked: float = 0.0) -> Path:
    """Write a recording whose traffic is multiplied by noise of which each tick is linked with the next."""
    rng = np.random.default_rng(11)
    ticks = DAYS * 86_400 // TICK
    second = (np.arange(ticks) + 0.5) * TICK
    expected = RATE * (1 + SWING * np.cos(2 * np.pi * (second - PEAK) / 86_400))
    if linked:
        expected = expected * np.exp(0.1 * lfilter([np.sqrt(1 - linked**2)], [1, -linked], rng.standard_normal(ticks)))
    requests = rng.poisson(expected)
    latency = [rng.lognormal(np.log(MEDIAN), SIGMA, count).mean() for count in requests]
    errors = rng.binomial(requests, ERRORS) / requests
    at = START + TICK * np.arange(1, ticks + 1)
    pd.DataFrame({"at": at, "requests": requests.astype(float), "errors": errors, "latency": latency}).to_parquet(
        folder / "shop.parquet"
    )
    (folder / "shop.yaml").write_text(SERIES)
    return folder / "shop.yaml"


def scenario_of(found: Fit, folder: Path) -> Scenario:
    (folder / "fitted.yaml").write_text(found.text)
    return read_scenario(read_document(folder / "fitted.yaml"))


def test_level_and_day_are_those_of_the_recording(tmp_path: Path) -> None:
    found = fit(recorded(tmp_path), traffic="requests", shares=["errors"])
    made = scenario_of(found, tmp_path)
    # Five standard errors of 1,536 Poisson ticks are under 0.2 %, of the swing under 0.3 percentage points.
    assert made.traffic.requests * made.tick == pytest.approx(RATE, rel=2e-3)
    assert made.traffic.daily is not None
    assert made.traffic.daily.swing == pytest.approx(SWING, abs=3e-3)
    assert abs(made.traffic.daily.peak / 1000 - PEAK) < 300
    errors, latency = made.metrics["errors"], made.metrics["latency"]
    assert isinstance(errors, Proportion)
    assert isinstance(latency, DurationMetric)
    assert errors.normal == pytest.approx(ERRORS, rel=5e-3)
    assert latency.median == pytest.approx(MEDIAN, rel=0.1)
    assert latency.p99 == pytest.approx(MEDIAN * np.exp(2.3263 * SIGMA), rel=0.1)
    assert max(map(abs, (made.traffic.weekly or {}).values())) < 0.01
    # Each of 12 properties misses the middle 95 % of the lanes in a twentieth: four or more do so in 0.2 %.
    assert sum(not each.fits for each in found.table) <= 3


def test_what_a_scenario_cannot_have_is_told(tmp_path: Path) -> None:
    found = fit(recorded(tmp_path, linked=0.8), traffic="requests", shares=["errors"])
    fits = {(each.of, each.what.split(":")[0].split(" ")[0]): each.fits for each in found.table}
    assert not fits["traffic", "autocorrelation"]
    assert not fits["traffic", "dispersion"]
    assert fits["traffic", "level"]
    assert any("users" in left for left in found.left_out)


@pytest.mark.parametrize(
    ("how", "problem"),
    [
        ({}, "say which is traffic, of requests, errors, latency"),
        ({"traffic": "requests", "shares": ["error"]}, "there is no metric 'error'"),
        ({"traffic": "latency", "shares": ["requests"]}, "requests is no share"),
    ],
)
def test_what_is_missing_is_asked_for(tmp_path: Path, how: dict[str, object], problem: str) -> None:
    with pytest.raises(RecordingError, match=problem):
        fit(recorded(tmp_path), **how)  # type: ignore[arg-type]


def test_the_command_writes_a_scenario(tmp_path: Path) -> None:
    out = tmp_path / "like.yaml"
    done = CliRunner().invoke(
        cli, ["fit", str(recorded(tmp_path)), "--traffic", "requests", "--share", "errors", "--out", str(out)]
    )
    assert done.exit_code == 0, done.output
    assert "properties lie where 95 %" in done.output
    assert CliRunner().invoke(cli, ["validate", str(out)]).output.endswith("ok, scenario shop-fit\n")
