"""From outcome rows to estimates: every number with its interval, its n and its method."""
