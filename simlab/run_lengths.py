"""Run lengths by simulation: how many looks a rule takes to alarm on a stream of one's own making."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaincc

from simlab.arguments import is_share, is_whole
from simlab.errors import UnitError
from simlab.guardrails.look import Bools, Floats, Integers
from simlab.guardrails.rule import Observation, Rule, State, choose, taken_in
from simlab.measures.estimates import CONFIDENCE, Estimate, mean, proportion, quantile
from simlab.rule_from import rule as read_rule

if TYPE_CHECKING:
    import pandas as pd

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
TAIL_ERROR = 0.01
"""Probability with which a tail that is geometric is refused as not geometric."""

_MINUTE = 60_000
_TAIL_CELLS = 10
_TAIL_ALARMS = 50

Sample = Callable[[np.random.Generator, int], "Floats | Observation"]
"""From a generator and a number of lanes to one observation for each of them."""


@dataclass(frozen=True)
class Tail:
    """The test that beyond some look the chance of an alarm is the same at every look.

    Attributes
    ----------
    start : int
        Look after which the tail was declared to be geometric.
    alarms : int
        Alarms seen in it.
    p_value : float
        Of the chi-square test of a constant hazard; NaN with fewer than 50 alarms, which is too few to tell.
    """

    start: int
    alarms: int
    p_value: float

    @property
    def holds(self) -> bool:
        """Whether the test was made and did not refuse it, at an error of 1 %."""
        return self.p_value >= TAIL_ERROR


@dataclass(frozen=True, eq=False)
class RunLength:
    """How many looks a rule takes to alarm; the look that alarms is counted.

    Attributes
    ----------
    restricted_mean : Estimate
        Mean of the smaller of run length and horizon, in looks.
    median : Estimate
        In looks; infinite where fewer than half of the lanes alarmed.
    quantiles : dict of float to Estimate
        By probability, in looks; infinite where not reached.
    alarm_probability : Estimate
        Probability of an alarm by the horizon.
    mean : Estimate or None
        Mean run length in looks; its method says whether every lane alarmed or a geometric tail was declared and tested. None
        where lanes were cut off and there is no such tail.
    tail : Tail or None
        The test of the tail, where one was declared.
    lanes, cut_off, horizon, seed : int
        Lanes run, how many of them had not alarmed by the horizon, the horizon in looks, and the seed.
    looks : int64[lanes]
        Run length of each lane; the horizon where it was cut off.
    alarmed : bool[lanes]
        Whether the lane alarmed.
    unknown : int
        Looks of all lanes at which the rule had no verdict: they are in the run lengths, and no sign that all is well.
    """

    restricted_mean: Estimate
    median: Estimate
    quantiles: dict[float, Estimate]
    alarm_probability: Estimate
    mean: Estimate | None
    tail: Tail | None
    lanes: int
    cut_off: int
    horizon: int
    seed: int
    looks: Integers
    alarmed: Bools
    unknown: int = 0

    @property
    def estimates(self) -> dict[str, Estimate]:
        """Every estimate by its name in tables."""
        named = {"mean": self.mean} if self.mean is not None else {}
        named |= {"restricted_mean": self.restricted_mean, "alarm_probability": self.alarm_probability}
        return named | {f"p{100 * p:g}": estimate for p, estimate in self.quantiles.items()}

    def to_pandas(self) -> pd.DataFrame:
        """Return one row an estimate: value, low, high, n, method, unit, confidence."""
        import pandas as pd

        return pd.DataFrame([vars(estimate) for estimate in self.estimates.values()], index=list(self.estimates))

    def __repr__(self) -> str:
        rows = [f"RunLength: {self.lanes:,} lanes, {self.cut_off:,} cut off at {self.horizon:,} looks, seed {self.seed}"]
        if self.unknown:
            rows.append(f"  without a verdict at {self.unknown:,} looks of all lanes")
        for name, each in self.estimates.items():
            rows.append(f"  {name} {each.value:.6g} [{each.low:.6g}, {each.high:.6g}] {each.unit}")
        return "\n".join(rows)


class _Run(NamedTuple):
    looks: Integers
    alarmed: Bools
    unknown: int


class _Active(NamedTuple):
    """The lanes that have not been dropped yet, by number, the rule's state for them, and milliseconds between looks."""

    lanes: Integers
    state: State
    every: int = _MINUTE


class _Stepped(NamedTuple):
    """The lanes after one look, and the largest statistic over the streams of each; NaN where there was no verdict."""

    active: _Active
    statistic: Floats


def run_length(
    rule: Rule | Mapping[str, Any],
    sample: Sample,
    *,
    lanes: int,
    horizon: int,
    seed: int = 0,
    geometric_after: int | None = None,
    confidence: float = CONFIDENCE,
    every: int = _MINUTE,
) -> RunLength:
    """Step a rule over independent lanes until each has alarmed or the horizon is reached.

    Lanes that have alarmed are dropped on the way, so that the work is that of the run lengths and not of the horizon.

    Parameters
    ----------
    rule : Rule or mapping
        A rule, or what a study file says of one, as ``{"cusum": {"k": 0.5, "h": 4}}``.
    sample : callable
        ``sample(rng, lanes) -> float64[lanes]`` (or ``[streams, lanes]``) gives one observation for each of `lanes` lanes, in the
        unit that the rule takes: standardised, or a level. A rule that takes more is given an `Observation`; its time, lanes and
        seed are filled in. Observations must be independent from look to look: no lane keeps its place.
    lanes : int
        Independent replicates.
    horizon : int
        Most looks of a lane.
    seed : int
        Of the generator. The same arguments give the same lanes to the bit; two rules do not share their noise.
    geometric_after : int, optional
        Declare that after this look the chance of an alarm is the same at every look. It is tested, and if it holds a mean is
        given although lanes were cut off.
    confidence : float
        Two-sided coverage of the intervals.
    every : int
        Milliseconds between looks, for rules that count time.

    Raises
    ------
    FileErrors
        If the mapping is not a rule.
    UnitError
        If lanes or horizon are not positive, if `geometric_after` is not within the horizon, or if a sample has another size.

    Examples
    --------
    >>> found = run_length({"shewhart": {"sigmas": 2}}, lambda rng, n: rng.normal(1, 1, n), lanes=1000, horizon=1000, seed=1)
    >>> bool(found.mean.low < 6.30 < found.mean.high)
    True
    """
    if not (is_whole(lanes, least=1) and is_whole(horizon, least=1)):
        raise UnitError(f"lanes and horizon must be positive whole numbers, not {lanes!r} and {horizon!r}")
    if not is_share(confidence):
        raise UnitError(f"confidence must be between 0 and 1, not {confidence!r}")
    if geometric_after is not None and not 0 <= geometric_after < horizon:
        raise UnitError(f"geometric_after must be from 0 to below the horizon {horizon}, not {geometric_after}")
    run = _simulate(read_rule(rule), sample, lanes=lanes, horizon=horizon, seed=seed, every=every)
    found = summarise(run.looks, run.alarmed, horizon=horizon, seed=seed, geometric_after=geometric_after, confidence=confidence)
    return replace(found, unknown=run.unknown)


def run_length_on(
    rule: Rule | Mapping[str, Any],
    looks: Iterable[Floats | Observation],
    *,
    lanes: int,
    streams: int = 1,
    seed: int = 0,
    every: int = _MINUTE,
    at_alarm: Callable[[Integers], None] | None = None,
) -> RunLength:
    """Step a rule over given looks, in which every lane keeps its place: they may depend on each other.

    Parameters
    ----------
    rule, seed, every
        As in `run_length`.
    looks : iterable of float64[lanes], float64[streams, lanes] or Observation
        One after the other; their number is the horizon.
    lanes, streams : int
        How many there are of each.
    at_alarm : callable, optional
        Called after each look with the lanes that have alarmed at it for the first time, before the next look is asked for.
    """
    chosen = read_rule(rule)
    first = np.full(lanes, -1)
    active = _Active(np.arange(lanes), chosen.initial(streams, lanes, every=every), every)
    horizon = unknown = 0
    for horizon, drawn in enumerate(looks, start=1):
        active, statistic = _step(chosen, active, drawn, look=horizon, seed=seed)
        unknown += int(np.count_nonzero(np.isnan(statistic) & (first < 0)))
        new = np.flatnonzero((statistic >= chosen.threshold) & (first < 0))
        first[new] = horizon
        if at_alarm is not None:
            at_alarm(new)
    return replace(summarise(np.where(first < 0, horizon, first), first >= 0, horizon=horizon, seed=seed), unknown=unknown)


def summarise(
    looks: Integers,
    alarmed: Bools,
    *,
    horizon: int,
    seed: int = 0,
    geometric_after: int | None = None,
    confidence: float = CONFIDENCE,
) -> RunLength:
    """Return the estimates from the run length of each lane.

    Parameters
    ----------
    looks : int64[lanes]
        Run lengths; the horizon where the lane was cut off.
    alarmed : bool[lanes]
        False where it was cut off.
    horizon, seed, geometric_after, confidence
        As in `run_length`.
    """
    reached = np.where(alarmed, looks, np.inf)
    quantiles = {p: quantile(reached, p, unit="looks", confidence=confidence) for p in QUANTILES}
    restricted = mean(looks.astype(float), unit="looks", confidence=confidence)
    tail = None if geometric_after is None else _test_tail(looks, alarmed, geometric_after)
    whole = None
    if alarmed.all():
        whole = replace(restricted, method="Student t, every lane alarmed")
    elif tail is not None and tail.holds:
        whole = _mean_with_tail(looks, alarmed, tail, confidence)
    return RunLength(
        restricted_mean=restricted,
        median=quantiles[0.5],
        quantiles=quantiles,
        alarm_probability=proportion(int(alarmed.sum()), len(looks), confidence=confidence),
        mean=whole,
        tail=tail,
        lanes=len(looks),
        cut_off=int((~alarmed).sum()),
        horizon=horizon,
        seed=seed,
        looks=looks,
        alarmed=alarmed,
    )


def statistics(rule: Rule | Mapping[str, Any], values: ArrayLike, *, every: int = _MINUTE) -> Floats:
    """Return a rule's statistic at each look of plain series.

    Parameters
    ----------
    rule : Rule or mapping
        As in `run_length`.
    values : float64[looks] or float64[looks, lanes]
        One series, or one for each lane.
    every : int
        Milliseconds between looks.

    Returns
    -------
    float64, of the shape of `values`
        In the rule's ladder coordinate.
    """
    chosen = read_rule(rule)
    series = np.asarray(values, dtype=float)
    rows = series.reshape(len(series), -1)
    active = _Active(np.arange(rows.shape[1]), chosen.initial(1, rows.shape[1], every=every), every)
    found = np.empty_like(rows)
    for look, row in enumerate(rows, start=1):
        active, found[look - 1] = _step(chosen, active, row, look=look, seed=0)
    return found.reshape(series.shape)


def _simulate(rule: Rule, sample: Sample, *, lanes: int, horizon: int, seed: int, every: int) -> _Run:
    generator = np.random.default_rng(seed)
    looks = np.full(lanes, horizon)
    alarmed = np.zeros(lanes, dtype=bool)
    first = sample(generator, lanes)
    streams = np.atleast_2d(first.value if isinstance(first, Observation) else first).shape[0]
    active = _Active(np.arange(lanes), rule.initial(streams, lanes, every=every), every)
    unknown = 0
    for look in range(1, horizon + 1):
        drawn = first if look == 1 else sample(generator, active.lanes.size)
        active, statistic = _step(rule, active, drawn, look=look, seed=seed)
        unknown += int(np.count_nonzero(np.isnan(statistic) & ~alarmed[active.lanes]))
        new = active.lanes[(statistic >= rule.threshold) & ~alarmed[active.lanes]]
        looks[new] = look
        alarmed[new] = True
        active = _drop(active, alarmed)
        if not active.lanes.size:
            break
    return _Run(looks, alarmed, unknown)


def _step(rule: Rule, active: _Active, drawn: Floats | Observation, *, look: int, seed: int) -> _Stepped:
    seen = replace(_observation(drawn, active.lanes, look=look, seed=seed), elapsed=look * active.every)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        stepped = rule.update(active.state, seen)
    judged = seen.valid & ~np.isnan(stepped.statistic)
    # As in a guardrail: without a verdict the state stays.
    state = stepped.state if judged.all() else choose(taken_in(rule, seen, stepped.statistic), stepped.state, active.state)
    statistic = np.where(judged, stepped.statistic, -np.inf).max(axis=0)
    return _Stepped(active._replace(state=state), np.where(judged.any(axis=0), statistic, np.nan))


def _observation(drawn: Floats | Observation, lanes: Integers, *, look: int, seed: int) -> Observation:
    if isinstance(drawn, Observation):
        return replace(drawn, time=look, lanes=lanes, seed=seed)
    value = np.atleast_2d(np.asarray(drawn, dtype=float))
    if value.shape[1] != lanes.size:
        raise UnitError(f"the sample must hold one number for each of {lanes.size} lanes, not {value.shape[1]}")
    return Observation(value, np.ones_like(value), None, None, np.isfinite(value), look, lanes, seed)


def _drop(active: _Active, alarmed: Bools) -> _Active:
    """Leave out the lanes that have alarmed, once they are a tenth: copying the state at every look would cost more."""
    goes_on = ~alarmed[active.lanes]
    if np.count_nonzero(goes_on) > 0.9 * active.lanes.size:
        return active
    return active._replace(lanes=active.lanes[goes_on], state=_of_lanes(active.state, goes_on))


def _of_lanes(state: State, which: Bools) -> State:
    if isinstance(state, tuple):
        return type(state)(*(_of_lanes(each, which) for each in state))
    return None if state is None else state[..., which]


def _test_tail(looks: Integers, alarmed: Bools, start: int) -> Tail:
    """Test a constant hazard after `start`: alarms and looks at risk in cells of about as many alarms each."""
    times = looks[alarmed & (looks > start)]
    if len(times) < _TAIL_ALARMS:
        return Tail(start, len(times), math.nan)
    inner = np.quantile(times, np.linspace(0, 1, _TAIL_CELLS + 1)[1:-1], method="inverted_cdf")
    edges = np.unique([start, *inner, looks.max()])
    at_risk = np.diff(np.minimum(looks[:, None], edges).sum(axis=0).astype(float))
    hazard = len(times) / at_risk.sum()
    if len(at_risk) < 2 or hazard == 1:
        return Tail(start, len(times), math.nan)
    events = np.histogram(times, bins=edges + 0.5)[0]
    expected = hazard * at_risk
    squares = (events - expected) ** 2 / (expected * (1 - hazard))
    return Tail(start, len(times), float(gammaincc((len(at_risk) - 1) / 2, squares.sum() / 2)))


def _mean_with_tail(looks: Integers, alarmed: Bools, tail: Tail, confidence: float) -> Estimate:
    """Return E min(T, a) + P(T > a) / hazard for a tail from look a, its interval from the linearised terms of each lane."""
    in_tail = (looks > tail.start).astype(float)
    at_risk = np.maximum(looks - tail.start, 0).astype(float)
    events = in_tail * alarmed
    hazard = events.sum() / at_risk.sum()
    residual: NDArray[np.float64] = (events - hazard * at_risk) / at_risk.mean()
    terms = np.minimum(looks, tail.start) + in_tail / hazard - in_tail.mean() / hazard**2 * residual
    method = f"geometric tail declared after look {tail.start}, tested (p = {tail.p_value:.2g}), delta method"
    return replace(mean(terms, unit="looks", confidence=confidence), method=method)
