"""How well a scenario fits a recording, on a terminal."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from simlab.errors import printable
from simlab.fitting import Fit


def print_fit(found: Fit, console: Console) -> None:
    """Print each property beside what the lanes of the scenario have, and what was left out."""
    fits = sum(each.fits for each in found.table)
    lanes = found.table[0].lanes
    console.print(Text(f"FITTED  {fits} of {len(found.table)} properties lie where 95 % of {lanes} drawn lanes do", style="bold"))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("", "recorded", "95 % of lanes", "fits"):
        table.add_column(title, justify="left" if not title else "right", overflow="fold")
    for each in found.table:
        name = printable(f"{each.of}: {each.what}")
        table.add_row(name, f"{each.recorded:.4g}", f"{each.low:.4g} to {each.high:.4g}", "yes" if each.fits else "NO")
    console.print(table)
    for left in found.left_out:
        console.print(Text(printable(f"not fitted: {left}"), style="dim"))
