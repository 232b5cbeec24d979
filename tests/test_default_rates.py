"""The table of false alarms at default settings: against exact answers, and what is left out is said."""

from __future__ import annotations

import json

import numpy as np
import pytest

from simlab import default_rates as module
from simlab.default_rates import DefaultRates, default_rates
from simlab.exact_run_lengths import exact_alarm_probability
from simlab.guardrails.rules.betting import Betting
from simlab.guardrails.rules.cusum import Cusum
from simlab.guardrails.rules.group_sequential import Pocock
from simlab.guardrails.rules.limits import Above
from simlab.guardrails.rules.sample_ratio import SampleRatio
from simlab.null_streams import NULL_STREAMS

LANES, LOOKS = 400, 60


@pytest.fixture(scope="module")
def found() -> DefaultRates:
    rules = {"cusum": Cusum, "pocock": Pocock, "above": Above, "srm": SampleRatio, "betting": Betting}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "rules", lambda: rules)
        return default_rates(lanes=LANES, looks=LOOKS, seed=1)


def test_independent_noise_gives_the_exact_probability(found: DefaultRates) -> None:
    rates = {each.rule: each.alarm_probability for each in found.rates if each.stream == "noise"}
    exact = {
        "cusum": exact_alarm_probability(Cusum(), looks=LOOKS)[-1],
        "pocock looks=60": 0.05,
        # P(max of 60 normals >= 3), Phi(-3) = .00134990.
        "above limit=3": 1 - (1 - 0.0013498980316301) ** LOOKS,
    }
    for rule, expected in exact.items():
        # 4.5 standard errors of a share: two-sided error 7e-6 each.
        assert abs(rates[rule].value - expected) < 4.5 * np.sqrt(expected * (1 - expected) / LANES), rule
    # Ville's inequality; error below 1e-5.
    assert rates["srm"].value <= 0.01 + 4.5 * np.sqrt(0.01 * 0.99 / LANES)


def test_noise_that_remembers_makes_a_cusum_cry_wolf(found: DefaultRates) -> None:
    rates = {each.stream: each.alarm_probability for each in found.rates if each.rule == "cusum"}
    assert rates["noise"].high < rates["AR(1) .5"].low
    assert set(rates) == {stream.name for stream in NULL_STREAMS}


def test_what_is_left_out_says_why(found: DefaultRates) -> None:
    assert "without a default" in found.left_out["betting"]
    assert "- betting: " in found.to_markdown()
    assert found.to_markdown().count("| cusum |") == 1
    held = json.loads(found.to_json())
    assert len(held["rates"]) == len(found.rates)
    # A median that was not reached is no number.
    assert any(each["median"]["value"] is None for each in held["rates"])


def test_river_s_detector_stands_beside_ours() -> None:
    pytest.importorskip("river", reason="river is an optional extra")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "rules", dict)
        rates = default_rates(lanes=60, seed=1).rates
    # Published: alarms in 96.5 % of 4,032-look streams of pure noise. An exact binomial test at 1e-4 on each side.
    noise = next(each for each in rates if each.stream == "noise").alarm_probability
    assert noise.value > 0.8
