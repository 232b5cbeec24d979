"""Users are what they are said to be: activity and effects gamma, seats found in proportion, lives of the stated length."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from simlab.streams import stream_key
from simlab.world.people import effect_of, gamma_variate, person_of, population

KEY = stream_key(1, "people")


@pytest.mark.parametrize("shape", [0.05, 0.7, 1.0, 4.5])
def test_gamma_variates_are_gamma(shape: float) -> None:
    words = np.random.default_rng(3).integers(0, 2**63, 20_000).astype(np.uint64)
    drawn = np.array([gamma_variate(word, shape) for word in words])
    # Kolmogorov-Smirnov at one in a million.
    assert stats.kstest(drawn, "gamma", args=(shape,)).pvalue > 1e-6


def test_an_effect_lasts_and_has_the_stated_spread() -> None:
    words = np.random.default_rng(4).integers(0, 2**63, 20_000).astype(np.uint64)
    drawn = np.array([effect_of(word, KEY, 0.5) for word in words])
    assert effect_of(words[0], KEY, 0.5) == drawn[0]
    assert effect_of(words[0], KEY, 0.0) == 1.0
    assert stats.kstest(drawn, "gamma", args=(4.0, 0, 0.25)).pvalue > 1e-6


def test_activity_does_not_depend_on_the_block_and_the_guide_finds_every_seat() -> None:
    sizes = np.array([300, 50])
    whole = population(KEY, 0, 5, sizes=sizes, gamma=0.7)
    part = population(KEY, 3, 2, sizes=sizes, gamma=0.7)
    np.testing.assert_array_equal(whole.upto[3:], part.upto)
    for lane in range(5):
        for begin, end in ((0, 300), (300, 350)):
            upto = whole.upto[lane, begin:end]
            assert (np.diff(upto, prepend=0.0) >= 0).all()
            expected = np.searchsorted(upto, upto[-1] * (np.arange(end - begin) / (end - begin)), side="right")
            np.testing.assert_array_equal(whole.guide[lane, begin:end] - begin, expected)
    shares = np.diff(whole.upto[:, :300], axis=1).ravel()
    assert stats.kstest(shares, "gamma", args=(0.7, 0, 1 / 0.7)).pvalue > 1e-6


def test_a_seat_changes_hands_once_in_every_stay() -> None:
    stay = 10
    changes = np.zeros(stay)
    for seat in range(500):
        lives = [person_of(KEY, np.uint64(5), stay, tick, seat) for tick in range(2 * stay + 1)]
        numbers = np.array([number for _, number in lives])
        assert numbers[-1] - numbers[0] == 2
        assert len({person for person, _ in lives}) == len(set(numbers.tolist()))
        changes[np.flatnonzero(np.diff(numbers))[0] % stay] += 1
    # Chi-square of the moments of change at one in a million.
    assert stats.chisquare(changes).pvalue > 1e-6
    assert len({person_of(KEY, np.uint64(5), 0, tick, 7)[0] for tick in range(50)}) == 1
