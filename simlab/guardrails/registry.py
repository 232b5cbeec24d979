"""The catalogue of rules by their names in files; other packages add theirs by entry point.

An installed package offers rules under the entry-point group ``simlab.rules``, the entry's name being the rule's key and its
value a class that follows `simlab.guardrails.rule.Rule`.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import entry_points

from simlab.errors import RuleError
from simlab.guardrails.rule import Rule
from simlab.guardrails.rules.adwin import Adwin
from simlab.guardrails.rules.asymptotic import AsymptoticCs
from simlab.guardrails.rules.baselines import Never, Random
from simlab.guardrails.rules.betting import Betting
from simlab.guardrails.rules.bocpd import Bocpd
from simlab.guardrails.rules.burn_rate import BurnRate
from simlab.guardrails.rules.canary_counts import CanaryCounts
from simlab.guardrails.rules.cusum import Cusum
from simlab.guardrails.rules.e_detectors import ECusum, ESr
from simlab.guardrails.rules.ewma import Ewma
from simlab.guardrails.rules.fixed_horizon import FixedHorizon
from simlab.guardrails.rules.focus import Focus
from simlab.guardrails.rules.glr import Glr
from simlab.guardrails.rules.group_sequential import HaybittlePeto, OBrienFleming, Pocock
from simlab.guardrails.rules.heartbeat import Heartbeat
from simlab.guardrails.rules.hotelling import Hotelling
from simlab.guardrails.rules.kswin import Kswin
from simlab.guardrails.rules.limits import Above, Below
from simlab.guardrails.rules.mewma import Mewma
from simlab.guardrails.rules.mixture import MixtureSprt, NormalMixture
from simlab.guardrails.rules.page_hinkley import PageHinkley
from simlab.guardrails.rules.repeated_z import RepeatedZ
from simlab.guardrails.rules.sample_ratio import SampleRatio
from simlab.guardrails.rules.seasonal import Seasonal
from simlab.guardrails.rules.shewhart import Shewhart
from simlab.guardrails.rules.shiryaev_roberts import ShiryaevRoberts
from simlab.guardrails.rules.spending import HwangShihDeCani, KimDeMets, LanDeMets
from simlab.guardrails.rules.sprt import Sprt
from simlab.guardrails.rules.srm_chi2 import SampleRatioChi2
from simlab.settings import readable

_OWN: tuple[type[Rule], ...] = (
    Never,
    Random,
    RepeatedZ,
    FixedHorizon,
    Pocock,
    OBrienFleming,
    HaybittlePeto,
    LanDeMets,
    HwangShihDeCani,
    KimDeMets,
    Sprt,
    MixtureSprt,
    NormalMixture,
    AsymptoticCs,
    Betting,
    CanaryCounts,
    Cusum,
    Ewma,
    Shewhart,
    ShiryaevRoberts,
    PageHinkley,
    Glr,
    Focus,
    Bocpd,
    ESr,
    ECusum,
    Adwin,
    Kswin,
    Above,
    Below,
    BurnRate,
    Seasonal,
    SampleRatioChi2,
    SampleRatio,
    Heartbeat,
    Hotelling,
    Mewma,
)
GROUP = "simlab.rules"


@cache
def rules() -> dict[str, type[Rule]]:
    """Return every rule by its key, our own first.

    Raises
    ------
    RuleError
        If an installed package's rule cannot be loaded, or takes a name that is taken.
    """
    found = {rule.key: rule for rule in _OWN}
    for entry in entry_points(group=GROUP):
        if entry.name in {*found, "own"}:
            raise RuleError(f"two rules are called {entry.name!r}; the second is {entry.value}")
        try:
            found[entry.name] = readable(entry.load())
        except Exception as error:
            raise RuleError(f"the rule {entry.name!r} ({entry.value}) cannot be loaded: {error}") from error
    return found
