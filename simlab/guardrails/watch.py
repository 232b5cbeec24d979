"""What is watched, as a file says it, and which rules can be given that."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal, NamedTuple

from annotated_types import Ge, Gt, Lt

from simlab.errors import UnitError
from simlab.guardrails.rule import Takes
from simlab.settings import settings
from simlab.ticks import Duration, Period, Real, Share, Unit

Of = Literal["everyone", "treatment", "control"]
Compare = Literal["difference", "ratio", "shares"]


class Refusal(NamedTuple):
    """Why a watch cannot give what a rule takes.

    Attributes
    ----------
    key : str
        The setting to change; empty if it is the rule itself.
    problem : str
        In words that follow the rule's name.
    """

    key: str
    problem: str


def _parse_watch(value: object) -> str | tuple[str, ...]:
    """Return one name, or a tuple of several different ones."""
    if isinstance(value, str) and value:
        return value
    names = tuple(value) if isinstance(value, list | tuple) else ()
    if not names or not all(isinstance(name, str) and name for name in names):
        raise UnitError(f"{value!r} is no name of a metric, nor a list of names; write for example errors or [errors, latency]")
    if len(set(names)) < len(names):
        raise UnitError(f"{', '.join(names)}: a metric stands in the list twice")
    return names


_METRICS = Unit("metric or list of metrics", _parse_watch, "errors", written=("string", "array"))


@settings
class Watch:
    """What is watched, as a file says it.

    Parameters
    ----------
    watch : str or tuple of str
        Name of the metric; several make one stream each, for a rule that takes several. A comparison of shares watches who is
        assigned and needs none.
    of : {"everyone", "treatment", "control"}
        Whose level; not together with `compare`.
    compare : {"difference", "ratio", "shares"}, optional
        Treatment against control.
    by : {"segment"}, optional
        One stream a segment instead of one over all.
    over : int
        Window in milliseconds, a whole number of looks: the last ones that could be judged. 0 takes each look by itself.
    null : float, optional
        Difference or ratio that is still harmless; 0 or 1 if not given.
    min_count : int
        Least observations in each watched arm; fewer wait for the next look, and are a look missed for a rule that counts those.
    warmup : int
        Milliseconds from the start in which nothing is judged.
    target, spread : float, optional
        Mean and standard deviation of a look's level when all is well, for a rule that takes standardised values.
    baseline : int
        Instead of those: milliseconds from the end of the warm-up in which they are learnt.
    unit : {"request", "user"}
        What is independent in a comparison: each observation, or each user with all of theirs (`simlab.guardrails.by_user`).
    covariate : {"pre_period"}, optional
        Of a difference user by user: adjust for what each user was like before the rollout began, so that the same difference
        stands out sooner (Deng, Xu, Kohavi & Walker 2013).
    quantile : float, optional
        Of durations, instead of their mean: a level is that quantile, a comparison is of the shares above that of both arms.
    """

    watch: Annotated[str | tuple[str, ...], _METRICS] | None = None
    of: Of | None = None
    compare: Compare | None = None
    by: Literal["segment"] | None = None
    over: Duration = 0
    null: Real | None = None
    min_count: Annotated[int, Ge(1)] = 1
    warmup: Duration = 0
    target: Real | None = None
    spread: Annotated[Real, Gt(0)] | None = None
    baseline: Period | None = None
    unit: Literal["request", "user"] = "request"
    covariate: Literal["pre_period"] | None = None
    quantile: Annotated[Share, Gt(0), Lt(1)] | None = None

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics that are watched; empty for a comparison of shares that names none."""
        if self.watch is None:
            return ()
        return (self.watch,) if isinstance(self.watch, str) else self.watch

    def gives(self, takes: Takes) -> bool:
        """Return whether it can give the observation that a rule takes."""
        return next(self.refusals(takes), None) is None

    def streams(self, segments: int) -> int:
        """Return how many streams come from `segments`: one for each of them, or for each metric, or one over all."""
        return segments if self.by == "segment" else max(1, len(self.metrics))

    def refusals(self, takes: Takes) -> Iterator[Refusal]:
        """Yield what keeps it from giving the observation that a rule takes."""
        if takes is Takes.NOTHING:
            return
        if (self.compare == "shares") != (takes is Takes.ARM_COUNTS):
            yield self._other_kind(takes)
            return
        if len(self.metrics) > 1 and takes is not Takes.VECTOR:
            yield Refusal("watch", "takes one metric; write a guardrail for each")
        yield from self._refusals_of_users(takes)
        if takes in {Takes.EVENT_COUNTS, Takes.EVENTS}:
            yield from self._refusals_of_counts(takes)
        elif takes is Takes.ARRIVALS:
            if self.compare is not None:
                yield self._other_kind(takes)
            if self.over:
                yield Refusal("over", "counts every look by itself, and takes no window")
        elif takes in {Takes.STANDARDISED, Takes.VECTOR}:
            yield from self._refusals_of_standardised(takes)

    def _refusals_of_users(self, takes: Takes) -> Iterator[Refusal]:
        plain = takes in {Takes.STANDARDISED, Takes.LEVEL}
        if self.unit == "user" and (self.compare is None or not plain):
            yield Refusal("unit", "takes users one by one only where a metric's treatment is compared with its control")
        if self.covariate is not None and (self.unit != "user" or self.compare != "difference"):
            yield Refusal("covariate", "takes a covariate only with unit: user and compare: difference")
        # Sums over users are cumulative: a window has nothing to add.
        if self.unit == "user" and self.over:
            yield Refusal("over", "adds up all that users have done, and takes no window of it")
        if self.quantile is not None and (self.unit == "user" or not plain):
            yield Refusal(
                "quantile", "takes no quantile of durations so; leave it out, or watch requests by a level or a comparison"
            )

    def _other_kind(self, takes: Takes) -> Refusal:
        given = "shares" if self.compare == "shares" else "a comparison" if self.compare else "a level"
        return Refusal("", f"takes {takes.value}, and {given} does not give that")

    def _refusals_of_counts(self, takes: Takes) -> Iterator[Refusal]:
        if (self.compare is None) != (takes is Takes.EVENTS):
            yield self._other_kind(takes)
        # Events are counted once, as they come.
        if self.over:
            windows = "has windows of its own" if takes is Takes.EVENTS else "adds up all events itself"
            yield Refusal("over", f"counts each event once, as it comes: it {windows}")
        if self.min_count > 1:
            yield Refusal("min_count", "counts each event once, as it comes: however few there are, they do not wait")
        if self.compare == "difference" and self.null:
            yield Refusal("null", "counts events, of which only a ratio can be harmless; write compare: ratio and 'null': 1.1")

    def _refusals_of_standardised(self, takes: Takes) -> Iterator[Refusal]:
        if takes is Takes.VECTOR and self.by is not None:
            yield Refusal("by", "takes its metrics as streams, so that segments do not go with it")
        several = len(self.metrics) > 1
        if several and (self.target is not None or self.spread is not None):
            yield Refusal("target" if self.target is not None else "spread", "takes several metrics, which need a baseline")
        elif self.compare is None and self.baseline is None and (self.target is None or self.spread is None):
            yield self._other_kind(takes)
