"""What numbers functions are given: NumPy's count as Python's do, and what is no number is told like one out of range."""

from __future__ import annotations

from typing import TypeGuard

import numpy as np


def is_whole(number: object, *, least: int) -> TypeGuard[int]:
    """Return whether it is a whole number of at least so much."""
    return isinstance(number, int | np.integer) and not isinstance(number, bool) and int(number) >= least


def is_number(number: object) -> TypeGuard[float]:
    """Return whether it is one."""
    return isinstance(number, int | float | np.integer | np.floating) and not isinstance(number, bool)


def is_share(number: object) -> TypeGuard[float]:
    """Return whether it is a number strictly between 0 and 1."""
    return is_number(number) and 0 < number < 1
