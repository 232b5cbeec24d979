"""Code as a user would write it: a CUSUM three ways, and code that fails."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from simlab.guardrails.look import Floats


class ObjectCusum:
    """Page's CUSUM over one stream."""

    def __init__(self, k: float = 0.5) -> None:
        self.k = k
        self.total = 0.0
        self.seen: list[float] = []

    def update(self, x: float) -> float:
        self.seen.append(x)
        del self.seen[:-3]
        self.total = max(0.0, self.total + x - self.k)
        return self.total


def stream_cusum(total: float, x: float) -> tuple[float, float]:
    total = max(0.0, total + x - 0.5)
    return total, total


class Sums(NamedTuple):
    total: Floats
    looks: Floats


def lanes_cusum(state: Sums, x: Floats) -> tuple[Sums, Floats]:
    total = np.maximum(0.0, state.total + x - 0.5)
    return Sums(total, state.looks + 1), total


def mean_after_three(state: list[float], x: float) -> tuple[list[float], float]:
    """Learns for two looks; changes its state in place."""
    state.append(x)
    return state, float("nan") if len(state) < 3 else sum(state) / len(state)


def plain_level(state: None, x: float) -> tuple[None, float]:
    return state, x


def dividing(state: int, x: float) -> tuple[int, float]:
    """Fails at its third value."""
    return state + 1, x / (2 - state)


def leaving(state: Any, x: float) -> tuple[Any, float]:
    raise SystemExit(0)


def only_the_statistic(state: Any, x: float) -> Any:
    return x


def of_another_shape(state: Any, x: Floats) -> Any:
    return state, x.sum()
