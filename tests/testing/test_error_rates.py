"""Error-rate assertions decide as often right as they say."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from simlab.errors import UnitError
from simlab.exact_run_lengths import exact_run_length
from simlab.guardrails.rule import Takes
from simlab.rule_from import rule
from simlab.testing import Effort, ErrorRateBrokenError, Lens, assert_arl0, assert_detects, assert_false_alarms
from simlab.testing.recording import session
from simlab.testing.sequential import design

CUSUM = {"cusum": {"k": 0.5, "h": 4}}
SEEDS = 2000


def _at(rate: float) -> object:
    return rule({"random": {"rate": f"{100 * rate:g}%"}})


def test_a_flake_rate_of_one_in_a_hundred_is_kept_over_2000_seeds() -> None:
    # The rule alarms with probability 0.2 exactly, which is the claim; the zone ends at 0.3.
    found = design(0.2, 0.3, flake=1e-2, power=0.95)
    always = _at(0.2)
    failed = sum(_fails(always, 0.2, seed) for seed in range(SEEDS))
    # Two-sided, at an error of 1e-3 for this test itself.
    low, high = binom.ppf([0.0005, 0.9995], SEEDS, found.flake)
    assert low <= failed <= high
    assert found.flake <= 1e-2


def test_the_stated_power_is_reached_at_the_end_of_the_zone() -> None:
    found = design(0.2, 0.3, flake=1e-2, power=0.95)
    beyond = _at(0.3)
    failed = sum(_fails(beyond, 0.2, seed) for seed in range(500))
    low, high = binom.ppf([0.0005, 0.9995], 500, found.power)
    assert low <= failed <= high


def _fails(tried: object, at_most: float, seed: int) -> bool:
    try:
        assert_false_alarms(tried, at_most=at_most, horizon=1, effort=Effort(flake=1e-2, power=0.95, seed=seed))
    except ErrorRateBrokenError:
        return True
    return False


def test_false_alarms_of_a_repeated_test() -> None:
    # Published: 5 % at one look is 19.3 % at ten. All that follows errs with probability 1e-6 each, and the seeds are fixed.
    assert assert_false_alarms({"repeated_z": {}}, at_most=0.2, horizon=10).holds
    with pytest.raises(
        ErrorRateBrokenError, match=r"repeated_z: false alarms within 10 looks: claimed at most 0\.05, found 0\.\d+ \["
    ):
        assert_false_alarms({"repeated_z": {}}, at_most=0.05, horizon=10)
    assert assert_false_alarms({"repeated_z": {"looks": 10}}, at_most=0.05, horizon=10).holds


def test_between_catches_a_rule_that_alarms_too_seldom() -> None:
    assert assert_false_alarms({"pocock": {"looks": 5}}, between=(0.045, 0.055), horizon=5).holds
    with pytest.raises(ErrorRateBrokenError):
        assert_false_alarms({"repeated_z": {"looks": 50}}, between=(0.045, 0.055), horizon=5)


def test_the_mean_run_length_is_the_exact_one() -> None:
    exact = exact_run_length(CUSUM)
    found = assert_arl0(CUSUM, between=(0.99 * exact, 1.01 * exact), effort=Effort(zone=0.2))
    assert found.low < exact < found.high
    assert found.unit == "looks"
    with pytest.raises(ErrorRateBrokenError):
        assert_arl0({"cusum": {"k": 0.5, "h": 3}}, at_least=exact)
    with pytest.raises(ErrorRateBrokenError):
        assert_arl0({"cusum": {"k": 0.5, "h": 5}}, between=(0.9 * exact, exact))


def test_it_is_the_restricted_mean_that_is_tested() -> None:
    # It alarms with 1 % at each look: E[min(T, 100)] = (1 - 0.99^100) / 0.01 = 63.4.
    found = assert_arl0(_at(0.01), between=(63, 64), horizon=100, effort=Effort(zone=0.2))
    assert found.low < (1 - 0.99**100) / 0.01 < found.high
    with pytest.raises(ErrorRateBrokenError):
        assert_arl0(_at(0.02), at_least=63, horizon=100, effort=Effort(zone=0.2))


def test_detection_of_a_shift() -> None:
    assert assert_detects(CUSUM, 1.0, within=20, at_least=0.9).holds
    with pytest.raises(ErrorRateBrokenError, match="detection of a shift of 0.25 within 20 looks".replace(".", r"\.")):
        assert_detects(CUSUM, 0.25, within=20, at_least=0.9)


def test_lanes_that_alarmed_before_the_harm_do_not_count() -> None:
    # It alarms at half of all looks; among those silent at the onset, half are told at the next look.
    found = assert_detects(_at(0.5), 0.0, onset=3, within=1, at_least=0.5, effort=Effort(zone=0.2))
    assert found.low < 0.5 < found.high
    with pytest.raises(UnitError, match="alarms in every lane before the harm begins"):
        assert_detects(_at(1.0), 1.0, onset=2, within=1, at_least=0.5)


def test_other_noise_and_other_units() -> None:
    def heavy(generator: np.random.Generator, lanes: int) -> np.ndarray:
        return generator.standard_t(3, lanes)

    with pytest.raises(ErrorRateBrokenError):
        assert_false_alarms({"shewhart": {"sigmas": 3}}, at_most=0.05, horizon=10, sample=heavy)
    share = Lens(takes=Takes.LEVEL, center=0.5, spread=0.1, low=0.0, high=1.0)
    assert assert_false_alarms({"betting": {"m": "50%"}}, at_most=0.05, horizon=50, lens=share).holds
    assert assert_false_alarms({"canary_counts": {}}, at_most=0.05, horizon=50).holds
    assert assert_false_alarms({"srm": {"alpha": "5%"}}, at_most=0.05, horizon=50).holds


def test_what_was_found_is_the_same_for_the_same_seed_and_recorded() -> None:
    session.claims.clear()
    once = assert_false_alarms(CUSUM, at_most=0.2, horizon=20, effort=Effort(seed=3))
    again = assert_false_alarms(CUSUM, at_most=0.2, horizon=20, effort=Effort(seed=3))
    other = assert_false_alarms(CUSUM, at_most=0.2, horizon=20, effort=Effort(seed=4))
    assert once == again != other
    assert session.claims == [once, again, other]
    for word in ("claimed at most 0.2", "lanes, seed 3", "with probability at most", "0.3 or worse is caught"):
        assert word in str(once)


def test_lanes_can_be_limited() -> None:
    found = assert_false_alarms(CUSUM, at_most=0.05, horizon=20, effort=Effort(lanes=100))
    assert found.lanes <= 100
    assert found.power < 0.99
    assert found.flake <= 1e-6


@pytest.mark.parametrize(
    "claim",
    [
        lambda: assert_false_alarms(CUSUM, horizon=5),
        lambda: assert_false_alarms(CUSUM, horizon=5, at_most=0.1, between=(0.1, 0.2)),
        lambda: assert_false_alarms(CUSUM, horizon=5, at_most=0.8),
        lambda: assert_false_alarms(CUSUM, horizon=5, at_most=0.0),
        lambda: assert_arl0(CUSUM, at_least=100, horizon=50),
        lambda: assert_detects(CUSUM, 1.0, within=5, at_least=1.0),
        lambda: assert_detects(CUSUM, 1.0, within=5, at_least=0.9, effort=Effort(zone=0.0)),
    ],
)
def test_a_claim_without_room_is_refused(claim) -> None:
    with pytest.raises(UnitError):
        claim()
