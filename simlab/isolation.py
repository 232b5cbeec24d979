"""Do parallel experiments disturb each other? Buckets of their hashes compared, and users counted who were in both arms.

Experiments with independent buckets each reach both arms of the others alike, so that none can look like another's effect. In a
recording an experiment leaks where a user is in both arms: what such users do blurs the difference, and tells that the
assignment does not stick.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.stats import chi2

from simlab.documents import Document, read_document
from simlab.errors import FileErrors, RecordingError
from simlab.guardrails.look import CONTROL, OUTSIDE, TREATMENT, Floats
from simlab.measures.estimates import Estimate, proportion
from simlab.plan import load
from simlab.reading_scenarios import read_scenario
from simlab.scenario import Scenario
from simlab.schemas import read_settings
from simlab.shipped import shipped_path
from simlab.streams import fill_uniforms
from simlab.world.aggregate import Watched
from simlab.world.events import numbered
from simlab.world.experiments import salted
from simlab.world.individual import IndividualWorld
from simlab.world.people import Words, first_people
from simlab.world.recording import Recording
from simlab.world.rows import Rows, read_rows, rows_told

FALSE_ALARM = 0.001
"""Probability that experiments are called dependent which are not, all pairs of a scenario together."""

_USERS = 200_000
_BINS = 10
_LEAST_EXPECTED = 20.0


class Pair(NamedTuple):
    """Two experiments on the same users.

    Attributes
    ----------
    one, other : str
        Their names; ``rollout`` is the scenario's own.
    users : int
        Whose buckets were compared.
    statistic : float
        Pearson's chi-squared of the table of buckets, with `degrees` of freedom under independence.
    degrees : int
        Of freedom.
    p_value : float
        The probability of as much under independence.
    association : float
        Cramer's V: 0 where buckets are independent, 1 where they are the same.
    independent : bool
        Whether the p-value is above `FALSE_ALARM` over the number of pairs.
    """

    one: str
    other: str
    users: int
    statistic: float
    degrees: int
    p_value: float
    association: float
    independent: bool


class Leak(NamedTuple):
    """Who was in which arm of a recorded experiment.

    Attributes
    ----------
    treatment, control : int
        Users who were only there.
    into_treatment : int
        Users who went from control to treatment and stayed, as when a ramp takes users from control.
    into_control : int
        Users who went from treatment to control and stayed.
    back_and_forth : int
        Users who went more than once.
    leaked : Estimate
        Share of users who were in both arms in a way that no ramp explains: into control, or back and forth.
    """

    treatment: int
    control: int
    into_treatment: int
    into_control: int
    back_and_forth: int
    leaked: Estimate

    @property
    def isolated(self) -> bool:
        """Whether nobody leaked."""
        return self.into_control == self.back_and_forth == 0


def isolation_of(file: str, *, data: Path | None = None) -> dict[str, tuple[Pair, ...] | Leak]:
    """Return what is known of the isolation of a scenario, of each scenario of a study, or of a recording, by name.

    Raises
    ------
    FileErrors
        If a file is wrong, or is of a kind that has no experiments.
    RecordingError
        If the data cannot be read, or are not in order of time.
    """
    document = read_document(shipped_path(file))
    if "study" in document.data:
        return {setting.name: pairs_of(setting.scenario) for setting in load(file).settings}
    if "scenario" in document.data:
        scenario = read_scenario(document)
        return {scenario.scenario: pairs_of(scenario)}
    if "recording" in document.data:
        recording = read_settings(document, Recording)
        return {recording.recording: leak_of(recording, document, data=data)}
    problem = "is no scenario, study or recording, which alone have experiments"
    raise FileErrors([(document.file, document.mistake((), "kind", problem))])


def pairs_of(scenario: Scenario, *, seed: int = 0) -> tuple[Pair, ...]:
    """Return how the buckets of a scenario's rollout and other experiments hang together, pair by pair, for some of its users."""
    world = IndividualWorld(scenario, np.array([0]), seed=seed, watched=Watched(frozenset(), first_seen=False))
    people = np.empty(min(_USERS, scenario.users.count), dtype=np.uint64)
    first_people(world.keys.people, 0, people)
    salts = {"rollout": scenario.rollout.salt} | {each.name: each.rollout.salt for each in scenario.experiments}
    held = {name: _buckets(world.key("bucket"), salt, people) for name, salt in salts.items()}
    pairs = list(itertools.combinations(held, 2))
    return tuple(_pair(one, other, held[one], held[other], pairs=len(pairs)) for one, other in pairs)


def _buckets(key: np.uint64, salt: str, people: Words) -> Floats:
    out = np.empty(len(people))
    fill_uniforms(salted(key, salt), people, out)
    return out


def _pair(one: str, other: str, of_one: Floats, of_other: Floats, *, pairs: int) -> Pair:
    users = len(of_one)
    bins = int(np.clip(np.sqrt(users / _LEAST_EXPECTED), 2, _BINS))
    cells = (of_one * bins).astype(int) * bins + (of_other * bins).astype(int)
    counts = np.bincount(cells, minlength=bins * bins).reshape(bins, bins)
    # Buckets are uniform, so what is expected of each cell is known and need not be estimated from the margins.
    expected = users / bins**2
    statistic, degrees = float(((counts - expected) ** 2 / expected).sum()), bins**2 - 1
    p_value = float(chi2.sf(statistic, degrees))
    association = float(np.sqrt(min(1.0, max(0.0, statistic - degrees) / (users * (bins - 1)))))
    return Pair(one, other, users, statistic, degrees, p_value, association, p_value >= FALSE_ALARM / pairs)


def leak_of(recording: Recording, document: Document, *, data: Path | None = None) -> Leak:
    """Return who was in which arm of a recorded experiment, in memory that holds the users and one batch of rows.

    Raises
    ------
    FileErrors
        If the recording names no users or no arms.
    RecordingError
        If the data cannot be read, or are not in order of time.
    """
    missing = [key for key in ("user", "arms") if getattr(recording, key) is None]
    if missing:
        problem = "isolation is of users in arms: say the column"
        raise FileErrors([(document.file, document.mistake((), "missing-key", f"{problem} {key}")) for key in missing])
    held = _Assignments()
    for rows in read_rows(data if data is not None else document.path.parent, recording):
        held.add(rows.taken((rows.arms >= 0) & (rows.arms != OUTSIDE)), recording.source)
    return held.leak()


class _Assignments:
    """In which arm each user was first and last, and how often that changed."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._last = np.zeros(0, dtype=np.int8)
        self._changes = np.zeros(0, dtype=np.int64)
        self._latest = -(2**62)

    def add(self, rows: Rows, source: str) -> None:
        """Add rows of treatment and control, in order of time."""
        if not len(rows.times) or rows.user is None:
            return
        behind = np.diff(rows.times, prepend=self._latest) < 0
        if behind.any():
            problem = rows_told("times go backwards, and their order tells who changed arms", rows.number[behind])
            raise RecordingError(f"{source}: {problem}")
        self._latest = int(rows.times[-1])
        who = numbered(rows.user, self._numbers)
        new = len(self._numbers) - len(self._last)
        self._last = np.concatenate([self._last, np.full(new, -1, dtype=np.int8)])
        self._changes = np.concatenate([self._changes, np.zeros(new, dtype=np.int64)])
        order = np.argsort(who, kind="stable")
        who, arm = who[order], rows.arms[order]
        begins = np.diff(who, prepend=-1) != 0
        before = np.where(begins, self._last[who], np.roll(arm, 1))
        np.add.at(self._changes, who, (before >= 0) & (before != arm))
        ends = np.flatnonzero(np.diff(who, append=-1) != 0)
        self._last[who[ends]] = arm[ends]

    def leak(self) -> Leak:
        """Return what was counted."""
        stayed, once = self._changes == 0, self._changes == 1
        into_control, back_and_forth = int((once & (self._last == CONTROL)).sum()), int((self._changes > 1).sum())
        return Leak(
            treatment=int((stayed & (self._last == TREATMENT)).sum()),
            control=int((stayed & (self._last == CONTROL)).sum()),
            into_treatment=int((once & (self._last == TREATMENT)).sum()),
            into_control=into_control,
            back_and_forth=back_and_forth,
            leaked=proportion(into_control + back_and_forth, len(self._last)),
        )


def is_isolated(found: tuple[Pair, ...] | Leak) -> bool:
    """Return whether nothing speaks against isolation."""
    return found.isolated if isinstance(found, Leak) else all(pair.independent for pair in found)
