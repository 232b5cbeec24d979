"""What each rule claims: some properties hold for every rule, others only where they are claimed.

A rule of the catalogue either holds a property or is exempt for a reason that is written here; every exemption has a witness in
the tests, a stream on which the property fails. A rule of one's own claims what holds for all and whatever else it is said to.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from simlab.guardrails.own_rules import OwnRule
from simlab.guardrails.rule import Rule


class Claim(Enum):
    """A property that a rule may claim; the words are those of reports."""

    NO_LOOK_AHEAD = "no look-ahead"
    BATCH_EQUALS_LOOP = "batch equals loop"
    LANES_APART = "lanes do not interact"
    DETERMINISTIC = "deterministic"
    STATE_KEPT = "state not mutated"
    RESTARTS = "survives a restart in the middle"
    AT_THRESHOLD = "alarms at the threshold itself"
    MISSING_IS_UNKNOWN = "missing data is neither alarm nor all-clear"
    IDLE_CHANGES_NOTHING = "idle looks change nothing"
    MINIMUM_SAMPLE = "no alarm before the minimum sample"
    ON_TIME = "alarms with the look that shows overwhelming harm"
    MONOTONE_IN_THRESHOLD = "monotone in threshold"
    MONOTONE_IN_HARM = "monotone in harm"
    UNITS = "unit invariance"
    LABELS = "label invariance"
    STICKY = "sticky decision"


FOR_ALL = frozenset(
    {
        Claim.NO_LOOK_AHEAD,
        Claim.BATCH_EQUALS_LOOP,
        Claim.LANES_APART,
        Claim.DETERMINISTIC,
        Claim.STATE_KEPT,
        Claim.RESTARTS,
        Claim.AT_THRESHOLD,
    }
)
"""What no rule may be exempt from."""

Placed = Callable[[float], Any]
"""From a strictness to the same rule with its threshold there: a larger number alarms no sooner."""


@dataclass(frozen=True)
class Claims:
    """What one rule claims.

    Attributes
    ----------
    held : frozenset of Claim
        Its properties.
    exempt : mapping of Claim to str
        Why it does not claim the others.
    minimum_looks : int
        The first look at which it can alarm.
    placed : callable, optional
        The same rule at another strictness, which `MONOTONE_IN_THRESHOLD` needs.
    exact : bool
        Whether a strictness is the threshold itself, to the bit.
    levels : (float, float)
        Two strictnesses to compare, the laxer first.
    rescaled : callable, optional
        The same rule for values in a unit that makes them this many times as large; None where it has no unit of its own.
    """

    held: frozenset[Claim]
    exempt: Mapping[Claim, str] = field(default_factory=dict)
    minimum_looks: int = 1
    placed: Placed | None = None
    exact: bool = False
    levels: tuple[float, float] = (1.0, 2.0)
    rescaled: Callable[[float], Any] | None = None


def own_claims(
    also: Iterable[Claim] = (), *, minimum_looks: int = 1, placed: Placed | None = None, levels: tuple[float, float] = (1.0, 2.0)
) -> Claims:
    """Return the claims of a rule of one's own: what holds for all, what follows from the other arguments, and `also`."""
    held = FOR_ALL | {Claim.MISSING_IS_UNKNOWN, *also}
    held |= {Claim.MINIMUM_SAMPLE} if minimum_looks > 1 else set()
    held |= {Claim.MONOTONE_IN_THRESHOLD} if placed is not None else set()
    return Claims(held, minimum_looks=minimum_looks, placed=placed, levels=levels)


def claims_of(rule: Rule) -> Claims:
    """Return the claims of a rule: the catalogue's entry, or for a rule that is not in it what holds for all."""
    entry = _CATALOGUE.get(rule.key)
    if isinstance(rule, OwnRule):
        # Its code is not told the threshold.
        return replace(own_claims(placed=_by(rule, "threshold"), levels=_levels(rule)), exact=True)
    if entry is None:
        return own_claims()
    claims = entry(rule)
    lax, strict = _levels(rule)
    return replace(claims, levels=(lax, strict))


def listed() -> frozenset[str]:
    """Return the keys of the rules that have an entry."""
    return frozenset(_CATALOGUE)


def _levels(rule: Any) -> tuple[float, float]:
    """Return two strictnesses about the rule's own."""
    error = getattr(rule, "alpha", getattr(rule, "delta", None) if rule.key == "adwin" else None)
    own = rule.threshold if error is None else -math.log(error)
    apart = 0.25 * max(1.0, abs(own)) if math.isfinite(own) else 0.0
    return own - apart, own + apart


# -- the catalogue -------------------------------------------------------------------------------------------------------

_Entry = Callable[[Any], Claims]

_FALLS = {Claim.STICKY: "its statistic may fall below the threshold again"}
_TWO_SIDED = {Claim.MONOTONE_IN_HARM: "it alarms on an improvement too, which harm takes back"}
_LEARNS = {Claim.MONOTONE_IN_HARM: "what it learns from the harm makes it expect the harm"}
_COUNTS = {Claim.UNITS: "counts have no unit: four times as many users are four times the evidence"}
_BOUNDED = {Claim.UNITS: "values are shares between 0 and 1"}
_SLOW = {Claim.ON_TIME: "one look can add only so much evidence"}
_FIRST_SEEN = {Claim.MISSING_IS_UNKNOWN: "users are first seen once, so a look without new ones is as good as another"}
_BY_TIME = {Claim.IDLE_CHANGES_NOTHING: "its windows and phases are of time, which idle looks let pass"}
_NO_SPREAD = {Claim.ON_TIME: "until levels have differed it knows no spread"}
_SCALE = {Claim.UNITS: "its bound is for values between 0 and 1"}
_CHANGES = {Claim.ON_TIME: "it compares two parts of a window, and one look is no part"}
_NOTHING = {Claim.MISSING_IS_UNKNOWN: "it takes no data, so an idle look is as good as another"}


def _claims(
    *exemptions: Mapping[Claim, str],
    minimum: int = 1,
    placed: Placed | None = None,
    exact: Placed | None = None,
    rescaled: Callable[[float], Any] | None = None,
) -> Claims:
    exempt = {claim: reason for each in exemptions for claim, reason in each.items()}
    held = frozenset(Claim) - exempt.keys()
    return Claims(held, exempt, minimum, exact or placed, exact is not None, rescaled=rescaled)


def _sided(rule: Any) -> Mapping[Claim, str]:
    """Return the exemption of a rule that is monotone in harm with one side only."""
    return _TWO_SIDED if rule.sides == 2 else {}


def _by(rule: Any, name: str) -> Placed:
    """Place the threshold by the setting that is the threshold itself."""
    return lambda strictness: replace(rule, **{name: strictness})


def _by_alpha(rule: Any) -> Placed:
    """Place the threshold by the error probability, strictness being -log alpha."""
    return lambda strictness: rule.with_alpha(math.exp(-strictness))


def _looks_for(rule: Any) -> int:
    """Return the looks in a row that a limit with a time wants, one a minute."""
    return int(-(-rule.for_ // 60_000)) + 1


def _of_e_detector(rule: Any) -> Claims:
    def placed(strictness: float) -> Any:
        return replace(rule, alpha=math.exp(-strictness))

    return _claims(_FALLS, {} if rule.p0 is None else {**_BOUNDED, **_SLOW}, placed=placed)


def _of_planned(rule: Any) -> Claims:
    return _claims(_FALLS, _sided(rule), placed=_by_alpha(rule))


def _of_limit(rule: Any, sign: int) -> Claims:
    return _claims(
        _FALLS,
        minimum=_looks_for(rule),
        exact=lambda strictness: replace(rule, limit=sign * strictness),
        rescaled=lambda factor: replace(rule, limit=rule.limit * factor),
    )


_CATALOGUE: dict[str, _Entry] = {
    "never": lambda rule: _claims(_NOTHING, {Claim.ON_TIME: "it never alarms"}, placed=lambda _: rule),
    "random": lambda rule: _claims(
        _NOTHING,
        _FALLS,
        {
            Claim.IDLE_CHANGES_NOTHING: "it draws by the tick, and idle looks move the ticks",
            Claim.LABELS: "its numbers are keyed by the lane's",
            Claim.ON_TIME: "it does not look at data",
        },
        placed=lambda strictness: replace(rule, rate=min(1.0, max(0.0, 1.0 - strictness))),
    ),
    "repeated_z": lambda rule: _claims(_FALLS, _sided(rule), placed=_by_alpha(rule)),
    "fixed_horizon": lambda rule: _claims(_sided(rule), minimum=rule.looks, placed=_by_alpha(rule)),
    "pocock": _of_planned,
    "obrien_fleming": _of_planned,
    "haybittle_peto": _of_planned,
    "lan_demets": _of_planned,
    "hwang_shih_decani": _of_planned,
    "kim_demets": _of_planned,
    "sprt": lambda rule: _claims(_FALLS, placed=_by_alpha(rule)),
    "msprt": lambda rule: _claims(_FALLS, _TWO_SIDED, placed=_by_alpha(rule)),
    "normal_mixture": lambda rule: _claims(_FALLS, _sided(rule), placed=_by_alpha(rule)),
    "asymptotic_cs": lambda rule: _claims(
        _FALLS,
        _LEARNS,
        {Claim.ON_TIME: "an overwhelming look widens the spread that it is measured by"},
        minimum=rule.start,
        placed=_by_alpha(rule),
    ),
    "betting": lambda rule: _claims(_FALLS, _LEARNS, _BOUNDED, _SLOW, placed=_by_alpha(rule)),
    "canary_counts": lambda rule: _claims(_FALLS, _sided(rule), _COUNTS, placed=_by_alpha(rule)),
    "cusum": lambda rule: _claims(_FALLS, _sided(rule), exact=_by(rule, "h")),
    "ewma": lambda rule: _claims(_FALLS, _sided(rule), exact=_by(rule, "L")),
    "shewhart": lambda rule: _claims(_FALLS, _sided(rule), exact=_by(rule, "sigmas")),
    "shiryaev_roberts": lambda rule: _claims(_FALLS, placed=lambda strictness: replace(rule, A=math.exp(strictness))),
    "page_hinkley": lambda rule: _claims(_FALLS, _LEARNS, minimum=rule.min_looks, exact=_by(rule, "lambda_")),
    "glr": lambda rule: _claims(_FALLS, _sided(rule), exact=_by(rule, "threshold")),
    "focus": lambda rule: _claims(_FALLS, _sided(rule), exact=_by(rule, "threshold")),
    # At the first look the one run there is began with the stream, and is no change.
    "bocpd": lambda rule: _claims(_FALLS, _TWO_SIDED, minimum=2, exact=_by(rule, "threshold")),
    "e_sr": _of_e_detector,
    "e_cusum": _of_e_detector,
    "above": lambda rule: _of_limit(rule, 1),
    "below": lambda rule: _of_limit(rule, -1),
    "burn_rate": lambda rule: _claims(_FALLS, _BY_TIME, exact=_by(rule, "burn")),
    "seasonal": lambda rule: _claims(_FALLS, _LEARNS, _BY_TIME, _NO_SPREAD, exact=_by(rule, "threshold")),
    "heartbeat": lambda rule: _claims(
        _FALLS,
        {
            Claim.MISSING_IS_UNKNOWN: "what is missing is what it counts",
            Claim.IDLE_CHANGES_NOTHING: "an idle look is one more missed",
        },
        minimum=math.ceil(rule.h / (1.0 - rule.k)),
        exact=_by(rule, "h"),
    ),
    "hotelling": lambda rule: _claims(_FALLS, _TWO_SIDED, placed=lambda strictness: replace(rule, alpha=math.exp(-strictness))),
    "mewma": lambda rule: _claims(_FALLS, _TWO_SIDED, exact=_by(rule, "h")),
    "adwin": lambda rule: _claims(
        _FALLS, _LEARNS, _CHANGES, _SCALE, placed=lambda strictness: replace(rule, delta=math.exp(-strictness))
    ),
    "kswin": lambda rule: _claims(
        _FALLS, _LEARNS, _CHANGES, placed=lambda strictness: replace(rule, alpha=math.exp(-strictness))
    ),
    "srm_chi2": lambda rule: _claims(_FALLS, _TWO_SIDED, _COUNTS, _FIRST_SEEN, placed=_by_alpha(rule)),
    "srm": lambda rule: _claims(_FALLS, _TWO_SIDED, _COUNTS, _FIRST_SEEN, _SLOW, placed=_by_alpha(rule)),
}
