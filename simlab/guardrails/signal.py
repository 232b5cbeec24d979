"""From looks to the observation that a rule takes: which metric, of whom, compared how, over which window.

Each look is reduced to a few additive terms; windows and cells that wait for their minimum count simply add terms. A comparison
is stratified by the parts of the look (one allocation each) with Mantel-Haenszel weights w = n_T n_C / (n_T + n_C):

    U = sum w (mean_T - mean_C),   V = sum w^2 s^2 (1/n_T + 1/n_C),   x = U / sqrt(V)

where s^2 is the variance of both arms together with n - 1 in the denominator. Given the pooled values that is the variance of U
over all assignments of values to arms, so x has mean 0 and variance 1 when assignment does not matter, however few the events
(Mantel & Haenszel 1959; for counts it is the variance of the hypergeometric distribution). Against another null than equality
the variances of the two arms are taken apart.
"""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

import numpy as np
from annotated_types import Ge, Gt, Lt, MinLen

from simlab.guardrails.by_user import LEAST_GROWTH, contrast_by_user
from simlab.guardrails.contrast import SMALLER, TERMS, VARIANCE, contrast
from simlab.guardrails.look import BUCKETS, CONTROL, TREATMENT, Bools, Floats, Look, Sums, UserSums
from simlab.guardrails.quantiles import above_pooled, quantile_of
from simlab.guardrails.rule import Observation, Takes
from simlab.settings import settings
from simlab.ticks import Duration, Period, Real, Share

Of = Literal["everyone", "treatment", "control"]
Compare = Literal["difference", "ratio", "shares"]


class Baseline(NamedTuple):
    """Mean and spread of a level, learnt from its first looks (Welford 1962).

    Attributes
    ----------
    looks, mean, squares : float64[streams, lanes]
        Looks learnt from, their mean, and the sum of squared distances from it.
    """

    looks: Floats
    mean: Floats
    squares: Floats


class SignalState(NamedTuple):
    """What a signal remembers between looks.

    Attributes
    ----------
    waiting : float64[terms, streams, lanes]
        Terms of cells under their minimum count.
    window : float64[looks - 1, terms, streams, lanes]
        Terms of the looks before, oldest first.
    baseline : Baseline
        For a level that is compared with its own start.
    """

    waiting: Floats
    window: Floats
    baseline: Baseline


class Signalled(NamedTuple):
    """A signal's answer to one look.

    Attributes
    ----------
    state : SignalState
        To be passed on.
    seen : Observation
        What the rule is given.
    skipped : bool[streams, lanes]
        Under the minimum count; the data wait.
    """

    state: SignalState
    seen: Observation
    skipped: Bools


@settings
class Watch:
    """What is watched, as a file says it.

    Parameters
    ----------
    watch : str
        Name of the metric. A comparison of shares watches who is assigned and needs none.
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
        Least observations in each watched arm; fewer wait for the next look.
    warmup : int
        Milliseconds from the start in which nothing is judged.
    target, spread : float, optional
        Mean and standard deviation of a look's level when all is well, for a rule that takes standardised values.
    baseline : int
        Instead of those: milliseconds from the end of the warm-up in which they are learnt.
    unit : {"request", "user"}
        What is independent in a comparison: each observation, or each user with all of theirs (`simlab.guardrails.by_user`).
    quantile : float, optional
        Of durations, instead of their mean: a level is that quantile, a comparison is of the shares above that of both arms.
    """

    watch: Annotated[str, MinLen(1)] | None = None
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
    quantile: Annotated[Share, Gt(0), Lt(1)] | None = None

    def gives(self, takes: Takes) -> bool:
        """Return whether it can give the observation that a rule takes."""
        if takes is Takes.NOTHING:
            return True
        if self.compare == "shares" or takes is Takes.ARM_COUNTS:
            return self.compare == "shares" and takes is Takes.ARM_COUNTS
        # Sums over users are cumulative, and a quantile has none: a window has nothing to add.
        if self.unit == "user" and (self.compare is None or self.quantile is not None or self.over):
            return False
        if takes is Takes.EVENT_COUNTS:
            # Events are counted once, as they come, and only a ratio can be other than 1 when all is well.
            once = not self.over and self.min_count == 1 and self.unit == "request" and self.quantile is None
            return once and (self.compare == "ratio" or (self.compare == "difference" and not self.null))
        if takes is Takes.STANDARDISED and self.compare is None:
            return self.baseline is not None or (self.target is not None and self.spread is not None)
        return True


@settings
class Signal(Watch):
    """A watch that knows the direction of harm. Frozen; the state is passed in and out of `observe`.

    Parameters
    ----------
    worse : {"up", "down"}
        The direction of harm, as the metric declares it.
    """

    worse: Literal["up", "down"] = "up"

    def initial(self, segments: int, lanes: int, *, every: int) -> SignalState:
        """Return the state before the first look, for looks every `every` milliseconds."""
        streams = self.streams(segments)
        terms = TERMS if self.compare is not None else 2 if self.quantile is None else BUCKETS
        looks = max(1, self.over // every)
        zero = np.zeros((streams, lanes))
        window = np.zeros((looks - 1, terms, streams, lanes))
        return SignalState(np.zeros((terms, streams, lanes)), window, Baseline(zero, zero, zero))

    def streams(self, segments: int) -> int:
        """Return how many streams come from `segments`."""
        return segments if self.by == "segment" else 1

    def observe(self, state: SignalState, look: Look, *, takes: Takes, elapsed: int) -> Signalled:
        """Return the new state and what the rule sees.

        Parameters
        ----------
        state : SignalState
            From `initial` or the look before.
        look : Look
            What had arrived.
        takes : Takes
            What the rule takes.
        elapsed : int
            Milliseconds from tick 0 to this look.
        """
        open_lanes = ~look.missing & ~self.retired(look)
        if takes is Takes.NOTHING:
            return self._answer(state, look, valid=np.broadcast_to(open_lanes, state.waiting.shape[1:]))
        if self.compare == "shares":
            return self._observe_shares(state, look, open_lanes & (elapsed > self.warmup))
        if takes is Takes.EVENT_COUNTS:
            return self._observe_events(state, look, open_lanes & (elapsed > self.warmup))
        return self._observe_metric(state, look, open_lanes, takes, elapsed)

    def retired(self, look: Look) -> Bools:
        """Return the lanes whose comparison has not two arms by plan, bool[lanes]."""
        return look.one_armed if self.compare is not None else np.zeros_like(look.one_armed)

    def _observe_shares(self, state: SignalState, look: Look, open_lanes: Bools) -> Signalled:
        if look.first_seen is None:
            return self._answer(state, look, valid=np.zeros(state.waiting.shape[1:], dtype=bool))
        counts = np.moveaxis(self._by_stream(look.first_seen.users), 2, 1)
        valid = np.broadcast_to(open_lanes, counts.shape[2:])
        return self._answer(state, look, valid=valid, counts=counts, shares=look.first_seen.shares)

    def _observe_events(self, state: SignalState, look: Look, open_lanes: Bools) -> Signalled:
        sums = Sums(*(np.moveaxis(self._by_stream(values)[:, :, :2], 2, 1) for values in look.sums[self.watch or ""]))
        # Values other than 0 and 1 are no events.
        events = (sums.total == sums.squares).all(axis=(0, 1))
        both = (sums.observations > 0).all(axis=1).any(axis=0)
        expected = np.array([self._null if self.compare == "ratio" else 1.0, 1.0])[:, None, None]
        return self._answer(
            state,
            look,
            valid=open_lanes & events & both,
            counts=sums.total[:, :: self._sign],
            exposures=(sums.observations * expected)[:, :: self._sign],
        )

    def _observe_metric(self, state: SignalState, look: Look, open_lanes: Bools, takes: Takes, elapsed: int) -> Signalled:
        terms = state.waiting + (self._level(look) if self.compare is None else self._contrast(look))
        observations = self._observations(terms)
        enough = observations >= self.min_count
        if self.unit == "user":
            enough = enough & (terms[VARIANCE] > LEAST_GROWTH * self._information(look))
        taken = open_lanes & enough & (elapsed > self.warmup)
        # A warm-up leaves nothing waiting; a thin cell keeps what it has.
        waiting = np.where(taken | (elapsed <= self.warmup), 0.0, terms)
        windowed = terms + state.window.sum(axis=0)
        moved = np.concatenate([state.window, terms[None]])[1:]
        window = np.where(taken, moved, state.window) if len(moved) else state.window
        answered = SignalState(waiting, window, state.baseline)
        # A thin cell is skipped; one without any data at all is unknown, as no data is never green.
        skipped = open_lanes & ~enough & (observations > 0)
        if self.compare is None:
            return self._answer_level(answered, look, windowed, taken, skipped, takes, elapsed)
        return self._answer_comparison(answered, look, windowed, taken, skipped, takes)

    def _by_stream(self, values: Floats) -> Floats:
        """Return [parts, streams, arms, lanes] from [parts, segments, arms, lanes]."""
        return values if self.by == "segment" else values.sum(axis=1, keepdims=True)

    def _information(self, look: Look) -> Floats:
        """Return all the information of a comparison by user since the ramp last moved, float64[streams, lanes]."""
        held = np.stack([self._by_stream(term) for term in look.users[self.watch or ""].after])
        none = UserSums(np.zeros_like(held), held)
        factor, together = self._null if self.compare == "ratio" else 1.0, self._null == self._equal
        return np.asarray(contrast_by_user(none, null_ratio=factor, together=together)[VARIANCE])

    def _observations(self, terms: Floats) -> Floats:
        """Return how many observations there are, in the smaller arm of a comparison, float64[streams, lanes]."""
        if self.compare is not None:
            return np.asarray(terms[SMALLER])
        return np.asarray(terms[0] if self.quantile is None else terms.sum(axis=0))

    def _sums(self, look: Look) -> Sums:
        return Sums(*(self._by_stream(values) for values in look.sums[self.watch or ""]))

    def _buckets(self, look: Look) -> Floats:
        return np.stack([self._by_stream(counts) for counts in look.buckets[self.watch or ""]])

    def _level(self, look: Look) -> Floats:
        arm = {"treatment": TREATMENT, "control": CONTROL}.get(self.of or "everyone")
        terms = self._sums(look)[:2] if self.quantile is None else self._buckets(look)
        return np.stack([each.sum(axis=(0, 2)) if arm is None else each[:, :, arm].sum(axis=0) for each in terms])

    def _contrast(self, look: Look) -> Floats:
        factor, together = self._null if self.compare == "ratio" else 1.0, self._null == self._equal
        if self.unit == "user":
            held = (np.stack([self._by_stream(term) for term in sums]) for sums in look.users[self.watch or ""])
            return contrast_by_user(UserSums(*held), null_ratio=factor, together=together)
        sums = self._sums(look) if self.quantile is None else above_pooled(self._buckets(look), self.quantile)
        return contrast(sums, null_ratio=factor, together=together)

    def _answer_comparison(
        self, state: SignalState, look: Look, terms: Floats, taken: Bools, skipped: Bools, takes: Takes
    ) -> Signalled:
        treated, control, variance, weight = terms[:SMALLER]
        with np.errstate(divide="ignore", invalid="ignore"):
            if takes is Takes.LEVEL:
                value = treated / control if self.compare == "ratio" else (treated - control) / weight
                return self._answer(state, look, valid=taken & np.isfinite(value), value=value, skipped=skipped)
            expected = self._null * control if self.compare == "ratio" else control + self._null * weight
            value = (treated - expected) / np.sqrt(variance)
            information = weight**2 / variance
        # Without a single event there is no variance and nothing to learn: the statistic stays, the data are used up.
        valid = taken & (variance > 0)
        return self._answer(
            state,
            look,
            valid=valid,
            value=self._sign * value,
            information=information,
            skipped=skipped | (taken & ~valid),
        )

    def _answer_level(
        self, state: SignalState, look: Look, terms: Floats, taken: Bools, skipped: Bools, takes: Takes, elapsed: int
    ) -> Signalled:
        with np.errstate(divide="ignore", invalid="ignore"):
            value = terms[1] / terms[0] if self.quantile is None else quantile_of(terms, self.quantile)
        valid = taken & np.isfinite(value)
        if takes is Takes.LEVEL:
            return self._answer(state, look, valid=valid, value=value, skipped=skipped)
        if self.baseline is None:
            x = self._sign * (value - (self.target or 0.0)) / (self.spread or 1.0)
            return self._answer(state, look, valid=valid, value=x, information=np.ones_like(x), skipped=skipped)
        if elapsed <= self.warmup + self.baseline:
            learnt = state._replace(baseline=_learn(state.baseline, value, valid))
            return self._answer(learnt, look, valid=np.zeros_like(valid), skipped=skipped)
        with np.errstate(divide="ignore", invalid="ignore"):
            spread = np.sqrt(state.baseline.squares / (state.baseline.looks - 1))
            x = self._sign * (value - state.baseline.mean) / spread
        valid = valid & np.isfinite(x)
        return self._answer(state, look, valid=valid, value=x, information=np.ones_like(x), skipped=skipped)

    @property
    def _equal(self) -> float:
        """The difference or ratio of two equal arms."""
        return 1.0 if self.compare == "ratio" else 0.0

    @property
    def _null(self) -> float:
        return self._equal if self.null is None else self.null

    @property
    def _sign(self) -> int:
        return 1 if self.worse == "up" else -1

    def _answer(
        self,
        state: SignalState,
        look: Look,
        *,
        valid: Bools,
        value: Floats | None = None,
        information: Floats | None = None,
        counts: Floats | None = None,
        shares: Floats | None = None,
        exposures: Floats | None = None,
        skipped: Bools | None = None,
    ) -> Signalled:
        nothing = np.full(valid.shape, np.nan)
        seen = Observation(
            value=nothing if value is None else np.where(valid, value, np.nan),
            information=nothing if information is None else np.where(valid, information, np.nan),
            counts=counts,
            shares=shares,
            valid=valid,
            time=look.time,
            lanes=look.lanes,
            seed=look.seed,
            exposures=exposures,
        )
        return Signalled(state, seen, np.zeros_like(valid) if skipped is None else skipped)


def _learn(baseline: Baseline, value: Floats, valid: Bools) -> Baseline:
    """Return the baseline with one more look where it is valid."""
    looks = baseline.looks + valid
    distance = np.where(valid, value - baseline.mean, 0.0)
    mean = baseline.mean + distance / np.maximum(looks, 1)
    squares = baseline.squares + distance * np.where(valid, value - mean, 0.0)
    return Baseline(looks, mean, squares)
