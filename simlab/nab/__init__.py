"""The Numenta anomaly benchmark: its rules of scoring, its corpus, and guardrails scored by them."""
