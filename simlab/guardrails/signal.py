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

from typing import Literal, NamedTuple

import numpy as np

from simlab.guardrails.by_user import LEAST_GROWTH, contrast_by_user
from simlab.guardrails.contrast import CONTROL_SUM, SMALLER, TERMS, TREATMENT_SUM, VARIANCE, WEIGHT, contrast, standardise
from simlab.guardrails.look import BUCKETS, CONTROL, TREATMENT, Bools, Floats, Look, Sums, UserSums
from simlab.guardrails.quantiles import above_pooled, quantile_of
from simlab.guardrails.rule import Observation, Takes
from simlab.guardrails.waiting import gather, nothing, portion
from simlab.guardrails.watch import Watch
from simlab.settings import settings

Direction = Literal["up", "down"]


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
    expected : bool[streams, lanes]
        Whether those who are watched were to be seen by plan when data last arrived, for a rule that counts what does not.
    """

    waiting: Floats
    window: Floats
    baseline: Baseline
    expected: Bools


class Signalled(NamedTuple):
    """A signal's answer to one look.

    Attributes
    ----------
    state : SignalState
        To be passed on.
    seen : Observation
        What the rule is given.
    skipped : bool[streams, lanes]
        Under the minimum count, so that the data wait, or without any variation.
    even : bool[streams, lanes]
        Of those, the ones with data enough in which no value differs from another, as without a single event: there is nothing to
        learn, and no difference either.
    """

    state: SignalState
    seen: Observation
    skipped: Bools
    even: Bools


@settings
class Signal(Watch):
    """A watch that knows the direction of harm. Frozen; the state is passed in and out of `observe`.

    Parameters
    ----------
    worse : {"up", "down"} or tuple of them
        The direction of harm, as the metric declares it; one for each metric where several are watched.
    """

    worse: Direction | tuple[Direction, ...] = "up"

    def initial(self, segments: int, lanes: int, *, every: int) -> SignalState:
        """Return the state before the first look, for looks every `every` milliseconds."""
        streams = self.streams(segments)
        terms = TERMS if self.compare is not None else 2 if self.quantile is None else BUCKETS
        looks = max(1, self.over // every)
        zero = np.zeros((streams, lanes))
        window = np.zeros((looks - 1, terms, streams, lanes))
        expected = np.full((streams, lanes), self.of in {None, "everyone"})
        return SignalState(nothing((terms, streams, lanes)), window, Baseline(zero, zero, zero), expected)

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
            return self._answer(state, look, elapsed, valid=np.broadcast_to(open_lanes, state.waiting.shape[1:]))
        if self.compare == "shares":
            return self._observe_shares(state, look, open_lanes & (elapsed > self.warmup), elapsed)
        if takes is Takes.ARRIVALS:
            return self._observe_arrivals(state, look, elapsed)
        if takes is Takes.EVENTS:
            return self._observe_events_of_level(state, look, open_lanes & (elapsed > self.warmup), elapsed)
        if takes is Takes.EVENT_COUNTS:
            return self._observe_events(state, look, open_lanes & (elapsed > self.warmup), elapsed)
        return self._observe_metric(state, look, open_lanes, takes, elapsed)

    def retired(self, look: Look) -> Bools:
        """Return the lanes whose comparison has not two arms by plan, bool[lanes]."""
        return look.one_armed if self.compare is not None else np.zeros_like(look.one_armed)

    def _observe_shares(self, state: SignalState, look: Look, open_lanes: Bools, elapsed: int) -> Signalled:
        if look.first_seen is None:
            return self._answer(state, look, elapsed, valid=np.zeros(state.waiting.shape[1:], dtype=bool))
        counts = np.moveaxis(self._by_stream(look.first_seen.users), 2, 1)
        valid = open_lanes & np.isfinite(counts).all(axis=(0, 1))
        return self._answer(state, look, elapsed, valid=valid, counts=counts, shares=look.first_seen.shares)

    def _observe_events(self, state: SignalState, look: Look, open_lanes: Bools, elapsed: int) -> Signalled:
        sums = Sums(*(np.moveaxis(values[:, :, :2], 2, 1) for values in self._sums(look)))
        # Values other than 0 and 1 are no events, and there are no more events than observations.
        events = ((sums.total == sums.squares) & (sums.total <= sums.observations)).all(axis=(0, 1))
        events &= np.isfinite(sums.observations + sums.total).all(axis=(0, 1))
        both = (sums.observations > 0).all(axis=1).any(axis=0)
        expected = np.array([self._null if self.compare == "ratio" else 1.0, 1.0])[:, None, None]
        order = -1 if self._fewer_are_worse else 1
        return self._answer(
            state,
            look,
            elapsed,
            valid=open_lanes & events & both,
            counts=sums.total[:, ::order],
            exposures=(sums.observations * expected)[:, ::order],
        )

    def _observe_events_of_level(self, state: SignalState, look: Look, open_lanes: Bools, elapsed: int) -> Signalled:
        observations, events, squares = (self._of_level(values) for values in self._sums(look))
        bad = observations - events if self._fewer_are_worse else events
        possible = (events == squares) & (events <= observations)
        valid = open_lanes & possible & (observations > 0) & np.isfinite(observations + events)
        return self._answer(state, look, elapsed, valid=valid, counts=bad[None, None], exposures=observations[None, None])

    def _observe_arrivals(self, state: SignalState, look: Look, elapsed: int) -> Signalled:
        arm = self._arm
        planned = True if arm is None else (look.shares[:, arm] > 0).any(axis=0)
        expected = np.where(look.missing, state.expected, planned)
        missed = look.missing | (self._of_level(self._sums(look).observations) < self.min_count)
        valid = expected & (elapsed > self.warmup)
        return self._answer(state._replace(expected=expected), look, elapsed, valid=valid, value=missed.astype(float))

    def _observe_metric(self, state: SignalState, look: Look, open_lanes: Bools, takes: Takes, elapsed: int) -> Signalled:
        new = self._level(look) if self.compare is None else self._contrast(look)
        terms, finite = gather(new, state.waiting)
        observations = self._observations(terms)
        some, enough = observations > 0, observations >= self.min_count
        if self.unit == "user":
            enough = enough & (terms[VARIANCE] > LEAST_GROWTH * self._information(look))
        if takes is Takes.VECTOR:
            # Several metrics are judged together or wait together, also for one that has not varied yet.
            varied = enough if self.compare is None else enough & (terms[VARIANCE] > 0)
            some, enough, finite = (_everywhere(np.asarray(each.all(axis=0)), each.shape) for each in (some, varied, finite))
        begun = elapsed > self.warmup
        waiting, taken, thin = portion(
            terms, state.waiting, some=some, enough=enough, open_lanes=open_lanes & finite, begun=begun
        )
        windowed, window = terms, state.window
        if len(window):
            windowed = terms + window.sum(axis=0)
            window = np.where(taken, np.concatenate([window, terms[None]])[1:], window)
        answered = state._replace(waiting=waiting, window=window)
        # A thin cell is skipped; one without any data at all is unknown, as no data is never green.
        if self.compare is None:
            return self._answer_level(answered, look, windowed, taken, thin, takes, elapsed)
        return self._answer_comparison(answered, look, windowed, taken, thin, takes, elapsed)

    def _by_stream(self, values: Floats) -> Floats:
        """Return [parts, streams, arms, lanes] from [parts, segments, arms, lanes]."""
        return values if self.by == "segment" else values.sum(axis=1, keepdims=True)

    def _sums(self, look: Look) -> Sums:
        """Return the sums of what is watched, float64[parts, streams, arms, lanes]."""
        each = [Sums(*(self._by_stream(values) for values in look.sums[name])) for name in self.metrics]
        return each[0] if len(each) == 1 else Sums(*(np.concatenate(values, axis=1) for values in zip(*each, strict=True)))

    def _of_level(self, values: Floats) -> Floats:
        """Return what those who are watched add up to, float64[streams, lanes]."""
        arm = self._arm
        return np.asarray(values.sum(axis=(0, 2)) if arm is None else values[:, :, arm].sum(axis=0))

    @property
    def _arm(self) -> int | None:
        """The one arm whose level is watched; None for everyone."""
        return {"treatment": TREATMENT, "control": CONTROL}.get(self.of or "everyone")

    def _information(self, look: Look) -> Floats:
        """Return all the information of a comparison by user since the ramp last moved, float64[streams, lanes]."""
        held = np.stack([self._by_stream(term) for term in look.users[self.metrics[0]].after])
        none = UserSums(np.zeros_like(held), held)
        factor, together = self._null if self.compare == "ratio" else 1.0, self._null == self._equal
        return np.asarray(
            contrast_by_user(none, null_ratio=factor, together=together, adjusted=self.covariate is not None)[VARIANCE]
        )

    def _observations(self, terms: Floats) -> Floats:
        """Return how many observations there are, in the smaller arm of a comparison, float64[streams, lanes]."""
        if self.compare is not None:
            return np.asarray(terms[SMALLER])
        return np.asarray(terms[0] if self.quantile is None else terms.sum(axis=0))

    def _buckets(self, look: Look) -> Floats:
        return np.stack([self._by_stream(counts) for counts in look.buckets[self.metrics[0]]])

    def _level(self, look: Look) -> Floats:
        terms = self._sums(look)[:2] if self.quantile is None else self._buckets(look)
        return np.stack([self._of_level(each) for each in terms])

    def _contrast(self, look: Look) -> Floats:
        factor, together = self._null if self.compare == "ratio" else 1.0, self._null == self._equal
        if self.unit == "user":
            held = (np.stack([self._by_stream(term) for term in sums]) for sums in look.users[self.metrics[0]])
            adjusted = self.covariate is not None
            return contrast_by_user(UserSums(*held), null_ratio=factor, together=together, adjusted=adjusted)
        sums = self._sums(look) if self.quantile is None else above_pooled(self._buckets(look), self.quantile)
        return contrast(sums, null_ratio=factor, together=together)

    def _answer_comparison(
        self, state: SignalState, look: Look, terms: Floats, taken: Bools, thin: Bools, takes: Takes, elapsed: int
    ) -> Signalled:
        ratio = self.compare == "ratio"
        if takes is Takes.LEVEL:
            treated, control, weight = terms[TREATMENT_SUM], terms[CONTROL_SUM], terms[WEIGHT]
            with np.errstate(divide="ignore", invalid="ignore"):
                value = treated / control if ratio else (treated - control) / weight
            return self._answer(state, look, elapsed, valid=taken & np.isfinite(value), value=value, skipped=thin)
        # Without a single event there is no variance and nothing to learn: the statistic stays, the data are used up.
        found = standardise(
            terms,
            taken=taken,
            thin=thin,
            of_control=self._null if ratio else 1.0,
            of_weight=0.0 if ratio else self._null,
            sign=self._sign,
        )
        return Signalled(state, _seen(look, elapsed, *found[:3]), found.skipped, found.even)

    def _answer_level(
        self, state: SignalState, look: Look, terms: Floats, taken: Bools, skipped: Bools, takes: Takes, elapsed: int
    ) -> Signalled:
        with np.errstate(divide="ignore", invalid="ignore"):
            value = terms[1] / terms[0] if self.quantile is None else quantile_of(terms, self.quantile)
        valid = taken & np.isfinite(value)
        if takes is Takes.LEVEL:
            return self._answer(state, look, elapsed, valid=valid, value=value, skipped=skipped)
        if self.baseline is None:
            x = self._sign * (value - (self.target or 0.0)) / (self.spread or 1.0)
            return self._answer(state, look, elapsed, valid=valid, value=x, information=np.ones_like(x), skipped=skipped)
        if elapsed <= self.warmup + self.baseline:
            learnt = state._replace(baseline=_learn(state.baseline, value, valid))
            return self._answer(learnt, look, elapsed, valid=np.zeros_like(valid), skipped=skipped)
        with np.errstate(divide="ignore", invalid="ignore"):
            spread = np.sqrt(state.baseline.squares / (state.baseline.looks - 1))
            x = self._sign * (value - state.baseline.mean) / spread
        valid = valid & np.isfinite(x)
        return self._answer(state, look, elapsed, valid=valid, value=x, information=np.ones_like(x), skipped=skipped)

    @property
    def _equal(self) -> float:
        """The difference or ratio of two equal arms."""
        return 1.0 if self.compare == "ratio" else 0.0

    @property
    def _null(self) -> float:
        return self._equal if self.null is None else self.null

    @property
    def _sign(self) -> Floats:
        """1 where more is worse and -1 where less is, float64[metrics or 1, 1]."""
        each = (self.worse,) if isinstance(self.worse, str) else self.worse
        return np.array([[1.0 if direction == "up" else -1.0] for direction in each])

    @property
    def _fewer_are_worse(self) -> bool:
        return self.worse in {"down", ("down",)}

    def _answer(
        self,
        state: SignalState,
        look: Look,
        elapsed: int,
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
        seen = _seen(
            look,
            elapsed,
            nothing if value is None else np.where(valid, value, np.nan),
            nothing if information is None else np.where(valid, information, np.nan),
            valid,
            counts,
            shares,
            exposures,
        )
        none = np.zeros_like(valid)
        return Signalled(state, seen, none if skipped is None else skipped, none)


def _seen(
    look: Look,
    elapsed: int,
    value: Floats,
    information: Floats,
    valid: Bools,
    counts: Floats | None = None,
    shares: Floats | None = None,
    exposures: Floats | None = None,
) -> Observation:
    return Observation(value, information, counts, shares, valid, look.time, look.lanes, look.seed, exposures, elapsed)


def _everywhere(lanes: Bools, shape: tuple[int, ...]) -> Bools:
    """Return what holds in each lane for each of its streams."""
    return np.ascontiguousarray(np.broadcast_to(lanes, shape))


def _learn(baseline: Baseline, value: Floats, valid: Bools) -> Baseline:
    """Return the baseline with one more look where it is valid."""
    looks = baseline.looks + valid
    distance = np.where(valid, value - baseline.mean, 0.0)
    mean = baseline.mean + distance / np.maximum(looks, 1)
    squares = baseline.squares + distance * np.where(valid, value - mean, 0.0)
    return Baseline(looks, mean, squares)
