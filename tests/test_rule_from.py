"""A rule from the mapping that a study file uses for it."""

from __future__ import annotations

import doctest
from typing import Any

import pytest

from simlab import rule_from
from simlab.errors import FileErrors
from simlab.guardrails.rules.cusum import Cusum
from simlab.guardrails.rules.ewma import Ewma
from simlab.rule_from import rule


def test_the_words_of_a_file() -> None:
    assert rule({"cusum": {"k": 0.5, "h": 4, "sides": 2}}) == Cusum(k=0.5, h=4, sides=2)
    assert rule({"ewma": {"lambda": 0.25, "L": 3}}) == Ewma(lambda_=0.25, L=3)
    assert rule({"random": {"rate": "1%"}}).threshold == 0.99


def test_a_rule_is_itself() -> None:
    made = Cusum()
    assert rule(made) is made


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"cusom": {}}, r"cusom: unknown key\n  hint: did you mean 'cusum'\?"),
        ({"cusum": {"hh": 4}}, r"cusum.hh: unknown key\n  hint: did you mean 'h'\?"),
        ({"cusum": {"h": 0}}, r"cusum.h: must be greater than 0"),
        ({"cusum": {"h": "four"}}, r"cusum.h: must be a valid number"),
        ({"ewma": {"lambda_": 0.2}}, r"did you mean 'lambda'\?"),
        ({}, "must say exactly one of never, "),
        ({"cusum": {}, "ewma": {}}, "must say exactly one of never, "),
        ({"cusum": {"h": object()}}, "must hold plain numbers, text, lists and mappings"),
        ("cusum", "must be a mapping such as .*, not 'cusum'"),
        (Cusum, "must be a mapping such as "),
    ],
)
def test_a_mistake_says_what_and_where(mapping: Any, message: str) -> None:
    with pytest.raises(FileErrors, match=message):
        rule(mapping)


def test_every_mistake_is_told_at_once() -> None:
    with pytest.raises(FileErrors) as raised:
        rule({"cusum": {"k": -1, "h": 0, "sides": 3}})
    assert [mistake.path for _, mistake in raised.value.found] == ["cusum.k", "cusum.h", "cusum.sides"]


def test_the_examples_of_the_docstrings() -> None:
    outcome = doctest.testmod(rule_from)
    assert outcome.attempted > 0
    assert outcome.failed == 0
