"""The sequential test does what its recursion says, exactly."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.stats import binom

from simlab.errors import UnitError
from simlab.testing.sequential import Design, Ended, Run, design

SMALL = Design(0.3, 0.6, lanes=(3, 6, 8), passes=(0, 1, 4), fails=(3, 5, 5))


def _ends(tested: Design, events: tuple[int, ...]) -> Ended:
    run = Run(tested)
    while True:
        ended = run.see(sum(events[: run.wants]))
        if ended is not None:
            return ended


@pytest.mark.parametrize("p", [0.1, 0.3, 0.6, 0.95])
def test_the_recursion_agrees_with_every_path(p: float) -> None:
    failing = lanes = 0.0
    for events in itertools.product((0, 1), repeat=8):
        ended = _ends(SMALL, events)
        probability = p ** sum(events) * (1 - p) ** (8 - sum(events))
        failing += probability * ended.failed
        lanes += probability * ended.lanes
    assert SMALL.failing(p) == pytest.approx(failing, abs=1e-13)
    assert SMALL.expected_lanes(p) == pytest.approx(lanes, abs=1e-12)


@pytest.mark.parametrize("claimed", [0.001, 0.05, 0.1, 0.6, 0.9])
@pytest.mark.parametrize(("flake", "power"), [(1e-6, 0.99), (1e-2, 0.95)])
def test_both_error_rates_are_kept_and_nearly_used(claimed: float, flake: float, power: float) -> None:
    caught = min(claimed * 1.5, 1 - (1 - claimed) / 2)
    found = design(claimed, caught, flake=flake, power=power)
    assert 0.5 * flake < found.flake <= flake
    assert power <= found.power < 1
    # The claim itself is where a right rule fails most often, the end of the zone where a wrong one is caught least.
    assert found.failing(0.5 * claimed) < found.flake
    assert found.failing(0.5 * (1 + caught)) > found.power


def test_easy_cases_end_early() -> None:
    found = design(0.05, 0.075)
    assert found.expected_lanes(0.01) < 0.1 * found.lanes[-1]
    assert found.expected_lanes(0.3) < 0.1 * found.lanes[-1]
    # A test with one look and the same error rates takes more lanes than the mean of this one where it is hardest.
    one_look = next(n for n in range(1000, 20_000, 50) if binom.sf(binom.isf(1e-6, n, 0.05), n, 0.075) >= 0.99)
    assert max(found.expected_lanes(p) for p in np.linspace(0.05, 0.075, 6)) < one_look


def test_fewer_lanes_cost_power_and_not_the_flake_rate() -> None:
    whole, capped = design(0.05, 0.075), design(0.05, 0.075, lanes=1000)
    assert capped.lanes[-1] == 1000
    assert capped.flake <= 1e-6
    assert capped.power < whole.power


def test_the_interval_covers_as_often_as_it_says() -> None:
    # Exactly, over all outcomes: 95 % at least, up to the last digit of the roots.
    for p in (0.15, 0.3, 0.45, 0.6, 0.8):
        covered = 0.0
        for events in itertools.product((0, 1), repeat=8):
            low, high = _interval(_ends(SMALL, events))
            covered += (low <= p <= high) * p ** sum(events) * (1 - p) ** (8 - sum(events))
        assert covered >= 0.95 - 1e-9


def _interval(ended: Ended, known: dict[Ended, tuple[float, float]] = {}) -> tuple[float, float]:  # noqa: B006
    if ended not in known:
        known[ended] = SMALL.interval(ended)
    return known[ended]


def test_the_interval_grows_with_what_was_found() -> None:
    ends = sorted({_ends(SMALL, events) for events in itertools.product((0, 1), repeat=8)})
    order = sorted(ends, key=lambda end: (end.failed, -end.look if end.failed else end.look, end.events))
    lows = [_interval(end)[0] for end in order]
    assert lows == sorted(lows)
    assert all(low < end.events / end.lanes + 1e-9 < high + 1e-6 for end in order for low, high in [_interval(end)] if end.events)


@pytest.mark.parametrize(
    ("claimed", "caught", "how"),
    [
        (0.0, 0.1, {}),
        (0.1, 0.1, {}),
        (0.5, 1.0, {}),
        (0.1, 0.2, {"flake": 0.7}),
        (0.1, 0.2, {"power": 0.3}),
        (0.1, 0.2, {"lanes": 0}),
    ],
)
def test_what_cannot_be_told_apart_is_refused(claimed: float, caught: float, how: dict) -> None:
    with pytest.raises(UnitError):
        design(claimed, caught, **how)
