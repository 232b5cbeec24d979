"""What a tuning is asked, and what it finds."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from simlab.errors import EXIT_INCONCLUSIVE
from simlab.guardrails.look import Floats
from simlab.measures.estimates import Estimate
from simlab.results import Result, plain
from simlab.runner import Options
from simlab.yaml_nodes import DataPath

Values = Mapping[DataPath, float | str]


@dataclass(frozen=True)
class Prices:
    """What harm and false stops cost, in any one currency.

    Attributes
    ----------
    user : float
        A harmed user.
    false_stop : float
        A harmless rollout that is stopped or paged for.
    harmful : float
        Share of rollouts that are harmful.
    """

    user: float
    false_stop: float
    harmful: float

    def cost(self, users_harmed: Floats, false_alarms: Floats) -> Floats:
        """Return the expected cost of a rollout, float64[lanes], from what either came to on each lane."""
        return self.harmful * self.user * users_harmed + (1 - self.harmful) * self.false_stop * false_alarms


@dataclass(frozen=True)
class TuneOptions:
    """What is asked of a tuning.

    Attributes
    ----------
    budget : float, optional
        Largest probability of a false alarm by the horizon; that of the study's gate if not given.
    confidence : float
        With which the budget is kept in all scenarios together.
    lanes : int, optional
        In each of the sets A and B; the study's ``lanes.start`` if not given.
    policies : tuple of str
        Which to tune; all that are not for reference if empty.
    tries : tuple of str
        ``policies.NAME.path=[value, ...]``: settings to choose from.
    run : Options
        Workers, blocks, progress; `kept` is for lanes C.
    likely : mapping of str to float
        How likely each scenario's harm is, by scenario; those left out are as good as never. What is compared is then the mean
        harm; without it, that of the worst scenario.
    prices : Prices, optional
        Choose the budget too, from the multiples of the frontier: the one with the least expected cost.
    """

    budget: float | None = None
    confidence: float = 0.95
    lanes: int | None = None
    policies: tuple[str, ...] = ()
    tries: tuple[str, ...] = ()
    run: Options = field(default_factory=Options)
    likely: Mapping[str, float] = field(default_factory=dict)
    prices: Prices | None = None


DEFAULTS = TuneOptions()
"""What is asked if nothing else is said."""


@dataclass(frozen=True)
class Change:
    """One value of the study's file, old and new.

    Attributes
    ----------
    path : tuple of str and int
        Where it stands.
    old : float, str or None
        None where the file does not say it.
    new : float or str
        As the file is to hold it.
    """

    path: DataPath
    old: float | str | None
    new: float | str


@dataclass(frozen=True)
class PricedBudget:
    """What a budget comes to at the prices given.

    Attributes
    ----------
    budget : float
        Of false alarms.
    cost : Estimate
        Expected, of a rollout, on lanes A.
    """

    budget: float
    cost: Estimate


@dataclass(frozen=True)
class TunedPolicy:
    """What tuning found for one policy.

    Attributes
    ----------
    policy : str
        Its name.
    reason : str
        Why it was not tuned; empty if it was.
    changes : tuple of Change
        What is to be changed.
    tried : int
        Combinations of settings that were compared on lanes A.
    false_alarms : dict of str to Estimate
        By scenario: on lanes B at the new settings, with the upper bound that was asked for and the lower at 0.
    budget : float
        That was kept: as asked for, or the cheapest where prices were given.
    priced : tuple of PricedBudget
        The budgets among which it is the cheapest, from the least up; empty without prices.
    today : str
        Name under which its settings of today are run beside the new ones; empty where nothing is changed.
    """

    policy: str
    reason: str
    changes: tuple[Change, ...] = ()
    tried: int = 1
    false_alarms: Mapping[str, Estimate] = field(default_factory=dict)
    budget: float = math.nan
    priced: tuple[PricedBudget, ...] = ()
    today: str = ""


@dataclass(frozen=True)
class FrontierPoint:
    """A policy at one threshold, on lanes C.

    Attributes
    ----------
    scenario, policy : str
        Names.
    kind : str
        ``today``, ``chosen`` or ``other``.
    false_alarms, users_harmed : Estimate
        Of harmless rollouts, and the mean over all lanes.
    """

    scenario: str
    policy: str
    kind: str
    false_alarms: Estimate
    users_harmed: Estimate


@dataclass(frozen=True)
class TuneResult:
    """What a tuning found.

    Attributes
    ----------
    budget, confidence : float
        As asked for.
    lanes : int
        In each of the sets A and B.
    policies : tuple of TunedPolicy
        In the order of the study.
    frontier : tuple of FrontierPoint
        Of every tuned policy in every scenario.
    result : Result
        Of today's and the new settings on lanes C.
    """

    budget: float
    confidence: float
    lanes: int
    policies: tuple[TunedPolicy, ...]
    frontier: tuple[FrontierPoint, ...]
    result: Result

    @property
    def values(self) -> dict[DataPath, float | str]:
        """What the study's file is to hold."""
        return {change.path: change.new for policy in self.policies for change in policy.changes}

    @property
    def exit_code(self) -> int:
        """That of the gates at the new settings; inconclusive where no policy could be tuned."""
        return self.result.exit_code if any(not policy.reason for policy in self.policies) else EXIT_INCONCLUSIVE

    def to_dict(self) -> dict[str, Any]:
        """Return what ``tune.json`` holds."""
        own = {name: getattr(self, name) for name in ("budget", "confidence", "lanes", "policies", "frontier")}
        found: dict[str, Any] = plain({"schema": 1, **own, "result": self.result.to_dict()})
        return found

    def to_json(self) -> str:
        """Return `to_dict` as JSON text."""
        return json.dumps(self.to_dict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
