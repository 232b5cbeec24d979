"""What a shield lets through of a look: no small cell, and counts with noise, so that no single record can be told from it.

A segment of which treatment or control has fewer records than the smallest cell is withheld, both arms together, since one arm
alone would be compared with another time's other arm. It is not kept for later: a dashboard that hides small numbers forgets
them. Noise is discrete Laplace, drawn anew for every look, cell and count: the geometric mechanism (Ghosh, Roughgarden &
Sundararajan 2009), differentially private for every count to which one record adds at most 1. So epsilon covers histograms
whose cells a record cannot share: events and others of a proportion, buckets of durations, users seen first.

Noise that is to be the same for every policy and every block must be a function of its key. Libraries for differential privacy
draw from a source that cannot be seeded, as they must where people are protected by it; here it is a model of theirs.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from simlab.guardrails.look import CONTROL, TREATMENT, Bools, FirstSeen, Floats, Look, Sums, UserSums
from simlab.scenario import Shield
from simlab.streams import stream_key, uniforms


def shielded(look: Look, shield: Shield, *, every: int) -> Look:
    """Return a look as the shield lets it be seen.

    Parameters
    ----------
    look : Look
        All that has arrived.
    shield : Shield
        Smallest cell and noise.
    every : int
        Its cadence: each has noise of its own.
    """
    noise = _Noise(look, shield.epsilon, every)
    sums, buckets = {}, {}
    for name, each in look.sums.items():
        shown = _shown(each.observations.sum(axis=0), shield.min_cell)[:, None]
        if name in look.buckets:
            buckets[name] = noise.on(f"{name}.buckets", look.buckets[name] * shown, cells=each.observations * shown > 0)
        sums[name] = _through(each, shown, noise, name) if name not in buckets or not noise.drawn else _counted(buckets[name])
    users = {name: _users_through(each, shield.min_cell) for name, each in look.users.items()}
    seen = look.first_seen
    if seen is not None:
        counts = seen.users * _shown(seen.users.sum(axis=0), shield.min_cell)[:, None]
        seen = FirstSeen(noise.on("first_seen", counts, cells=counts > 0), seen.shares)
    return replace(look, sums=sums, buckets=buckets, users=users, first_seen=seen)


def _shown(counts: Floats, least: int) -> Bools:
    """Return which segments are shown, bool[segments, lanes], from counts [segments, arms, lanes]."""
    both = counts[:, [TREATMENT, CONTROL]]
    return np.asarray(~((both > 0) & (both < least)).any(axis=1))


def _through(sums: Sums, shown: Bools, noise: _Noise, name: str) -> Sums:
    observations, total = sums.observations * shown, sums.total * shown
    if not noise.drawn:
        squares = total if sums.squares is sums.total else sums.squares * shown
        return Sums(observations, total, squares)
    there = observations > 0
    events = noise.on(f"{name}.events", total, cells=there)
    others = noise.on(f"{name}.others", observations - total, cells=there)
    return Sums(events + others, events, events)


def _counted(buckets: Floats) -> Sums:
    """Return the sums of durations of which only buckets are told: a total has no bound on what one record adds to it."""
    observations = buckets.sum(axis=0)
    nothing = np.zeros_like(observations)
    return Sums(observations, nothing, nothing)


def _users_through(sums: UserSums, least: int) -> UserSums:
    # Sums over users are cumulative: a cell is shown from the look on at which it has had enough users.
    shown = _shown(sums.after[0].max(axis=0), least)[:, None]
    return UserSums(sums.before * shown, sums.after * shown)


class _Noise:
    """Discrete Laplace noise of one look."""

    def __init__(self, look: Look, epsilon: float | None, every: int) -> None:
        self.look = look
        self.epsilon = epsilon
        self.every = every

    @property
    def drawn(self) -> bool:
        """Whether there is any."""
        return self.epsilon is not None

    def on(self, name: str, counts: Floats, *, cells: Bools) -> Floats:
        """Return counts [..., lanes] with noise in the cells that have records, and never below 0."""
        if self.epsilon is None:
            return counts
        flat = np.zeros((int(np.prod(counts.shape[:-1])), counts.shape[-1]))
        key = stream_key(self.look.seed, f"telemetry.shield.{self.every}.{name}")
        for cell in range(len(flat)):
            one, other = (uniforms(key, self.look.time, self.look.lanes, cell=2 * cell + half) for half in (0, 1))
            flat[cell] = geometric(one, self.epsilon) - geometric(other, self.epsilon)
        noisy = np.maximum(counts + flat.reshape(counts.shape), 0.0)
        return np.where(np.broadcast_to(cells, counts.shape), noisy, counts)


def geometric(uniform: Floats, epsilon: float) -> Floats:
    """Return geometric numbers from 0 on with P(k) = (1 - a) a^k, a = exp(-epsilon); two of them differ by discrete Laplace."""
    return np.floor(np.log(uniform) / -epsilon)
