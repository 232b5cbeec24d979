"""What a file may say of what is watched, and what it is told when that does not fit the rule."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from simlab.documents import Document
from simlab.errors import FileErrors
from simlab.guardrails.rule import Takes
from simlab.guardrails.watch import Watch
from simlab.schemas import json_schema, read_settings
from tests.looks import MINUTE


def read(**data: Any) -> Watch:
    return read_settings(Document("file", Path("file"), data), Watch)


def told(watch: Watch, takes: Takes) -> list[tuple[str, str]]:
    return [tuple(refusal) for refusal in watch.refusals(takes)]  # type: ignore[misc]


def test_one_metric_or_a_list_of_them() -> None:
    assert read(watch="errors").metrics == ("errors",)
    assert read(watch=["errors", "latency"]).watch == ("errors", "latency")
    assert read().metrics == ()
    assert json_schema(Watch)["properties"]["watch"]["anyOf"][0]["type"] == ["string", "array"]


@pytest.mark.parametrize("said", ["", 5, [], ["errors", ""], ["errors", 5], [["errors"]], {"errors": 1}])
def test_what_is_no_name_is_told_once(said: Any) -> None:
    with pytest.raises(FileErrors, match=r"error\[unit\]: watch: .* is no name of a metric, nor a list of names") as raised:
        read(watch=said)
    assert len(raised.value.found) == 1


def test_a_metric_stands_in_a_list_once() -> None:
    with pytest.raises(FileErrors, match="watch: errors, errors: a metric stands in the list twice"):
        read(watch=["errors", "errors"])


@pytest.mark.parametrize(
    ("watch", "takes", "expected"),
    [
        (Watch(watch="m", of="everyone"), Takes.STANDARDISED, [("", "takes standardised, and a level does not give that")]),
        (
            Watch(watch="m", compare="ratio"),
            Takes.EVENTS,
            [("", "takes events of observations, and a comparison does not give that")],
        ),
        (Watch(watch="m", compare="ratio"), Takes.ARRIVALS, [("", "takes arrivals, and a comparison does not give that")]),
        (Watch(compare="shares"), Takes.VECTOR, [("", "takes several metrics, standardised, and shares does not give that")]),
        (
            Watch(watch="m", compare="difference", null=0.1, over=MINUTE, min_count=3),
            Takes.EVENT_COUNTS,
            [
                ("over", "counts each event once, as it comes: it adds up all events itself"),
                ("min_count", "counts each event once, as it comes: however few there are, they do not wait"),
                ("null", "counts events, of which only a ratio can be harmless; write compare: ratio and 'null': 1.1"),
            ],
        ),
        (
            Watch(watch="m", of="everyone", over=MINUTE, min_count=3),
            Takes.EVENTS,
            [
                ("over", "counts each event once, as it comes: it has windows of its own"),
                ("min_count", "counts each event once, as it comes: however few there are, they do not wait"),
            ],
        ),
        (
            Watch(watch="m", of="everyone", over=MINUTE, min_count=3),
            Takes.ARRIVALS,
            [("over", "counts every look by itself, and takes no window")],
        ),
        (
            Watch(watch=("m", "x"), compare="ratio", by="segment"),
            Takes.VECTOR,
            [("by", "takes its metrics as streams, so that segments do not go with it")],
        ),
        (
            Watch(watch=("m", "x"), of="everyone", spread=1.0),
            Takes.VECTOR,
            [("spread", "takes several metrics, which need a baseline")],
        ),
        (Watch(watch=("m", "x"), of="everyone"), Takes.LEVEL, [("watch", "takes one metric; write a guardrail for each")]),
    ],
)
def test_a_refusal_says_what_to_change(watch: Watch, takes: Takes, expected: list[tuple[str, str]]) -> None:
    assert told(watch, takes) == expected
    assert not watch.gives(takes)
