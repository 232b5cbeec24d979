"""Whatever a team has is tested the same way: a class, a function, a NumPy function over lanes, a whole series, a detector."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from simlab.guardrails.look import Floats
from simlab.testing import (
    Claim,
    PropertyBrokenError,
    Subject,
    as_rule,
    assert_detects,
    assert_false_alarms,
    case,
    check,
    conformance,
    search,
    subject,
)
from simlab.testing.recording import session


class Cusum:
    """A class over one stream."""

    def __init__(self) -> None:
        self.total = 0.0

    def update(self, x: float) -> float:
        self.total = max(0.0, self.total + x - 0.5)
        return self.total


def cusum(total: float, x: float) -> tuple[float, float]:
    total = max(0.0, total + x - 0.5)
    return total, total


def cusum_of_lanes(total: Floats, x: Floats) -> tuple[Floats, Floats]:
    total = np.maximum(0.0, total + x - 0.5)
    return total, total


def cusum_of_series(values: Floats) -> Floats:
    found, total = [], np.zeros(values.shape[1])
    for row in values:
        total = np.maximum(0.0, total + row - 0.5)
        found.append(total)
    return np.array(found)


class Drift:
    """A detector as the river package writes them."""

    def __init__(self) -> None:
        self.total, self.drift_detected = 0.0, False

    def update(self, x: float) -> None:
        self.total = max(0.0, self.total + x - 0.5)
        self.drift_detected = self.total >= 4


FOUR = {"threshold": 4.0}
OWN: dict[str, Callable[[], Subject]] = {
    "a class": lambda: subject(Cusum, **FOUR),
    "a function": lambda: subject(cusum, start=0.0, **FOUR),
    "a function over lanes": lambda: subject(cusum_of_lanes, over="lanes", **FOUR),
    "a function of a series": lambda: subject(cusum_of_series, over="series", **FOUR),
    "a detector": lambda: subject(Drift()),
    "a mapping": lambda: subject({"cusum": {"k": 0.5, "h": 4}}),
}
each_form = pytest.mark.parametrize("made", OWN.values(), ids=OWN.keys())


@each_form
def test_it_conforms(made: Callable[[], Subject]) -> None:
    for keeps in conformance(made()):
        keeps()


@each_form
def test_it_is_monotone_in_harm_and_prompt(made: Callable[[], Subject]) -> None:
    for claim in (Claim.MONOTONE_IN_HARM, Claim.ON_TIME, Claim.IDLE_CHANGES_NOTHING):
        search(made(), claim)
    with pytest.raises(PropertyBrokenError, match="has alarmed before, and is ok at look 2"):
        check(made(), Claim.STICKY, case((3.0, 3.0, -8.0)))


@each_form
def test_all_of_them_alarm_alike(made: Callable[[], Subject]) -> None:
    # The same seed: the same lanes, and so the same number to the last digit.
    expected = assert_false_alarms({"cusum": {"k": 0.5, "h": 4}}, at_most=0.1, horizon=20)
    found = assert_false_alarms(made(), at_most=0.1, horizon=20)
    assert (found.value, found.lanes) == (expected.value, expected.lanes)
    session.claims.clear()


def test_a_series_that_looks_ahead_is_found() -> None:
    def centred(values: Floats) -> Floats:
        return values - values.mean(axis=0)

    with pytest.raises(PropertyBrokenError, match="knowing all looks") as broken:
        search(centred, Claim.NO_LOOK_AHEAD, over="series")
    # The smallest case: two looks, and one number that is not 0.
    shown = broken.value.shown
    assert len(shown.streams[0]) == 2
    assert sum(x != 0 for stream in shown.streams for x in stream) == 1


@pytest.mark.parametrize("kind", ["PageHinkley", "ADWIN", "KSWIN"])
def test_a_river_detector(kind: str) -> None:
    drift = pytest.importorskip("river.drift", reason="river is not installed")
    settings = {"PageHinkley": {"threshold": 10.0, "delta": 0.5}, "ADWIN": {"clock": 1, "grace_period": 5}, "KSWIN": {"seed": 1}}
    detector = getattr(drift, kind)(**settings[kind])
    for keeps in conformance(detector):
        keeps()
    assert as_rule(detector).key == kind
    if kind == "PageHinkley":
        assert assert_detects(detector, 3.0, onset=40, within=20, at_least=0.9).holds


def test_a_rule_is_left_as_it_is() -> None:
    rule = as_rule({"cusum": {}})
    assert as_rule(rule) is rule
    tried = subject(rule)
    assert subject(tried) is tried
