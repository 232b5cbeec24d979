"""Sums over users on their way into looks: nothing lost or counted twice, whatever the parts, looks and allocations."""

from __future__ import annotations

import numpy as np

from simlab.users_gathered import UsersGathered


def test_looks_go_on_where_the_one_before_ended_and_begin_anew_with_the_allocation() -> None:
    rng = np.random.default_rng(1)
    lanes, parts = 3, 3
    gathered = UsersGathered({"m": 6}, parts=parts, segments=2, lanes=lanes)
    # Lane by lane: allocation and part of each tick, and after which ticks a look is given (True), lost (False) or not due (None).
    allocations = np.array([[1, 1, 1], [1, 1, 1], [1, 2, 1], [1, 2, 2], [1, 2, 2], [2, 2, 2]])
    in_part = np.array([[0, 0, 0], [0, 0, 0], [0, 0, 1], [0, 0, 2], [1, 0, 2], [2, 0, 2]])
    held = np.zeros((6, 2, 2, lanes))
    expected_before = np.zeros((6, 2, 2, lanes))
    last = np.zeros(lanes)
    for tick in range(6):
        grown = rng.random((6, 2, 2, lanes))
        renewed = allocations[tick] != last
        held = np.where(renewed, 0.0, held) + grown
        last = allocations[tick]
        gathered.add({"m": grown}, allocations[tick], in_part[tick], np.ones(lanes, dtype=bool))
        if tick == 1:
            sums = gathered.given(np.array([True, True, False]))["m"]
            np.testing.assert_allclose(sums.after[:, 0, ..., :2], held[..., :2])
            assert not sums.before.any()
            assert not sums.after[..., 2].any()
            gathered.clear(np.array([True, True, False]))
            expected_before[..., :2] = held[..., :2]
        if tick == 4:
            before_last = held
    sums = gathered.given(np.ones(lanes, dtype=bool))["m"]
    # Lane 0 kept its allocation over two parts and got another in the third; lane 1 got another at once; lane 2's look was lost.
    np.testing.assert_allclose(sums.before[:, 0, ..., 0], expected_before[..., 0])
    np.testing.assert_allclose(sums.before[:, 1, ..., 0], sums.after[:, 0, ..., 0])
    np.testing.assert_allclose(sums.after[:, 1, ..., 0], before_last[..., 0])
    assert not sums.before[:, 2, ..., 0].any()
    np.testing.assert_allclose(sums.after[:, 2, ..., 0], held[..., 0])
    assert not sums.before[..., 1].any()
    np.testing.assert_allclose(sums.after[:, 0, ..., 1], held[..., 1])
    assert not sums.before[:, 0, ..., 2].any()
    np.testing.assert_allclose(sums.before[:, 1, ..., 2], sums.after[:, 0, ..., 2])
    assert not sums.before[:, 2, ..., 2].any()
    np.testing.assert_allclose(sums.after[:, 2, ..., 2], held[..., 2])


def test_what_has_not_arrived_moves_nothing() -> None:
    gathered = UsersGathered({"m": 6}, parts=1, segments=1, lanes=2)
    grown = np.ones((6, 1, 2, 2))
    gathered.add({"m": grown}, np.array([1, 1]), np.zeros(2, dtype=np.int64), np.array([True, False]))
    after = gathered.given(np.ones(2, dtype=bool))["m"].after
    assert (after[..., 0] == 1).all()
    assert (after[..., 1] == 0).all()
