"""Every rule of the catalogue at settings that act within a dozen looks, and a witness for each exemption from a claim."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from simlab.guardrails.rule import Takes
from simlab.testing import Case, Claim, Lens, case

SHARE = Lens(takes=Takes.LEVEL, center=0.5, spread=0.1, low=0.0, high=1.0)
LEVEL = Lens(takes=Takes.LEVEL)
FALLING = Lens(takes=Takes.LEVEL, spread=-1.0)


@dataclass(frozen=True)
class Example:
    """A rule as a study says it, and the lens through which it is shown streams."""

    rule: Mapping[str, Any]
    lens: Lens | None = None

    @property
    def key(self) -> str:
        return next(iter(self.rule))

    def __str__(self) -> str:
        settings = ",".join(f"{name}={value}" for name, value in self.rule[self.key].items())
        return f"{self.key}({settings})"


EXAMPLES = (
    Example({"never": {}}),
    Example({"random": {"rate": "20%"}}),
    Example({"repeated_z": {}}),
    Example({"repeated_z": {"sides": 1}}),
    Example({"fixed_horizon": {"looks": 4}}),
    Example({"pocock": {"looks": 5}}),
    Example({"obrien_fleming": {"looks": 5, "sides": 1}}),
    Example({"haybittle_peto": {"looks": 5}}),
    Example({"lan_demets": {"looks": 5, "sides": 1}}),
    Example({"hwang_shih_decani": {"looks": 5}}),
    Example({"kim_demets": {"looks": 5, "sides": 1}}),
    Example({"sprt": {}}),
    Example({"msprt": {}}),
    Example({"normal_mixture": {}}),
    Example({"normal_mixture": {"sides": 1}}),
    Example({"asymptotic_cs": {"start": 3}}),
    Example({"betting": {"m": "50%"}}, SHARE),
    Example({"canary_counts": {}}),
    Example({"canary_counts": {"sides": 2}}),
    Example({"cusum": {}}),
    Example({"cusum": {"sides": 2, "head_start": 2}}),
    Example({"ewma": {}}),
    Example({"ewma": {"sides": 1, "exact_limits": True}}),
    Example({"shewhart": {}}),
    Example({"shiryaev_roberts": {}}),
    Example({"page_hinkley": {"min_looks": 3}}),
    Example({"glr": {"window": 6}}),
    Example({"glr": {"window": 6, "sides": 1}}),
    Example({"focus": {}}),
    Example({"focus": {"sides": 1}}),
    Example({"bocpd": {"w": 3, "longest": 8}}),
    Example({"e_sr": {}}),
    Example({"e_sr": {"p0": "50%", "p1": "60%", "alpha": "20%"}}, SHARE),
    Example({"e_cusum": {}}),
    Example({"above": {"limit": 2, "for": "2m"}}, LEVEL),
    Example({"below": {"limit": -2, "for": "2m"}}, FALLING),
    Example({"burn_rate": {"slo": "97%", "burn": 1, "long": "6m", "short": "2m"}}),
    Example({"seasonal": {"period": "3m", "phase": "1m", "periods": 2}}, LEVEL),
    Example({"heartbeat": {}}),
    Example({"hotelling": {}}),
    Example({"mewma": {}}),
    Example({"adwin": {"clock": 1, "grace_period": 1, "min_window_length": 1, "delta": 0.5}}, LEVEL),
    Example({"kswin": {"alpha": 0.2, "window_size": 6, "stat_size": 3}}, LEVEL),
    Example({"srm_chi2": {}}),
    Example({"srm": {"concentration": 200}}),
)

UP, DOWN = 8.0, -8.0
NOISE = (0.5, -0.5, 0.25, -0.25, 1.0, -1.0)

# Cases on which a property fails for rules that are exempt from it; each exemption needs one of those that stand under its claim.
WITNESSES: dict[Claim, tuple[Case, ...]] = {
    Claim.STICKY: (
        case((*NOISE[:3], UP, *[DOWN] * 20)),
        case((*[UP] * 3, *[DOWN] * 40)),
        case((UP, *[0.0] * 40)),
        # A pattern with a period of three looks, one look far off, and back to it.
        case((1.0, 2.0, 3.0, 1.5, 2.5, 3.5, 1e6, 2.0, 3.0)),
        # Four looks missed, then all of them there.
        case((0.0, *[UP] * 4, *[0.0] * 9)),
        case((*[UP] * 12, *[DOWN] * 60)),
        case([0.0] * 12),
    ),
    Claim.MONOTONE_IN_HARM: (
        # An alarm on an improvement, which harm takes back.
        case([DOWN] * 6, others=[[8.0] * 6]),
        case([DOWN] * 12, others=[[8.0] * 12]),
        # Harm at the start that is taken for the usual level, so that the later rise is none.
        case((*[0.0] * 6, *[9.0] * 6), others=[(*[9.0] * 6, *[0.0] * 6)]),
        case((*[0.0] * 6, 0.25, *[9.0] * 6), others=[(*[9.0] * 7, *[0.0] * 6)]),
        case((0.5, 1.0, 0.75, 1.25, 0.5, 1.0), others=[(0.0, 0.0, 0.0, 0.0, 0.0, 1000.0)]),
        # What the bets of a bettor are made from: harm that varies makes it bet less.
        case(
            (0.0, -4.0, 5.0, 1.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0),
            others=[(6.0, 0.0, 7.0, *[0.0] * 9)],
        ),
        # A pattern with a period of three looks, learnt with the harm in it.
        case((1.0, 2.0, 3.0, 1.5, 2.5, 3.5, 1e6), others=[(1e6, *[0.0] * 6)]),
    ),
    Claim.MISSING_IS_UNKNOWN: (case((0.0, 0.0, 0.0), cut=1), case((0.0, 0.0, 0.0), cut=3)),
    Claim.IDLE_CHANGES_NOTHING: (
        case((UP, 0.0, 0.0, 0.0), cut=2),
        case((0.0,) * 8, cut=4),
        case((UP, UP, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0), cut=3),
        case((1.0, 2.0, 3.0, 1.5, 2.5, 3.5, 1.0, 2.0, 3.0), cut=7),
    ),
    Claim.LABELS: (case([0.0] * 8),),
    Claim.UNITS: (
        case([look / 4 for look in range(12)]),
        case((9.0,) * 4),
        case((1.0, 1.0, 1.0, 1.0, 1.0)),
        case((UP,) * 12),
        case((1.5,) * 12),
    ),
    Claim.ON_TIME: (case((0.0, 0.0, 0.0), (0.0, 0.0, 0.0)),),
}
