"""Control of the false discovery rate over a sequence of rollouts: each is tested at a level that those before it have earned.

Both rules grant a wealth W_0 at the start, a - W_0 at the first rejection and a at each later one, and spend each grant over what
follows by a sequence g_1, g_2, ... that sums to at most 1. The level of rollout t is the sum over grants made at times s < t,

    LORD++     a_t = sum grant g_{t - s}
    SAFFRON    a_t = min(l, (1 - l) sum grant g_{1 + n(s, t)})

where n(s, t) counts the p-values above l between s and t: only those use up SAFFRON's grants. A rollout is rejected if p <= a_t.
LORD++: Ramdas, Yang, Wainwright & Jordan, "Online control of the false discovery rate with decaying memory", NeurIPS 2017.
SAFFRON: Ramdas, Zrnic, Wainwright & Jordan, "SAFFRON: an adaptive algorithm for online control of the FDR", ICML 2018.
The p-values must be independent, and uniform or larger where the rollout is harmless.

The sequences: LORD++ g_j = 0.07720838 ln(max(j, 2)) / (j exp(sqrt(ln j))), nearly the best one for normal means (Javanmard &
Montanari, Ann. Stat. 46, 2018); SAFFRON g_j = j^-1.6 / zeta(1.6), from its paper.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

import numpy as np

from simlab.errors import UnitError
from simlab.guardrails.look import Bools, Floats, Integers
from simlab.settings import settings
from simlab.ticks import Probability

_LORD_SUM = 0.07720838
_ZETA = 2.2857656656801293


class SequenceState(NamedTuple):
    """The grants of each sequence, the first one first.

    Attributes
    ----------
    worth : float64[grants, lanes]
        What each granted; 0 where a lane rejected nothing when another did.
    age : int64[grants, lanes]
        Which g spends it next, counted from 1.
    rejections : int64[lanes]
        How many so far.
    """

    worth: Floats
    age: Integers
    rejections: Integers


class SequenceStep(NamedTuple):
    """The new state, and how the rollout was tested.

    Attributes
    ----------
    state : SequenceState
        To be passed on.
    level : float64[lanes]
        At which it was tested.
    rejected : bool[lanes]
        Whether p <= level: the rollout is called harmful.
    """

    state: SequenceState
    level: Floats
    rejected: Bools


@settings
class _Online(ABC):
    """What both rules are set by."""

    budget: Probability = 0.05
    wealth: Probability | None = None

    def __post_init__(self) -> None:
        if self.wealth is not None and self.wealth > self.budget:
            raise UnitError(f"the first wealth {self.wealth:g} must be at most the budget {self.budget:g}")

    def initial(self, lanes: int) -> SequenceState:
        """Return the state before the first rollout of `lanes` independent sequences."""
        first = self.budget / 2 if self.wealth is None else self.wealth
        one = np.ones((1, lanes), dtype=np.int64)
        return SequenceState(np.full((1, lanes), first), one, np.zeros(lanes, dtype=np.int64))

    def step(self, state: SequenceState, p_value: Floats) -> SequenceStep:
        """Test one more rollout in every sequence.

        Parameters
        ----------
        state : SequenceState
            From `initial` or the step before; not changed.
        p_value : float64[lanes]
            Of the rollout; NaN, where nothing could be judged, reads as 1.
        """
        p = np.where(np.isnan(p_value), 1.0, p_value)
        level = self._level((state.worth * self.gamma(state.age)).sum(axis=0))
        rejected = p <= level
        age = state.age + self._spends(p)
        if not rejected.any():
            return SequenceStep(state._replace(age=age), level, rejected)
        grant = np.where(state.rejections == 0, self.budget - state.worth[0], self.budget) * rejected
        after = SequenceState(
            np.concatenate([state.worth, grant[None]]),
            np.concatenate([age, np.ones_like(age[:1])]),
            state.rejections + rejected,
        )
        return SequenceStep(after, level, rejected)

    @abstractmethod
    def gamma(self, place: Integers) -> Floats:
        """Return g at places from 1 on."""

    @abstractmethod
    def _level(self, spent: Floats) -> Floats:
        """Return the level that the grants' parts add up to."""

    @abstractmethod
    def _spends(self, p: Floats) -> Bools:
        """Return where a p-value uses up grants."""


@settings
class Lord(_Online):
    """LORD++ over a sequence of rollouts.

    Parameters
    ----------
    budget : float
        The false discovery rate a: the expected share of harmless ones among the rollouts that are called harmful.
    wealth : float, optional
        W_0, at most the budget; half of it if not given.

    Raises
    ------
    UnitError
        If the wealth is more than the budget.

    Examples
    --------
    >>> rule = Lord(budget=0.05, wealth=0.005)
    >>> state, level, rejected = rule.step(rule.initial(1), np.array([2.9e-08]))
    >>> level.round(10).tolist(), rejected.tolist()
    ([0.0002675839], [True])
    """

    key: ClassVar[str] = "lord"

    def gamma(self, place: Integers) -> Floats:
        """Return g at places from 1 on."""
        log = np.log(place)
        return np.asarray(_LORD_SUM * np.log(np.maximum(place, 2)) / (place * np.exp(np.sqrt(log))))

    def _level(self, spent: Floats) -> Floats:
        return spent

    def _spends(self, p: Floats) -> Bools:
        return np.ones(p.shape, dtype=bool)


@settings
class Saffron(_Online):
    """SAFFRON over a sequence of rollouts: p-values above `candidate` tell how many rollouts are harmless.

    Parameters
    ----------
    budget : float
        The false discovery rate a: the expected share of harmless ones among the rollouts that are called harmful.
    wealth : float, optional
        W_0, at most the budget; half of it if not given.
    candidate : float
        l. A p-value above it can never be rejected. p-values that pile up at 1, as those of tests at every look do, make the
        rule stricter than it need be.

    Raises
    ------
    UnitError
        If the wealth is more than the budget.

    Examples
    --------
    >>> rule = Saffron(budget=0.05, wealth=0.025)
    >>> state, level, rejected = rule.step(rule.initial(1), np.array([2.9e-08]))
    >>> level.round(9).tolist(), rejected.tolist()
    ([0.005468627], [True])
    """

    candidate: Probability = 0.5

    key: ClassVar[str] = "saffron"

    def gamma(self, place: Integers) -> Floats:
        """Return g at places from 1 on."""
        return np.asarray(place**-1.6 / _ZETA)

    def _level(self, spent: Floats) -> Floats:
        return np.minimum(self.candidate, (1 - self.candidate) * spent)

    def _spends(self, p: Floats) -> Bools:
        return np.asarray(p > self.candidate)


OnlineRule = Lord | Saffron
ONLINE_RULES: dict[str, type[OnlineRule]] = {"lord": Lord, "saffron": Saffron}
