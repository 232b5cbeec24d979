"""Chains on nodes: what is summed, and what is asked for look by look."""

from __future__ import annotations

import numpy as np
import pytest

from simlab.chains import Chain, TwoSides, nodes_of
from simlab.errors import SimlabError


def test_nodes_integrate_a_normal_kernel() -> None:
    nodes = nodes_of(-8.0, 8.0, spread=1.0)
    mass = nodes.reached_from(np.array([0.0, 1.0]), spread=1.0)
    np.testing.assert_allclose(mass.sum(axis=1), 1.0, rtol=1e-11)
    np.testing.assert_allclose(mass @ nodes.at, [0.0, 1.0], atol=1e-10)


def test_an_interval_too_wide_is_told() -> None:
    with pytest.raises(SimlabError, match="a threshold 2000 wide in steps of 1 is too far"):
        nodes_of(0.0, 2000.0, spread=1.0)


def test_a_geometric_time() -> None:
    chain = Chain(np.array([0.9]), np.array([[0.9]]))
    assert chain.mean() == pytest.approx(10)
    np.testing.assert_allclose(chain.survival(200), 0.9 ** np.arange(201), rtol=1e-12)
    assert chain.total(np.array([0.1])) == pytest.approx(0.9)


def test_looks_before_the_chain_has_settled() -> None:
    chain = Chain(np.array([0.4]), np.array([[0.5]]), early=np.array([0.95, 0.8]))
    np.testing.assert_allclose(chain.survival(4), [1, 0.95, 0.8, 0.4, 0.2])
    np.testing.assert_allclose(chain.survival(1), [1, 0.95])
    assert chain.mean() == pytest.approx(1 + 0.95 + 0.8 + 0.8)


def test_the_first_of_two_sides_that_start_anew() -> None:
    # Two lights on one clock, never both on: up with 0.2 and down with 0.1 at each look. Neither knows of the other.
    up, down = (Chain(np.array([1 - p]), np.array([[1 - p]])) for p in (0.2, 0.1))
    both = TwoSides(up, down, up, down)
    assert both.mean() == pytest.approx(1 / 0.3)
    np.testing.assert_allclose(both.survival(50), 0.7 ** np.arange(51), rtol=1e-12, atol=1e-15)
