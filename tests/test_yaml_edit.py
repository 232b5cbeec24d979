"""Values change where they stand, and nothing else does."""

from __future__ import annotations

from pathlib import Path

import pytest

from simlab.documents import read_document
from simlab.errors import FileErrors
from simlab.yaml_edit import EditError, edited, with_values

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
    edited = with_values(text, {(*RULE, "h"): 8.071, (*above, "limit"): "1.23%", (*above, "for"): "20m"})
    expected = text.replace("h: 9", "h: 8.071").replace("limit: 1%", "limit: 1.23%").replace('for: "15m"', 'for: "20m"')
    assert edited == expected


def test_adds_what_braces_do_not_have() -> None:
    text = TEXT.replace(", *x", "")
    edited = with_values(text, {(*RULE, "head_start"): 1.5, ("policies", 1, "guardrails", 0, "rule", "ewma", "L"): 2.9})
    assert "{cusum: {head_start: 1.5, k: 0.5, h: 9}}" in edited
    assert "{ewma: {L: 2.9}}" in edited


def test_refuses_what_it_cannot_do_without_touching_more() -> None:
    text = TEXT.replace(", *x", "")
    places = ((*RULE[:-1], "ewma", "L"), RULE, ("policies", 7), ("policies", 0, "name", "of"))
    for path in places:
        with pytest.raises(EditError):
            with_values(text, {path: 1.0})
    with pytest.raises(EditError) as refused:
        with_values(text, {(*RULE, "h"): 8.0, **dict.fromkeys(places, 1.0)})
    assert [path for path, _ in refused.value.found] == list(places), "all at once"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a:\n  cusum:\n    k: 0.5   # ours\nb: 1\n", "a:\n  cusum:\n    h: 8.5\n    k: 0.5   # ours\nb: 1\n"),
        ("a:\r\n  cusum:\r\n    k: 0.5\r\nb: 1\r\n", "a:\r\n  cusum:\r\n    h: 8.5\r\n    k: 0.5\r\nb: 1\r\n"),
        ("a:\n  cusum:   # ours\nb: 1\n", "a:\n  cusum: {h: 8.5}   # ours\nb: 1\n"),
        ("a: {cusum: null}\n", "a: {cusum: {h: 8.5}}\n"),
        ("a: {cusum: ~, b: 2}\n", "a: {cusum: {h: 8.5}, b: 2}\n"),
        ("a: {cusum: {}}\n", "a: {cusum: {h: 8.5}}\n"),
    ],
)
def test_adds_in_the_style_of_the_mapping(before: str, after: str) -> None:
    assert with_values(before, {("a", "cusum", "h"): 8.5}) == after


def test_of_a_file_line_ends_and_all_else_stay_and_mistakes_have_places(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: {h: 9}   # ours\r\nb: &x {h: 9}\r\nc: *x\r\n")
    document = read_document(path)
    assert edited(document, {("a", "h"): "8.5%"}) == path.read_bytes().replace(b"a: {h: 9}", b"a: {h: 8.5%}")
    with pytest.raises(FileErrors) as refused:
        edited(document, {("b", "h"): 8.0, ("a", "h"): 8.0, ("c", "h"): 8.0})
    assert [(mistake.line, mistake.column) for _, mistake in refused.value.found] == [(2, 11), (2, 11)]


def test_refuses_what_an_alias_shares() -> None:
    shared = "a: &x {h: 9}\nb: *x\n"
    with pytest.raises(EditError, match="by hand"):
        with_values(shared, {("a", "h"): 8.0})
