"""What one update of each rule of the catalogue costs, per lane.

Run ``python -m tests.benchmarks.rules`` from the project's root. Each rule is stepped over the same looks of independent noise;
rules are taken in turn in every repeat, so that a busy machine slows all of them alike. The median over the catalogue is the
figure that counts; rules that keep a window or walk over candidates cost more by their nature.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from importlib.metadata import version

import numpy as np

from simlab.default_rates import settings_without_defaults
from simlab.errors import SimlabError
from simlab.guardrails.registry import rules
from simlab.guardrails.rule import Observation, Rule, Takes
from simlab.null_streams import NullStream

LOOKS = 60
TARGET = 40.0


def catalogue() -> dict[str, Rule]:
    """Return every rule that can be made, by key, at its default settings."""
    given = settings_without_defaults(LOOKS) | {"betting": {"m": 0.5}}
    made: dict[str, Rule] = {}
    for key, make in rules().items():
        try:
            made[key] = make(**given.get(key, {}))
        except (SimlabError, TypeError) as error:
            print(f"{key:20s} left out: {error}")
    return made


def looks_for(rule: Rule, lanes: int) -> list[Observation]:
    """Return the looks that a rule is stepped over."""
    streams = 2 if rule.takes is Takes.VECTOR else 1
    return list(NullStream("noise").looks(rule.takes, looks=LOOKS, lanes=lanes, streams=streams, seed=1))


def nanoseconds(rule: Rule, looks: list[Observation]) -> float:
    """Return the nanoseconds of one update per lane and stream."""
    streams, lanes = looks[0].value.shape
    state = rule.initial(streams, lanes, every=60_000)
    begin = time.perf_counter()
    with np.errstate(all="ignore"):
        for seen in looks:
            state = rule.update(state, seen).state
    return (time.perf_counter() - begin) * 1e9 / (len(looks) * streams * lanes)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lanes", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    made = catalogue()
    looks = {key: looks_for(rule, options.lanes) for key, rule in made.items()}
    for key, rule in made.items():
        nanoseconds(rule, looks[key])  # compiles
    found: dict[str, list[float]] = {key: [] for key in made}
    for _ in range(options.repeats):
        for key, rule in made.items():
            found[key].append(nanoseconds(rule, looks[key]))
    medians = {key: statistics.median(each) for key, each in found.items()}
    for key, median in sorted(medians.items(), key=lambda pair: pair[1]):
        print(f"{key:20s} {median:10.1f} ns   ({min(found[key]):.1f} to {max(found[key]):.1f})")
    print(f"\nmedian rule {statistics.median(medians.values()):.1f} ns a lane-update at {options.lanes:,} lanes; aim {TARGET:g}")
    print(f"software: Python {platform.python_version()}, numpy {version('numpy')}, numba {version('numba')}")


if __name__ == "__main__":
    main()
