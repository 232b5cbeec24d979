"""Properties by their claims, and what a broken one says."""

from __future__ import annotations

from collections.abc import Callable

from simlab.testing import claimed, universal
from simlab.testing.claims import Claim
from simlab.testing.shown import Case
from simlab.testing.subjects import Subject
from simlab.testing.traces import BrokenError

PROPERTIES: dict[Claim, Callable[[Subject, Case], None]] = {
    Claim.NO_LOOK_AHEAD: universal.no_look_ahead,
    Claim.BATCH_EQUALS_LOOP: universal.batch_equals_loop,
    Claim.LANES_APART: universal.lanes_apart,
    Claim.DETERMINISTIC: universal.deterministic,
    Claim.STATE_KEPT: universal.state_kept,
    Claim.RESTARTS: universal.restarts,
    Claim.AT_THRESHOLD: universal.at_threshold,
    Claim.MISSING_IS_UNKNOWN: claimed.missing_is_unknown,
    Claim.IDLE_CHANGES_NOTHING: claimed.idle_changes_nothing,
    Claim.MINIMUM_SAMPLE: claimed.minimum_sample,
    Claim.ON_TIME: claimed.on_time,
    Claim.MONOTONE_IN_THRESHOLD: claimed.monotone_in_threshold,
    Claim.MONOTONE_IN_HARM: claimed.monotone_in_harm,
    Claim.UNITS: claimed.units,
    Claim.LABELS: claimed.labels,
    Claim.STICKY: claimed.sticky,
}


class PropertyBrokenError(AssertionError):
    """A rule does not do what it claims.

    Attributes
    ----------
    claim : Claim
        Which property.
    shown : Case
        What it was shown.
    """

    def __init__(self, subject: Subject, claim: Claim, shown: Case, problem: str) -> None:
        self.claim = claim
        self.shown = shown
        super().__init__(f"{subject.name}: {claim.value}: {problem}\n{shown}")


def check(subject: Subject, claim: Claim, shown: Case) -> None:
    """Hold one property against one case.

    Raises
    ------
    PropertyBrokenError
        If it does not hold.
    """
    try:
        PROPERTIES[claim](subject, shown)
    except BrokenError as broken:
        raise PropertyBrokenError(subject, claim, shown, str(broken)) from None
