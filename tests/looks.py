"""Looks and observations made from plain numbers, and what many tests ask of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from simlab.guardrails.guardrail import Guardrail, GuardrailState
from simlab.guardrails.look import ARMS, Decision, FirstSeen, Floats, Look, Sums
from simlab.guardrails.rule import Observation, Rule, State

MINUTE = 60_000


def by_arm(treatment: ArrayLike = 0.0, control: ArrayLike = 0.0, outside: ArrayLike = 0.0) -> Floats:
    """Return [1 part, 1 segment, arms, lanes] from one number, or one number a lane, for each arm."""
    rows = np.broadcast_arrays(*(np.atleast_1d(np.asarray(arm, dtype=float)) for arm in (treatment, control, outside)))
    return np.stack(rows)[None, None]


def events(treatment: Sequence[ArrayLike], control: Sequence[ArrayLike] = (0, 0)) -> Sums:
    """Return the sums of a proportion from (observations, events) in each arm."""
    total = by_arm(treatment[1], control[1])
    return Sums(by_arm(treatment[0], control[0]) + 0 * total, total, total)


def values(treatment: ArrayLike, control: ArrayLike = ()) -> Sums:
    """Return the sums of single values in each arm, one lane."""
    arms = [np.asarray(arm, dtype=float) for arm in (treatment, control)]
    return Sums(
        by_arm(*(arm.size for arm in arms)),
        by_arm(*(arm.sum() for arm in arms)),
        by_arm(*((arm**2).sum() for arm in arms)),
    )


def level(value: ArrayLike, *, observations: float = 1.0) -> Sums:
    """Return the sums of a series whose level is `value`, one number a lane."""
    total = by_arm(np.asarray(value, dtype=float) * observations)
    return Sums(by_arm(observations) + 0 * total, total, total**2 / observations)


def parts(each: Iterable[Sums]) -> Sums:
    """Return one look's sums from the sums of its parts."""
    return Sums(*(np.concatenate(arrays, axis=0) for arrays in zip(*each, strict=True)))


def segments(each: Iterable[Sums]) -> Sums:
    """Return one look's sums from the sums of its segments."""
    return Sums(*(np.concatenate(arrays, axis=1) for arrays in zip(*each, strict=True)))


def make_look(
    sums: Mapping[str, Sums] | Sums | None = None,
    *,
    time: int = 1,
    seed: int = 7,
    lanes: ArrayLike | None = None,
    first_seen: Floats | None = None,
    shares: ArrayLike = (0.5, 0.5),
    missing: ArrayLike = False,
    one_armed: ArrayLike = False,
) -> Look:
    """Return a look over the tick before `time`; a missing lane has no sums, one `Sums` alone is the metric ``m``.

    `shares` is [2], or [parts, 2] or [parts, 2, lanes]; `first_seen` [parts, segments, arms, lanes] were all assigned at once.
    """
    named = {"m": sums} if isinstance(sums, Sums) else dict(sums or {})
    given = [array for each in named.values() for array in each] + ([] if first_seen is None else [first_seen])
    sizes = [array.shape[-1] for array in given] + [np.size(missing), np.size(one_armed)]
    numbers = np.arange(max(sizes)) if lanes is None else np.asarray(lanes)
    count = numbers.size
    planned = np.asarray(shares, dtype=float)
    planned = planned if planned.ndim == 3 else np.atleast_2d(planned)[:, :, None]
    planned = np.broadcast_to(planned, (*planned.shape[:2], count))
    lost = np.broadcast_to(np.asarray(missing), (count,))
    arrived = np.where(lost, 0.0, 1.0)
    return Look(
        time=time,
        start=np.full(count, time - 1),
        end=np.where(lost, time - 1, time),
        lanes=numbers.astype(np.int64),
        seed=seed,
        sums={name: Sums(*(array * arrived for array in each)) for name, each in named.items()},
        first_seen=None if first_seen is None else FirstSeen(first_seen[:, :, :2] * arrived, planned),
        shares=planned,
        missing=lost,
        one_armed=np.broadcast_to(np.asarray(one_armed), (count,)),
    )


def only(look: Look, index: Any) -> Look:
    """Return the same look for some of its lanes only."""
    return replace(
        look,
        start=look.start[index],
        end=look.end[index],
        lanes=look.lanes[index],
        sums={name: Sums(*(array[..., index] for array in each)) for name, each in look.sums.items()},
        first_seen=None if look.first_seen is None else FirstSeen(*(array[..., index] for array in look.first_seen)),
        shares=look.shares[..., index],
        missing=look.missing[index],
        one_armed=look.one_armed[index],
    )


def random_looks(seed: int, *, count: int, lanes: int, moved: Iterable[int] = ()) -> list[Look]:
    """Return looks of every kind: thin, empty, lost, over a ramp's step, and after control has ended.

    Two segments and two parts; the metrics are ``m``, events, and ``x``, values. Lanes in `moved` get other numbers, all
    others the same numbers as without it.
    """
    made = []
    for time in range(1, count + 1):
        draws = [_random_lane((seed, time, lane, lane in set(moved)), time / count) for lane in range(lanes)]
        joined = [np.stack(arrays, axis=-1) for arrays in zip(*draws, strict=True)]
        observations, total, mass, squares, seen, shares, missing, ended = joined
        made.append(
            make_look(
                {"m": Sums(observations, total, total), "x": Sums(observations, mass, squares)},
                time=time,
                first_seen=seen,
                shares=shares,
                missing=missing,
                one_armed=ended,
            )
        )
    return made


def _random_lane(key: tuple[int, ...], elapsed: float) -> tuple[NDArray[Any], ...]:
    generator = np.random.default_rng([int(word) for word in key])
    shape = (2, 2, len(ARMS))
    ended = elapsed > 0.8 and generator.random() < 0.5
    observations = generator.poisson(generator.choice([0.0, 3.0, 60.0]), size=shape).astype(float)
    # More users in treatment than planned, so that the sample ratio has something to find.
    seen = generator.poisson([26.0, 20.0, 20.0], size=shape).astype(float)
    if ended:
        observations[:, :, 1] = seen[:, :, 1] = 0.0
    total = generator.binomial(observations.astype(int), 0.2).astype(float)
    mass = observations * generator.normal(3.0, 0.2, size=shape)
    squares = mass**2 / np.maximum(observations, 1) + observations * generator.gamma(2.0, size=shape)
    shares = np.array([[0.1, 0.1], [0.5, 0.0 if ended else 0.5]])
    return observations, total, mass, squares, seen, shares, np.array(generator.random() < 0.1), np.array(ended)


def run(guardrail: Guardrail, looks: Iterable[Look]) -> list[Decision]:
    """Return the decisions of a guardrail over looks, from its initial state."""
    looks = list(looks)
    return run_from(start(guardrail, looks[0]), guardrail, looks)


def run_from(state: GuardrailState, guardrail: Guardrail, looks: Iterable[Look]) -> list[Decision]:
    """Return the decisions of a guardrail over looks, from a state."""
    decisions = []
    for look in looks:
        state, decision = guardrail.step(state, look)
        decisions.append(decision)
    return decisions


def start(guardrail: Guardrail, look: Look) -> GuardrailState:
    """Return the state of a guardrail before its first look, for the segments and lanes that a look has."""
    return guardrail.initial(segment_count(look), len(look.lanes))


def segment_count(look: Look) -> int:
    """Return how many segments a look has; one if it has no data."""
    arrays = [each.total for each in look.sums.values()] + ([] if look.first_seen is None else [look.first_seen.users])
    return arrays[0].shape[1] if arrays else 1


def codes(decisions: Iterable[Decision]) -> list[list[int]]:
    """Return the codes, one list a look."""
    return [decision.code.tolist() for decision in decisions]


def assert_same_decisions(one: Sequence[Decision], other: Sequence[Decision]) -> None:
    """Fail unless two runs answered the same, to the bit."""
    assert len(one) == len(other)
    for index, (mine, theirs) in enumerate(zip(one, other, strict=True)):
        for name, array in vars(mine).items():
            np.testing.assert_array_equal(array, getattr(theirs, name), err_msg=f"{name} at look {index}")


def observation(
    value: ArrayLike = 0.0,
    *,
    information: ArrayLike = 1.0,
    counts: Floats | None = None,
    shares: Floats | None = None,
    time: int = 1,
    lanes: ArrayLike | None = None,
    seed: int = 7,
) -> Observation:
    """Return what a rule sees of one stream: one value a lane, or `counts` of [parts, 2, streams, lanes]."""
    seen = np.atleast_1d(np.asarray(value, dtype=float))[None, :]
    if counts is not None:
        seen = np.full(counts.shape[2:], np.nan)
    return Observation(
        value=seen,
        information=np.broadcast_to(np.asarray(information, dtype=float), seen.shape),
        counts=counts,
        shares=shares,
        valid=np.ones(seen.shape, dtype=bool),
        time=time,
        lanes=np.arange(seen.shape[1]) if lanes is None else np.asarray(lanes),
        seed=seed,
    )


def statistics(rule: Rule, series: ArrayLike, *, every: int = MINUTE) -> Floats:
    """Return the rule's statistic at each look, float64[looks, lanes], from values [looks, lanes] of one stream."""
    rows = np.asarray(series, dtype=float)
    state: State = rule.initial(1, rows.shape[1], every=every)
    found = np.empty_like(rows)
    for time, row in enumerate(rows):
        state, statistic, _ = rule.update(state, observation(row, time=time))
        found[time] = statistic[0]
    return found
