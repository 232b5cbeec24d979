"""The benchmark's rules in plain Python, one stream at a time; no code is shared with simlab."""

from __future__ import annotations

import math
from typing import Protocol


class Rule(Protocol):
    """One rule on one stream; larger is worse."""

    def step(self, x: float) -> float:
        """Take in one standardised difference and return the statistic."""


class Cusum:
    """max(0, S + x - k)."""

    __slots__ = ("k", "total")

    def __init__(self, *, k: float) -> None:
        self.k = k
        self.total = 0.0

    def step(self, x: float) -> float:
        """Add one look."""
        self.total = max(0.0, self.total + x - self.k)
        return self.total


class Ewma:
    """|mean| in its own standard deviations."""

    __slots__ = ("mean", "spread", "weight")

    def __init__(self, *, weight: float) -> None:
        self.weight, self.mean = weight, 0.0
        self.spread = math.sqrt(weight / (2.0 - weight))

    def step(self, x: float) -> float:
        """Average in one look."""
        self.mean += self.weight * (x - self.mean)
        return abs(self.mean) / self.spread


class Sprt:
    """The log-likelihood ratio, until it accepts."""

    __slots__ = ("accepts", "delta", "total")

    def __init__(self, *, delta: float, accepts: float) -> None:
        self.delta, self.accepts, self.total = delta, accepts, 0.0

    def step(self, x: float) -> float:
        """Add one look."""
        if self.total > self.accepts:
            self.total += self.delta * (x - 0.5 * self.delta)
        return self.total


class MixtureSprt:
    """The log of the normal mixture of likelihood ratios."""

    __slots__ = ("looks", "r", "score")

    def __init__(self, *, r: float) -> None:
        self.r, self.score, self.looks = r, 0.0, 0

    def step(self, x: float) -> float:
        """Add one look."""
        self.score += x
        self.looks += 1
        wide = self.looks + self.r
        return 0.5 * (math.log(self.r / wide) + self.score**2 / wide)


class ShiryaevRoberts:
    """log R, with R = (1 + R) exp(theta x - theta^2 / 2)."""

    __slots__ = ("log_r", "theta")

    def __init__(self, *, theta: float) -> None:
        self.theta, self.log_r = theta, -math.inf

    def step(self, x: float) -> float:
        """Multiply in one look."""
        above = max(0.0, self.log_r)
        self.log_r = above + math.log1p(math.exp(-abs(self.log_r))) + self.theta * (x - 0.5 * self.theta)
        return self.log_r


class PageHinkley:
    """How far the sum of distances from the mean is above its minimum."""

    __slots__ = ("delta", "looks", "lowest", "mean", "min_looks", "total")

    def __init__(self, *, delta: float, min_looks: int) -> None:
        self.delta, self.min_looks = delta, min_looks
        self.looks, self.mean, self.total, self.lowest = 0, 0.0, 0.0, 0.0

    def step(self, x: float) -> float:
        """Take in one look: first the mean, then the sum."""
        self.looks += 1
        self.mean += (x - self.mean) / self.looks
        self.total += x - self.mean - self.delta
        self.lowest = min(self.lowest, self.total)
        return self.total - self.lowest if self.looks >= self.min_looks else 0.0


class SampleRatio:
    """The log e-value of users against the planned share, a mixture for each share (Lindon & Malek 2022)."""

    __slots__ = ("concentration", "counts")

    def __init__(self, *, concentration: float) -> None:
        self.concentration = concentration
        self.counts: dict[float, list[int]] = {}

    def step(self, treatment: int, control: int, share: float) -> float:
        """Count new users and return the sum over shares."""
        counts = self.counts.setdefault(share, [0, 0])
        counts[0] += treatment
        counts[1] += control
        return sum(self._log_e(treated, others, share) for share, (treated, others) in self.counts.items())

    def _log_e(self, treatment: int, control: int, share: float) -> float:
        a, b, lgamma = self.concentration * share, self.concentration * (1.0 - share), math.lgamma
        log_mixture = lgamma(a + b) - lgamma(a + b + treatment + control)
        log_mixture += lgamma(a + treatment) - lgamma(a) + lgamma(b + control) - lgamma(b)
        return log_mixture - treatment * math.log(share) - control * math.log1p(-share)
