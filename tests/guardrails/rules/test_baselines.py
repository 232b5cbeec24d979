"""Floor and ceiling: never alarms, and alarms at random."""

from __future__ import annotations

import math

import numpy as np
import pytest

from simlab.guardrails.guardrail import Guardrail
from simlab.guardrails.look import Code
from simlab.guardrails.rules.baselines import Never, Random
from simlab.guardrails.signal import Signal
from tests.looks import MINUTE, make_look, observation, run

LANES = 20_000


def alarms(rate: float, *, lanes: np.ndarray, times: range, seed: int = 7) -> np.ndarray:
    """Return which lanes alarm, bool[looks, lanes]."""
    guardrail = Guardrail(Signal(), Random(rate=rate), MINUTE)
    decisions = run(guardrail, [make_look(time=time, lanes=lanes, seed=seed) for time in times])
    return np.stack([decision.code == Code.ALARM for decision in decisions])


def test_never_alarms_and_is_never_unknown_unless_the_look_is_lost() -> None:
    looks = [make_look(time=time, missing=[False, time == 2]) for time in (1, 2, 3)]
    decisions = run(Guardrail(Signal(), Never(), MINUTE), looks)
    assert [decision.code.tolist() for decision in decisions] == [[0, 0], [0, 2], [0, 0]]


@pytest.mark.parametrize("rate", [0.001, 0.05, 0.5])
def test_random_alarms_at_its_rate(rate: float) -> None:
    found = alarms(rate, lanes=np.arange(LANES), times=range(1, 21))
    # 4 standard errors of independent draws: an error rate of 6e-5.
    assert abs(found.mean() - rate) < 4 * math.sqrt(rate * (1 - rate) / found.size)


@pytest.mark.parametrize(("rate", "every_time"), [(0.0, False), (1.0, True)])
def test_random_at_its_ends(rate: float, every_time: bool) -> None:
    assert (alarms(rate, lanes=np.arange(1000), times=range(1, 11)) == every_time).all()


def test_looks_and_lanes_are_drawn_independently() -> None:
    found = alarms(0.5, lanes=np.arange(LANES), times=range(1, 3)).astype(float)
    # A correlation of n independent pairs has a standard error of 1 / sqrt(n); 4 of them are an error rate of 6e-5 each.
    assert abs(np.corrcoef(found[0], found[1])[0, 1]) < 4 / math.sqrt(LANES)
    assert abs(np.corrcoef(found[0, 1:], found[0, :-1])[0, 1]) < 4 / math.sqrt(LANES)


def test_a_lane_draws_the_same_in_every_block() -> None:
    whole = alarms(0.3, lanes=np.arange(100), times=range(1, 6))
    np.testing.assert_array_equal(whole[:, 40:60], alarms(0.3, lanes=np.arange(40, 60), times=range(1, 6)))
    np.testing.assert_array_equal(whole[2:], alarms(0.3, lanes=np.arange(100), times=range(3, 6)))


def test_another_seed_draws_other_numbers() -> None:
    one = alarms(0.5, lanes=np.arange(200), times=range(1, 2))
    assert (one != alarms(0.5, lanes=np.arange(200), times=range(1, 2), seed=8)).any()


def test_the_state_is_not_changed() -> None:
    for rule in (Never(), Random(rate=0.5)):
        state = rule.initial(1, 2, every=MINUTE)
        state.flags.writeable = False
        rule.update(state, observation([0.0, 0.0]))
