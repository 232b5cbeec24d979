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

from simlab.compiled import compiled, vectorised
from simlab.guardrails.look import Floats, Integers
from simlab.guardrails.rule import LOG_E_VALUE, Assumption, Guarantee, Observation, Step, Takes
from simlab.rows import WORK, fill_log_gammas
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


_ROUNDING = 1e-9  # steps of the same planned ratio differ by rounding only, and share one mixture

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


@vectorised
def _fill_evidence(treatment: Floats, control: Floats, share: Floats, concentration: float, out: Floats) -> None:
    """Fill `out` [n] with log e-values of counts against planned shares; where there is no share it is 0."""
    count = len(out)
    prior, log_treated, log_others, within = np.empty(count), np.empty(count), np.empty(count), np.empty(count)
    known = _planned(0.5, concentration)
    for at in range(count):
        # Most lanes have the same plan.
        if share[at] != known.share and 0.0 < share[at] < 1.0:
            known = _planned(share[at], concentration)
        prior[at], log_treated[at], log_others[at], within[at] = known.prior, known.log_treated, known.log_others, known.share
    x, log_gamma, work = np.empty(count), np.empty(count), np.empty((WORK, count))
    for at in range(count):
        x[at] = concentration + (treatment[at] + control[at])
    fill_log_gammas(x, log_gamma, work)
    for at in range(count):
        out[at] = prior[at] - log_gamma[at]
        x[at] = concentration * within[at] + treatment[at]
    fill_log_gammas(x, log_gamma, work)
    for at in range(count):
        out[at] += log_gamma[at]
        x[at] = concentration * (1.0 - within[at]) + control[at]
    fill_log_gammas(x, log_gamma, work)
    for at in range(count):
        out[at] += log_gamma[at]
        out[at] -= treatment[at] * log_treated[at] + control[at] * log_others[at]
        out[at] = out[at] if share[at] == within[at] else 0.0


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
    each = np.broadcast_arrays(treatment, control, share)
    treated, others, planned = (values.astype(float).ravel() for values in each)
    out = np.empty(treated.size)
    _fill_evidence(treated, others, planned, concentration, out)
    return out.reshape(each[0].shape)


@vectorised
def _shares_now(shares: Floats, out: Floats) -> None:
    """Fill `out` [lanes] with treatment's planned share of both arms, of `shares` [2, lanes]; 0 where it has none."""
    for lane in range(len(out)):
        both = shares[0, lane] + shares[1, lane]
        out[lane] = shares[0, lane] / both if both > 0.0 else 0.0


@vectorised
def _all_known(counts: Floats, now: Floats, share: Floats) -> bool:
    """Return whether every planned share under which users have come has a place among the ratios."""
    ratios, streams, lanes = share.shape
    known = np.empty(lanes, dtype=np.bool_)
    found = True
    for stream in range(streams):
        for lane in range(lanes):
            # Without both arms there is no ratio to test; users seen then are nobody's evidence.
            some = (counts[0, stream, lane] + counts[1, stream, lane] > 0.0) & (now[lane] > 0.0) & (now[lane] < 1.0)
            known[lane] = not some
        for ratio in range(ratios):
            for lane in range(lanes):
                known[lane] |= abs(share[ratio, stream, lane] - now[lane]) <= _ROUNDING
        for lane in range(lanes):
            found &= known[lane]
    return found


@compiled
def _make_room(
    counts: Floats, now: Floats,
    treatment: Floats, control: Floats, share: Floats, evidence: Floats, oldest: Integers, banked: Floats,
) -> None:  # fmt: skip
    """Give each new planned ratio a place, in place, and bank the evidence of the one that had it."""
    ratios, streams, lanes = share.shape
    for stream in range(streams):
        for lane in range(lanes):
            new = counts[0, stream, lane] + counts[1, stream, lane] > 0.0 and 0.0 < now[lane] < 1.0
            for ratio in range(ratios):
                new = new and not abs(share[ratio, stream, lane] - now[lane]) <= _ROUNDING
            if new:
                here = oldest[stream, lane]
                oldest[stream, lane] = (here + 1) % ratios
                banked[stream, lane] += evidence[here, stream, lane]
                treatment[here, stream, lane], control[here, stream, lane] = 0.0, 0.0
                share[here, stream, lane], evidence[here, stream, lane] = now[lane], 0.0


@vectorised
def _count(
    counts: Floats, now: Floats, concentration: float, share: Floats, treatment: Floats, control: Floats, evidence: Floats
) -> None:
    """Count the users [2, streams, lanes] of one part under its planned shares [lanes], in place."""
    ratios, streams, lanes = treatment.shape
    counted = np.empty(lanes, dtype=np.bool_)
    for stream in range(streams):
        counted[:] = False
        for ratio in range(ratios):
            touched = False
            for lane in range(lanes):
                treated, others = counts[0, stream, lane], counts[1, stream, lane]
                near = abs(share[ratio, stream, lane] - now[lane]) <= _ROUNDING
                here = near & (not counted[lane]) & (treated + others > 0.0)
                treatment[ratio, stream, lane] += treated if here else 0.0
                control[ratio, stream, lane] += others if here else 0.0
                counted[lane] |= here
            for lane in range(lanes):
                touched |= counted[lane] & (abs(share[ratio, stream, lane] - now[lane]) <= _ROUNDING)
            if touched:
                _fill_evidence(
                    treatment[ratio, stream], control[ratio, stream], share[ratio, stream], concentration, evidence[ratio, stream]
                )


@compiled
def _together(share: Floats, evidence: Floats, banked: Floats, out: Floats) -> None:
    """Fill `out` [streams, lanes] with the evidence of all ratios.

    Before the first user there is nothing to judge, and that is not the same as users who came as planned.
    """
    ratios, streams, lanes = share.shape
    for stream in range(streams):
        for lane in range(lanes):
            out[stream, lane] = math.nan
        for ratio in range(ratios):
            for lane in range(lanes):
                so_far = out[stream, lane] if out[stream, lane] == out[stream, lane] else 0.0
                some = share[ratio, stream, lane] == share[ratio, stream, lane]
                out[stream, lane] = so_far + evidence[ratio, stream, lane] if some else out[stream, lane]
        for lane in range(lanes):
            out[stream, lane] = banked[stream, lane] + out[stream, lane]


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
            for counts, shares in zip(seen.counts, seen.shares, strict=True):
                if counts.any():
                    state = self._counted(state, counts, shares)
        statistic = np.empty(state.banked.shape)
        _together(state.share, state.evidence, state.banked, statistic)
        return Step(state, statistic, worse=True)

    def _counted(self, state: SampleRatioState, counts: Floats, shares: Floats) -> SampleRatioState:
        """Return the state with the users [2, streams, lanes] of one part counted under its planned shares [2, lanes]."""
        now = np.empty(shares.shape[1])
        _shares_now(shares, now)
        if not _all_known(counts, now, state.share):
            state = SampleRatioState._make(values.copy() for values in state)
            _make_room(counts, now, *state)
        treatment, control, evidence = state.treatment.copy(), state.control.copy(), state.evidence.copy()
        _count(counts, now, self.concentration, state.share, treatment, control, evidence)
        return state._replace(treatment=treatment, control=control, evidence=evidence)
