"""Numbers that functions are given: NumPy's count, and what is none is told like one out of range."""

from __future__ import annotations

import math

import numpy as np
import pytest

from simlab.arguments import is_number, is_share, is_whole


@pytest.mark.parametrize(
    ("given", "number", "whole", "share"),
    [
        (3, True, True, False),
        (np.int64(3), True, True, False),
        (1, True, False, False),
        (3.0, True, False, False),
        (0.25, True, False, True),
        (np.float32(0.25), True, False, True),
        (math.nan, True, False, False),
        (True, False, False, False),
        ("3", False, False, False),
        (None, False, False, False),
        ([0.5], False, False, False),
    ],
)
def test_what_counts_as_a_number(given: object, number: bool, whole: bool, share: bool) -> None:
    assert (is_number(given), is_whole(given, least=2), is_share(given)) == (number, whole, share)
