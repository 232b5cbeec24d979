"""Group-sequential tests by error spending: how much of the error may be used by each fraction of the information.

Lan & DeMets, Biometrika 70 (1983); Kim & DeMets, Biometrika 74 (1987); Hwang, Shih & DeCani, Stat. Med. 9 (1990). A spending
function gives the error a(t) spent by the information fraction t; the critical value at each look is the one that spends
a(t_k) - a(t_(k-1)) there, by recursive integration.

A rule's boundary holds for the information that is planned: equal steps, or as listed. Where the information comes otherwise
the claim is void; `boundaries` gives the critical values for any information fractions. Ladder coordinate and the time after
the last look are as for all planned looks.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Annotated, ClassVar, Literal

import numpy as np
from annotated_types import Ge, Gt, Le
from numpy.typing import ArrayLike

from simlab.errors import UnitError
from simlab.guardrails.boundaries import group_sequential_bounds
from simlab.guardrails.look import Floats
from simlab.guardrails.rule import Guarantee
from simlab.guardrails.rules.group_sequential import Z_TESTS, PlannedLooks
from simlab.settings import settings


@settings
class Spending(PlannedLooks):
    """What all spending rules share.

    Parameters
    ----------
    information : tuple of float
        Planned information at each look, increasing, in any unit; equal steps if empty.
    """

    information: tuple[Annotated[float, Gt(0)], ...] = ()

    def __post_init__(self) -> None:
        """Refuse information that does not fit the looks."""
        if self.information and len(self.information) != self.looks:
            raise UnitError(f"information has {len(self.information)} numbers for {self.looks} looks")
        if any(later <= earlier for earlier, later in zip(self.information, self.information[1:], strict=False)):
            raise UnitError(f"information {list(self.information)} does not increase from look to look")

    @property
    def guarantee(self) -> Guarantee:
        """The error spent over all planned looks, at the planned information."""
        usual = super().guarantee
        if not self.information:
            return usual
        return Guarantee(f"{usual.claim}, if they bring the information that is listed", Z_TESTS, exact=False)

    @abstractmethod
    def spent(self, fractions: ArrayLike) -> Floats:
        """Return the error spent by each information fraction, all sides together; at 1 and beyond, all of it."""

    def boundaries(self, fractions: ArrayLike) -> Floats:
        """Return the critical values of |Z| at looks of any information fractions, 1 being the planned maximum.

        Parameters
        ----------
        fractions : float64[looks]
            Increasing.

        Raises
        ------
        ValueError
            If they do not increase, by a millionth at least.
        """
        return group_sequential_bounds(fractions, self.spent(fractions), sides=self.sides)

    def critical_values(self) -> Floats:
        """Return the critical values for the planned information."""
        planned = np.asarray(self.information or range(1, self.looks + 1), dtype=float)
        return self.boundaries(planned / planned[-1])


def _fraction(fractions: ArrayLike) -> Floats:
    return np.asarray(np.minimum(np.asarray(fractions, dtype=float), 1.0))


@settings
class LanDeMets(Spending):
    """Spend the error as O'Brien & Fleming's or Pocock's test would, whatever the number of looks.

    a(t) = 2 [1 - Phi(z_(a/2) / sqrt t)] or a ln(1 + (e - 1) t); independent looks of known variance.

    Parameters
    ----------
    alpha : float
        Probability of ever alarming when all is well, both sides together where `sides` is 2.
    looks : int
        Planned number of looks, K.
    sides : {1, 2}
        1 alarms on harm only; 2 also on an improvement.
    information : tuple of float
        Planned information at each look, increasing, in any unit; equal steps if empty.
    spending : {"obrien_fleming", "pocock"}
        Which of the two functions.
    per_side : bool
        For two sides: a in the formula is alpha / 2 and each side spends a(t). False: a is alpha, and both spend a(t) together.
        The Pocock type is the same either way.

    Examples
    --------
    >>> rule = LanDeMets(looks=5)
    >>> rule.critical_values().round(5).tolist()
    [4.87688, 3.35701, 2.68028, 2.28982, 2.03103]
    >>> LanDeMets(looks=5, per_side=False).critical_values().round(5).tolist()
    [4.38261, 3.09973, 2.55335, 2.25385, 2.0635]
    >>> rule.boundaries([0.1, 0.5, 1.2]).round(4).tolist()
    [6.9914, 2.9626, 1.9715]
    """

    spending: Literal["obrien_fleming", "pocock"] = "obrien_fleming"
    per_side: bool = True

    key: ClassVar[str] = "lan_demets"
    paper: ClassVar[str] = "Lan & DeMets, Discrete sequential boundaries for clinical trials, Biometrika 1983"

    def spent(self, fractions: ArrayLike) -> Floats:
        """Return the error spent by each information fraction, all sides together."""
        from scipy.special import ndtr, ndtri

        fraction = _fraction(fractions)
        if self.spending == "pocock":
            return np.asarray(self.alpha * np.log1p((math.e - 1) * fraction))
        parts = self.sides if self.per_side else 1
        return np.asarray(parts * 2 * ndtr(ndtri(self.alpha / parts / 2) / np.sqrt(fraction)))


@settings
class HwangShihDeCani(Spending):
    """Spend a(t) = alpha (1 - e^(-gamma t)) / (1 - e^(-gamma)); alpha t at gamma = 0.

    Negative gamma spends late, -4 much as O'Brien & Fleming; 1 as Pocock. Independent looks of known variance.

    Parameters
    ----------
    alpha : float
        Probability of ever alarming when all is well, both sides together where `sides` is 2; each side spends half.
    looks : int
        Planned number of looks, K.
    sides : {1, 2}
        1 alarms on harm only; 2 also on an improvement.
    information : tuple of float
        Planned information at each look, increasing, in any unit; equal steps if empty.
    gamma : float
        From -40 to 40.

    Examples
    --------
    >>> HwangShihDeCani(looks=3, gamma=-4).critical_values().round(4).tolist()
    [3.0107, 2.5465, 1.9992]
    """

    gamma: Annotated[float, Ge(-40), Le(40)] = -4.0

    key: ClassVar[str] = "hwang_shih_decani"
    paper: ClassVar[str] = (
        "Hwang, Shih & DeCani, Group sequential designs using a family of type I error probability spending functions, "
        "Stat. Med. 1990"
    )

    def spent(self, fractions: ArrayLike) -> Floats:
        """Return the error spent by each information fraction, all sides together."""
        fraction = _fraction(fractions)
        if self.gamma == 0:
            return np.asarray(self.alpha * fraction)
        return np.asarray(self.alpha * np.expm1(-self.gamma * fraction) / math.expm1(-self.gamma))


@settings
class KimDeMets(Spending):
    """Spend a(t) = alpha t^rho.

    rho = 1 spends evenly and is near Pocock, 3 is near O'Brien & Fleming. Independent looks of known variance.

    Parameters
    ----------
    alpha : float
        Probability of ever alarming when all is well, both sides together where `sides` is 2; each side spends half.
    looks : int
        Planned number of looks, K.
    sides : {1, 2}
        1 alarms on harm only; 2 also on an improvement.
    information : tuple of float
        Planned information at each look, increasing, in any unit; equal steps if empty.
    rho : float
        Larger spends later.

    Examples
    --------
    >>> KimDeMets(looks=2, rho=1).critical_values().round(4).tolist()
    [2.2414, 2.1251]
    """

    rho: Annotated[float, Gt(0)] = 3.0

    key: ClassVar[str] = "kim_demets"
    paper: ClassVar[str] = (
        "Kim & DeMets, Design and analysis of group sequential tests based on the type I error spending rate function, "
        "Biometrika 1987"
    )

    def spent(self, fractions: ArrayLike) -> Floats:
        """Return the error spent by each information fraction, all sides together."""
        return np.asarray(self.alpha * _fraction(fractions) ** self.rho)
