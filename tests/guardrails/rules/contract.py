"""What every rule must do, whatever its statistic; for the tests of single rules."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from simlab.guardrails.look import Bools, Floats
from simlab.guardrails.rule import Observation, Rule, SpendsError, State, choose, taken_in
from tests.looks import MINUTE

Draw = Callable[[np.random.Generator, int], Observation]
"""One look of all lanes, in one stream."""


def seen(value: ArrayLike, *, information: ArrayLike = 1.0, time: int = 1) -> Observation:
    """Return an observation of values [streams, lanes]."""
    values = np.atleast_2d(np.asarray(value, dtype=float))
    spread = np.broadcast_to(np.asarray(information, dtype=float), values.shape)
    return Observation(values, spread, None, None, ~np.isnan(values), time, np.arange(values.shape[1]), 7)


def seen_counts(counts: ArrayLike, *, shares: ArrayLike | None = None, exposures: ArrayLike | None = None) -> Observation:
    """Return an observation of counts [parts, 2, streams, lanes]."""
    counted = np.asarray(counts, dtype=float)
    observed = replace(seen(np.full(counted.shape[2:], np.nan)), counts=counted, valid=np.ones(counted.shape[2:], dtype=bool))
    if exposures is not None:
        return replace(observed, exposures=np.broadcast_to(np.asarray(exposures, dtype=float), counted.shape))
    return replace(observed, shares=np.asarray(shares, dtype=float))


def run_all(rule: Rule, looks: Iterable[Observation]) -> Floats:
    """Return the statistics [looks, streams, lanes] as a guardrail would see them: what is not taken in leaves the state."""
    state: State = None
    found = []
    for look in looks:
        state = rule.initial(*look.value.shape, every=MINUTE) if state is None else state
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            step = rule.update(state, look)
        state = choose(taken_in(rule, look, step.statistic), step.state, state)
        found.append(step.statistic)
    return np.array(found)


def ever_alarmed(rule: Rule, draw: Draw, *, looks: int, lanes: int, seed: int) -> Bools:
    """Return the lanes that reach the threshold at any look."""
    generator = np.random.default_rng(seed)
    state = rule.initial(1, lanes, every=MINUTE)
    alarmed = np.zeros(lanes, dtype=bool)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        for _ in range(looks):
            state, statistic, _ = rule.update(state, draw(generator, lanes))
            alarmed |= statistic[0] >= rule.threshold
    return alarmed


def standard(drift: float = 0.0) -> Draw:
    """Return looks of normal values of variance 1."""
    return lambda generator, lanes: seen(generator.normal(drift, 1.0, lanes))


def assert_contract(rule: Rule, looks: list[Observation]) -> None:
    """Fail unless lanes and streams are independent to the bit, the state is left alone, and it can be saved half way.

    `looks` are of several streams and lanes.
    """
    together = run_all(rule, looks)
    assert np.isfinite(together).any()
    _, streams, lanes = together.shape
    for chosen in (np.arange(lanes)[::-1], np.arange(0, lanes, 2), np.array([lanes - 1])):
        np.testing.assert_array_equal(run_all(rule, [_only(look, slice(None), chosen) for look in looks]), together[:, :, chosen])
    for stream in range(streams):
        alone = run_all(rule, [_only(look, [stream], slice(None)) for look in looks])
        np.testing.assert_array_equal(alone, together[:, [stream]])
    _assert_saved_state_goes_on(rule, looks)


def assert_spends(rule: Rule) -> None:
    """Fail unless an error budget makes the rule as strict as a larger one made it less strict."""
    assert isinstance(rule, SpendsError)
    strict, lax = rule.with_alpha(0.001), rule.with_alpha(0.2)
    assert type(strict) is type(lax) is type(rule)
    assert strict.threshold > lax.threshold


def _assert_saved_state_goes_on(rule: Rule, looks: list[Observation]) -> None:
    state = rule.initial(*looks[0].value.shape, every=MINUTE)
    half = len(looks) // 2
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        for look in looks[:half]:
            state = rule.update(state, look).state
        restored = pickle.loads(pickle.dumps(state))
        _freeze(state)
        for look in looks[half:]:
            one, other = rule.update(state, look), rule.update(restored, look)
            np.testing.assert_array_equal(one.statistic, other.statistic)
            _freeze(one.state)
            state, restored = one.state, other.state


def _freeze(state: Any) -> None:
    if isinstance(state, tuple):
        for each in state:
            _freeze(each)
    elif state is not None:
        state.flags.writeable = False


def _only(look: Observation, streams: Any, lanes: Any) -> Observation:
    def pick(array: NDArray[Any] | None) -> Any:
        return None if array is None else array[..., streams, :][..., lanes]

    return replace(
        look,
        value=pick(look.value),
        information=pick(look.information),
        counts=pick(look.counts),
        exposures=pick(look.exposures),
        shares=None if look.shares is None else look.shares[..., lanes],
        valid=pick(look.valid),
        lanes=look.lanes[lanes],
    )


def random_values(seed: int, *, looks: int = 12, streams: int = 2, lanes: int = 5) -> list[Observation]:
    """Return standardised looks of differing information, some without a value."""
    generator = np.random.default_rng(seed)
    made = []
    for time in range(1, looks + 1):
        values = generator.normal(0.5, 1.5, (streams, lanes))
        values[generator.random(values.shape) < 0.1] = np.nan
        made.append(seen(values, information=generator.gamma(2.0, 3.0, values.shape), time=time))
    return made
