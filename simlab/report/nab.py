"""Totals of the benchmark on a terminal: guardrails in two columns for each profile, beside the leaderboard."""

from __future__ import annotations

import math
from collections.abc import Iterable

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from simlab.errors import printable
from simlab.nab.replay import NOTE, NabResult, NabScore, totals

_SHORT = {"standard": "standard", "reward_low_FP_rate": "low FP", "reward_low_FN_rate": "low FN"}


def print_nab(result: NabResult, console: Console) -> None:
    """Print guardrails, recomputed detectors and the published leaderboard."""
    console.print(Text(f"SCORED  {result.series} series, {result.windows} windows; 0 is silence, 100 perfect", style="bold"))
    for profile in dict.fromkeys(score.profile for score in result.policies):
        console.print(_profile(result, profile, _SHORT.get(profile, profile)))
    console.print(Text(NOTE, style="dim"))


def _profile(result: NabResult, profile: str, short: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=printable(f"profile {short}"), title_justify="left")
    table.add_column("policy or detector", overflow="fold")
    for column in ("as set, without labels", "optimised with labels", "published"):
        table.add_column(column, justify="right")
    recomputed = totals(result.recomputed)
    for who, found in totals(result.policies).items():
        table.add_row(printable(who), *_cells(found[profile]), "")
    ranked = sorted(result.leaderboard, key=lambda detector: -result.leaderboard[detector][profile])
    for detector in ranked:
        cells: Iterable[str] = _cells(recomputed[detector][profile]) if detector in recomputed else ("", "")
        table.add_row(f"{printable(detector)} (detector)", *cells, f"{result.leaderboard[detector][profile]:.4f}")
    return table


def _cells(score: NabScore) -> tuple[str, str]:
    optimised = "one threshold only" if score.optimised is None else f"{score.optimised:.4f}"
    if score.optimised_threshold is not None and math.isinf(score.optimised_threshold):
        optimised += " (silence)"
    return f"{score.score:.4f}", optimised
