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

from simlab.compiled import compiled, elementwise
from simlab.guardrails.look import Floats, Integers
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
    evidence : float64[ratios, streams, lanes]
        Log e-value under each ratio.
    oldest : int64[streams, lanes]
        The ratio that makes room for the next new one.
    banked : float64[streams, lanes]
        Log e-value of the ratios before.
    """

    treatment: Floats
    control: Floats
    share: Floats
    evidence: Floats
    oldest: Integers
    banked: Floats


_NOTHING = 1e-300  # what no share is divided by

RATIOS = 2
"""Ratios kept at once: a ramp has at most one for the steps up to one half and one for those beyond."""


class _Planned(NamedTuple):
    """What a log e-value needs of a planned share: the prior's part and the logs of both shares."""

    share: float
    prior: float
    log_treated: float
    log_others: float


@compiled
def _planned(share: float, concentration: float) -> _Planned:
    prior = math.lgamma(concentration) - math.lgamma(concentration * share) - math.lgamma(concentration * (1.0 - share))
    return _Planned(share, prior, math.log(share), math.log1p(-share))


@compiled
def _log_e(treatment: float, control: float, planned: _Planned, concentration: float) -> float:
    log_mixture = planned.prior - math.lgamma(concentration + (treatment + control))
    log_mixture += math.lgamma(concentration * planned.share + treatment)
    log_mixture += math.lgamma(concentration * (1.0 - planned.share) + control)
    return log_mixture - treatment * planned.log_treated - control * planned.log_others


@elementwise
def _log_e_values(treatment: float, control: float, share: float, concentration: float) -> float:
    return _log_e(treatment, control, _planned(share, concentration), concentration)


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
    return np.asarray(_log_e_values(treatment, control, share, concentration))


@compiled
def _count(
    counts: Floats, shares: Floats, concentration: float,
    treatment: Floats, control: Floats, share: Floats, evidence: Floats, oldest: Integers, banked: Floats,
) -> None:  # fmt: skip
    """Count the users [2, streams, lanes] of one part under its planned shares [2, lanes], in place."""
    ratios, streams, lanes = treatment.shape
    planned = _planned(0.5, concentration)
    for stream in range(streams):
        for lane in range(lanes):
            treated, others = counts[0, stream, lane], counts[1, stream, lane]
            share_now = shares[0, lane] / max(shares[0, lane] + shares[1, lane], _NOTHING)
            # Without both arms there is no ratio to test; users seen then are nobody's evidence.
            if not (treated + others > 0.0 and 0.0 < share_now < 1.0):
                continue
            here = -1
            for ratio in range(ratios):
                # Steps of the same planned ratio differ by rounding only, and share one mixture.
                if here < 0 and abs(share[ratio, stream, lane] - share_now) <= 1e-9:
                    here = ratio
            if here < 0:
                here = oldest[stream, lane]
                oldest[stream, lane] = (here + 1) % ratios
                banked[stream, lane] += evidence[here, stream, lane]
                treatment[here, stream, lane], control[here, stream, lane], share[here, stream, lane] = 0.0, 0.0, share_now
            treatment[here, stream, lane] += treated
            control[here, stream, lane] += others
            # Most lanes have the same plan.
            if planned.share != share[here, stream, lane]:
                planned = _planned(share[here, stream, lane], concentration)
            evidence[here, stream, lane] = _log_e(
                treatment[here, stream, lane], control[here, stream, lane], planned, concentration
            )


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
        none, oldest = np.zeros((RATIOS, *shape)), np.zeros(shape, dtype=np.int64)
        return SampleRatioState(none, none, np.full_like(none, np.nan), none, oldest, np.zeros(shape))

    def update(self, state: SampleRatioState, seen: Observation) -> Step:
        """Count the users of each part under its own shares."""
        if seen.counts is not None and seen.shares is not None:
            state = SampleRatioState._make(values.copy() for values in state)
            for counts, shares in zip(seen.counts, seen.shares, strict=True):
                if counts.any():
                    _count(counts, shares, self.concentration, *state)
        # Before the first user there is nothing to judge, and that is not the same as users who came as planned.
        nobody = np.isnan(state.share).all(axis=0)
        return Step(state, np.where(nobody, np.nan, state.banked + state.evidence.sum(axis=0)), worse=True)
