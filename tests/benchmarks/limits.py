"""Promises that are limits: of users one by one, of memory, and of how soon a command answers."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
import tracemalloc
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from simlab.documents import Document
from simlab.engine import Block, simulate
from simlab.plan import Plan
from simlab.reading_scenarios import read_scenario
from simlab.runner import Options, run_lanes
from simlab.world.aggregate import Watched
from simlab.world.harms import Exposure
from simlab.world.individual import IndividualWorld
from tests.benchmarks.measuring import SHIPPED, Measured, Sizes, cpu_seconds, shipped

W2: dict[str, Any] = {
    "scenario": "w2",
    "starts": "2026-03-02T00:00:00Z",
    "tick": "5m",
    "horizon": "2h",
    "users": {
        "count": 1_000_000,
        "detail": "individual",
        "activity": {"gamma": 0.7},
        "segments": {"a": "40%", "b": "30%", "c": "20%", "d": "10%"},
    },
    "traffic": {"requests": "40000/m"},
    "metrics": {
        "errors": {"kind": "proportion", "per": "request", "normal": "2%", "personal_cv": 1.0},
        "conversions": {"kind": "proportion", "per": "request", "normal": "5%", "worse": "down"},
        "latency": {"kind": "duration", "per": "request", "median": "200ms", "p99": "2s", "harmed_above": "2s"},
    },
    "rollout": {"steps": [{"expose": "50%", "soak": "rest"}]},
}
_TICKS = 10


def user_events(sizes: Sizes) -> Measured:
    """Measure requests of a million users, drawn and summed by tick and cell, against filling an array with raw uniforms."""
    scenario = read_scenario(Document(file="w2", path=None, data=W2, lines=(), positions={}))  # type: ignore[arg-type]
    world = IndividualWorld(scenario, np.array([0]), seed=1, watched=Watched(frozenset(scenario.metrics), first_seen=True))
    path, exposure = world.begin(harmed=False), Exposure(np.ones(1, dtype=np.int64), np.ones(1, dtype=np.int64))
    generator, raw = np.random.default_rng(1), np.empty(2_000_000)

    def events(first: int) -> int:
        requests = 0
        for tick in range(first, first + _TICKS):
            noise = world.draw(tick)
            path.advance(noise, exposure)
            requests += len(noise.seat)
        return requests

    # Once for nothing: kernels are loaded, and who the users are is drawn.
    events(0)
    ratios = []
    for _ in range(sizes.repeats):
        filled, _done = cpu_seconds(lambda: [generator.random(out=raw) for _ in range(5)])
        taken, requests = cpu_seconds(lambda: events(_TICKS))
        ratios.append((filled / (5 * raw.size)) / (taken / requests))
    return Measured("W2: requests of a million users, against raw uniforms", tuple(ratios), 0.10)


def cost_by_users(sizes: Sizes) -> Measured:
    """Measure how far the cost of a population of cells is from the median of all, ten thousand users to a billion.

    Traffic is in proportion. Of each the cheapest repeat counts, since whatever else the machine does only adds to it.
    """
    plan = shipped(replace(sizes, horizon="1d"))
    setting = plan.settings[0]

    def sized(users: int) -> Plan:
        traffic = replace(
            setting.scenario.traffic, requests=setting.scenario.traffic.requests * users / setting.scenario.users.count
        )
        scenario = replace(setting.scenario, users=replace(setting.scenario.users, count=users), traffic=traffic)
        return replace(plan, settings=(replace(setting, scenario=scenario),))

    plans, block = [sized(10**power) for power in range(4, 10)], Block(0, 0, sizes.lanes)
    simulate(plans[0], block)
    taken = [[cpu_seconds(partial(simulate, each, block))[0] for each in plans] for _ in range(sizes.repeats)]
    cheapest = [min(each) for each in zip(*taken, strict=True)]
    middle = statistics.median(cheapest)
    furthest = max(max(each / middle, middle / each) for each in cheapest)
    return Measured("cells: the cost of 10^4 to 10^9 users, furthest from the median", (furthest,), 1.10, at_least=False)


def memory_of_a_lane(sizes: Sizes) -> Measured:
    """Measure the memory that one more lane in flight takes, in kB: cells, no ladders, and no twin, which is a lane more."""
    plan = shipped(replace(sizes, horizon="6h"))
    plan = replace(plan, settings=tuple(replace(setting, twin=False) for setting in plan.settings))

    def peak(lanes: int) -> float:
        tracemalloc.start()
        simulate(plan, Block(0, 0, lanes))
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found / 1000

    peak(10)
    one, other = sizes.lanes, 3 * sizes.lanes
    each = [(peak(other) - peak(one)) / (other - one) for _ in range(sizes.repeats)]
    return Measured("kB of memory for each lane in flight, one policy, its twin left out", tuple(each), 2.0, at_least=False)


def memory_by_lanes(sizes: Sizes) -> Measured:
    """Measure the peak of eight times as many lanes against that of a run, outcome rows left out."""
    plan = shipped(replace(sizes, horizon="6h"))

    def peak(lanes: int) -> float:
        tracemalloc.start()
        (blocks,) = run_lanes(plan, Options(block_lanes=sizes.lanes), first=0, count=lanes)
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        rows = sum(values.nbytes for block in blocks for values in block.rows.values())
        return float(highest - rows)

    # Python keeps some thousands of freed tuples for later, whatever the lanes: they are made before anything is measured.
    for _ in range(4):
        run_lanes(plan, Options(block_lanes=sizes.lanes // 10), first=0, count=sizes.lanes)
    each = [peak(8 * sizes.lanes) / peak(sizes.lanes) for _ in range(sizes.repeats)]
    return Measured("peak memory of eight blocks of lanes, against one, without outcome rows", tuple(each), 1.05, at_least=False)


def _seconds(*arguments: str, repeats: int) -> tuple[float, ...]:
    """Return the wall time of a command, the first left out: files are then in the machine's cache."""
    found: list[float] = []
    for _ in range(repeats + 1):
        begins = time.perf_counter()
        subprocess.run([sys.executable, "-m", "simlab", *arguments], check=True, capture_output=True)
        found.append(time.perf_counter() - begins)
    return tuple(found[1:])


def help_seconds(sizes: Sizes) -> Measured:
    """Measure how soon ``simlab --help`` answers."""
    return Measured("seconds of simlab --help", _seconds("--help", repeats=sizes.repeats), 0.15, at_least=False)


def validate_seconds(sizes: Sizes) -> Measured:
    """Measure how soon ``simlab validate`` of the shipped study answers."""
    found = _seconds("validate", SHIPPED, repeats=sizes.repeats)
    return Measured("seconds of simlab validate of the shipped study", found, 0.5, at_least=False)


def _verdict_seconds(cache: Path) -> float:
    """Return the wall time of the shipped study from the command to its verdict, kernels kept in a folder."""
    with tempfile.TemporaryDirectory() as folder:
        begins = time.perf_counter()
        command = [sys.executable, "-m", "simlab", "run", SHIPPED, "--out", str(Path(folder) / "run")]
        subprocess.run(command, check=True, capture_output=True, env={**os.environ, "NUMBA_CACHE_DIR": str(cache)})
        return time.perf_counter() - begins


def first_verdict_seconds(sizes: Sizes) -> Measured:
    """Measure how soon the shipped study comes to its verdict with compiled kernels cached."""
    with tempfile.TemporaryDirectory() as cache:
        _verdict_seconds(Path(cache))
        found = tuple(_verdict_seconds(Path(cache)) for _ in range(sizes.repeats))
    return Measured("seconds to the verdict of the shipped study, kernels cached", found, 10, at_least=False)


def first_verdict_compiling_seconds(sizes: Sizes) -> Measured:
    """Measure the same where every kernel is yet to be compiled."""
    found: list[float] = []
    for _ in range(sizes.repeats):
        with tempfile.TemporaryDirectory() as cache:
            found.append(_verdict_seconds(Path(cache)))
    return Measured("seconds to the verdict of the shipped study, nothing compiled yet", tuple(found), 20, at_least=False)
