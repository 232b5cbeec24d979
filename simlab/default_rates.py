"""How often each rule cries wolf at its default settings on streams in which nothing happens.

Nobody should run a rule at its defaults on raw traffic; this table shows why. Two weeks of five-minute looks, none with a change.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from simlab.errors import SimlabError
from simlab.guardrails.look import Integers
from simlab.guardrails.registry import rules
from simlab.guardrails.rule import Rule, Takes
from simlab.measures.estimates import Estimate
from simlab.null_streams import NULL_STREAMS, PER_DAY, NullStream
from simlab.results import plain
from simlab.run_lengths import RunLength, run_length_on, summarise
from simlab.ticks import DAY

LOOKS = 14 * PER_DAY
RIVER = "river's PageHinkley"
_ONE_BY_ONE = ("adwin", "kswin")
"""Detectors that are stepped one stream at a time and copied at each look: they get a tenth of the lanes."""
_PLANNED = ("fixed_horizon", "pocock", "obrien_fleming", "haybittle_peto", "lan_demets", "hwang_shih_decani", "kim_demets")


@dataclass(frozen=True)
class DefaultRate:
    """One rule on one stream.

    Attributes
    ----------
    rule, stream : str
        Names.
    alarm_probability : Estimate
        Of at least one alarm by the last look.
    median : Estimate
        Looks to the first alarm; infinite where fewer than half of the lanes alarmed.
    """

    rule: str
    stream: str
    alarm_probability: Estimate
    median: Estimate


@dataclass(frozen=True)
class DefaultRates:
    """The whole table, and what could not be measured.

    Attributes
    ----------
    rates : tuple of DefaultRate
        By rule, then by stream.
    left_out : dict of str to str
        Reason by rule.
    lanes, looks, seed : int
        Lanes of each cell, looks of each lane, and the seed.
    """

    rates: tuple[DefaultRate, ...]
    left_out: dict[str, str]
    lanes: int
    looks: int
    seed: int

    def to_json(self) -> str:
        """Return everything as JSON; an infinite number is null."""
        held = {"schema": 1, **vars(self)}
        return json.dumps(plain(held), indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    def to_markdown(self) -> str:
        """Return a table: one row a rule, one column a stream."""
        columns = [stream.name for stream in NULL_STREAMS]
        cells = {(each.rule, each.stream): _cell(each.alarm_probability) for each in self.rates}
        named = {each.rule: each.alarm_probability.n for each in self.rates}
        days = self.looks // PER_DAY
        lines = [
            "# False alarms at default settings",
            "",
            (
                f"Share of n streams with at least one alarm in {self.looks:,} looks ({days} days of five minutes) in which "
                f"nothing happens, in per cent, with 95 % interval (Clopper-Pearson); seed {self.seed}."
            ),
            "",
            f"| rule | n | {' | '.join(columns)} |",
            f"|---|---|{'---|' * len(columns)}",
            *(f"| {rule} | {n:,} | {' | '.join(cells[rule, stream] for stream in columns)} |" for rule, n in named.items()),
        ]
        if self.left_out:
            lines += ["", "Left out:", "", *(f"- {rule}: {reason}" for rule, reason in self.left_out.items())]
        return "\n".join(lines) + "\n"


def settings_without_defaults(looks: int) -> dict[str, dict[str, object]]:
    """Return what has to be given to the rules that cannot do without: the planned looks, a limit of three sigmas."""
    planned: dict[str, dict[str, object]] = {key: {"looks": looks} for key in _PLANNED}
    # So many early looks at three sigmas would spend more than the whole error.
    planned["haybittle_peto"]["early"] = 5.0
    return planned | {"random": {"rate": 1 / looks}, "above": {"limit": 3.0}, "below": {"limit": -3.0}}


def default_rates(*, lanes: int, looks: int = LOOKS, seed: int = 0, told: Callable[[str], None] = lambda _: None) -> DefaultRates:
    """Measure every rule of the catalogue, and river's PageHinkley beside them.

    Parameters
    ----------
    lanes, looks, seed : int
        Lanes of each cell, looks of each lane, and the seed; all rules of a kind see the same streams.
    told : callable
        Is given the name of each rule before it is measured.
    """
    rates: list[DefaultRate] = []
    left_out: dict[str, str] = {}
    for key, make in rules().items():
        told(key)
        given = settings_without_defaults(looks).get(key, {})
        name = " ".join([key, *(f"{setting}={value:g}" for setting, value in given.items())])
        try:
            rule = make(**given)
            own_lanes = max(1, lanes // 10) if key in _ONE_BY_ONE else lanes
            found = [_measured(name, stream, _run(rule, stream, own_lanes, looks, seed)) for stream in NULL_STREAMS]
        except TypeError:
            left_out[key] = "has a setting without a default that these streams do not suggest"
        except SimlabError as error:
            left_out[key] = str(error)
        else:
            rates.extend(found)
    told(RIVER)
    try:
        rates.extend(_measured(RIVER, stream, _river(stream, lanes, looks, seed)) for stream in NULL_STREAMS)
    except ImportError:
        left_out[RIVER] = "river is not installed"
    return DefaultRates(tuple(rates), left_out, lanes, looks, seed)


def _measured(key: str, stream: NullStream, found: RunLength) -> DefaultRate:
    return DefaultRate(key, stream.name, found.alarm_probability, found.median)


def _run(rule: Rule, stream: NullStream, lanes: int, looks: int, seed: int) -> RunLength:
    streams = 2 if rule.takes is Takes.VECTOR else 1
    drawn = stream.looks(rule.takes, looks=looks, lanes=lanes, streams=streams, seed=seed)
    return run_length_on(rule, drawn, lanes=lanes, streams=streams, seed=seed, every=DAY // PER_DAY)


def _river(stream: NullStream, lanes: int, looks: int, seed: int) -> RunLength:
    """Return the first alarms of river's own detector, one stream at a time as it works."""
    from river.drift import PageHinkley  # type: ignore[import-not-found, unused-ignore]

    drawn = stream.looks(Takes.LEVEL, looks=looks, lanes=lanes, streams=1, seed=seed)
    values = np.array([seen.value[0] for seen in drawn])
    first: Integers = np.full(lanes, -1)
    for lane in range(lanes):
        first[lane] = next(islice(_alarms(PageHinkley(), values[:, lane]), 1), -1)
    return summarise(np.where(first < 0, looks, first), first >= 0, horizon=looks, seed=seed)


def _alarms(detector: object, values: np.ndarray) -> Iterator[int]:
    for look, value in enumerate(values.tolist(), start=1):
        detector.update(value)  # type: ignore[attr-defined]
        if detector.drift_detected:  # type: ignore[attr-defined]
            yield look


def _cell(estimate: Estimate) -> str:
    value, low, high = (100 * number for number in (estimate.value, estimate.low, estimate.high))
    return f"{value:.1f} [{low:.1f}, {high:.1f}]"
