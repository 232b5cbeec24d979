"""What every rule of the catalogue does, as a guardrail, with data that are missing, empty, no number, infinite or constant.

The answer is unknown or what the rule states, never an alarm and never an all-clear on nothing.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from simlab.catalogue import list_of_rules, page_of
from simlab.engine import Block, simulate
from simlab.errors import SimlabError
from simlab.guardrails.guardrail import Guardrail
from simlab.guardrails.look import Code, Decision, Look, Sums
from simlab.guardrails.registry import rules
from simlab.guardrails.rule import Takes
from simlab.guardrails.signal import Signal
from tests.guardrails.test_registry import with_required
from tests.looks import MINUTE, by_arm, events, make_look, run, values
from tests.worlds import SCENARIO, plan

SIGNALS = {
    Takes.STANDARDISED: Signal(watch="m", compare="difference"),
    Takes.LEVEL: Signal(watch="m", of="treatment"),
    Takes.EVENTS: Signal(watch="m", of="treatment"),
    Takes.ARRIVALS: Signal(watch="m", of="treatment"),
    Takes.EVENT_COUNTS: Signal(watch="m", compare="difference"),
    Takes.ARM_COUNTS: Signal(compare="shares"),
    Takes.VECTOR: Signal(watch=("m", "x"), compare="difference"),
    Takes.NOTHING: Signal(),
}
KEYS = [key for key, rule in rules().items() if rule.takes is not Takes.NOTHING]
# Stated otherwise: to a heartbeat a look in which nothing came is data, and so it is not unknown.
COUNTS_NOTHING = {"heartbeat"}
OK, ALARM, UNKNOWN = Code.OK, Code.ALARM, Code.UNKNOWN

each_rule = pytest.mark.parametrize("key", KEYS)
pytestmark = pytest.mark.filterwarnings("ignore:invalid value")


def guardrail(key: str) -> Guardrail:
    made: Any = with_required(rules()[key])
    if getattr(made, "extra", "") and importlib.util.find_spec(made.extra) is None:
        pytest.skip(f"{made.extra} is not installed")
    return Guardrail(SIGNALS[made.takes], made, MINUTE)


def good(time: int, *, seed: int = 1) -> Look:
    """Return a look in which all is well: the arms hardly differ, and no level is beyond 1 %."""
    generator = np.random.default_rng([seed, time])
    sums = events((2_000, 10 + generator.integers(-3, 4)), (2_000, 10 + generator.integers(-3, 4)))
    durations = values(generator.normal(size=200), generator.normal(size=200))
    return make_look({"m": sums, "x": durations}, time=time, first_seen=by_arm(500, 500))


def odd(time: int, m: Sums, *, first_seen: float = 0.0, **how: Any) -> Look:
    """Return a look whose metric ``m``, and whose users, are as given."""
    seen = by_arm(first_seen, first_seen if np.isfinite(first_seen) else 10.0)
    return make_look({"m": m, "x": good(time).sums["x"]}, time=time, first_seen=seen, **how)


def after_good_ones(key: str, looks: Sequence[Look]) -> list[Decision]:
    """Return the decisions on looks after twenty good ones."""
    before = [good(time) for time in range(1, 21)]
    return run(guardrail(key), [*before, *looks])[20:]


ODD = {
    "missing": odd(21, events((2_000, 10), (2_000, 10)), first_seen=500.0, missing=True),
    "no observations": odd(21, events((0, 0), (0, 0))),
    "an empty arm": odd(21, events((0, 0), (2_000, 10))),
    "no number": odd(21, Sums(by_arm(2_000, 2_000), *[by_arm(np.nan, 10)] * 2), first_seen=np.nan),
    "infinite": odd(21, Sums(by_arm(2_000, 2_000), *[by_arm(np.inf, 10)] * 2), first_seen=np.inf),
    "infinitely many": odd(21, Sums(by_arm(np.inf, 2_000), *[by_arm(np.inf, 10)] * 2), first_seen=np.inf),
}


@each_rule
@pytest.mark.parametrize("kind", ODD)
def test_what_cannot_be_judged_is_unknown_and_leaves_no_trace(key: str, kind: str) -> None:
    decision = after_good_ones(key, [ODD[kind]])[0]
    if key in COUNTS_NOTHING or (rules()[key].takes is Takes.ARM_COUNTS and kind in {"no observations", "an empty arm"}):
        # A look without new users says nothing new of how users are assigned: the verdict so far stands.
        assert decision.code[0] == OK
        return
    assert decision.code[0] == UNKNOWN
    assert decision.unknown[0]
    last = run(guardrail(key), [good(time) for time in range(1, 21)])[-1]
    assert decision.statistic[0] == last.statistic[0]


@each_rule
@pytest.mark.parametrize("kind", ODD)
def test_the_first_look_of_a_kind_is_no_all_clear(key: str, kind: str) -> None:
    decision = run(guardrail(key), [ODD[kind]])[0]
    # Before any data have told that the arm is there, nothing is missed of it.
    counted = key in COUNTS_NOTHING and kind != "missing"
    assert decision.code[0] == (OK if counted else UNKNOWN)


@each_rule
def test_looks_without_an_event_do_not_alarm(key: str) -> None:
    decisions = after_good_ones(key, [odd(time, events((2_000, 0), (2_000, 0)), first_seen=500.0) for time in range(21, 61)])
    # A level of zero is below any limit, and that is what `below` is for; to the others it is no harm.
    if key != "below":
        assert not any(decision.code[0] == ALARM and decision.worse[0] for decision in decisions)
    assert all(np.isfinite(decision.statistic[0]) or decision.statistic[0] == -np.inf for decision in decisions)


@each_rule
def test_a_constant_stream_does_not_alarm(key: str) -> None:
    constant = {"m": events((2_000, 10), (2_000, 10)), "x": values([1.0, 2.0], [1.0, 2.0])}
    looks = [make_look(constant, time=time, first_seen=by_arm(500, 500)) for time in range(1, 300)]
    decisions = run(guardrail(key), looks)
    if key != "below":
        assert not any(decision.code[0] == ALARM for decision in decisions)
    assert not any(np.isnan(decision.statistic[0]) for decision in decisions)


WATCHES: dict[Takes, dict[str, Any]] = {
    Takes.STANDARDISED: {"watch": "errors", "compare": "difference", "by": "segment"},
    Takes.LEVEL: {"watch": "errors", "of": "treatment"},
    Takes.EVENTS: {"watch": "errors", "of": "everyone", "by": "segment"},
    Takes.ARRIVALS: {"watch": "errors", "of": "treatment"},
    Takes.EVENT_COUNTS: {"watch": "errors", "compare": "ratio"},
    Takes.ARM_COUNTS: {"compare": "shares"},
    Takes.VECTOR: {"watch": ["errors", "latency"], "compare": "difference"},
}
TELEMETRY = {"delay": "1m-12m", "lost": "1%", "missing_looks": "5%"}


@each_rule
def test_in_a_study_blocks_of_lanes_do_not_change_a_bit(key: str) -> None:
    made = guardrail(key).rule
    given = {name: value for name, value in vars(made).items() if name in {"limit", "m", "looks"}}
    entry = {**WATCHES[made.takes], "rule": {key: given}, "every": "5m", "respond": "alert"}
    study = plan(scenarios=[{**SCENARIO, "telemetry": TELEMETRY}], policies=[{"name": "it", "guardrails": [entry]}])
    whole = simulate(study, Block(0, 0, 12)).rows
    parts = [simulate(study, Block(0, first, 6)).rows for first in (0, 6)]
    for harmed in (True, False):
        for name, array in whole.items():
            joined = np.concatenate([rows[name][(rows["policy"] == "it") & (rows["harmed"] == harmed)] for rows in parts])
            np.testing.assert_array_equal(array[(whole["policy"] == "it") & (whole["harmed"] == harmed)], joined, err_msg=name)


def test_pages_say_settings_as_files_do() -> None:
    assert "  long (default 1h)" in page_of("burn_rate")
    assert "own: {name: ...}" in page_of("own")
    assert list_of_rules().splitlines()[-1].startswith("own\t")
    with pytest.raises(SimlabError, match="no rule 'CUSUM'; did you mean 'cusum'"):
        page_of("CUSUM")


@each_rule
def test_its_page_reads_well(key: str) -> None:
    page = page_of(key)
    for part in ("Settings", "Takes: ", "Ladder coordinate: ", "Guarantee: ", "Paper: "):
        assert part in page
