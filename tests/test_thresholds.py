"""Thresholds from an error rate."""

from __future__ import annotations

import doctest
import math
from typing import Any

import pytest

from simlab import thresholds
from simlab.errors import SimlabError, UnitError
from simlab.exact_run_lengths import exact_alarm_probability, exact_run_length
from simlab.thresholds import threshold_for

RULES: list[tuple[str, str, dict[str, Any]]] = [
    ("cusum", "h", {"k": 0.5}),
    ("cusum", "h", {"k": 0.25, "sides": 2}),
    ("cusum", "h", {"sides": 2, "head_start": 2}),
    ("cusum", "h", {"head_start": 2}),
    ("ewma", "L", {"lambda": 0.2}),
    ("ewma", "L", {"lambda": 0.2, "sides": 1}),
    ("ewma", "L", {"lambda": 0.3, "exact_limits": True}),
    ("shewhart", "sigmas", {"sides": 1}),
    ("shiryaev_roberts", "A", {"theta": 0.5}),
    ("e_sr", "alpha", {"theta": 1}),
    ("e_cusum", "alpha", {"theta": 1}),
]


# Lucas & Saccucci (1990), recomputed to more digits: a run length of 500 in control.
@pytest.mark.parametrize(("weight", "published"), [(0.03, 2.43712), (0.1, 2.81431), (0.25, 2.99811)])
def test_ewma_of_a_run_length_of_500(weight: float, published: float) -> None:
    assert abs(threshold_for({"ewma": {"lambda": weight}}, arl0=500) - published) <= 0.5e-5


@pytest.mark.parametrize(
    ("mapping", "arl0", "published"),
    [
        ({"cusum": {"k": 0.5, "sides": 2}}, 167.6838, 4.0),
        ({"cusum": {"k": 0.5, "sides": 2}}, 465.4435, 5.0),
        ({"shewhart": {}}, 370.3983, 3.0),
        ({"shiryaev_roberts": {"theta": 1}}, 100.7922, 56.04),
    ],
)
def test_published_run_lengths_turned_round(mapping: dict[str, Any], arl0: float, published: float) -> None:
    assert threshold_for(mapping, arl0=arl0) == pytest.approx(published, rel=1e-6)


@pytest.mark.parametrize(("key", "name", "given"), RULES)
def test_the_setting_has_the_run_length(key: str, name: str, given: dict[str, Any]) -> None:
    found = threshold_for({key: given}, arl0=200)
    assert exact_run_length({key: {**given, name: found}}) == pytest.approx(200, rel=1e-7)


@pytest.mark.parametrize(("key", "name", "given"), [*RULES, ("sprt", "alpha", {"delta": 0.5, "beta": 0.1})])
def test_the_setting_has_the_alarm_probability(key: str, name: str, given: dict[str, Any]) -> None:
    found = threshold_for({key: given}, pfa=0.05, looks=100)
    assert exact_alarm_probability({key: {**given, name: found}}, looks=100)[-1] == pytest.approx(0.05, rel=1e-7)


def test_one_look_is_a_z_test() -> None:
    assert threshold_for({"shewhart": {}}, pfa=0.05, looks=1) == pytest.approx(1.959964, abs=1e-6)
    assert threshold_for({"cusum": {"k": 0.5}}, pfa=0.05, looks=1) == pytest.approx(1.644854 - 0.5, abs=1e-6)


def test_what_no_threshold_attains_is_told() -> None:
    with pytest.raises(SimlabError, match="cusum does not alarm as often as that at any threshold"):
        threshold_for({"cusum": {"k": 2.0}}, arl0=10)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "give either arl0, or pfa and looks"),
        ({"arl0": 500, "pfa": 0.05}, "give either arl0, or pfa and looks"),
        ({"pfa": 0.05}, "give either arl0, or pfa and looks"),
        ({"looks": 5}, "give either arl0, or pfa and looks"),
        ({"arl0": 1}, "arl0 must be above 1 look"),
        ({"arl0": math.inf}, "arl0 must be above 1 look"),
        ({"arl0": math.nan}, "arl0 must be above 1 look"),
        ({"pfa": 1.0, "looks": 5}, "pfa must be from 1e-09 to below 1 and looks a whole number of at least 1, not 1.0 and 5"),
        ({"pfa": 0.1, "looks": 0}, "looks a whole number of at least 1"),
        ({"pfa": 0.1, "looks": 5.0}, "looks a whole number of at least 1, not 0.1 and 5.0"),
        ({"pfa": "5%", "looks": 5}, "not '5%' and 5"),
        ({"arl0": "long"}, "arl0 must be above 1 look and at most 1e.07, not 'long'"),
    ],
)
def test_a_mistake_is_told(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UnitError, match=message):
        threshold_for({"cusum": {}}, **given)


def test_an_sprt_has_no_mean_run_length() -> None:
    with pytest.raises(SimlabError, match="an sprt may end without an alarm"):
        threshold_for({"sprt": {}}, arl0=500)


def test_a_rule_without_an_exact_answer_is_calibrated_otherwise() -> None:
    with pytest.raises(SimlabError, match="glr has no exact run length; calibrate it by simulation"):
        threshold_for({"glr": {}}, arl0=500)


def test_the_examples_of_the_docstrings() -> None:
    outcome = doctest.testmod(thresholds)
    assert outcome.attempted > 0
    assert outcome.failed == 0
