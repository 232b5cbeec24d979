"""Values change where they stand, and nothing else does."""

from __future__ import annotations

import pytest

from simlab.yaml_edit import EditError, with_values

TEXT = """\
# Ours.
policies:
  - name: a      # first
    guardrails:
      - {watch: m, rule: {cusum: {k: 0.5, h: 9}}, every: 5m}   # keep
      - watch: m
        rule:
          above:
            limit: 1%     # one in a hundred
            for: "15m"
  - {name: b, guardrails: [{rule: {ewma: {}}}, *x]}
"""
RULE = ("policies", 0, "guardrails", 0, "rule", "cusum")


def test_replaces_scalars_of_any_style_and_keeps_all_else() -> None:
    above = ("policies", 0, "guardrails", 1, "rule", "above")
    text = TEXT.replace(", *x", "")
    edited = with_values(text, {(*RULE, "h"): 8.071, (*above, "limit"): 0.0123, (*above, "for"): "20m"})
    expected = text.replace("h: 9", "h: 8.071").replace("limit: 1%", "limit: 0.0123").replace('for: "15m"', 'for: "20m"')
    assert edited == expected


def test_adds_what_braces_do_not_have() -> None:
    text = TEXT.replace(", *x", "")
    edited = with_values(text, {(*RULE, "head_start"): 1.5, ("policies", 1, "guardrails", 0, "rule", "ewma", "L"): 2.9})
    assert "{cusum: {head_start: 1.5, k: 0.5, h: 9}}" in edited
    assert "{ewma: {L: 2.9}}" in edited


def test_refuses_what_it_cannot_do_without_touching_more() -> None:
    text = TEXT.replace(", *x", "")
    for path in ((*RULE[:-1], "ewma", "L"), RULE, ("policies", 7), ("policies", 0, "guardrails", 1, "rule", "above", "new")):
        with pytest.raises(EditError):
            with_values(text, {path: 1.0})


def test_refuses_what_an_alias_shares() -> None:
    shared = "a: &x {h: 9}\nb: *x\n"
    with pytest.raises(EditError, match="by hand"):
        with_values(shared, {("a", "h"): 8.0})
