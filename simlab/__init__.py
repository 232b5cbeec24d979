"""simlab: a testbed that measures guardrails before people depend on them.

The names below are loaded when they are first used, so that importing simlab costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from simlab.api import load, replay, run, tune
    from simlab.exact_run_lengths import exact_run_length
    from simlab.guardrails.guardrail import Guardrail
    from simlab.guardrails.live import Arrived, Assigned, Counts
    from simlab.guardrails.monitor import Monitor
    from simlab.guardrails.own_rules import register
    from simlab.guardrails.signal import Signal
    from simlab.rare import rare_alarm_probability
    from simlab.results import Result
    from simlab.rule_from import rule
    from simlab.run_lengths import run_length
    from simlab.sequences import sequence
    from simlab.thresholds import threshold_for

_HOME = {
    "load": "simlab.api",
    "run": "simlab.api",
    "replay": "simlab.api",
    "tune": "simlab.api",
    "rule": "simlab.rule_from",
    "run_length": "simlab.run_lengths",
    "exact_run_length": "simlab.exact_run_lengths",
    "rare_alarm_probability": "simlab.rare",
    "threshold_for": "simlab.thresholds",
    "register": "simlab.guardrails.own_rules",
    "Guardrail": "simlab.guardrails.guardrail",
    "Signal": "simlab.guardrails.signal",
    "Monitor": "simlab.guardrails.monitor",
    "Arrived": "simlab.guardrails.live",
    "Assigned": "simlab.guardrails.live",
    "Counts": "simlab.guardrails.live",
    "sequence": "simlab.sequences",
    "Result": "simlab.results",
}
__all__ = [
    "Arrived",
    "Assigned",
    "Counts",
    "Guardrail",
    "Monitor",
    "Result",
    "Signal",
    "__version__",
    "exact_run_length",
    "load",
    "rare_alarm_probability",
    "register",
    "replay",
    "rule",
    "run",
    "run_length",
    "sequence",
    "threshold_for",
    "tune",
]


def __getattr__(name: str) -> Any:
    """Load a public name from the module where it lives."""
    if name not in _HOME:
        raise AttributeError(f"module 'simlab' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
