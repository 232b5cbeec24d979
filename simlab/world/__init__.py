"""The world: what would happen to users, whoever watches. It knows no guardrail."""
