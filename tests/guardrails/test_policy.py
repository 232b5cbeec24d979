"""One error budget for the guardrails of a policy."""

from __future__ import annotations

import math
from typing import Any

import pytest

from simlab.guardrails.guardrail import Guardrail
from simlab.guardrails.policy import share_budget
from simlab.guardrails.rules.cusum import Cusum
from simlab.guardrails.rules.repeated_z import RepeatedZ
from simlab.guardrails.rules.sample_ratio import SampleRatio
from simlab.guardrails.signal import Signal
from tests.looks import MINUTE


def guardrail(rule: Any, **watched: Any) -> Guardrail:
    return Guardrail(Signal(**watched), rule, MINUTE, "rollback")


def alphas(guardrails: tuple[Guardrail, ...], **how: Any) -> list[float]:
    return [each.rule.alpha for each in share_budget(guardrails, share="bonferroni", **how)]  # type: ignore[attr-defined]


def test_one_guardrail_takes_the_whole_budget() -> None:
    assert alphas((guardrail(RepeatedZ(), watch="m", compare="difference"),), budget=0.02, segments=3) == [0.02]


def test_every_stream_counts_by_segment_too() -> None:
    guardrails = (
        guardrail(RepeatedZ(), watch="m", compare="difference", by="segment"),
        guardrail(RepeatedZ(), watch="m", compare="difference"),
        guardrail(SampleRatio(), compare="shares"),
    )
    shared = alphas(guardrails, budget=0.05, segments=3)
    assert shared == pytest.approx([0.01, 0.01, 0.01])
    # Over the streams it adds up to the budget.
    assert math.fsum(alpha * streams for alpha, streams in zip(shared, (3, 1, 1), strict=True)) == pytest.approx(0.05)


def test_nothing_but_the_error_changes() -> None:
    before = guardrail(RepeatedZ(looks=7, sides=1), watch="m", compare="ratio", by="segment")
    after = share_budget((before,), share="bonferroni", budget=0.04, segments=2)[0]
    assert after == guardrail(RepeatedZ(alpha=0.02, looks=7, sides=1), watch="m", compare="ratio", by="segment")
    assert after.rule.threshold > before.rule.threshold


def test_a_rule_without_an_error_probability_is_refused() -> None:
    guardrails = (guardrail(RepeatedZ(), watch="m", compare="difference"), guardrail(Cusum(), watch="m"))
    with pytest.raises(TypeError, match="'cusum' has no error probability"):
        share_budget(guardrails, share="bonferroni", budget=0.05, segments=1)
