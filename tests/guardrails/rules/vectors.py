"""What a rule over several metrics must keep: lanes alone, one answer for all metrics, no number in is no number out."""

from __future__ import annotations

import numpy as np

from simlab.guardrails.look import Floats
from simlab.guardrails.rule import Rule
from tests.guardrails.rules.contract import run_all, seen
from tests.looks import MINUTE


def run_vectors(rule: Rule, values: Floats) -> Floats:
    """Return the statistics, float64[looks, metrics, lanes], of values of that shape."""
    return run_all(rule, [seen(row, time=time) for time, row in enumerate(values, start=1)])


def assert_vector_contract(rule: Rule) -> None:
    """Fail unless lanes are alone to the bit, all metrics have one answer, and a metric without a number makes it unknown."""
    values = np.random.default_rng(1).normal(0.5, 1.0, size=(25, 3, 7))
    values[5, 1, 2], values[9, 0, 3], values[12, 2, 4] = np.nan, np.inf, -np.inf
    found = run_vectors(rule, values)
    assert np.isnan(found).any(axis=1).sum() == 3
    for metric in range(3):
        np.testing.assert_array_equal(found[:, metric], found[:, 0])
    for lane in range(7):
        np.testing.assert_array_equal(run_vectors(rule, values[:, :, [lane]]), found[:, :, [lane]])
    # A look without a verdict leaves no trace.
    np.testing.assert_array_equal(
        run_vectors(rule, np.delete(values, 5, axis=0)[:, :, [2]]), np.delete(found, 5, axis=0)[:, :, [2]]
    )
    one_sided = rule.update(rule.initial(3, 2, every=MINUTE), seen([[3.0, -3.0], [4.0, -4.0], [-1.0, 1.0]]))
    assert np.asarray(one_sided.worse).tolist() == [[True, False]] * 3


def equicorrelated(rng: np.random.Generator, metrics: int, lanes: int, *, correlation: float) -> Floats:
    """Return standard normal values, float64[metrics, lanes], with one correlation between any two metrics."""
    common = rng.normal(size=lanes)
    return np.asarray(np.sqrt(correlation) * common + np.sqrt(1 - correlation) * rng.normal(size=(metrics, lanes)))
