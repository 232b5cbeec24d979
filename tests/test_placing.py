"""A setting placed for a threshold reaches it, hardly exceeds it, and leaves the statistic alone; no error rate."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from simlab.guardrails.registry import rules
from simlab.guardrails.rule import Takes
from simlab.guardrails.rules.asymptotic import AsymptoticCs
from simlab.guardrails.rules.group_sequential import OBrienFleming
from simlab.guardrails.rules.mixture import NormalMixture
from simlab.placing import SETTINGS, settings_at
from tests.guardrails.rules.contract import random_values, run_all
from tests.guardrails.test_registry import with_required


@pytest.mark.parametrize("key", sorted(SETTINGS))
@pytest.mark.parametrize("factor", [1.0 / 3.0, 0.98765, 1.23456])
def test_reaches_the_threshold_on_the_strict_side(key: str, factor: float) -> None:
    rule: Any = with_required(rules()[key])
    if key == "asymptotic_cs":
        rule = replace(rule, r=0.5)
    threshold = rule.threshold * factor if rule.threshold > 0 else rule.threshold / factor
    settings = settings_at(rule, threshold)
    assert settings is not None
    placed = replace(rule, **settings)
    assert placed.threshold >= threshold
    # Error probabilities have a largest value, and then the threshold has a least one.
    if settings.get("alpha", 0.0) < 0.4998:
        assert placed.threshold <= threshold + 2e-3 * max(1.0, abs(threshold))
    for name, value in settings.items():
        if name != "r":
            assert float(f"{value:.4g}") == value


@pytest.mark.parametrize("rule", [NormalMixture(), OBrienFleming(looks=6), AsymptoticCs(r=0.4, start=3)])
def test_the_statistic_stays_the_same(rule: Any) -> None:
    settings = settings_at(rule, 1.1 * rule.threshold)
    assert settings is not None
    looks = random_values(3)
    np.testing.assert_allclose(run_all(replace(rule, **settings), looks), run_all(rule, looks), rtol=1e-12)


def test_rules_whose_statistic_follows_their_setting_have_none() -> None:
    for key in ("sprt", "haybittle_peto", "lan_demets", "never", "random"):
        assert settings_at(with_required(rules()[key]), 1.0) is None
    assert settings_at(AsymptoticCs(), 3.0) is None, "its mixture is tuned for alpha"


def test_no_setting_that_a_file_may_not_hold() -> None:
    cusum = with_required(rules()["cusum"])
    assert cusum.takes is Takes.STANDARDISED
    assert settings_at(cusum, -1.0) is None
    assert settings_at(cusum, np.inf) is None
