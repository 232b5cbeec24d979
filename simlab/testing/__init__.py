"""Tests for anyone's stopping rules: ``from simlab.testing import ...`` in a pytest suite.

The names below are loaded when they are first used, so that the plugin costs a start of pytest nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from simlab.testing.checks import Check, conformance
    from simlab.testing.claims import Claim, Claims, claims_of, own_claims
    from simlab.testing.deciding import Effort, ErrorRateBrokenError
    from simlab.testing.error_rates import assert_arl0, assert_detects, assert_false_alarms
    from simlab.testing.machine import monitor_machine
    from simlab.testing.properties import PropertyBrokenError, check
    from simlab.testing.recording import ErrorRate
    from simlab.testing.searches import cases, search, streams
    from simlab.testing.sequential import design
    from simlab.testing.shown import IDLE, LOST, Case, Lens, case
    from simlab.testing.strategies import Drawn, guardrails, harms, looks, policies, ramps, scenarios
    from simlab.testing.subjects import Subject, as_rule, subject

_HOME = {
    "shown": ("IDLE", "LOST", "Case", "Lens", "case"),
    "claims": ("Claim", "Claims", "claims_of", "own_claims"),
    "checks": ("Check", "conformance"),
    "deciding": ("Effort", "ErrorRateBrokenError"),
    "error_rates": ("assert_arl0", "assert_detects", "assert_false_alarms"),
    "machine": ("monitor_machine",),
    "properties": ("PropertyBrokenError", "check"),
    "recording": ("ErrorRate",),
    "searches": ("cases", "search", "streams"),
    "sequential": ("design",),
    "strategies": ("Drawn", "guardrails", "harms", "looks", "policies", "ramps", "scenarios"),
    "subjects": ("Subject", "as_rule", "subject"),
}
_MODULE = {name: module for module, names in _HOME.items() for name in names}
__all__ = [
    "IDLE",
    "LOST",
    "Case",
    "Check",
    "Claim",
    "Claims",
    "Drawn",
    "Effort",
    "ErrorRate",
    "ErrorRateBrokenError",
    "Lens",
    "PropertyBrokenError",
    "Subject",
    "as_rule",
    "assert_arl0",
    "assert_detects",
    "assert_false_alarms",
    "case",
    "cases",
    "check",
    "claims_of",
    "conformance",
    "design",
    "guardrails",
    "harms",
    "looks",
    "monitor_machine",
    "own_claims",
    "policies",
    "ramps",
    "scenarios",
    "search",
    "streams",
    "subject",
]


def __getattr__(name: str) -> Any:
    """Load a public name from the module where it lives; no module has the name of what it holds."""
    if name not in _MODULE:
        raise AttributeError(f"module 'simlab.testing' has no attribute {name!r}")
    return getattr(import_module(f"simlab.testing.{_MODULE[name]}"), name)
