"""Page-Hinkley: CUSUM against the running mean of all looks, where no baseline is known.

Page, "Continuous inspection schemes", Biometrika 41 (1954); Hinkley, "Inference about the change-point from cumulative sum
tests", Biometrika 58 (1971). The running mean takes in the newest look, and sums may fade, as in Sebastião & Fernandes,
"Supporting the Page-Hinkley test with empirical mode decomposition for change detection", ISMIS (2017).
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, NamedTuple

import numpy as np
from annotated_types import Ge, Gt, Le

from simlab.compiled import vectorised
from simlab.guardrails.look import Floats
from simlab.guardrails.rule import Observation, Step, Takes
from simlab.settings import settings


class PageHinkleyState(NamedTuple):
    """Running mean, the two sums and their extremes.

    Attributes
    ----------
    looks : float64[streams, lanes]
        How many were seen.
    mean : float64[streams, lanes]
        Of all of them.
    rising, lowest : float64[streams, lanes]
        m, the sum that grows with the mean, and its minimum.
    falling, highest : float64[streams, lanes]
        The sum that shrinks with it, and its maximum.
    """

    looks: Floats
    mean: Floats
    rising: Floats
    lowest: Floats
    falling: Floats
    highest: Floats


@settings
class PageHinkley:
    """m_t = m_(t-1) + x_t - mean(x_1..x_t) - delta; alarm at m_t - min m >= lambda.

    It learns its baseline from the stream itself, a harm included: a slow drift is learnt away. It promises nothing. The
    widespread setting delta 0.005, lambda 50 alarms in nearly every stream of a few thousand looks of plain noise.

    Parameters
    ----------
    delta : float
        Allowance in standard deviations of a look: half the shift to be found soonest.
    lambda_ : float
        Threshold in standard deviations of a look (``lambda`` in files).
    min_looks : int
        No alarm before this many looks.
    fading : float
        Factor by which the sums shrink at each look; 1, the paper's, keeps all.
    sides : {1, 2}
        1 alarms on harm only; 2 also on an improvement, max M - M of the sums with + delta.

    Examples
    --------
    >>> from simlab.run_lengths import statistics
    >>> statistics(PageHinkley(delta=0.5, lambda_=8, min_looks=1), [0.0, 0.0, 3.0, 3.0])
    array([0. , 0. , 1.5, 2.5])
    """

    delta: Annotated[float, Ge(0)] = 0.5
    lambda_: Annotated[float, Gt(0)] = 8.0
    min_looks: Annotated[int, Ge(1)] = 30
    fading: Annotated[float, Gt(0), Le(1)] = 1.0
    sides: Literal[1, 2] = 1

    key: ClassVar[str] = "page_hinkley"
    takes: ClassVar[Takes] = Takes.STANDARDISED
    paper: ClassVar[str] = "Page, Continuous inspection schemes, Biometrika 1954"
    ladder: ClassVar[str] = "m - min m, in standard deviations of a look"

    @property
    def threshold(self) -> float:
        """The lambda of the files."""
        return self.lambda_

    @property
    def guarantee(self) -> None:
        """It promises nothing."""

    def initial(self, streams: int, lanes: int, *, every: int) -> PageHinkleyState:  # noqa: ARG002
        """Return empty sums."""
        return PageHinkleyState(*np.zeros((6, streams, lanes)))

    def update(self, state: PageHinkleyState, seen: Observation) -> Step:
        """Take in one look: first the mean, then the sums."""
        shape = seen.value.shape
        looks, mean, rising, lowest, harm = (np.empty(shape) for _ in range(5))
        _learn(seen.value, state.looks, state.mean, looks, mean)
        settings = self.delta, self.fading, float(self.min_looks)
        _add_up(1.0, settings, seen.value, looks, mean, state.rising, state.lowest, rising, lowest, harm)
        if self.sides == 1:
            return Step(PageHinkleyState(looks, mean, rising, lowest, state.falling, state.highest), harm, worse=True)
        falling, highest, gain = (np.empty(shape) for _ in range(3))
        _add_up(-1.0, settings, seen.value, looks, mean, state.falling, state.highest, falling, highest, gain)
        return Step(PageHinkleyState(looks, mean, rising, lowest, falling, highest), np.maximum(harm, gain), worse=harm >= gain)


@vectorised
def _learn(value: Floats, before: Floats, mean_before: Floats, looks: Floats, mean: Floats) -> None:
    for stream in range(value.shape[0]):
        for lane in range(value.shape[1]):
            looks[stream, lane] = before[stream, lane] + 1.0
            known = mean_before[stream, lane]
            mean[stream, lane] = known + (value[stream, lane] - known) / looks[stream, lane]


@vectorised
def _add_up(
    sign: float, settings: tuple[float, float, float], value: Floats, looks: Floats, mean: Floats, before: Floats,
    extreme_before: Floats, total: Floats, extreme: Floats, statistic: Floats,
) -> None:  # fmt: skip
    """Fill `total`, its minimum `extreme` so far, and how far it is above it, where that is judged.

    With the sign -1 it is the sum of values turned round, and its maximum. `settings` are delta, fading and the looks to learn.
    """
    delta, fading, learning = settings
    for stream in range(value.shape[0]):
        for lane in range(value.shape[1]):
            now = fading * (sign * before[stream, lane]) + sign * (value[stream, lane] - mean[stream, lane]) - delta
            least = min(sign * extreme_before[stream, lane], now)
            total[stream, lane], extreme[stream, lane] = sign * now, sign * least
            statistic[stream, lane] = (now - least) * (1.0 if looks[stream, lane] >= learning else 0.0)
