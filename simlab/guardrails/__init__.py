"""Guardrails: what is watched, the rule that judges it, and the policy they form. Free of the simulator."""
