"""What a guardrail answered look by look, and how two such records are held against one another."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from simlab.guardrails.guardrail import Guardrail, GuardrailState
from simlab.guardrails.look import Bools, Code, Floats, Look


class BrokenError(Exception):
    """A property does not hold; what went wrong, before it is said of which rule on what."""


class Trace(NamedTuple):
    """What a guardrail answered.

    Attributes
    ----------
    codes : int8[looks, lanes]
        `Code` of each decision.
    statistic : float64[looks, lanes]
        Largest statistic over the streams.
    unknown : bool[looks, lanes]
        Looks that could not be judged.
    """

    codes: NDArray[np.int8]
    statistic: Floats
    unknown: Bools

    def at_looks(self, which: Any) -> Trace:
        """Return some of its looks."""
        return Trace(self.codes[which], self.statistic[which], self.unknown[which])

    def of_lanes(self, which: Any) -> Trace:
        """Return some of its lanes."""
        return Trace(self.codes[:, which], self.statistic[:, which], self.unknown[:, which])

    def first_alarms(self) -> Floats:
        """Return the look of the first alarm, float64[lanes]; infinite without one."""
        alarms = self.codes == Code.ALARM
        return np.where(alarms.any(axis=0), alarms.argmax(axis=0), np.inf)


def trace(guardrail: Guardrail, looks: Iterable[Look], *, state: GuardrailState | None = None) -> Trace:
    """Return what a guardrail answers to looks, from its initial state or from the one given."""
    codes, statistics, unknown = [], [], []
    for look in looks:
        if state is None:
            state = guardrail.initial(segments_of(look), look.lanes.size)
        state, decision = guardrail.step(state, look)
        codes.append(decision.code)
        statistics.append(decision.statistic)
        unknown.append(decision.unknown)
    return Trace(np.array(codes), np.array(statistics), np.array(unknown))


def segments_of(look: Look) -> int:
    """Return how many segments a look has."""
    return int(next(iter(look.sums.values())).total.shape[1])


def assert_same(expected: Trace, found: Trace, problem: str) -> None:
    """Fail on the first answer that differs.

    Raises
    ------
    BrokenError
        With `problem` and the answer that differs.
    """
    for name in ("codes", "statistic", "unknown"):
        mine, theirs = getattr(expected, name), getattr(found, name)
        if np.array_equal(mine, theirs, equal_nan=name == "statistic"):
            continue
        look, lane = np.argwhere(~((mine == theirs) | ((mine != mine) & (theirs != theirs))))[0]  # noqa: PLR0124 - NaN is itself
        what = {"codes": "answer", "statistic": "statistic", "unknown": "unknown"}[name]
        pair = (mine[look, lane], theirs[look, lane])
        words = tuple(word(each) for each in pair) if name == "codes" else tuple(repr(each.item()) for each in pair)
        raise BrokenError(f"{problem}: {what} {words[0]} became {words[1]} at look {look}")


def word(code: Any) -> str:
    """Return the word for a code."""
    return Code(int(code)).name.lower()
