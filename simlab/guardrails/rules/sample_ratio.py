"""Sequential test of the sample ratio: whether users are assigned to the arms as planned.

Lindon & Malek, "Anytime-valid inference for multinomial count data", NeurIPS 2022: with planned shares theta and a Dirichlet
prior centred on them, the e-value of the counts n is

    E = G(A) / G(A + n) * prod_i G(a_i + n_i) / G(a_i) / prod_i theta_i^n_i,   a_i = A theta_i.

Under a ramp the planned shares change. Users are counted once, when they are first seen, among those whom the same step of the
ramp assigned: they alone are spread as planned, since a later step finds fewer of its earlier users unseen. Each planned ratio
has a mixture of its own, and the product over ratios is again an e-value, since they share no user.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Annotated, ClassVar, NamedTuple

import numpy as np
from annotated_types import Gt

from simlab.guardrails.look import Bools, Floats, Integers
from simlab.guardrails.rule import LOG_E_VALUE, Assumption, Guarantee, Observation, Step, Takes
from simlab.settings import settings
from simlab.ticks import Probability


class SampleRatioState(NamedTuple):
    """Counts under the planned ratios of now and the evidence of those before them.

    Attributes
    ----------
    treatment, control : float64[ratios, streams, lanes]
        Users first seen under each ratio.
    share : float64[ratios, streams, lanes]
        Treatment's share of the two arms; NaN before the first user.
    oldest : int64[streams, lanes]
        The ratio that makes room for the next new one.
    banked : float64[streams, lanes]
        Log e-value of the ratios before.
    """

    treatment: Floats
    control: Floats
    share: Floats
    oldest: Integers
    banked: Floats


RATIOS = 2
"""Ratios kept at once: a ramp has at most one for the steps up to one half and one for those beyond."""


def log_e_value(treatment: Floats, control: Floats, *, share: Floats, concentration: float) -> Floats:
    """Return the log e-value of two counts against a planned share (Lindon & Malek 2022, eq. 5).

    Parameters
    ----------
    treatment, control : float64[...]
        Users counted in each arm.
    share : float64[...]
        Planned share of treatment, in (0, 1).
    concentration : float
        A, the weight of the prior in users.
    """
    from scipy.special import gammaln

    a, b = concentration * share, concentration * (1 - share)
    total = treatment + control
    log_mixture = gammaln(concentration) - gammaln(concentration + total)
    log_mixture += gammaln(a + treatment) - gammaln(a) + gammaln(b + control) - gammaln(b)
    return np.asarray(log_mixture - treatment * np.log(share) - control * np.log1p(-share))


@settings
class SampleRatio:
    """Log e-value of the first assignments >= ln(1 / alpha); valid at every look.

    Parameters
    ----------
    alpha : float
        Probability of ever alarming when the shares are as planned.
    concentration : float
        Weight of the prior in users; larger finds smaller mismatches, later.

    Examples
    --------
    >>> counts = (np.array([users]) for users in (550.0, 450.0))
    >>> log_e_value(*counts, share=np.array([0.5]), concentration=100.0).round(4).tolist()
    [3.3547]
    """

    alpha: Probability = 0.01
    concentration: Annotated[float, Gt(0)] = 10_000.0

    key: ClassVar[str] = "srm"
    takes: ClassVar[Takes] = Takes.ARM_COUNTS
    paper: ClassVar[str] = "Lindon & Malek, Anytime-valid inference for multinomial count data, NeurIPS 2022"
    ladder: ClassVar[str] = "log e-value"
    evidence: ClassVar[str] = LOG_E_VALUE

    @property
    def threshold(self) -> float:
        """Log of 1 / alpha."""
        return -math.log(self.alpha)

    @property
    def guarantee(self) -> Guarantee:
        """Ville's inequality for the product of e-values."""
        claim = f"alarms with probability at most {self.alpha:g} however often it looks"
        return Guarantee(claim, (Assumption.FINAL_DATA,), exact=True)

    def with_alpha(self, alpha: float) -> SampleRatio:
        """Return the same test at the error probability `alpha`."""
        return replace(self, alpha=alpha)

    def initial(self, streams: int, lanes: int, *, every: int) -> SampleRatioState:  # noqa: ARG002
        """Return no users and no evidence."""
        shape = (streams, lanes)
        none = np.zeros((RATIOS, *shape))
        return SampleRatioState(none, none, np.full_like(none, np.nan), np.zeros(shape, dtype=np.int64), np.zeros(shape))

    def update(self, state: SampleRatioState, seen: Observation) -> Step:
        """Count the users of each part under its own shares."""
        if seen.counts is None or seen.shares is None:
            return Step(state, self._log_e(state), worse=True)
        for counts, shares in zip(seen.counts, seen.shares, strict=True):
            state = self._count(state, counts, shares)
        return Step(state, self._log_e(state), worse=True)

    def _log_e(self, state: SampleRatioState) -> Floats:
        # Before the first user there is nothing to judge, and that is not the same as users who came as planned.
        nobody = np.isnan(state.share).all(axis=0)
        return np.where(nobody, np.nan, state.banked + self._by_ratio(state).sum(axis=0))

    def _by_ratio(self, state: SampleRatioState) -> Floats:
        """Return the log e-value under each ratio, float64[ratios, streams, lanes]; 0 for one that is not in use."""
        unused = np.isnan(state.share)
        share = np.where(unused, 0.5, state.share)
        found = log_e_value(state.treatment, state.control, share=share, concentration=self.concentration)
        return np.where(unused, 0.0, found)

    def _count(self, state: SampleRatioState, counts: Floats, shares: Floats) -> SampleRatioState:
        with np.errstate(invalid="ignore"):
            share = shares[0] / (shares[0] + shares[1])
        # Without both arms there is no ratio to test; users seen then are nobody's evidence.
        usable = (counts.sum(axis=0) > 0) & (share > 0) & (share < 1)
        # Steps of the same planned ratio differ by rounding only, and share one mixture.
        same = np.abs(state.share - share) <= 1e-9
        new = usable & ~same.any(axis=0)
        place = np.where(new, state.oldest, same.argmax(axis=0))
        here = (np.arange(RATIOS)[:, None, None] == place) & usable
        state = self._begun(state, here & new, share) if new.any() else state
        return state._replace(
            treatment=state.treatment + np.where(here, counts[0], 0.0),
            control=state.control + np.where(here, counts[1], 0.0),
        )

    def _begun(self, state: SampleRatioState, begun: Bools, share: Floats) -> SampleRatioState:
        """Return the state with a new ratio in some places [ratios, streams, lanes], the evidence of the old one banked."""
        return SampleRatioState(
            np.where(begun, 0.0, state.treatment),
            np.where(begun, 0.0, state.control),
            np.where(begun, share, state.share),
            (state.oldest + begun.any(axis=0)) % RATIOS,
            state.banked + np.where(begun, self._by_ratio(state), 0.0).sum(axis=0),
        )
