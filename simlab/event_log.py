"""One lane of a scenario as an event log, with a recording file that describes it, so that it replays as it was.

Who came when, in which arm, and what was measured, as nobody stopped it. Data are stamped with the tick in which they happened:
of telemetry an event log shows what was lost and what came twice, and not how late it came.
"""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from simlab.documents import Document
from simlab.errors import FileErrors
from simlab.files import atomic_write
from simlab.guardrails.look import ARMS
from simlab.personas import persona
from simlab.scenario import Scenario
from simlab.ticks import format_duration, format_instant
from simlab.world.aggregate import Watched
from simlab.world.harms import NOT_YET, Exposure
from simlab.world.individual import IndividualWorld
from simlab.world.ramp import ramp_plan
from simlab.world.visits import counted
from simlab.yaml_edit import yaml_of


class EventLog(NamedTuple):
    """One lane.

    Attributes
    ----------
    rows : pandas.DataFrame
        ``tick``, ``time`` (UTC), ``user``, ``segment``, ``arm``, ``opens`` (first of its session) and one column a metric, empty
        where the request is no unit of it; a request that is reported twice has two rows.
    onset : int or None
        The tick from which on a harm changed anything.
    """

    rows: pd.DataFrame
    onset: int | None


def event_log(scenario: Scenario, *, lane: int, seed: int, harmed: bool = True, personas: Sequence[str] = ()) -> EventLog:
    """Return the requests of one lane that telemetry reports, in order of ticks, while the ramp goes as planned.

    Parameters
    ----------
    scenario : Scenario
        With users one by one.
    lane, seed : int
        Which lane, of a study with which seed.
    harmed : bool
        False for the harmless twin.
    personas : sequence of str
        Columns of `simlab.personas.Persona` to add; by default none, so that none could identify a person.
    """
    watched = Watched(frozenset(scenario.metrics), first_seen=True)
    world = IndividualWorld(scenario, np.array([lane]), seed=seed, watched=watched)
    path = world.begin(harmed=harmed)
    planned = ramp_plan(scenario.rollout, world.clock).planned(world.clock.horizon)
    ticks = []
    for tick in range(world.clock.horizon):
        position = np.array([planned[tick]])
        visits, arm, first, weight, values = path.happen(world.draw(tick), Exposure(position, position))
        measured = {
            name: np.where(counted(metric, visits, first), values[name], np.nan) for name, metric in scenario.metrics.items()
        }
        lives = np.char.add(visits.seat.astype(str), np.where(visits.life > 0, np.char.add(".", visits.life.astype(str)), ""))
        columns = {
            "tick": np.full(len(arm), tick),
            "time": pd.to_datetime(np.full(len(arm), world.clock.starts + tick * world.clock.tick), unit="ms", utc=True),
            "user": lives.astype(object),
            "segment": np.array(world.segments, dtype=object)[visits.segment],
            "arm": np.array(ARMS, dtype=object)[arm],
            "opens": visits.opens,
        }
        ticks.append(pd.DataFrame(columns | measured).loc[np.repeat(np.arange(len(arm)), weight)])
    found = pd.concat(ticks, ignore_index=True)
    who = {user: persona(seed, lane=lane, user=user) for user in found["user"].unique()} if personas else {}
    for column in personas:
        found[column] = found["user"].map({user: getattr(each, column) for user, each in who.items()})
    onset = int(path.onset[0])
    return EventLog(found, None if onset == NOT_YET else onset)


def recording_of(scenario: Scenario, log: EventLog, *, file: str, about: str) -> str:
    """Return the YAML of a recording file that describes an event log, which stands beside it in `file`."""
    clock = scenario.clock
    ends = clock.starts + clock.horizon * clock.tick
    described: dict[str, object] = {
        "recording": scenario.scenario,
        "about": about,
        "file": file,
        "kind": "events",
        "tick": format_duration(clock.tick),
        "within": format_duration(clock.horizon * clock.tick),
        "span": {"from": format_instant(clock.starts), "to": format_instant(ends)},
        "arms": {"column": "arm", **{arm: arm for arm in ARMS}},
        "segment": "segment",
        "user": "user",
        "values": {name: {"column": name, "worse": metric.worse} for name, metric in scenario.metrics.items()},
    }
    if log.onset is not None:
        described["onsets"] = [format_instant(clock.starts + log.onset * clock.tick)]
    return yaml_of(described)


def write_event_log(log: EventLog, path: Path) -> None:
    """Write an event log to a Parquet file, whole or not at all.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    held = BytesIO()
    log.rows.to_parquet(held, index=False)
    atomic_write(path, held.getvalue())


def check_recordable(scenario: Scenario, document: Document) -> None:
    """Raise `FileErrors` if a scenario has no users one by one, who alone have events."""
    if scenario.users.detail != "individual":
        mistake = document.mistake(("users", "detail"), "detail", "has no users one by one to record", "write detail: individual")
        raise FileErrors([(document.file, mistake)])
