"""Rules of one's own, from a class or a function over one stream, or from a NumPy function over all lanes.

A file can name only what is registered, since nothing in it is ever executed: `register` gives such a rule a name, and files say
``rule: {own: {name: ...}}``. A family of rules with settings of its own is a class that follows the whole contract,
`simlab.guardrails.rule.Rule`, which a package can offer by entry point; see `simlab.guardrails.registry`.
"""

from __future__ import annotations

import copy
import hashlib
import inspect
import math
import pickle
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any, ClassVar, Literal, Protocol, cast

import numpy as np
from annotated_types import MinLen
from numpy.typing import NDArray

from simlab.errors import OwnRuleError, UnitError
from simlab.guardrails.look import Floats
from simlab.guardrails.rule import Observation, Rule, State, Step, Takes
from simlab.settings import described, settings
from simlab.ticks import Real

Over = Literal["stream", "lanes"]


class Judges(Protocol):
    """An object that judges one stream and keeps its state in its own attributes."""

    def update(self, x: float) -> float:
        """Take one value and return the statistic; larger is worse."""


StreamFunction = Callable[[Any, float], tuple[Any, float]]
LanesFunction = Callable[[Any, Floats], tuple[Any, Floats]]


@dataclass(frozen=True)
class OwnRule:
    """What rules of one's own have in common: a name, a threshold, and what they take.

    Their state is kept after every value that they were shown, also where they answer NaN because they still learn.

    Parameters
    ----------
    key : str
        Its name in messages and reports.
    threshold : float
        The alarm is ``statistic >= threshold``. The code is not told, so that a lower threshold is passed no later.
    takes : Takes
        Standardised values or levels.
    code : callable
        The user's class or function.
    """

    key: str
    threshold: float
    takes: Takes
    code: Callable[..., Any]
    paper: str = "none: a rule of one's own"
    ladder: str = "its statistic"
    guarantee: None = None

    learns: ClassVar[bool] = True


@dataclass(frozen=True)
class ObjectRule(OwnRule):
    """One object a stream and lane, made by calling `code`; its ``update(x)`` returns the statistic."""

    def initial(self, streams: int, lanes: int, *, every: int) -> NDArray[np.object_]:  # noqa: ARG002
        """Return one new object for each stream and lane."""
        return _cells((streams, lanes), self.code)

    def update(self, state: NDArray[np.object_], seen: Observation) -> Step:
        """Let a copy of each object judge its value, so that the state before stays as it was."""

        def judged(before: Judges, x: float) -> tuple[Judges, float]:
            after = copy.deepcopy(before)
            return after, after.update(x)

        return _each_judged(judged, state, seen)


@dataclass(frozen=True)
class StreamRule(OwnRule):
    """A function over one stream, ``code(state, x) -> (state, statistic)``.

    Parameters
    ----------
    start : Any
        The state before the first look.
    """

    start: Any = None

    def initial(self, streams: int, lanes: int, *, every: int) -> NDArray[np.object_]:  # noqa: ARG002
        """Return one copy of the first state for each stream and lane."""
        return _cells((streams, lanes), lambda: copy.deepcopy(self.start))

    def update(self, state: NDArray[np.object_], seen: Observation) -> Step:
        """Judge each value by a copy of its state, so that the state before stays as it was."""

        def judged(before: Any, x: float) -> tuple[Any, float]:
            return _pair(self.code(copy.deepcopy(before), x))

        return _each_judged(judged, state, seen)


@dataclass(frozen=True)
class LanesRule(OwnRule):
    """A NumPy function over all lanes, ``code(state, x) -> (state, statistic)`` with x and statistic float64[streams, lanes].

    x is NaN where there is nothing to judge; what becomes of the state there is not kept.

    Parameters
    ----------
    start : number, tuple of numbers, or callable
        The state before the first look: numbers fill arrays [streams, lanes], tuples may be named and nested; or
        ``start(streams, lanes)`` returns it.
    """

    start: Any = 0.0

    def initial(self, streams: int, lanes: int, *, every: int) -> State:  # noqa: ARG002
        """Return the first state."""
        return self.start(streams, lanes) if callable(self.start) else _filled(self.start, (streams, lanes))

    def update(self, state: State, seen: Observation) -> Step:
        """Judge all lanes at once, on a copy of the state."""
        after, statistic = _pair(self.code(copy.deepcopy(state), seen.value.copy()))
        found = np.asarray(statistic, dtype=np.float64)
        if found.shape != seen.value.shape:
            raise ValueError(f"the statistic must have the shape of x, {seen.value.shape}, not {found.shape}")
        return Step(after, found, worse=True)


def _pair(answer: Any) -> tuple[Any, Any]:
    if not (isinstance(answer, tuple) and len(answer) == 2):
        raise TypeError(f"it must return (state, statistic), not {answer!r}")
    return answer


def _cells(shape: tuple[int, int], made: Callable[[], Any]) -> NDArray[np.object_]:
    cells = np.empty(shape, dtype=object)
    for index in np.ndindex(shape):
        cells[index] = made()
    return cells


def _filled(start: Any, shape: tuple[int, int]) -> State:
    if isinstance(start, tuple):
        filled = (_filled(each, shape) for each in start)
        return type(start)(*filled) if hasattr(start, "_fields") else tuple(filled)
    return np.full(shape, start)


def _each_judged(judged: Callable[[Any, float], tuple[Any, float]], state: NDArray[np.object_], seen: Observation) -> Step:
    """Return the step made of judging one stream of one lane at a time, where there is something to judge."""
    after, statistic = state.copy(), np.full(state.shape, np.nan)
    for index in zip(*np.nonzero(seen.valid), strict=True):
        after[index], found = judged(state[index], float(seen.value[index]))
        statistic[index] = float(found)
    return Step(after, statistic, worse=True)


def own_rule(
    code: Callable[..., Any],
    *,
    threshold: float,
    takes: Takes | str = Takes.STANDARDISED,
    over: Over = "stream",
    start: Any = None,
    name: str | None = None,
) -> Rule:
    """Return the rule that one's own code makes.

    Parameters
    ----------
    code : class or function
        A class whose objects have ``update(x) -> statistic``, or a function ``(state, x) -> (state, statistic)``; settings can be
        bound by `functools.partial`. Larger is worse. A statistic that is NaN reads as unknown.
    threshold : float
        The alarm is ``statistic >= threshold``.
    takes : {"standardised", "level"}
        What x is: standardised (mean 0, variance 1 when all is well, larger is worse) or a level in the metric's unit.
    over : {"stream", "lanes"}
        Whether a function takes one number at a time or float64[streams, lanes].
    start : Any
        A function's first state; see `StreamRule` and `LanesRule`.
    name : str, optional
        For messages and reports; the name of the class or function if not given.

    Raises
    ------
    OwnRuleError
        If no rule can be made of that.
    """
    bare = code.func if isinstance(code, partial) else code
    if not callable(bare):
        raise OwnRuleError(f"a rule is made of a class or a function, not of {code!r}")
    key = str(name or getattr(bare, "__name__", type(bare).__name__))
    if takes not in {*_SINGLE_VALUES, *(each.value for each in _SINGLE_VALUES)}:
        raise OwnRuleError(f"{key} can take standardised values or levels, not {takes!r}: for counts, follow the whole contract")
    if not isinstance(threshold, int | float) or not math.isfinite(threshold):
        raise OwnRuleError(f"the threshold of {key} must be a number, not {threshold!r}")
    made: OwnRule
    if isinstance(bare, type):
        _check_class(bare, over=over, start=start)
        made = ObjectRule(key, float(threshold), Takes(takes), code)
    elif over == "lanes":
        made = LanesRule(key, float(threshold), Takes(takes), code, start=0.0 if start is None else start)
    else:
        made = StreamRule(key, float(threshold), Takes(takes), code, start=start)
    return cast("Rule", made)


def _check_class(found: type, *, over: Over, start: Any) -> None:
    if isinstance(found, Rule):
        raise OwnRuleError(f"{found.__name__} follows the whole contract of a rule: make one of it, and use that as it is")
    if not callable(getattr(found, "update", None)):
        raise OwnRuleError(f"objects of {found.__name__} have no update(x)")
    if over == "lanes" or start is not None:
        raise OwnRuleError(
            f"objects of {found.__name__} judge one stream, from how they are made; over and start are for functions"
        )


_SINGLE_VALUES = (Takes.STANDARDISED, Takes.LEVEL)
_registered: dict[str, Rule] = {}


def register(name: str, rule: Rule) -> None:
    """Give a rule a name by which files can ask for it, as ``rule: {own: {name: ...}}``, as long as this process lives.

    Parameters
    ----------
    name : str
        A name that is taken already now means this rule.
    rule : Rule
        For example from ``simlab.rule``.

    Raises
    ------
    OwnRuleError
        If it is not a rule.
    """
    if isinstance(rule, type) or not isinstance(rule, Rule):
        raise OwnRuleError(f"{rule!r} is not a rule; make one with simlab.rule(...)")
    _registered[name] = rule


@settings
class OwnEntry:
    """A rule of one's own as a file asks for it.

    Parameters
    ----------
    name : str
        The name under which Python code has registered it.
    threshold : float, optional
        In place of its own.

    Raises
    ------
    UnitError
        If there is none of that name, or its threshold cannot be set.
    """

    name: Annotated[str, MinLen(1)]
    threshold: Real | None = None

    def __post_init__(self) -> None:
        """Refuse what nobody has registered."""
        if self.name not in _registered:
            known = f"there is: {', '.join(sorted(_registered))}" if _registered else "none is"
            raise UnitError(
                f"no rule is registered as {self.name!r} ({known}); Python code does that, by simlab.register(name, rule)"
            )
        if self.threshold is not None and not isinstance(_registered[self.name], OwnRule):
            raise UnitError(f"the rule {self.name!r} has settings of its own, and no threshold to set")

    @property
    def words(self) -> str:
        """What it stands for now: its settings, and the SHA-256 of its code where that can be read."""
        code = _bare(self.rule)
        try:
            source = hashlib.sha256(inspect.getsource(code).encode()).hexdigest()
        except (OSError, TypeError):
            source = "not known"
        return f"{described(self.rule)}, source {source}"

    @property
    def rule(self) -> Rule:
        """The rule."""
        found = _registered[self.name]
        if isinstance(found, OwnRule) and self.threshold is not None:
            return cast("Rule", replace(found, threshold=self.threshold))
        return found


def check_portable(rules: Iterable[Rule]) -> None:
    """Refuse rules that another process could not be given.

    Raises
    ------
    OwnRuleError
        If one cannot be pickled, or stands in code that was typed and not read from a file.
    """
    for rule in rules:
        try:
            pickle.dumps(rule)
        except Exception as error:
            raise _not_portable(rule, str(error)) from error
        if getattr(_bare(rule), "__module__", None) == "__main__" and not hasattr(sys.modules["__main__"], "__file__"):
            raise _not_portable(rule, "it was typed in, so no file holds it")


def _bare(rule: Rule) -> Callable[..., Any]:
    """Return the class or function behind a rule."""
    code = rule.code if isinstance(rule, OwnRule) else type(rule)
    return code.func if isinstance(code, partial) else code


def _not_portable(rule: Rule, why: str) -> OwnRuleError:
    hint = "define it at the top level of a module, or use one worker"
    return OwnRuleError(f"the rule {rule.key!r} cannot be given to another process: {why}; {hint}")
