"""What a look adds to the score and to intrinsic time."""

from __future__ import annotations

import numpy as np

from simlab.guardrails.rules.intrinsic import gained
from tests.guardrails.rules.contract import seen


def test_equal_looks_count_one_each() -> None:
    gain = gained(seen([1.5, -2.0], information=[4.0, 9.0]), weights="equal")
    np.testing.assert_array_equal(gain.score, [[1.5, -2.0]])
    np.testing.assert_array_equal(gain.time, [[1.0, 1.0]])


def test_information_is_the_variance_of_the_score() -> None:
    gain = gained(seen([1.5, -2.0], information=[4.0, 9.0]), weights="information")
    np.testing.assert_array_equal(gain.score, [[3.0, -6.0]])
    np.testing.assert_array_equal(gain.time, [[4.0, 9.0]])


def test_what_is_not_finite_is_no_number() -> None:
    for weights in ("equal", "information"):
        gain = gained(seen([np.nan, np.inf, -np.inf]), weights=weights)  # type: ignore[arg-type]
        assert np.isnan(gain.score).all()
