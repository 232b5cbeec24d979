"""Functions that are compiled when they are first called."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from simlab.compiled import compiled, elementwise, inlined, part, vectorised


@compiled
def halved(x: float) -> float:
    return 1.0 / (x + x) if x > 0 else x


@inlined
def doubled(x: float) -> float:
    return x + x


@compiled
def both(x: float) -> float:
    return halved(x) + doubled(x)


@part
def tripled(x: float) -> float:
    return 3.0 * x


@compiled
def six_times(x: float) -> float:
    return doubled(tripled(x))


@compiled
def divided(x: float, y: float) -> float:
    return x / y


@vectorised
def divided_as_by_numpy(x: float, y: float) -> float:
    return x / y


@elementwise
def both_of_arrays(x: float) -> float:
    return both(x)


def test_a_compiled_function_calls_others() -> None:
    assert both(2.0) == 0.25 + 4.0
    np.testing.assert_array_equal(both_of_arrays(np.array([[2.0], [-1.0]])), [[4.25], [-3.0]])


def test_a_part_is_called_by_compiled_functions_and_can_be_tried_by_itself() -> None:
    assert six_times(2.0) == 12.0
    assert tripled(2.0) == 6.0


def test_to_divide_by_zero_is_an_error_unless_numpy_s_way_is_asked_for() -> None:
    assert divided_as_by_numpy(1.0, 0.0) == np.inf
    with pytest.raises(ZeroDivisionError):
        divided(1.0, 0.0)


def test_a_compiled_function_keeps_its_name_and_its_words() -> None:
    assert both.__name__ == "both"
    assert "float" in str(both.__annotations__["x"])


def test_a_study_is_checked_without_a_compiler() -> None:
    code = "import sys, simlab.checking; simlab.checking.check_file('studies/checkout-canary'); print('numba' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
