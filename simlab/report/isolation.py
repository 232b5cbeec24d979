"""Whether experiments disturb each other, in words."""

from __future__ import annotations

from collections.abc import Iterator

from simlab.isolation import Leak, Pair
from simlab.report.words import words


def told(found: tuple[Pair, ...] | Leak) -> Iterator[str]:
    """Yield what was found in words, a line each."""
    if isinstance(found, Leak):
        yield f"{found.leaked.n:,} users: {found.treatment:,} in treatment only, {found.control:,} in control only"
        yield f"{found.into_treatment:,} went from control to treatment once, as when a ramp takes users from control"
        yield f"{found.into_control:,} went from treatment to control once, {found.back_and_forth:,} back and forth"
        yield f"leaked: {words(found.leaked)}"
        return
    if not found:
        yield "no other experiment runs on these users"
    for pair in found:
        verdict = "independent" if pair.independent else "NOT independent: one looks like the other's effect"
        yield (
            f"{pair.one} and {pair.other}: buckets {verdict}; {pair.users:,} users, chi-squared {pair.statistic:.1f} with "
            f"{pair.degrees} degrees of freedom, p = {pair.p_value:.3g}, Cramer's V {pair.association:.3f}"
        )
