"""The individual world: users one by one, behind the same face as the aggregate one.

Every lane has users with a gamma activity, a hashed bucket that sticks (so that how many users a stratum holds is chance), and a
personal effect on each metric. Their sessions come one by one; what is measured of each is drawn whoever is exposed. A path marks
which users were seen, exposed and harmed, so that different users are counted, not estimated.

A tick costs the visits that happen in it, and memory holds every user of every lane of a block: `LANES_TIMES_USERS` at once.
"""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np

from simlab.guardrails.look import Floats, Integers
from simlab.happenings import BotsDrift
from simlab.metrics import CountMetric, DurationMetric, Metric, Proportion
from simlab.scenario import Scenario
from simlab.streams import stream_key
from simlab.world import tallies, visits
from simlab.world.aggregate import Watched, log_normal
from simlab.world.experiments import running, salted
from simlab.world.harms import harm_clock
from simlab.world.individual_path import IndividualPath
from simlab.world.people import NO_SPREAD, Population, population
from simlab.world.rates import rates_of
from simlab.world.strata import strata_of
from simlab.world.visits import Effect, Keys, Visits, unit_of

LANES_TIMES_USERS = 2_000_000
"""Users of all lanes of a block that are held at once: 12 bytes each, and about 25 for each path and metric judged by user."""


def lanes_at_once(scenario: Scenario) -> int:
    """Return how many lanes of a scenario's individual world fit in a block."""
    return max(1, LANES_TIMES_USERS // scenario.users.count)


class IndividualWorld:
    """The world of one scenario for one block of lanes, user by user.

    Parameters
    ----------
    scenario : Scenario
        What the world is like.
    lanes : int64[lanes]
        Consecutive lane numbers.
    seed : int
        Of the study.
    watched : Watched
        What is looked at; nothing else is drawn.
    """

    def __init__(self, scenario: Scenario, lanes: Integers, *, seed: int, watched: Watched) -> None:
        self.scenario = scenario
        self.clock = scenario.clock
        self.lanes = lanes
        self.seed = seed
        self.watched = watched
        self.strata = strata_of(scenario.rollout)
        self.segments = tuple(scenario.users.shares)
        self.rates = rates_of(scenario)
        self.sizes = seats_by_segment(scenario)
        self.bots = _bots_of(scenario, self.segments)
        self.stay = 0 if scenario.users.stay is None else self.clock.ticks(scenario.users.stay)
        self.drawn = {
            name: metric
            for name, metric in scenario.metrics.items()
            if name in watched.metrics or any(harm.metric == name for harm in scenario.harms)
        }
        self.harms = tuple(
            harm_clock(harm, clock=self.clock, strata=self.strata, lanes=lanes, seed=seed) for harm in scenario.harms
        )
        told = scenario.telemetry
        reported = not (any(told.loss) or told.misassigned)
        # Where all is reported, of the arm it happened in, who comes first is who is seen first.
        self.loses = not reported or any(harm.silent or harm.drops_users or harm.turns_away for harm in scenario.harms)
        self._held: dict[str, Floats] = {}
        self._ones = np.ones(0)
        names = ("sessions", "visit", "who", "pages", "people", "lives", "bucket")
        keys = Keys(*(self.key(name) for name in names))
        self.keys = keys._replace(bucket=salted(keys.bucket, scenario.rollout.salt))
        self.experiments = running(scenario, keys.bucket)

    def key(self, name: str) -> np.uint64:
        """Return the key of one of this world's streams."""
        return stream_key(self.seed, f"world.individual.{name}")

    @cached_property
    def population(self) -> Population:
        """How active each seat of each lane is."""
        gamma = self.scenario.users.activity.gamma
        return population(self.key("activity"), int(self.lanes[0]), len(self.lanes), sizes=self.sizes, gamma=gamma)

    def draw(self, tick: int) -> Visits:
        """Return the noise of a tick: the one place where a world draws without knowing who is exposed."""
        pages = self.scenario.users.pages
        mean = np.hstack([self.rates.requests[:, tick] * self.population.activity / self.sizes, self._of_bots(tick)]) / pages
        found = visits.draw_visits(
            self.keys, tick, int(self.lanes[0]), population=self.population, bots=self.bots, mean=mean,
            pages=pages, stay=self.stay, cuts=self.strata.cuts,
        )  # fmt: skip
        values = {name: self._measured(name, metric, found) for name, metric in self.drawn.items()}
        for name, each in self.experiments.items():
            metric = each.experiment.metric
            if metric in values:
                effect, key = Effect(each.experiment.times or 1.0, 0.0), stream_key(self.seed, f"experiment.{name}.events")
                values[metric] = self.moved(metric, found, values[metric], key, effect, each.taking_part(tick, found.person))
        return found._replace(values=values)

    def _of_bots(self, tick: int) -> Floats:
        """Return the requests that are expected of each group of bots, float64[lanes, bots]."""
        now = tick * self.clock.tick
        drifts = (drift for drift in self.scenario.drift if isinstance(drift, BotsDrift))
        each = [drift.requests * self.clock.tick * (drift.at <= now < drift.at + drift.for_) for drift in drifts]
        return np.tile(np.array(each, dtype=np.float64), (len(self.lanes), 1))

    def _measured(self, name: str, metric: Metric, found: Visits) -> Floats:
        """Return what is measured of each request, without any harm."""
        value = np.empty(len(found.seat))
        unit, factor = unit_of(metric, found), float(self.rates.factors[name][found.tick])
        if isinstance(metric, DurationMetric):
            mu, sigma = log_normal(metric, factor=factor)
            visits.draw_duration(self.key(f"{name}.duration"), mu, sigma, unit, value)
            return value
        effect = self._effects(name, metric.personal_cv, found)
        if isinstance(metric, Proportion):
            visits.draw_proportion(self.key(f"{name}.events"), min(1.0, metric.normal * factor), effect, unit, value)
        elif isinstance(metric, CountMetric):
            visits.draw_count(self.key(f"{name}.count"), metric.mean * factor, effect, unit, value)
        else:
            mu, sigma = log_normal(metric, factor=factor)
            keys, cap = (self.key(f"{name}.some"), self.key(f"{name}.amount")), metric.cap or math.inf
            visits.draw_amount(keys, metric.some, mu, sigma, cap, effect, unit, value)
        return value

    def _effects(self, name: str, cv: float, found: Visits) -> Floats:
        """Return the personal effect on a metric of who made each request, float64[requests]."""
        if cv < NO_SPREAD:
            if len(self._ones) < len(found.seat):
                self._ones = np.ones(2 * len(found.seat))
            return self._ones[: len(found.seat)]
        effect = np.empty(len(found.seat))
        key = self.key(f"{name}.effect")
        if self.stay:
            visits.effects_of_people(key, cv, found.person, effect)
            return effect
        # Who stays for good is worth remembering: a gamma variate costs more than all else that is drawn of a request.
        if name not in self._held:
            self._held[name] = np.empty(self.population.upto.shape)
            visits.effects_of_seats(self.keys.people, key, cv, int(self.lanes[0]), self._held[name])
        visits.gather(found.begins, found.seat, self._held[name], effect)
        return effect

    def moved(self, name: str, noise: Visits, before: Floats, key: np.uint64, effect: Effect, doses: Floats) -> Floats:
        """Return a metric's values moved by an effect, up or down, the base draws unmoved."""
        metric, value = self.drawn[name], before.copy()
        unit, factor = unit_of(metric, noise), float(self.rates.factors[name][noise.tick])
        if isinstance(metric, Proportion):
            base = min(1.0, metric.normal * factor)
            change = effect.add + base * (effect.times - 1.0)
            if change > 0:
                tallies.more_events(key, min(1.0, change / max(1.0 - base, 1e-12)), unit, doses, value)
            elif base > 0:
                tallies.fewer_events(key, min(1.0, -change / base), unit, doses, value)
        elif isinstance(metric, CountMetric) and effect.times > 1:
            mean = metric.mean * factor * (effect.times - 1.0)
            tallies.more_counts(key, self.key(f"{name}.effect"), mean, metric.personal_cv, unit, noise.person, doses, value)
        elif isinstance(metric, CountMetric):
            tallies.fewer_events(key, 1.0 - effect.times, unit, doses, value)
        else:
            value = value * (1.0 + (effect.times - 1.0) * doses) + effect.add * doses
        return value

    def begin(self, *, harmed: bool) -> IndividualPath:
        """Return a path that starts at tick 0, with the harms or as the harmless twin."""
        return IndividualPath(self, self.harms if harmed else ())


def seats_by_segment(scenario: Scenario) -> Integers:
    """Return how many users each segment has, int64[segments]; at least one each."""
    shares = np.array(list(scenario.users.shares.values()))
    return np.maximum(1, np.round(scenario.users.count * shares)).astype(np.int64)


def _bots_of(scenario: Scenario, segments: tuple[str, ...]) -> Integers:
    """Return the segment of each group of bots, the first one if none is said, and how many they are, int64[bots, 2]."""
    drifts = [drift for drift in scenario.drift if isinstance(drift, BotsDrift)]
    held = [(0 if drift.segment is None else segments.index(drift.segment), drift.users) for drift in drifts]
    return np.array(held, dtype=np.int64).reshape(-1, 2)
