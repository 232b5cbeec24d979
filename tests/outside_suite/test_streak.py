"""The team's test suite; nothing else is set up."""

import pytest
from streak import Mended, Streak

from simlab.testing import Claim, assert_false_alarms, conformance


@pytest.mark.parametrize("keeps", conformance(Streak, minimum_looks=4, also=[Claim.MONOTONE_IN_HARM]))
def test_streak(keeps):
    keeps()


@pytest.mark.parametrize("keeps", conformance(Mended, minimum_looks=4, also=[Claim.MONOTONE_IN_HARM]))
def test_mended(keeps):
    keeps()


def test_false_alarms():
    assert_false_alarms(Mended, at_most=0.05, horizon=50)


def test_hardly_ever():
    assert_false_alarms(Mended, at_most=0.005, horizon=50)
